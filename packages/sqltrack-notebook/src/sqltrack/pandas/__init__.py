"""Query results as pandas data frames."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
from sqltrack.client import Client
from sqltrack.quoting import query_text

if TYPE_CHECKING:
    from sqltrack.engines.dbapi import DBAPICursor, Parameters

__all__ = ["query_dataframe"]


def query_dataframe(client: Client | DBAPICursor, query: Any, parameters: Parameters = ()) -> pd.DataFrame:
    """Run a query and return its result as a data frame.

    Timestamps become datetime64 in UTC, intervals timedelta64, and the text that SQLite keeps for NaN in a column of
    numbers becomes NaN again. JSON values stay Python objects.

    Args:
        client: client or cursor to use.
        query: the query, a str or SQL.
        parameters: values for its placeholders.
    """
    if isinstance(client, Client):
        cursor: Any = client.execute(query, parameters)
    else:
        cursor = client
        text = query_text(query, cursor)
        cursor.execute(text, parameters) if parameters else cursor.execute(text)
    names = [column[0] for column in cursor.description]
    rows = cursor.fetchall()
    # By position first: names need not be unique.
    frame: pd.DataFrame = pd.DataFrame({index: _series([row[index] for row in rows]) for index in range(len(names))})
    frame.columns = pd.Index(names)
    return frame


def _series(values: list[Any]) -> pd.Series[Any]:
    kinds = {type(value) for value in values if value is not None and value != "NaN"}
    if kinds == {datetime}:
        return pd.Series(pd.to_datetime(values, utc=True))
    if kinds == {timedelta}:
        return pd.Series(pd.to_timedelta(values))
    is_number = bool(kinds) and kinds <= {int, float} and "NaN" in values
    series: pd.Series[Any] = pd.Series(values, dtype="float64" if is_number else None)
    return series
