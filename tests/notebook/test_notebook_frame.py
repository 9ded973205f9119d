"""Data frames become HTML tables."""

from __future__ import annotations

import html
import json
import math
import re
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sqltrack
from sqltrack.notebook import format_dataframe, format_float, format_marked, format_percentage, format_string
from sqltrack.pandas import query_dataframe

TIME = datetime(2024, 5, 7, 12, tzinfo=timezone.utc)


def shown(cells: Any) -> list[Any]:
    """Return cells without markup and hidden parts."""
    parts = [re.sub(r"<span[^>]* hidden>[^<]*</span>", "", c) if isinstance(c, str) else c for c in cells]
    return [html.unescape(re.sub(r"<[^>]*>", "", part)) if isinstance(part, str) else part for part in parts]


def table(frame: pd.DataFrame, *arguments: Any, **options: Any) -> list[list[Any]]:
    formatted = format_dataframe(frame, *arguments, **options)
    return [shown(formatted.iloc[:, position]) for position in range(formatted.shape[1])]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        (" ", True, "★"),
        ("m", 1, "★"),
        ("M", False, ""),
        ("Marked", True, "★"),
        ("s", "COMPLETED", "✔\ufe0e"),
        ("STATUS", "FAILED", "✖\ufe0e"),
        ("tags", {"a": 1}, "a=1"),
        ("Progress", 0.5, "50.0%"),
    ],
)
def test_columns_are_formatted_by_name_in_any_case(name: str, value: Any, text: str) -> None:
    assert table(pd.DataFrame({name: [value]})) == [[text]]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pd.to_datetime(["2000-01-01", None]), ["years ago", "--"]),
        (pd.to_datetime(["2000-01-01", None], utc=True), ["years ago", "--"]),
        (pd.array([TIME, None], dtype="timestamp[us, tz=UTC][pyarrow]"), ["years ago", "--"]),
        ([date(2000, 1, 1), None], ["years ago", "--"]),
        (pd.to_timedelta(["1h", None]), ["1 h", "--"]),
        (["a", None], ["a", "--"]),
        (pd.array(["a", None], dtype="string"), ["a", "--"]),
        (pd.array(["a", None], dtype="string[pyarrow]"), ["a", "--"]),
        (pd.Categorical(["a", None]), ["a", "--"]),
        ([True, False], ["True", "False"]),
        (pd.array([True, None], dtype="boolean"), ["True", "--"]),
        ([0.5, math.nan, 3.0, math.inf, 1e-9], ["0.5", "--", "3", "inf", "1e-09"]),
        (pd.array([1, None], dtype="Int64"), ["1", "--"]),
        (pd.array([1.5, None], dtype="Float64"), ["1.5", "--"]),
        (pd.array([1, None], dtype="int64[pyarrow]"), ["1", "--"]),
        ([2**53 + 1, 1], ["9007199254740993", "1"]),
        ([{"a": [1]}, [], None], ['{"a": [1]}', "[]", "--"]),
        ([1, "a", None, pd.NA, pd.NaT, 0.25], ["1", "a", "--", "--", "--", "0.25"]),
        ([Decimal("1.50"), None], ["1.50", "--"]),
        ([1 + 2j, b"\xff"], ["(1+2j)", "b'\\xff'"]),
        (pd.period_range("2020-01", periods=2, freq="M"), ["2020-01", "2020-02"]),
        (pd.arrays.SparseArray([1.0, math.nan]), ["1", "--"]),
    ],
)
def test_columns_are_formatted_by_type(values: Any, texts: list[str]) -> None:
    cells = table(pd.DataFrame({"x": values}))[0]
    assert [text.partition(" ")[2] if "years ago" in text else text for text in cells] == texts


@pytest.mark.parametrize(
    "values",
    [
        [1, 2],
        [0.5, -1e300],
        np.array([1, 2], dtype="uint8"),
        pd.array([1, 2], dtype="Int64"),
        pd.array([1.5, 2], dtype="Float64"),
        pd.array([1, 2], dtype="int64[pyarrow]"),
        pd.arrays.SparseArray([1.0, 2.0]),
    ],
)
def test_columns_of_nothing_but_numbers_stay_numbers(values: Any) -> None:
    formatted = format_dataframe(pd.DataFrame({"x": values}))
    assert isinstance(formatted["x"].dtype, np.dtype)
    assert formatted["x"].dtype.kind in "iuf"
    assert formatted["x"].tolist() == list(values)


def test_times_are_absolute_on_request() -> None:
    frame = pd.DataFrame({"t": pd.to_datetime([TIME]), "o": pd.Series([TIME], dtype=object)})
    assert table(frame, relative_datetimes=False) == [["2024-05-07 12:00:00+00:00"]] * 2


def test_text_is_cut_on_the_side_that_was_asked_for() -> None:
    frame = pd.DataFrame({"x": ["text that is long"]})
    for ellipsis, expected in ((True, ["left"]), ("left", ["left"]), ("right", ["right"]), (False, [])):
        cell = format_dataframe(frame, string_ellipsis=ellipsis)["x"][0]
        assert re.findall(r"sqltrack-cut-(\w+)", cell) == expected
    with pytest.raises(ValueError, match="ellipsis must be"):
        format_dataframe(frame.head(0), string_ellipsis="both")


