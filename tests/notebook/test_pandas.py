"""Query results become data frames with the right types."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import pandas as pd
import pytest

import sqltrack
from sqltrack.pandas import query_dataframe
from sqltrack.util import SQL, Identifier
from support.frames import TEXT, types_of, use_chunks_of

TIME = datetime(2024, 5, 7, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))
VALUES: dict[str, Any] = {
    "flag": True,
    "count": 3,
    "loss": 0.5,
    "name": "x",
    "day": date(2024, 5, 7),
    "raw": b"\x00\xff",
    "time": TIME,
    "took": timedelta(seconds=1.5),
    "info": {"a": [1, None]},
    'odd "name" %s': 0.25,
}
TYPES = {
    "flag": "bool",
    "count": "int64",
    "loss": "float64",
    "name": TEXT,
    "day": "object",
    "raw": "object",
    "time": "datetime64[us, UTC]",
    "took": "timedelta64[us]",
    "info": "object",
    'odd "name" %s': "float64",
}
NULLABLE_TYPES = {**TYPES, "flag": "boolean", "count": "float64"}
COLUMNS = SQL(", ").join([Identifier(name) for name in VALUES])
QUERY = SQL("SELECT {} FROM metrics ORDER BY step").format(COLUMNS)


def test_the_documented_query_returns_a_row_for_each_step(run: sqltrack.Run) -> None:
    for epoch in range(90):
        run.add_metrics({"loss": 7 ** (1 / (epoch + 1))}, step=epoch)
    frame = query_dataframe(run.client, "SELECT * FROM metrics")
    assert types_of(frame) == {"run_id": "int64", "step": "int64", "progress": "float64", "loss": "float64"}
    assert frame.shape == (90, 4)
    assert frame["loss"].tolist() == [7 ** (1 / (epoch + 1)) for epoch in range(90)]


def test_values_have_the_types_of_pandas(run: sqltrack.Run) -> None:
    run.add_metrics(VALUES, step=0)
    frame = query_dataframe(run.client, QUERY)
    assert types_of(frame) == TYPES
    expected = {**VALUES, "time": pd.Timestamp(TIME), "took": pd.Timedelta(seconds=1.5)}
    assert {name: frame[name][0] for name in VALUES} == expected
    assert type(frame["day"][0]) is date


@pytest.mark.parametrize("chunk_rows", [1, 2, 3, 500])
def test_null_keeps_the_types_wherever_it_is(
    run: sqltrack.Run, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
) -> None:
    use_chunks_of(monkeypatch, chunk_rows)
    for step in (0, 1, 4):
        run.add_metrics({"other": 1}, step=step)
    for step in (2, 3):
        run.add_metrics(VALUES, step=step)
    frame = query_dataframe(run.client, QUERY)
    assert types_of(frame) == NULLABLE_TYPES
    assert all(frame[name].isna().tolist() == [True, True, False, False, True] for name in VALUES)
    assert frame["flag"].dropna().tolist() == [True, True]
    assert frame["count"][2] == 3
    assert frame["info"].tolist() == [None, None, VALUES["info"], VALUES["info"], None]


def test_columns_without_rows_or_values_have_the_types_that_they_are_declared_with(run: sqltrack.Run) -> None:
    run.add_metrics(VALUES, step=0)
    run.add_metrics({"other": 1}, step=1)
    query = SQL("SELECT {} FROM metrics WHERE step = {}")
    assert types_of(query_dataframe(run.client, query.format(COLUMNS, 2))) == TYPES
    frame = query_dataframe(run.client, query.format(COLUMNS, 1))
    assert types_of(frame) == NULLABLE_TYPES
    assert frame.isna().all(axis=None)


def test_an_empty_result_has_its_types_with_parameters_as_well(client: sqltrack.Client) -> None:
    query = "SELECT id, id, name, tags FROM experiments WHERE name <> %s AND name LIKE '%%x'"
    frame = query_dataframe(client, query, ("x",))
    assert list(frame.columns) == ["id", "id", "name", "tags"]
    assert [str(dtype) for dtype in frame.dtypes] == ["int64", "int64", TEXT, "object"]
    assert len(frame) == 0


def test_names_may_repeat_and_be_odd(client: sqltrack.Client) -> None:
    frame = query_dataframe(client, """SELECT 1 AS "a b", 2 AS "a b", 'x' AS "%", 0.5 AS "A ""B" """)
    assert list(frame.columns) == ["a b", "a b", "%", 'A "B']
    assert frame.iloc[0].tolist() == [1, 2, "x", 0.5]


@pytest.mark.parametrize("chunk_rows", [1, 2, 500])
@pytest.mark.parametrize(
    "losses",
    [
        [math.nan, 0.5, None, math.inf, -math.inf],
        [None, None, math.nan, 1, 0.5],
        [1, 2, math.nan, None, 2.5],
        [0.5, 1, 2, math.nan, 3],
        [math.nan, math.nan, math.nan, None, math.nan],
    ],
)
def test_nan_and_infinities_are_floats(
    run: sqltrack.Run, monkeypatch: pytest.MonkeyPatch, losses: list[float | None], chunk_rows: int
) -> None:
    """A column of numbers is float64, even if SQLite stores NaN as text or a value is missing."""
    use_chunks_of(monkeypatch, chunk_rows)
    for step, loss in enumerate(losses):
        run.add_metrics({"loss": loss, "other": 1}, step=step)
    series = query_dataframe(run.client, "SELECT loss FROM metrics ORDER BY step")["loss"]
    assert series.dtype == "float64"
    assert repr(series.tolist()) == repr([math.nan if loss is None else float(loss) for loss in losses])


def test_text_that_says_nan_is_text_in_a_column_of_text(run: sqltrack.Run) -> None:
    run.add_metrics({"name": "NaN"})
    assert query_dataframe(run.client, "SELECT name FROM metrics")["name"].tolist() == ["NaN"]


@pytest.mark.parametrize("chunk_rows", [1, 500])
def test_integers_are_never_altered_because_others_are_null(
    run: sqltrack.Run, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
) -> None:
    use_chunks_of(monkeypatch, chunk_rows)
    for step, (small, big, least) in enumerate([(2**53, 2**53 + 1, -(2**63)), (None, None, None), (-1, -1, 2**63 - 1)]):
        run.add_metrics({"small": small, "big": big, "least": least, "other": 1}, step=step)
    frame = query_dataframe(run.client, "SELECT small, big, least FROM metrics ORDER BY step")
    assert types_of(frame) == {"small": "float64", "big": "Int64", "least": "Int64"}
    assert frame["big"].dropna().tolist() == [2**53 + 1, -1]
    assert frame["least"].dropna().tolist() == [-(2**63), 2**63 - 1]
    complete = query_dataframe(run.client, "SELECT big FROM metrics WHERE step <> %s ORDER BY step", (1,))
    assert complete["big"].dtype == "int64"
    assert complete["big"].tolist() == [2**53 + 1, -1]


def test_averages_of_integers_are_floats(run: sqltrack.Run) -> None:
    for step in range(4):
        run.add_metrics({"count": step}, step=step)
    frame = query_dataframe(run.client, "SELECT AVG(count) AS mean, COUNT(*) AS rows FROM metrics")
    assert types_of(frame) == {"mean": "float64", "rows": "int64"}
    assert frame["mean"][0] == 1.5


def test_subqueries_are_read_and_keep_their_types(run: sqltrack.Run) -> None:
    run.start()
    run.add_metrics({"loss": 1.0}).stop()
    query = """
        SELECT
            name,
            (SELECT time_updated FROM runs WHERE experiment_id = e.id ORDER BY time_updated DESC LIMIT 1) AS updated
        FROM experiments AS e
        ORDER BY id
    """
    frame = query_dataframe(run.client, query)
    assert str(frame["updated"].dtype) == "datetime64[us, UTC]"
    assert len(frame) == 1


def test_times_and_intervals_far_from_now_are_exact(run: sqltrack.Run) -> None:
    """They are beyond the range of nanoseconds."""
    far = datetime(9000, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
    long = timedelta(days=200_000)
    run.add_metrics({"far": far, "long": long})
    frame = query_dataframe(run.client, "SELECT far, long FROM metrics")
    assert frame["far"][0].to_pydatetime() == far
    assert frame["long"][0].to_pytimedelta() == long


def test_intervals_that_pandas_cannot_hold_are_objects(run: sqltrack.Run) -> None:
    longest = timedelta(days=200_000_000)
    for step, value in enumerate((longest, -longest, timedelta(seconds=1.5))):
        run.add_metrics({"took": value, "other": 1}, step=step)
    run.add_metrics({"other": 1}, step=3)
    for condition, expected in (("step < 3", [longest, -longest, timedelta(seconds=1.5)]), ("step > 2", [None])):
        frame = query_dataframe(run.client, f"SELECT took FROM metrics WHERE {condition} ORDER BY step")
        assert [None if pd.isna(value) else value for value in frame["took"]] == expected
    assert types_of(query_dataframe(run.client, "SELECT took FROM metrics")) == {"took": "object"}


def test_json_that_is_no_object_stays_as_it_is(client: sqltrack.Client) -> None:
    client.execute("CREATE TABLE notes (id INTEGER, note JSONB)")
    notes = ["1", '"x"', "[1]", None, "0.5", '"NaN"', "true"]
    client.executemany("INSERT INTO notes VALUES (%s, %s)", list(enumerate(notes)))
    for condition in ("1 = 1", "id = 0", "id IN (1, 5)", "id = 6"):
        frame = query_dataframe(client, f"SELECT note FROM notes WHERE {condition} ORDER BY id")
        assert frame["note"].dtype == "object"
    frame = query_dataframe(client, "SELECT note FROM notes ORDER BY id")
    assert frame["note"].tolist() == [1, "x", [1], None, 0.5, "NaN", True]


@pytest.mark.parametrize("columns", [3, 150])
def test_columns_can_be_added_to_wide_frames_without_a_warning(client: sqltrack.Client, columns: int) -> None:
    frame = query_dataframe(client, "SELECT " + ", ".join(f"{n} AS c{n}" for n in range(columns)))
    frame["more"] = 1
    assert frame.iloc[0].tolist() == [*range(columns), 1]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["NaN", None], "float64"),
        (["NaN", "x", None], TEXT),
        ([1, "NaN"], "float64"),
        ([True, "NaN"], "float64"),
        ([1, "x"], "object"),
        ([None, None], "object"),
    ],
)
def test_undeclared_columns_of_sqlite_have_the_type_of_their_values(
    sqlite_client: sqltrack.Client, values: list[Any], dtype: str
) -> None:
    sqlite_client.execute("CREATE TABLE odd (value)")
    sqlite_client.executemany("INSERT INTO odd VALUES (?)", [(value,) for value in values])
    assert str(query_dataframe(sqlite_client, "SELECT value FROM odd")["value"].dtype) == dtype


def test_values_that_sqlite_cannot_convert_are_kept(sqlite_client: sqltrack.Client) -> None:
    sqlite_client.execute("CREATE TABLE odd (at TIMESTAMP, took INTERVAL, flag BOOLEAN)")
    sqlite_client.execute("INSERT INTO odd VALUES ('2024-05-07 10:30:15', 5e12, 2), ('soon', 1.0, 1)")
    frame = query_dataframe(sqlite_client, "SELECT * FROM odd")
    assert frame["at"].tolist() == [datetime(2024, 5, 7, 10, 30, 15), "soon"]
    assert frame["took"].tolist() == [timedelta(seconds=5e12), timedelta(seconds=1)]
    assert frame["flag"].tolist() == [2, True]
    assert query_dataframe(sqlite_client, "SELECT at FROM odd LIMIT 1")["at"][0] == pd.Timestamp("2024-05-07 10:30:15Z")


@pytest.mark.parametrize("rows", [1, 0])
def test_types_of_postgresql_that_are_not_read_in_binary_form_are_as_in_cursors(
    postgres_config: dict[str, Any], rows: int
) -> None:
    client = sqltrack.Client(postgres_config)
    client.execute("CREATE TYPE mood AS ENUM ('good', 'bad')")
    selection = (
        "SELECT 'good'::mood AS mood, '1.5'::money AS money, 0.5::float8 AS loss, 'x'::name, ARRAY['good'::mood] "
        f"FROM generate_series(1, {rows})"
    )
    frame = query_dataframe(client, selection)
    assert [str(dtype) for dtype in frame.dtypes][2:4] == ["float64", TEXT]
    assert [tuple(row) for row in frame.itertuples(index=False)] == client.execute(selection).fetchall()


def test_types_of_postgresql_alone_become_the_nearest_ones(postgres_config: dict[str, Any]) -> None:
    selection = {
        "1.5::numeric": ("float64", 1.5),
        "'NaN'::numeric": ("float64", math.nan),
        "0.5::real": ("float64", 0.5),
        "5::smallint": ("int64", 5),
        "ARRAY[1, NULL]": ("object", [1, None]),
        "ARRAY[0.5::float8]": ("object", [0.5]),
        "'10:30'::time": ("object", time(10, 30)),
        "'a'::char(2)": (TEXT, "a "),
        "'2024-05-07 10:30:15'::timestamp": ("datetime64[us, UTC]", pd.Timestamp("2024-05-07 10:30:15Z")),
        "'null'::jsonb": ("object", None),
        "'{\"a\": 1}'::json": ("object", {"a": 1}),
        "NULL::numeric": ("float64", math.nan),
    }
    frame = query_dataframe(sqltrack.Client(postgres_config), f"SELECT {', '.join(selection)}")
    assert [str(dtype) for dtype in frame.dtypes] == [dtype for dtype, _ in selection.values()]
    values = [frame.iloc[:, index].tolist()[0] for index in range(len(selection))]
    assert repr(values) == repr([value for _, value in selection.values()])


def test_the_session_s_time_zone_makes_no_difference(postgres_config: dict[str, Any]) -> None:
    client = sqltrack.Client(postgres_config)
    with client.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'Asia/Kolkata'")
        frame = query_dataframe(cursor, "SELECT '2024-05-07 10:30:15+00'::timestamptz AS at")
    assert str(frame["at"].dtype) == "datetime64[us, UTC]"
    assert frame["at"][0] == pd.Timestamp("2024-05-07 10:30:15Z")


def test_times_are_subtracted_and_json_is_taken_out_alike(run: sqltrack.Run) -> None:
    """The code on the pages and in the docstring gives the same values on all engines."""
    started = datetime(2026, 1, 1, tzinfo=timezone.utc)
    run.set_started(started).set_updated(started + timedelta(hours=1.5)).add_args({"model": "tiny", "lr": 0.1})
    query = """
        SELECT time_started, time_updated, args ->> 'model' AS model, CAST(args ->> 'lr' AS DOUBLE PRECISION) AS lr
        FROM runs
    """
    frame = query_dataframe(run.client, query)
    assert list((frame["time_updated"] - frame["time_started"]).dt.total_seconds()) == [5400]
    assert list(frame["model"]) == ["tiny"]
    assert list(frame["lr"]) == [0.1]
