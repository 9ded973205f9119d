"""Put conditions on runs into statements, and suggest the right expression after the database refused one."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._databases import read_only
from sqltrack.commands._lookup import metric_columns
from sqltrack.commands._points import read_extras
from sqltrack.commands._rows import fetch
from sqltrack.engines.admin import Admin, admin_of
from sqltrack.engines.schema import EXTRAS
from sqltrack.engines.sqltext import Dialect, closes_too_much, column_names
from sqltrack.errors import DatabaseError, SQLTrackError
from sqltrack.util import quote_identifier

__all__ = ["check_quoted_names", "enclose", "explain_condition"]

# Columns of runs that hold values by name, and the word for such a value.
_OBJECTS = {"args": "an argument", "tags": "a tag", "extras": "one of the extras", "env": "an environment variable"}
# Advice for the names of columns in the table of runs.
_SHOWN = {
    "created": "write time_created",
    "started": "write time_started",
    "updated": "write time_updated",
    "runtime": "the runtime is the time from time_started to time_updated",
    "duration": "the runtime is the time from time_started to time_updated",
    "run_id": "write id",
    "name": "write experiment",
    "experiment_name": "write experiment",
    "step": "write id IN (SELECT run_id FROM metrics WHERE step > 100)",
}
_OTHER_COLUMNS = ("experiment", "experiment_comment", "experiment_tags", "experiment_extras")
_KEYWORD_TEXT = """
all and any array as asc between case cast collate current_timestamp date desc distinct else end escape exists false
from group having ilike in interval is isnull join like limit not notnull null on or order regexp select similar some
then timestamp to true union when where
"""
_KEYWORDS = frozenset(_KEYWORD_TEXT.split())
# A value by its name, such as args->>'lr'.
_ITEM = re.compile(rf"\b({'|'.join(_OBJECTS)})\s*->>?\s*'((?:[^']|'')+)'", re.IGNORECASE)
# Runs in which names of values are looked up, and rows in which names of metrics are.
_RUNS, _ROWS = 1_000, 1_000


class _Known(NamedTuple):
    """The names that a condition can use.

    Attributes:
        columns: names of the columns in scope.
        expressions: advice for each other name: its kind, and the right expression.
        items: types of the values in columns that hold values by name.
    """

    columns: Sequence[str]
    expressions: Mapping[str, str]
    items: Mapping[tuple[str, str], type]


def enclose(condition: str, dialect: Dialect) -> str:
    """Return a condition in parentheses, for a statement with placeholders.

    Raises:
        DatabaseError: it closes a parenthesis that it does not open, so it would change what stands around it.
    """
    if closes_too_much(condition, dialect):
        raise DatabaseError("the condition closes a parenthesis that it does not open")
    # It may end with a comment, so end its line.
    return f"({condition.replace('%', '%%')}\n)"


def check_quoted_names(client: Client, condition: str, *, as_superuser: bool) -> None:
    """Check that no argument or metric is named in double quotes, which SQLite would read as a text.

    Raises:
        DatabaseError: an argument or metric is.
    """
    names = list(column_names(condition, client.engine.dialect))
    quoted = [name for name in names if f'"{name}"' in condition]
    # A subquery in the condition can have any columns.
    if not quoted or any(name.lower() == "select" for name in names):
        return
    with read_only(client, as_superuser=as_superuser) as connection:
        known = _read_known(client, connection)
    for name in quoted:
        if name in known.expressions and name not in known.columns:
            raise DatabaseError(f"there is no column {name!r}", _by_name(name, known))


def explain_condition(client: Client, condition: str, *, as_superuser: bool) -> str | None:
    """Return advice on a condition that the database refused, None without advice."""
    try:
        with read_only(client, as_superuser=as_superuser) as connection:
            known = _read_known(client, connection)
    except SQLTrackError:
        # The original error is more helpful.
        return None
    names = [name for name in column_names(condition, client.engine.dialect) if name.lower() not in _KEYWORDS]
    columns = {name.lower() for name in known.columns}
    unknown = [name for name in names if name.lower().removeprefix("runs.") not in columns]
    for advise in (_by_name, _by_near_name):
        for name in unknown:
            advice = advise(name.rpartition(".")[2], known)
            if advice is not None:
                return advice
    return _by_type(condition, known, admin_of(client.engine))


def _by_name(name: str, known: _Known) -> str | None:
    if name in known.expressions:
        return f"{name!r} is {known.expressions[name]}"
    if name.lower() in _SHOWN:
        return _SHOWN[name.lower()]
    return f"write {name}" if name in known.columns else None


def _by_near_name(name: str, known: _Known) -> str | None:
    # Needed only after mistakes.
    import difflib

    folded = {other.lower(): other for other in (*known.expressions, *known.columns)}
    matches = difflib.get_close_matches(name.lower(), folded, n=1)
    if not matches:
        return None
    found = folded[matches[0]]
    meant = f"did you mean {found!r}?"
    return f"{meant} It is {known.expressions[found]}" if found in known.expressions else meant


def _by_type(condition: str, known: _Known, admin: Admin) -> str | None:
    """Return advice if a value of unknown type is compared as text."""
    for column, quoted in _ITEM.findall(condition):
        name = quoted.replace("''", "'")
        typ = known.items.get((column.lower(), name), str)
        expression = admin.json_value_sql(column.lower(), name, typ)
        if typ is not str and expression != admin.json_value_sql(column.lower(), name, str):
            return f"the value is text until it is cast: {expression}"
    return None


def _read_known(client: Client, connection: Any) -> _Known:
    admin = admin_of(client.engine, connection)
    columns = [*client.engine.table_columns(connection, "runs"), *_OTHER_COLUMNS]
    expressions: dict[str, str] = {}
    items: dict[tuple[str, str], type] = {}
    for column, what in _OBJECTS.items():
        for name, typ in _read_items(client, connection, column):
            items[column, name] = typ
            expressions.setdefault(name, f"{what}, write {admin.json_value_sql(column, name, typ)}")
        if column == "args":
            for name, expression in _metric_expressions(client, connection, admin):
                expressions.setdefault(
                    name, f"a metric, write id IN (SELECT run_id FROM metrics WHERE {expression} > 0.5)"
                )
    return _Known(columns, expressions, items)


def _read_items(client: Client, connection: Any, column: str) -> Iterable[tuple[str, type]]:
    """Return the names and types of the values in a column of the newest runs."""
    sql = f"""
        SELECT name, MIN(CAST(value AS TEXT)) AS example
        FROM (
            {client.engine.json_items_sql(f"runs.{column}")}
            WHERE runs.id IN (SELECT id FROM runs ORDER BY id DESC LIMIT %s)
        ) AS item
        GROUP BY name
        ORDER BY name
    """
    return [(row["name"], type(json.loads(row["example"]))) for row in fetch(connection, sql, (_RUNS,))]


def _metric_expressions(client: Client, connection: Any, admin: Admin) -> Iterable[tuple[str, str]]:
    for name in metric_columns(client, connection):
        is_plain = re.fullmatch("[a-z_][a-z0-9_]*", name) and name not in _KEYWORDS
        yield name, name if is_plain else quote_identifier(name)
    found: dict[str, None] = {}
    for row in itertools.islice(read_extras(client, connection), _ROWS):
        found.update(dict.fromkeys(row.values))
    for name in found:
        yield name, admin.json_value_sql(EXTRAS, name, float)