def test_functions_by_name_precede_in_any_case() -> None:
    frame = pd.DataFrame({"Val_Top1": [0.5], "status": ["FAILED"], "progress": [0.5], "n": [3]})
    formatting = {
        "val_top1": format_percentage,
        "STATUS": format_string,
        "progress": partial(format_float, spec=".3f"),
        "n": lambda n: n * 2,
        "absent": format_float,
    }
    assert table(frame, formatting) == [["50.0%"], ["FAILED"], ["0.500"], ["6"]]


def test_none_as_a_function_means_by_type() -> None:
    assert table(pd.DataFrame({"progress": [0.5], "S": ["FAILED"]}), {"progress": None, "s": None}) == [
        [0.5],
        ["FAILED"],
    ]


def test_labels_that_are_no_text_can_have_functions() -> None:
    assert table(pd.DataFrame({1: [0.5], "a": [0.5]}), {1: format_percentage}) == [["50.0%"], [0.5]]


def test_text_that_a_function_returns_is_html() -> None:
    class Hostile:
        def __str__(self) -> str:
            return "<script>"

    frame = pd.DataFrame({"a": [1], "b": [1]})
    formatted = format_dataframe(frame, {"a": lambda _: "<b>1</b>", "b": lambda _: Hostile()})
    assert formatted["a"][0].endswith("<b>1</b>")
    assert formatted["b"][0].endswith("&lt;script&gt;")


def test_missing_values_reach_only_functions_with_na_rep() -> None:
    def own(value: Any, na_rep: str = "own") -> str:
        return na_rep if value is None else "x"

    frame = pd.DataFrame({name: [math.nan, 1.0] for name in "abcde"})
    formatting = {
        "a": lambda value: f"{value:.0%}",
        "b": format_percentage,
        "c": partial(format_percentage, na_rep="none"),
        "d": own,
        "e": format_marked,
    }
    expected = [["?", "100%"], ["?", "100.0%"], ["none", "100.0%"], ["?", "x"], ["", "★"]]
    assert table(frame, formatting, na_rep="?") == expected
    assert table(pd.DataFrame({"x": ["a", None]}), na_rep="<?>") == [["a", "<?>"]]


def test_functions_that_do_not_tell_their_parameters_get_no_missing_values() -> None:
    class Silent:
        """Like some functions written in C."""

        @property
        def __signature__(self) -> Any:
            raise ValueError("no signature")

        def __call__(self, value: Any) -> str:
            return f"{value:.0%}"

    assert table(pd.DataFrame({"a": [math.nan, 0.5]}), {"a": Silent()}, na_rep="?") == [["?", "50%"]]


def test_an_error_of_a_function_names_column_and_value() -> None:
    frame = pd.DataFrame({"loss": ["x" * 1000, "y"]})
    with pytest.raises(
        ValueError, match="column 'loss': cannot format the value 'xxx.*xxx': ValueError: could not"
    ) as caught:
        format_dataframe(frame, {"loss": format_float})
    assert isinstance(caught.value.__cause__, ValueError)
    assert len(str(caught.value)) < 1200


@pytest.mark.parametrize("function", ["format_float", 3])
def test_formatting_must_hold_functions(function: Any) -> None:
    with pytest.raises(TypeError, match=f"functions of one value, got {function!r} for column 'a'"):
        format_dataframe(pd.DataFrame({"a": [1]}), {"a": function})


@pytest.mark.parametrize("value", [None, [1], pd.Series([1])])
def test_only_data_frames_are_taken(value: Any) -> None:
    with pytest.raises(TypeError, match="a pandas DataFrame is expected, got"):
        format_dataframe(value)


def test_the_argument_stays_as_it_is() -> None:
    frame = pd.DataFrame({"<b>": ["<i>"], "n": [1], "t": [{"a": 1}]}, index=pd.Index(["<x>"], name="<y>"))
    before = frame.copy(deep=True)
    formatted = format_dataframe(frame)
    formatted["n"] = 5
    pd.testing.assert_frame_equal(frame, before)
    assert frame["n"].tolist() == [1]
    assert (frame.index.name, frame.index[0]) == ("<y>", "<x>")


def test_names_may_repeat() -> None:
    frame = pd.DataFrame([[1, 0.5, "a", 2.5]], columns=["id", "progress", "id", "progress"])
    formatted = format_dataframe(frame)
    assert list(formatted.columns) == ["id", "progress", "id", "progress"]
    assert table(frame) == [[1], ["50.0%"], ["a"], ["250.0%"]]


def test_labels_of_rows_may_repeat() -> None:
    formatted = format_dataframe(pd.DataFrame({"x": ["a", "b"], "n": [1, 2]}, index=[7, 7]))
    assert shown(formatted["x"]) == ["a", "b"]
    assert formatted.index.tolist() == [7, 7]


