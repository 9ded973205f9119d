"""Parts of results, from a client or a cursor."""

from __future__ import annotations

from typing import Any

import pytest

import sqltrack
from sqltrack.queries import first_row, first_value, first_values
from sqltrack.util import SQL, Identifier


@pytest.fixture(params=["client", "cursor"])
def source(request: pytest.FixtureRequest, client: sqltrack.Client) -> Any:
    """A client or a cursor, of a database with two experiments."""
    client.executemany("INSERT INTO experiments (name) VALUES (%s)", [("a",), ("b",)])
    if request.param == "client":
        yield client
    else:
        with client.cursor() as cursor:
            yield cursor


def test_the_first_row_value_and_values_are_returned(source: Any) -> None:
    query = "SELECT name, length(name) FROM experiments ORDER BY name"
    assert first_row(source, query) == ("a", 1)
    assert first_value(source, query) == "a"
    assert first_values(source, query) == ["a", "b"]


def test_an_empty_result_has_no_first_row(source: Any) -> None:
    query = "SELECT name FROM experiments WHERE name = %s"
    assert first_row(source, query, ("c",)) is None
    assert first_value(source, query, ("c",)) is None
    assert first_values(source, query, ("c",)) == []


def test_queries_may_be_composed(source: Any) -> None:
    query = SQL("SELECT {} FROM {} WHERE name = %(name)s").format(Identifier("name"), Identifier("experiments"))
    assert first_values(source, query, {"name": "b"}) == ["b"]
