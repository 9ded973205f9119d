"""Write what a view shows as SQL with literal values, and as Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqltrack.queries import Query
from sqltrack.ui.queries._database import Database

__all__ = ["as_python", "as_sql", "client_line"]


def as_sql(sql: str, parameters: Sequence[Any]) -> str:
    """Return a statement with parameters, at least one, as text that runs in any client of the database."""
    return str(Query(sql, tuple(parameters)))


def as_python(source: Database, sql: str, then: Iterable[str] = ()) -> str:
    """Return a Python program that reads the result of a statement into a data frame.

    Args:
        source: the database.
        sql: the statement, without parameters.
        then: further lines, which use `frame`.
    """
    has_plain_text = '"""' not in sql and "\\" not in sql and not sql.endswith('"')
    text = f'"""\n{sql}\n"""' if has_plain_text else repr(sql)
    lines = [
        "import sqltrack",
        "from sqltrack.pandas import query_dataframe",
        "",
        client_line(source),
        f"frame = query_dataframe(client, {text})",
        *then,
    ]
    return "\n".join(lines) + "\n"


def client_line(source: Database) -> str:
    """Return the line of Python that creates a client of the database, without a password."""
    config = ", ".join(f"{name}={value!r}" for name, value in source.client.engine.target().items())
    return f"client = sqltrack.Client({config})"