def test_labels_and_their_names_are_escaped() -> None:
    index = pd.MultiIndex.from_tuples([("<a>", 1), (None, 2)], names=["<i>", None])
    columns = pd.MultiIndex.from_tuples([("<x>", "status"), ("progress", "<max>")], names=["<c>", None])
    formatted = format_dataframe(pd.DataFrame([["FAILED", 0.5], ["FAILED", 1.0]], index=index, columns=columns))
    assert formatted.index.tolist() == [("&lt;a&gt;", 1), ("--", 2)]
    assert formatted.columns.tolist() == [("&lt;x&gt;", "status"), ("progress", "&lt;max&gt;")]
    assert list(formatted.index.names) == ["&lt;i&gt;", None]
    assert list(formatted.columns.names) == ["&lt;c&gt;", None]
    assert shown(formatted.iloc[0]) == ["✖\ufe0e", "50.0%"]


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(2),
        pd.Index([0.5, 1.5]),
        pd.date_range("2020", periods=2, tz="UTC"),
        pd.to_timedelta([1, 2], unit="s"),
    ],
)
def test_labels_without_text_stay(index: pd.Index[Any]) -> None:
    formatted = format_dataframe(pd.DataFrame({"x": ["a", "b"]}, index=index))
    pd.testing.assert_index_equal(formatted.index, index)


@pytest.mark.parametrize("index", [pd.CategoricalIndex(["<a>", "b"]), pd.Index([("<a>",), "b"], tupleize_cols=False)])
def test_labels_of_any_kind_are_escaped(index: pd.Index[Any]) -> None:
    formatted = format_dataframe(pd.DataFrame({"x": ["a", "b"]}, index=index))
    assert "&lt;a&gt;" in formatted.index[0]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(),
        pd.DataFrame({"status": [], "x": [], " ": []}),
        pd.DataFrame(index=["<a>", "b"]),
        pd.DataFrame({"n": [1], "t": [TIME]}).head(0),
        pd.DataFrame({"n": [1]}, index=pd.MultiIndex.from_tuples([("a", "b")])).head(0),
    ],
)
def test_empty_frames_stay_empty(frame: pd.DataFrame) -> None:
    assert format_dataframe(frame).shape == frame.shape
    assert format_dataframe(frame).T.shape == frame.T.shape


def test_runs_can_be_columns() -> None:
    """Equal values have equal cells, which a comparison of runs needs."""
    frame = pd.DataFrame({"id": [3, 1], "status": ["FAILED"] * 2, "lr": [0.1, 0.2], "took": [timedelta(hours=1)] * 2})
    turned = format_dataframe(frame.set_index("id")).T
    assert turned.columns.tolist() == [3, 1]
    assert turned.index.tolist() == ["status", "lr", "took"]
    assert turned.loc["status", 3] == turned.loc["status", 1]
    assert turned.loc["took", 3] == turned.loc["took", 1]
    assert turned.loc["lr"].tolist() == [0.1, 0.2]


def test_categories_with_an_order_sort_by_it() -> None:
    frame = pd.DataFrame({"x": pd.Categorical(["low", "high", None, "mid"], ["low", "mid", "high"], ordered=True)})
    keys = [cell.partition("</span>")[0].rpartition(">")[2] for cell in format_dataframe(frame)["x"]]
    assert sorted(range(4), key=keys.__getitem__) == [0, 3, 1, 2]


def test_times_with_and_without_a_zone_and_numbers_of_all_types_share_a_column() -> None:
    values = [
        TIME,
        pd.Timestamp("2000-01-01"),
        date(2010, 1, 1),
        pd.Timestamp("2024-05-07 12:00:00.000000001", tz="UTC"),
    ]
    values += [3, Decimal("2.5"), np.float32(1.5), np.int64(4), np.True_, timedelta(1), np.timedelta64(1, "h")]
    cells = format_dataframe(pd.DataFrame({"x": pd.Series(values, dtype=object)}))["x"]
    assert sorted(range(len(values)), key=cells.__getitem__) == [8, 6, 5, 4, 7, 1, 2, 0, 3, 10, 9]


def test_values_from_the_database_are_formatted(run: sqltrack.Run) -> None:
    run.set_tags("baseline", "<script>")
    run.set_args({"lr": 0.1, "layers": [1, 2]})
    run.start()
    run.add_metrics({"loss": math.nan, "n": 3, "note": "<b>"}, step=0, progress=0.25)
    run.add_metrics({"loss": 0.5}, step=1, progress=0.5)
    run.stop()
    runs = query_dataframe(run.client, "SELECT status, tags, args, time_updated, time_started FROM runs")
    status, tags, arguments, updated, _ = (cells[0] for cells in table(runs))
    # PostgreSQL stores keys in its own order.
    assert (status, set(tags.split())) == ("✔\ufe0e", {"baseline", "<script>"})
    assert json.loads(arguments) == {"lr": 0.1, "layers": [1, 2]}
    assert updated in ("now", "a second ago") or re.fullmatch(r"\d+ seconds ago", updated)
    metrics = query_dataframe(run.client, "SELECT loss, n, note, progress FROM metrics ORDER BY step")
    assert table(metrics) == [["--", "0.5"], ["3", "--"], ["<b>", "--"], ["25.0%", "50.0%"]]
