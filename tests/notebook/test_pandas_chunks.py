"""Query results are read in chunks, whose size changes only the memory that this needs."""

from __future__ import annotations

import tracemalloc
from typing import Any

import psycopg
import pytest
from pandas.testing import assert_frame_equal

import sqltrack
from sqltrack._frames import columns
from sqltrack.pandas import query_dataframe
from support.frames import COUNT_TO, use_chunks_of


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


def test_without_a_libpq_that_sends_chunks_rows_come_one_by_one(
    postgres_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psycopg.capabilities, "has_stream_chunked", lambda: False)
    frame = query_dataframe(sqltrack.Client(postgres_config), COUNT_TO.format(1_001) + "SELECT n FROM numbers")
    assert frame["n"].tolist() == list(range(1, 1_002))


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
    original = columns._part
    monkeypatch.setattr("sqltrack._frames.columns._part", fail)
    with client.cursor() as cursor:
        with pytest.raises(KeyError, match="third"):
            query_dataframe(cursor, COUNT_TO.format(1_000) + "SELECT n FROM numbers")
        client.rollback()
        assert query_dataframe(cursor, "SELECT 1 AS n")["n"].tolist() == [1]


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
