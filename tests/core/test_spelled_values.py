"""Values and names that are written into a query mean the same on all engines, with and without parameters."""

from __future__ import annotations

import enum
from contextlib import closing
from datetime import date, datetime, timezone
from typing import Any

import psycopg
import pytest
from psycopg import sql as psycopg_sql

import sqltrack
from sqltrack.engines.json import Jsonb
from sqltrack.engines.results import find_reader
from sqltrack.errors import NaiveDatetimeError
from sqltrack.util import SQL, Identifier, Literal

numpy = pytest.importorskip("numpy")

TEXTS = ["100%", "100%%", "%s", "%(name)s", "%%s", "%", "50%'s"]
NAIVE = datetime(2024, 1, 1)


class Color(enum.Enum):
    RED = 1


class Number(enum.IntEnum):
    ONE = 1


class Word(str, enum.Enum):
    X = "x"


@pytest.mark.parametrize("literal", [Literal, psycopg_sql.Literal])
@pytest.mark.parametrize("identifier", [Identifier, psycopg_sql.Identifier])
def test_per_cent_signs_stay_as_they_are(client: sqltrack.Client, literal: Any, identifier: Any) -> None:
    for text in TEXTS:
        name = identifier(text.replace("'", ""))
        without = client.execute(SQL("SELECT {} AS {}").format(literal(text), name))
        assert (without.fetchone(), without.description[0][0]) == ((text,), text.replace("'", ""))
        for marks, parameters in (("%s", (1,)), ("%(name)s", {"name": 1})):
            composed = SQL(f"SELECT {{}} AS {{}}, {marks}").format(literal(text), name)
            with_parameters = client.execute(composed, parameters)
            assert (with_parameters.fetchone(), with_parameters.description[0][0]) == ((text, 1), text.replace("'", ""))


def test_so_they_do_in_all_ways_to_execute(client: sqltrack.Client) -> None:
    query = SQL("SELECT {}, %s").format(Literal("100%"))
    with client as connection:
        assert connection.execute(query, (1,)).fetchone() == ("100%", 1)
        assert connection.cursor().execute(query, (1,)).fetchone() == ("100%", 1)
        cursor = connection.cursor()
        with find_reader(cursor).read(cursor, query, (1,), 10) as reading:
            assert [tuple(row) for chunk in reading.chunks for row in chunk] == [("100%", 1)]
        nested = SQL("SELECT {}").format(SQL(", ").join([Literal("1%"), SQL("%s"), psycopg_sql.Literal("2%")]))
        assert connection.execute(nested, (1,)).fetchone() == ("1%", 1, "2%")
        connection.execute("CREATE TABLE texts (a TEXT, b INT)")
        insert = SQL("INSERT INTO texts VALUES ({}, %s)").format(Literal("100%"))
        connection.cursor().executemany(insert, [(1,), (2,)])
    client.executemany(insert, [(3,)])
    assert client.execute("SELECT * FROM texts ORDER BY b").fetchall() == [("100%", 1), ("100%", 2), ("100%", 3)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (numpy.float64(1.5), 1.5),
        (numpy.float32(0.5), 0.5),
        (numpy.int64(3), 3),
        (numpy.str_("a'b"), "a'b"),
        (Number.ONE, 1),
        (Word.X, "x"),
        (bytearray(b"\0'"), b"\0'"),
        (None, None),
    ],
)
def test_a_literal_is_the_same_value_on_all_engines(client: sqltrack.Client, value: Any, expected: Any) -> None:
    (found,) = client.execute(SQL("SELECT {}").format(Literal(value))).fetchone()
    assert found == expected
    assert isinstance(found, str) == isinstance(expected, str)


def test_a_literal_may_be_json(client: sqltrack.Client) -> None:
    run = sqltrack.Experiment(client, name="experiment").get_run()
    client.execute(SQL("UPDATE runs SET args = {}").format(Literal(Jsonb({"a": "1%'"}))))
    assert client.execute("SELECT args FROM runs WHERE id = %s", (run.id,)).fetchone() == ({"a": "1%'"},)


@pytest.mark.parametrize("value", [Color.RED, [1], (1,), {"a": 1}, {1}, object(), 1j, numpy.array([1, 2])])
def test_values_without_a_literal_are_refused_by_all_engines(client: sqltrack.Client, value: Any) -> None:
    with pytest.raises(TypeError, match="no SQL literal"):
        client.execute(SQL("SELECT {}").format(Literal(value)))


def test_a_naive_datetime_is_refused_as_any_value(client: sqltrack.Client) -> None:
    aware, day = NAIVE.replace(tzinfo=timezone.utc), date(2024, 1, 1)
    sqltrack.Experiment(client, name="experiment").get_run()
    for parameters in ((NAIVE,), [NAIVE]):
        with pytest.raises(NaiveDatetimeError, match="time zone"):
            client.execute("UPDATE runs SET time_started = %s", parameters)
    with pytest.raises(NaiveDatetimeError):
        client.execute("UPDATE runs SET time_started = %(time)s", {"time": NAIVE})
    with pytest.raises(NaiveDatetimeError):
        client.executemany("UPDATE runs SET time_started = %s", [(aware,), (NAIVE,)])
    with pytest.raises(NaiveDatetimeError):
        client.execute(SQL("UPDATE runs SET time_started = {}").format(Literal(NAIVE)))
    assert client.execute("SELECT time_started FROM runs").fetchone() == (None,)
    client.execute("UPDATE runs SET time_started = %s", (aware,))
    assert client.execute("SELECT time_started FROM runs").fetchone() == (aware,)
    client.execute("CREATE TABLE days (a DATE)")
    client.execute("INSERT INTO days VALUES (%s)", (day,))
    assert client.execute("SELECT a FROM days").fetchone() == (day,)


@pytest.mark.engines("postgres", reason="SQLite has no other connections, no arrays and no binary parameters")
def test_the_drivers_own_connections_take_naive_datetimes(client: sqltrack.Client, config: dict[str, Any]) -> None:
    for sql, value in (("SELECT %b", NAIVE), ("SELECT %t", NAIVE), ("SELECT %s", [NAIVE])):
        with pytest.raises(NaiveDatetimeError):
            client.execute(sql, (value,))
    parameters = {name: value for name, value in config.items() if name not in ("engine", "schema")}
    with closing(psycopg.connect(**parameters)) as connection:
        assert connection.execute("SELECT %s::timestamp", (NAIVE,)).fetchone() == (NAIVE,)
