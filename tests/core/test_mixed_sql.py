"""Parts of queries from `sqltrack.util` and `psycopg.sql` can be mixed, on both engines."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import psycopg
import psycopg.sql as theirs
import pytest

import sqltrack
from sqltrack import util as ours
from sqltrack.pandas import query_dataframe
from sqltrack.queries import first_values

Make = Callable[[], Any]

SELECT = "SELECT {column} FROM {table} WHERE {column} = {value} ORDER BY {column}"


def fill(template: Any, column: Any, table: Any, value: Any) -> Any:
    return template.format(column=column("name"), table=table("experiments"), value=value("it's \\ %"))


MIXED: dict[str, Make] = {
    "their parts in ours": lambda: fill(ours.SQL(SELECT), theirs.Identifier, theirs.Identifier, theirs.Literal),
    "our parts in theirs": lambda: fill(theirs.SQL(SELECT), ours.Identifier, ours.Identifier, ours.Literal),
    "both in ours": lambda: fill(ours.SQL(SELECT), theirs.Identifier, ours.Identifier, theirs.Literal),
    "both in theirs": lambda: fill(theirs.SQL(SELECT), theirs.Identifier, ours.Identifier, ours.Literal),
    "values of Python in theirs": lambda: fill(theirs.SQL(SELECT), theirs.Identifier, ours.Identifier, str),
    "nested": lambda: ours.SQL("{}").format(
        theirs.SQL("SELECT name FROM ({}) AS x").format(fill(ours.SQL(SELECT), theirs.Identifier, ours.SQL, str))
    ),
    "ours + theirs": lambda: ours.SQL("SELECT name FROM ") + theirs.Identifier("experiments") + where(ours),
    "theirs + ours": lambda: theirs.SQL("SELECT name FROM ") + ours.Identifier("experiments") + where(theirs),
    "composed + composed": lambda: theirs.Composed([theirs.SQL("SELECT name FROM experiments")]) + where(ours),
    "composed of ours + composed": lambda: ours.Composed([ours.SQL("SELECT name FROM experiments")]) + where(theirs),
    "our text joins": lambda: ours.SQL(" ").join(words(theirs, ours)),
    "their text joins": lambda: theirs.SQL(" ").join(words(ours, theirs)),
    "our parts are joined by their text": lambda: ours.Composed(words(theirs, ours)).join(theirs.SQL(" ")),
    "their parts are joined by our text": lambda: theirs.Composed(words(ours, theirs)).join(ours.SQL(" ")),
}


def where(module: Any) -> Any:
    return module.SQL(" WHERE name = {}").format(module.Literal("it's \\ %"))


def words(one: Any, other: Any) -> list[Any]:
    return [one.SQL("SELECT name FROM"), other.Identifier("experiments"), where(one)]


@pytest.fixture
def filled(client: sqltrack.Client) -> sqltrack.Client:
    for name in ("it's \\ %", "other"):
        sqltrack.Experiment(client, name=name)
    return client


def test_a_mixed_query_is_executed_wherever_queries_are_taken(filled: sqltrack.Client) -> None:
    """In a cursor, a call of the client, a function for results and one for data frames."""
    expected = ["it's \\ %"]
    for name, make in MIXED.items():
        print(name)
        query = make()
        assert [row[0] for row in filled.execute(query)] == expected
        with filled.cursor() as cursor:
            cursor.execute(query)
            assert cursor.fetchall() == [(expected[0],)]
        assert first_values(filled, query) == expected
        assert list(query_dataframe(filled, query)["name"]) == expected


@pytest.mark.parametrize("module", [ours, theirs])
def test_placeholders_of_both_take_parameters(filled: sqltrack.Client, module: Any) -> None:
    other = theirs if module is ours else ours
    query = module.SQL("SELECT name FROM experiments WHERE name = {} OR name = {} ORDER BY id")
    positional = query.format(module.Placeholder(), other.Placeholder())
    assert first_values(filled, positional, ("other", "it's \\ %")) == ["it's \\ %", "other"]
    named = query.format(module.Placeholder("a"), other.Placeholder("b"))
    assert first_values(filled, named, {"a": "other", "b": "none"}) == ["other"]
    insert = module.SQL("INSERT INTO {} (name) VALUES ({})").format(
        other.Identifier("experiments"), other.Placeholder()
    )
    filled.executemany(insert, [("x",), ("y",)])
    assert first_values(filled, "SELECT COUNT(*) FROM experiments") == [4]


def test_a_literal_of_psycopg_means_the_same_on_each_engine(client: sqltrack.Client) -> None:
    """psycopg writes some values with PostgreSQL's syntax, which other databases do not support."""
    values: list[Any] = [None, True, 5, -2.5, "a\\b'", b"\x00\xff"]
    for value in values:
        found = client.execute(theirs.SQL("SELECT {}").format(theirs.Literal(value))).fetchone()[0]
        assert found == value
        assert client.execute(ours.SQL("SELECT {}").format(theirs.Literal(value))).fetchone()[0] == found


