"""Run a query and return a part of its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqltrack.client import Client
from sqltrack.quoting import query_text

if TYPE_CHECKING:
    from sqltrack.engines.dbapi import DBAPICursor, Parameters

__all__ = ["first_row", "first_value", "first_values"]


def first_row(client: Client | DBAPICursor, query: Any, parameters: Parameters = ()) -> Any:
    """Return the first row of a query's result as a tuple, None if there is none.

    Args:
        client: client or cursor to use.
        query: the query, a str or SQL.
        parameters: values for its placeholders.
    """
    return _execute(client, query, parameters).fetchone()


def first_value(client: Client | DBAPICursor, query: Any, parameters: Parameters = ()) -> Any:
    """Return the first value of the first row of a query's result, None if there is none; see `first_row`."""
    row = first_row(client, query, parameters)
    return None if row is None else row[0]


def first_values(client: Client | DBAPICursor, query: Any, parameters: Parameters = ()) -> list[Any]:
    """Return the first value of every row of a query's result; see `first_row`."""
    return [row[0] for row in _execute(client, query, parameters).fetchall()]


def _execute(client: Client | DBAPICursor, query: Any, parameters: Parameters) -> Any:
    if isinstance(client, Client):
        return client.execute(query, parameters)
    text = query_text(query, client)
    client.execute(text, parameters) if parameters else client.execute(text)
    return client
