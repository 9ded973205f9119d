"""A Parquet file contains every value of a result, even if a column holds values of several kinds."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.sql import QueryResult, csv_value

pytest.importorskip("pyarrow")

from sqltrack.commands import _parquet

NOON = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))
KINDS = (None, "boolean", "bytes", "date", "float", "integer", "interval", "json", "text", "timestamp")
BIG = 2**53 + 1

Write = Callable[..., tuple[str, list[Any]]]


@pytest.fixture
def write(parquet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a column, this many rows at a time, and return its type and its values."""

    def write(values: Sequence[Any], kind: Any = None, rows: int = 50_000) -> tuple[str, list[Any]]:
        monkeypatch.setattr(_parquet, "_ROWS", rows)
        path = tmp_path / "column.parquet"
        done: list[int] = []
        result = QueryResult(["column"], [kind], [[(value,) for value in values]])
        assert _parquet.write_parquet(result, path, done.append) == len(values)
        assert done[-1:] == [len(values)][: len(values)]
        assert sorted(tmp_path.iterdir()) == [path]
        table = parquet.read_table(path)
        return str(table.schema.field("column").type), table.column("column").to_pylist()

    return write


@pytest.mark.parametrize("rows", [50_000, 1])
@pytest.mark.parametrize(
    ("values", "kind", "type_", "expected"),
    [
        ([True, None], None, "bool", [True, None]),
        ([1, None, 2**63 - 1], None, "int64", [1, None, 2**63 - 1]),
        ([0.5, None, math.inf], None, "double", [0.5, None, math.inf]),
        ([Decimal("0.25"), None], "float", "double", [0.25, None]),
        (["a", None, "NaN"], None, "string", ["a", None, "NaN"]),
        ([b"\x00\xff", None], None, "binary", [b"\x00\xff", None]),
        ([NOON, None], None, "timestamp[us, tz=UTC]", [NOON, None]),
        ([NOON.replace(tzinfo=None)], None, "timestamp[us, tz=UTC]", [NOON.replace(tzinfo=timezone.utc)]),
        ([date(2026, 3, 1), None], None, "date32[day]", [date(2026, 3, 1), None]),
        ([time(12, 30, 0, 5), None], None, "time64[us]", [time(12, 30, 0, 5), None]),
        ([timedelta(seconds=90.5), None], None, "duration[us]", [timedelta(seconds=90.5), None]),
        ([{"a": [1, None]}, None, [1], "a", 2], "json", "string", ['{"a": [1, null]}', None, "[1]", "a", "2"]),
        ([UUID(int=1), None], None, "string", ["00000000-0000-0000-0000-000000000001", None]),
        ([None, None], None, "null", [None, None]),
        ([None], "timestamp", "timestamp[us, tz=UTC]", [None]),
        ([], "boolean", "bool", []),
        ([], None, "null", []),
    ],
)
def test_a_column_of_one_kind_keeps_it(
    write: Write, values: list[Any], kind: Any, type_: str, expected: list[Any], rows: int
) -> None:
    assert write(values, kind, rows) == (type_, expected)


@pytest.mark.parametrize("rows", [50_000, 1])
@pytest.mark.parametrize(
    ("values", "kind", "type_", "expected"),
    [
        ([1, 2.5, None], None, "double", [1.0, 2.5, None]),
        ([None, 1, 2.5], "integer", "double", [None, 1.0, 2.5]),
        ([1, BIG, 2.5], "integer", "string", ["1", str(BIG), "2.5"]),
        ([2.5, BIG], None, "string", ["2.5", str(BIG)]),
        ([2**70, 1], None, "string", [str(2**70), "1"]),
        ([1, "a", None], "integer", "string", ["1", "a", None]),
        ([0.5, "abc"], "float", "string", ["0.5", "abc"]),
        ([1, True], None, "string", ["1", "true"]),
        ([b"\x00\xff", "a"], "bytes", "string", ["00ff", "a"]),
        ([NOON, "soon"], "timestamp", "string", ["2026-03-01T10:30:15.123456+00:00", "soon"]),
        ([timedelta(seconds=90.5), 1], "interval", "string", ["90.5", "1"]),
        ([timedelta(1), timedelta.max], "interval", "string", ["86400.0", str(timedelta.max.total_seconds())]),
        ([{"a": 1}, "b"], None, "string", ['{"a": 1}', "b"]),
        (["NaN", "a", 1], None, "string", ["NaN", "a", "1"]),
        (["NaN", None], None, "string", ["NaN", None]),
        ([math.nan, "a"], "float", "string", ["NaN", "a"]),
    ],
)
def test_a_column_of_several_kinds_loses_nothing(
    write: Write, values: list[Any], kind: Any, type_: str, expected: list[Any], rows: int
) -> None:
    assert write(values, kind, rows) == (type_, expected)