def test_an_identifier_is_quoted_by_both(client: sqltrack.Client) -> None:
    for query in (
        ours.SQL("SELECT 1 AS {}").format(theirs.Identifier('a"b')),
        theirs.SQL("SELECT 1 AS {}").format(ours.Identifier('a"b')),
    ):
        assert [column[0] for column in client.execute(query).description or ()] == ['a"b']


def test_psycopg_s_own_connections_take_our_parts(postgres_config: dict[str, Any]) -> None:
    """Even if the connection has an encoding other than UTF-8, and in COPY."""
    config = {name: value for name, value in postgres_config.items() if name != "engine"}
    query = ours.SQL("SELECT {} AS {}").format("ä", theirs.Identifier("ö"))
    with psycopg.connect(**config, client_encoding="latin1") as connection:
        cursor = connection.execute(query)
        assert (cursor.fetchone(), cursor.description[0].name) == (("ä",), "ö")
        assert query.as_bytes(connection) == "SELECT 'ä' AS \"ö\"".encode("latin-1")
        with connection.cursor().copy(theirs.SQL("COPY ({}) TO STDOUT").format(query)) as copy:
            assert list(copy.rows()) == [("ä",)]


@pytest.mark.engines("postgres", reason="COPY is PostgreSQL's")
def test_our_cursors_copy_composed_queries(filled: sqltrack.Client) -> None:
    query = ours.SQL("COPY {} (name) TO STDOUT").format(ours.Identifier("experiments"))
    with filled.cursor() as cursor, cursor.copy(query) as copy:
        assert list(copy.rows()) == [("it's \\ %",), ("other",)]


def test_other_objects_stay_values() -> None:
    """An object is not SQL just because it can be turned into text."""

    class Text:
        def as_string(self, *_: Any) -> str:
            return "DROP TABLE runs"

    with pytest.raises(TypeError, match="no SQL literal for a value of type 'Text'"):
        ours.SQL("SELECT {}").format(Text()).as_string()
    for other in ("text", 5, None):
        with pytest.raises(TypeError):
            ours.SQL("a") + other
        with pytest.raises(TypeError):
            other + ours.SQL("a")


PROGRAM = """
from sqltrack.util import SQL, Identifier
import sys
assert "psycopg" not in sys.modules
early = Identifier("early")
import psycopg.sql
{}
import sqltrack
query = psycopg.sql.SQL("SELECT 1 AS {{}}").format(early)
result = sqltrack.Client(engine="sqlite").execute(query)
assert [column[0] for column in result.description] == ["early"]
"""


@pytest.mark.parametrize("more", ["", "SQL('any')"])
def test_parts_made_before_psycopg_was_imported_count_as_well(more: str) -> None:
    """SQLTrack never imports psycopg just for this."""
    subprocess.run([sys.executable, "-c", PROGRAM.format(more)], check=True)


class Table(ours.Composed):
    """A user's own part."""

    def __init__(self, name: str) -> None:
        super().__init__([ours.SQL("(SELECT name FROM "), ours.Identifier(name), ours.SQL(" WHERE name = "), "a\\b)"])


def test_a_subclass_of_a_user_is_a_part_like_its_base(client: sqltrack.Client) -> None:
    """Its values are written for the database, in whichever module the class is."""
    sqltrack.Experiment(client, name="a\\b)")
    for module in (ours, theirs):
        query = module.SQL("SELECT * FROM {}) AS x").format(Table("experiments"))
        assert first_values(client, query) == ["a\\b)"]
