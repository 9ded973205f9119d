"""Query results become data frames with the right types."""

from __future__ import annotations

import contextlib
import math
import sqlite3
import tracemalloc
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from pandas.testing import assert_frame_equal

import sqltrack
from sqltrack import _columns
from sqltrack.commands import setup
from sqltrack.errors import DatabaseError, NotSetUpError
from sqltrack.notebook import format_float
from sqltrack.pandas import query_dataframe
from sqltrack.util import SQL, Identifier
from support.refusing_proxy import refusing_proxy

TIME = datetime(2024, 5, 7, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))
TEXT = str(pd.Series(["x"]).dtype)
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
COUNT_TO = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {}) "


def types_of(frame: pd.DataFrame) -> dict[str, str]:
    return {str(name): str(dtype) for name, dtype in frame.dtypes.items()}


def use_chunks_of(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr("sqltrack._columns.CHUNK_ROWS", rows)


@pytest.fixture
def sqlite_client(tmp_path: Path) -> sqltrack.Client:
    """Client of a SQLite database, for what only SQLite stores."""
    return sqltrack.Client(engine="sqlite", dbpath=str(tmp_path / "odd.db"))


# -- types ----------------------------------------------------------------------------------------------------------


def test_the_document_s_query_returns_its_table(run: sqltrack.Run) -> None:
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
    """DESIGN 5."""
    use_chunks_of(monkeypatch, chunk_rows)
    for step, loss in enumerate(losses):
        run.add_metrics({"loss": loss, "other": 1}, step=step)
    series = query_dataframe(run.client, "SELECT loss FROM metrics ORDER BY step")["loss"]
    assert series.dtype == "float64"
    assert repr(series.tolist()) == repr([math.nan if loss is None else float(loss) for loss in losses])


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


def test_times_and_intervals_far_from_now_are_exact(run: sqltrack.Run) -> None:
    """Nanoseconds would not reach there."""
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


# -- chunks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 1, 499, 500, 501, 1_000, 1_001])
def test_no_row_is_lost_where_chunks_end(client: sqltrack.Client, rows: int) -> None:
    query = COUNT_TO.format(max(rows, 1)) + f"SELECT n, CAST(n AS TEXT) AS name FROM numbers WHERE n <= {rows}"
    frame = query_dataframe(client, query)
    assert frame["n"].tolist() == list(range(1, rows + 1))
    assert frame["name"].tolist() == [str(n) for n in range(1, rows + 1)]


@pytest.mark.parametrize(
    "values",
    [
        [1, 2, "x"],
        [0.5, "NaN", "x", None],
        ["NaN", "x"],
        ["NaN", None, 2],
        [None, 1, 0.5],
        [1, 2**62, 0.5, None],
        [None, "x", b"x"],
        [1.5, b"x", "NaN"],
        ["2026-03-01 12:00:00.000000+00:00", "yesterday", None],
        [2, 0.5, 9.3e18],
    ],
)
@pytest.mark.parametrize("declared", ["", "FLOAT", "TIMESTAMP", "BOOLEAN", "INTERVAL", "DATE", "BLOB"])
def test_what_sqlite_keeps_of_several_types_does_not_depend_on_chunks(
    sqlite_client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch, declared: str, values: list[Any]
) -> None:
    sqlite_client.execute(f"CREATE TABLE odd (id INTEGER, value {declared})")
    sqlite_client.executemany("INSERT INTO odd VALUES (?, ?)", list(enumerate(values)))
    query = "SELECT value FROM odd ORDER BY id"
    whole = query_dataframe(sqlite_client, query)
    for rows in (1, 2, 3):
        use_chunks_of(monkeypatch, rows)
        assert_frame_equal(query_dataframe(sqlite_client, query), whole)
    if whole["value"].dtype == object and not declared:
        assert whole["value"].tolist() == values


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
def test_undeclared_columns_of_sqlite_are_what_their_values_are(
    sqlite_client: sqltrack.Client, values: list[Any], dtype: str
) -> None:
    sqlite_client.execute("CREATE TABLE odd (value)")
    sqlite_client.executemany("INSERT INTO odd VALUES (?)", [(value,) for value in values])
    assert str(query_dataframe(sqlite_client, "SELECT value FROM odd")["value"].dtype) == dtype


def test_text_that_says_nan_is_text_in_a_column_of_text(run: sqltrack.Run) -> None:
    run.add_metrics({"name": "NaN"})
    assert query_dataframe(run.client, "SELECT name FROM metrics")["name"].tolist() == ["NaN"]


def test_what_sqlite_cannot_read_as_its_type_is_kept(sqlite_client: sqltrack.Client) -> None:
    sqlite_client.execute("CREATE TABLE odd (at TIMESTAMP, took INTERVAL, flag BOOLEAN)")
    sqlite_client.execute("INSERT INTO odd VALUES ('2024-05-07 10:30:15', 5e12, 2), ('soon', 1.0, 1)")
    frame = query_dataframe(sqlite_client, "SELECT * FROM odd")
    assert frame["at"].tolist() == [datetime(2024, 5, 7, 10, 30, 15), "soon"]
    assert frame["took"].tolist() == [timedelta(seconds=5e12), timedelta(seconds=1)]
    assert frame["flag"].tolist() == [2, True]
    assert query_dataframe(sqlite_client, "SELECT at FROM odd LIMIT 1")["at"][0] == pd.Timestamp("2024-05-07 10:30:15Z")


def test_memory_is_that_of_the_frame_and_not_of_the_rows(client: sqltrack.Client) -> None:
    floats = ", ".join(f"CAST(n AS DOUBLE PRECISION) / 7 AS f{number}" for number in range(12))
    query = COUNT_TO.format(40_000) + f"SELECT {floats} FROM numbers"

    def peak(read: Any) -> tuple[int, Any]:
        tracemalloc.start()
        try:
            result = read()
            return tracemalloc.get_traced_memory()[1], result
        finally:
            tracemalloc.stop()

    query_dataframe(client, "SELECT 1")
    by_rows, _ = peak(lambda: client.execute(query).fetchall())
    by_columns, frame = peak(lambda: query_dataframe(client, query))
    assert len(frame) == 40_000
    assert by_columns < by_rows / 2
    assert by_columns < 2 * frame.memory_usage().sum()


# -- clients, cursors and transactions ------------------------------------------------------------------------------


def test_a_cursor_sees_what_its_transaction_has_not_committed(client: sqltrack.Client) -> None:
    with contextlib.suppress(KeyError), client.cursor() as cursor:
        cursor.execute("INSERT INTO experiments (name) VALUES ('x')")
        for source in (cursor, client):
            assert query_dataframe(source, "SELECT name FROM experiments")["name"].tolist() == ["x"]
        assert query_dataframe(cursor, "SELECT name FROM experiments WHERE name = 'y'").empty
        raise KeyError
    assert query_dataframe(client, "SELECT name FROM experiments").empty


@pytest.mark.parametrize("returned", ["id, name", "xmin"])
def test_a_statement_that_returns_what_it_changes_is_executed_once(
    client: sqltrack.Client, engine_name: str, returned: str
) -> None:
    """Rows of types that are not read in binary form are asked for a second time, after the first is undone."""
    returned = returned if engine_name == "postgres" else "id, name"
    insert = f"INSERT INTO experiments (name) VALUES (%s) RETURNING {returned}"
    assert len(query_dataframe(client, insert, ("client",))) == 1
    with client.cursor() as cursor:
        assert len(query_dataframe(cursor, insert, ("cursor",))) == 1
        assert len(query_dataframe(cursor, insert, ("again",))) == 1
    with contextlib.suppress(KeyError), client.cursor() as cursor:
        query_dataframe(cursor, insert, ("undone",))
        raise KeyError
    with client as connection:
        client.engine.set_autocommit(connection, True)
        assert len(query_dataframe(connection.cursor(), insert, ("autocommit",))) == 1
    names = query_dataframe(client, "SELECT name FROM experiments ORDER BY id")["name"].tolist()
    assert names == ["client", "cursor", "again", "autocommit"]


def test_another_cursor_of_the_connection_goes_on_where_it_was(client: sqltrack.Client) -> None:
    for name in "abcd":
        sqltrack.Experiment(client, name=name)
    with client as connection:
        outer = connection.cursor().execute("SELECT name FROM experiments ORDER BY name")
        assert outer.fetchone() == ("a",)
        assert query_dataframe(connection.cursor(), "SELECT * FROM runs").empty
        assert query_dataframe(outer, "SELECT 1 AS n")["n"].tolist() == [1]
        assert outer.fetchall() == [("b",), ("c",), ("d",)]


def test_the_cursor_s_rows_may_be_of_any_form(client: sqltrack.Client, engine_name: str) -> None:
    factories: dict[str, Any] = {"sqlite": sqlite3.Row, "postgres": psycopg.rows.dict_row}
    with client as connection:
        connection.row_factory = factories[engine_name]
        frame = query_dataframe(connection.cursor(), "SELECT 1 AS a, 2 AS a")
    assert frame.to_numpy().tolist() == [[1, 2]]


def test_a_cursor_of_the_driver_will_do(run: sqltrack.Run, config: dict[str, Any], engine_name: str) -> None:
    run.add_metrics({"loss": math.nan, "other": 1})
    parameters = {name: value for name, value in config.items() if name != "engine"}
    connect: dict[str, Any] = {
        "sqlite": lambda: sqlite3.connect(parameters["dbpath"]),
        "postgres": lambda: psycopg.connect(**parameters),
    }
    with contextlib.closing(connect[engine_name]()) as connection:
        frame = query_dataframe(connection.cursor(), "SELECT loss, other FROM metrics")
    assert types_of(frame) == {"loss": "float64", "other": "int64"}


def test_a_cursor_that_is_of_no_known_driver_will_do_as_well(run: sqltrack.Run, monkeypatch: Any) -> None:
    use_chunks_of(monkeypatch, 2)

    class Wrapped:
        def __init__(self, cursor: Any) -> None:
            self._cursor = cursor

        def __getattr__(self, name: str) -> Any:
            return getattr(self._cursor, name)

    for step in range(5):
        run.add_metrics({"loss": step / 2}, step=step)
    with run.client.cursor() as cursor:
        frame = query_dataframe(Wrapped(cursor), "SELECT step, loss FROM metrics WHERE step < %s", (3,))
    assert frame.to_dict("list") == {"step": [0, 1, 2], "loss": [0.0, 0.5, 1.0]}


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("SELECT %s AS a, '%%' AS b, 7 %% 4 AS c", (5,)),
        ("SELECT %(a)s AS a, '%%' AS b, 7 %% 4 AS c", {"a": 5, "unused": 1}),
        ("SELECT 5 AS a, '%' AS b, 7 % 4 AS c", ()),
        (SQL("SELECT {} AS a, '%' AS b, 7 % 4 AS c").format(5), ()),
    ],
)
def test_placeholders_are_those_of_execute(client: sqltrack.Client, query: Any, parameters: Any) -> None:
    expected = client.execute(query, parameters).fetchall()
    with client.cursor() as cursor:
        for source in (client, cursor):
            frame = query_dataframe(source, query, parameters)
            assert [tuple(row) for row in frame.itertuples(index=False)] == expected
            assert list(frame.columns) == ["a", "b", "c"]