@pytest.mark.parametrize("rows", [50_000, 1])
@pytest.mark.parametrize(("values", "kind"), [(["NaN", 1], None), ([0.5, "NaN"], None), (["NaN", None], "float")])
def test_the_text_that_sqlite_keeps_for_nan_is_nan_among_numbers(
    write: Write, values: list[Any], kind: Any, rows: int
) -> None:
    type_, found = write(values, kind, rows)
    assert type_ == "double"
    assert [value != value for value in found] == [value == "NaN" for value in values]


ANY_VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.sampled_from(["NaN", "a", "1", ""]),
    st.binary(max_size=3),
    st.datetimes(timezones=st.just(timezone.utc)),
    st.timedeltas(),
)


@settings(max_examples=200)
@given(values=st.lists(ANY_VALUE, max_size=6), kind=st.sampled_from(KINDS), rows=st.integers(1, 3))
def test_every_value_of_a_column_can_be_read_again(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], kind: Any, rows: int
) -> None:
    import pyarrow.parquet

    path = tmp_path_factory.mktemp("parquet") / "column.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_parquet, "_ROWS", rows)
        _parquet.write_parquet(
            QueryResult(["column"], [kind], [[(value,) for value in values]]), path, lambda done: None
        )
    found = pyarrow.parquet.read_table(path).column("column").to_pylist()
    assert len(found) == len(values)
    for value, read in zip(values, found):
        texts = {str(value), str(csv_value(value))}
        if type(value) is int and abs(value) < BIG:
            # A number among floats, before the first text.
            texts.add(str(float(value)))
        is_number = isinstance(read, float) and (value == read or str(value).lower() == str(read) == "nan")
        assert is_number or read in texts or (read == value and type(read) is type(value))


def test_names_that_come_again_get_numbers(parquet: Any, tmp_path: Path) -> None:
    path = tmp_path / "columns.parquet"
    result = QueryResult(["a", "a"], [], [[(1, "x")], [(None, 2)]])
    assert _parquet.write_parquet(result, path, lambda done: None) == 2
    assert parquet.read_table(path).to_pydict() == {"a": [1, None], "a_2": ["x", "2"]}


@pytest.mark.engines("sqlite")
def test_values_that_a_column_of_sqlite_is_not_declared_for_are_exported(
    client: sqltrack.Client, options: list[str], parquet: Any, tmp_path: Path
) -> None:
    run = sqltrack.Experiment(client, name="first").get_run()
    for step in range(3):
        run.add_metrics({"count": step, "loss": 0.5, "flag": True}, step=step)
    client.execute("UPDATE metrics SET count = 'many', loss = x'00ff' WHERE step = 2")
    client.execute("UPDATE metrics SET count = 0.5 WHERE step = 1")
    assert main(["export", "--format", "parquet", "--table", "metrics", "--output", str(tmp_path), *options]) == 0
    read = parquet.read_table(tmp_path / "metrics.parquet").to_pydict()
    assert read["loss"] == ["0.5", "0.5", "00ff"]
    assert read["count"] in (["0.0", "0.5", "many"], ["0", "0.5", "many"])
    assert read["flag"] == [True] * 3


@pytest.mark.engines("sqlite")
@pytest.mark.parametrize("last", ["'end'", "0.5"])
def test_a_column_that_widens_at_its_end_takes_little_memory(
    client: sqltrack.Client, sql_options: list[str], tmp_path: Path, last: str
) -> None:
    script = (
        "import resource, sys; from sqltrack.cli import main; status = main(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    peaks = []
    for number in (60_000, 600_000):
        sql = f"""
            WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {number})
            SELECT CASE WHEN n < {number} THEN n ELSE {last} END AS value FROM number
        """
        output = str(tmp_path / f"{number}.parquet")
        command = [sys.executable, "-c", script, "sql", sql, "--limit", "0", "--output", output, *sql_options]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        peaks.append(int(done.stderr))
    # In kilobytes; as Python objects the values would take more than 20 MB, all of them as arrays 5 MB.
    assert peaks[1] - peaks[0] < 20_000
