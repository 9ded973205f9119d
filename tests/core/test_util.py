"""SQL is composed safely, without a database driver."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg.sql
import pytest

import sqltrack
from sqltrack.util import SQL, Composed, Identifier, Literal, Placeholder, coalesce


def text(query: Any) -> str:
    return str(query.as_string(None))


def test_places_are_filled_by_number_by_order_and_by_name() -> None:
    columns = SQL(", ").join([Identifier("foo"), Identifier("bar")])
    assert text(SQL("SELECT {0} FROM {1}").format(columns, Identifier("t"))) == 'SELECT "foo", "bar" FROM "t"'
    assert text(SQL("SELECT * FROM {} WHERE {} = %s").format(Identifier("t"), Identifier("id"))) == (
        'SELECT * FROM "t" WHERE "id" = %s'
    )
    composed = SQL("SELECT * FROM {tbl} WHERE name = {name} AND {{}}").format(tbl=Identifier("t"), name="O'Rourke")
    assert text(composed) == "SELECT * FROM \"t\" WHERE name = 'O''Rourke' AND {}"
    assert SQL("a").as_bytes(None) == b"a"


@pytest.mark.parametrize(
    ("template", "error"),
    [("{0!r}", ValueError), ("{0:>5}", ValueError), ("{} {0}", ValueError), ("{0} {}", ValueError)],
)
def test_formats_conversions_and_mixed_places_are_refused(template: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        SQL(template).format("x", "y")


def test_missing_values_are_errors() -> None:
    with pytest.raises(IndexError):
        SQL("{}").format()
    with pytest.raises(KeyError):
        SQL("{a}").format()
    with pytest.raises(TypeError, match="SQL text must be str"):
        SQL(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an identifier must be"):
        Identifier()


def test_parts_are_joined_added_and_repeated() -> None:
    assert text(Identifier("s", 'a"b')) == '"s"."a""b"'
    assert text(SQL("a") + SQL("b") + Literal(1)) == "ab1"
    assert text(SQL(", ").join(Placeholder() * 3)) == "%s, %s, %s"
    assert text(Composed([SQL("a"), 1]).join(" ")) == "a 1"
    assert text(Placeholder("x")) == "%(x)s"
    assert SQL("a") == SQL("a") != Identifier("a")
    assert len({SQL("a"), SQL("a"), SQL("b")}) == 2
    assert repr(SQL("a")) == "SQL('a')"
    with pytest.raises(TypeError):
        SQL("a") + "b"


VALUES: list[Any] = [
    *(True, 1, -2.5, math.inf, -math.inf, "it's \\ %", b"\0\xff"),
    *(date(2024, 5, 7), datetime(2024, 5, 7, tzinfo=timezone.utc), timedelta(seconds=90)),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_literals_mean_the_same_as_bound_values(client: sqltrack.Client, value: Any) -> None:
    query = SQL("SELECT {} IS NOT DISTINCT FROM %s" if client.engine.name == "postgres" else "SELECT {} IS %s")
    with client.cursor() as cursor:
        cursor.execute(query.format(value).as_string(cursor).replace("%", "%%").replace("%%s", "%s"), (value,))
        assert cursor.fetchone()[0] in (True, 1)


def test_the_literal_of_nothing_is_null(client: sqltrack.Client) -> None:
    with client.cursor() as cursor:
        assert SQL("{}").format(None).as_string(cursor) == "NULL"


def test_literals_of_other_types_name_their_type() -> None:
    assert text(Literal(None)) == "NULL"
    assert text(Literal(Decimal("1.10"))) == "'1.10'::numeric"
    assert text(Literal(UUID(int=1))) == "'00000000-0000-0000-0000-000000000001'::uuid"
    assert text(Literal(math.nan)) == "'nan'::float8"
    with pytest.raises(TypeError, match="no SQL literal for a value of type 'object'"):
        text(Literal(object()))


def test_queries_of_psycopg_are_accepted_as_well(client: sqltrack.Client) -> None:
    query = psycopg.sql.SQL("SELECT name AS {} FROM experiments WHERE name = %s").format(psycopg.sql.Identifier("n"))
    sqltrack.Experiment(client, name="a")
    result = client.execute(query, ("a",))
    assert [column[0] for column in result.description or ()] == ["n"]
    assert result.fetchall() == [("a",)]


def test_a_query_must_be_text_or_sql(client: sqltrack.Client) -> None:
    with pytest.raises(TypeError, match="a query must be str or SQL, got 'int'"):
        client.execute(5)


def test_coalesce_returns_the_first_value_that_is_not_none() -> None:
    assert coalesce(None, 0, 1) == 0
    assert coalesce(None) is None
    assert coalesce() is None