def test_with_a_client_errors_are_ours_and_with_a_cursor_the_driver_s(client: sqltrack.Client) -> None:
    with pytest.raises(DatabaseError, match="nonsense"):
        query_dataframe(client, "SELECT nonsense")
    with pytest.raises(client.engine.driver_error, match="nonsense"), client.cursor() as cursor:
        query_dataframe(cursor, "SELECT nonsense")
    with pytest.raises(DatabaseError, match="the statement returns no rows, expected a query"):
        query_dataframe(client, "UPDATE runs SET status = 'x'")
    client.execute("DROP TABLE run_links")
    with pytest.raises(NotSetUpError):
        query_dataframe(client, "SELECT * FROM run_links")


def test_an_error_in_a_later_chunk_leaves_the_connection_usable(
    client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_chunks_of(monkeypatch, 10)

    def fail(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise KeyError("third")
        return original(*args)

    calls: list[Any] = []
    original = _columns._part
    monkeypatch.setattr("sqltrack._columns._part", fail)
    with client.cursor() as cursor:
        with pytest.raises(KeyError, match="third"):
            query_dataframe(cursor, COUNT_TO.format(1_000) + "SELECT n FROM numbers")
        client.rollback()
        assert query_dataframe(cursor, "SELECT 1 AS n")["n"].tolist() == [1]


def test_a_tracked_run_s_connection_serves_as_well(run: sqltrack.Run) -> None:
    with run.track():
        run.add_metrics({"loss": 0.5})
        assert query_dataframe(run.client, "SELECT loss FROM metrics")["loss"].tolist() == [0.5]
        run.add_metrics({"loss": 0.25}, step=1)
    assert query_dataframe(run.client, "SELECT status FROM runs")["status"].tolist() == ["COMPLETED"]


# -- PostgreSQL -----------------------------------------------------------------------------------------------------


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


def test_without_a_libpq_that_sends_chunks_rows_come_one_by_one(
    postgres_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psycopg.capabilities, "has_stream_chunked", lambda: False)
    frame = query_dataframe(sqltrack.Client(postgres_config), COUNT_TO.format(1_001) + "SELECT n FROM numbers")
    assert frame["n"].tolist() == list(range(1, 1_002))


def test_the_schema_is_found_behind_a_pooler(postgres_config: dict[str, Any]) -> None:
    """Ruling 18."""
    with psycopg.connect(**{name: value for name, value in postgres_config.items() if name != "engine"}) as connection:
        port = connection.info.port
    with refusing_proxy(port) as proxy_port:
        client = sqltrack.Client({**postgres_config, "host": "127.0.0.1", "port": proxy_port}, schema="other")
        setup(client)
        sqltrack.Experiment(client, name="x")
        with client as connection:
            for autocommit in (False, True):
                client.commit()
                client.engine.set_autocommit(connection, autocommit)
                for query in ("SELECT name FROM experiments", "SELECT name FROM experiments WHERE id < 0"):
                    assert list(query_dataframe(connection.cursor(), query).columns) == ["name"]


# -- SQLite ---------------------------------------------------------------------------------------------------------


def test_reading_from_sqlite_needs_no_lock_for_writing(run: sqltrack.Run, sqlite_client: sqltrack.Client) -> None:
    setup(sqlite_client)
    sqltrack.Experiment(sqlite_client, name="x")
    impatient = sqltrack.Client({**sqlite_client.config, "engine": "sqlite", "busy_timeout": 0})
    with sqlite_client:
        sqlite_client.execute("UPDATE experiments SET comment = 'y'")
        frame = query_dataframe(impatient, "SELECT name, comment FROM experiments")
    assert types_of(frame) == {"name": TEXT, "comment": TEXT}


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("SELECT name FROM experiments WHERE id = ?", (1,)),
        ("SELECT name FROM experiments WHERE id = :id", {"id": 1}),
        ("-- first\nSELECT name FROM experiments; -- last", ()),
        ("PRAGMA user_version", ()),
        ("VALUES (1, 'x')", ()),
        ("EXPLAIN QUERY PLAN SELECT 1", ()),
    ],
)
def test_queries_only_sqlite_knows_are_fine(sqlite_client: sqltrack.Client, query: str, parameters: Any) -> None:
    setup(sqlite_client)
    sqltrack.Experiment(sqlite_client, name="x")
    with sqlite_client:
        frame = query_dataframe(sqlite_client, query, parameters)
        assert len(frame) == 1
        assert sqlite_client.execute("SELECT * FROM sqlite_temp_master").fetchall() == []


@pytest.mark.parametrize(
    ("value", "text"), [(1.005, "1.00"), (None, "--"), (math.nan, "--"), (math.inf, "inf"), (3, "3.00")]
)
def test_numbers_are_formatted(value: Any, text: str) -> None:
    assert format_float(value) == text


def test_replacements_are_escaped() -> None:
    assert format_float(None, na_rep="<none>") == "&lt;none&gt;"


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
