"""Filters of runs: what the page asks for, and the SQL for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from textwrap import dedent
from typing import Any, NamedTuple

from sqltrack.commands._conditions import enclose
from sqltrack.commands.runs import _RUNS as RUNS_SQL
from sqltrack.engines._first_rows import is_number_sql
from sqltrack.engines.json import Jsonb, is_storable_text
from sqltrack.engines.schema import fits_int64
from sqltrack.errors import DatabaseError
from sqltrack.ui.queries._columns import JSON_COLUMNS, Column, Expressions, parse_column
from sqltrack.ui.queries._errors import QueryError
from sqltrack.ui.queries._values import as_key, from_json
from sqltrack.util import placeholders

__all__ = ["RUNS", "Condition", "Facet", "Filter", "condition_of", "parse_filter", "parse_ids", "runs_from"]

#: An item of a FROM clause: runs with the names of their experiments.
RUNS: str = dedent(RUNS_SQL).strip()

# SQLite allows 32,766 parameters.
_MANY = 20_000


class Facet(NamedTuple):
    """Chosen values of a column.

    Attributes:
        column: the column.
        values: the values, None for runs without one.
        exclude: whether the runs with these values are left out.
    """

    column: Column
    values: tuple[Any, ...]
    exclude: bool

    @property
    def keys(self) -> frozenset[Any]:
        """The values as keys, see `as_key`."""
        return frozenset(map(as_key, self.values))


class Filter(NamedTuple):
    """Conditions that runs meet.

    Attributes:
        facets: chosen values of columns.
        where: condition in SQL, None for none.
        search: text that a run must contain, None for none.
        ids: ids of the only runs, None for all.
    """

    facets: tuple[Facet, ...] = ()
    where: str | None = None
    search: str | None = None
    ids: tuple[int, ...] | None = None

    @property
    def has_foreign_sql(self) -> bool:
        """Whether there is SQL of the user."""
        return self.where is not None

    def key(self) -> tuple[Any, ...]:
        """Return a hashable key that is equal for equal filters."""
        facets = tuple(
            (facet.column.path, tuple(sorted(map(repr, facet.keys))), facet.exclude) for facet in self.facets
        )
        return facets, self.where, self.search, self.ids


class Condition(NamedTuple):
    """A condition on `runs` for a statement with parameters, and its own parameters; empty for all runs."""

    sql: str
    parameters: tuple[Any, ...]


def parse_filter(spec: Any) -> Filter:
    """Return the filter for its JSON, None for no filter.

    Raises:
        QueryError: it is not valid.
    """
    if spec is None:
        return Filter()
    if not isinstance(spec, Mapping):
        raise QueryError(f"a filter must be an object, got {spec!r}")
    facets = spec.get("facets") or []
    if not isinstance(facets, Sequence) or isinstance(facets, str):
        raise QueryError(f"facets must be a list, got {facets!r}")
    ids = spec.get("ids")
    return Filter(
        tuple(_parse_facet(facet) for facet in facets),
        _text(spec, "where"),
        _text(spec, "search"),
        None if ids is None else parse_ids(ids),
    )


def parse_ids(ids: Any) -> tuple[int, ...]:
    """Return ids of runs, each once.

    Raises:
        QueryError: they are not ids.
    """
    if not isinstance(ids, (list, tuple)) or len(ids) > _MANY:
        raise QueryError(f"ids must be a list of at most {_MANY:,} integers")
    found = [from_json(item) for item in ids]
    if not all(fits_int64(item) and not isinstance(item, bool) for item in found):
        raise QueryError("ids must be integers")
    return tuple(dict.fromkeys(found))


def _text(spec: Mapping[str, Any], name: str) -> str | None:
    text = spec.get(name)
    if text is None:
        return None
    if not isinstance(text, str) or "\0" in text or not is_storable_text(text):
        raise QueryError(f"{name} must be a text without NUL, got {text!r}")
    return text.strip() or None


def _parse_facet(spec: Any) -> Facet:
    if not isinstance(spec, Mapping) or not isinstance(spec.get("values"), list):
        raise QueryError(f"a facet must be an object with column and values, got {spec!r}")
    values = tuple(from_json(value) for value in spec["values"])
    if any(isinstance(value, str) and ("\0" in value or not is_storable_text(value)) for value in values):
        raise QueryError("values of facets must not contain NUL")
    return Facet(parse_column(spec.get("column")), values, bool(spec.get("exclude")))


def condition_of(chosen: Filter, expressions: Expressions) -> Condition:
    """Return the condition for a filter.

    Raises:
        QueryError: a facet has a value that its column cannot have, or the condition closes a parenthesis around it.
    """
    parts, parameters = list[str](), list[Any]()
    for facet in chosen.facets:
        sql, values = _facet_sql(facet, expressions)
        parts.append(sql)
        parameters += values
    if chosen.ids is not None:
        parts.append(f"runs.id IN ({placeholders(len(chosen.ids))})")
        parameters += chosen.ids
    if chosen.search is not None:
        parts.append(f"({' OR '.join(f'LOWER({text}) LIKE %s' + _ESCAPE for text in _SEARCHED)})")
        parameters += [f"%{_like(chosen.search.lower())}%"] * len(_SEARCHED)
    if chosen.where is not None:
        try:
            parts.append(enclose(chosen.where, expressions.dialect))
        except DatabaseError as error:
            raise QueryError(error.message, "where") from error
    return Condition("\n    AND ".join(parts), tuple(parameters))


_ESCAPE = " ESCAPE '!'"
_SEARCHED = (
    "runs.experiment",
    "runs.status",
    "COALESCE(runs.comment, '')",
    "COALESCE(CAST(runs.tags AS TEXT), '')",
    "COALESCE(CAST(runs.args AS TEXT), '')",
    "CAST(runs.id AS TEXT)",
)


def runs_from(condition: Condition, joins: Iterable[str] = ()) -> str:
    """Return an item of a FROM clause with a condition: the runs with the names of their experiments.

    Args:
        condition: the condition.
        joins: joins with `runs`, each on a line of its own.
    """
    return "".join([RUNS, *joins, f"\nWHERE {condition.sql}" if condition.sql else ""])


def _facet_sql(facet: Facet, expressions: Expressions) -> tuple[str, list[Any]]:
    matches = [_match_sql(facet.column, value, expressions) for value in facet.values]
    if not matches:
        return ("1 = 1" if facet.exclude else "1 = 0"), []
    sql = f"COALESCE({' OR '.join(f'({match})' for match, _ in matches)}, 1 = 0)"
    return (f"NOT {sql}" if facet.exclude else sql), [value for _, values in matches for value in values]


def _match_sql(column: Column, value: Any, expressions: Expressions) -> tuple[str, list[Any]]:
    """Return the condition that a column has a value, and its parameters."""
    expression = expressions.write(column)
    if column.group == "tag":
        return ("" if value is True else "NOT ") + f"({expressions.has_tag(column.path[1])})", []
    if value is None:
        return f"{expression.text or expression.number or expression.shown} IS NULL", []
    if column.group in JSON_COLUMNS and isinstance(value, (bool, str)):
        kind = "boolean" if isinstance(value, bool) else "string"
        text = str(value).lower() if isinstance(value, bool) else value
        return f"{expressions.kind(column)} = '{kind}' AND {expression.text} = %s", [text]
    if column.group in JSON_COLUMNS and isinstance(value, (list, dict)):
        return f"{expression.shown} = %s", [Jsonb(value)]
    if isinstance(value, str) and expression.is_time:
        return f"{expression.number} = %s", [_time(value)]
    if isinstance(value, str) and expression.text is not None:
        return f"{expression.text} = %s", [value]
    if isinstance(value, (bool, int, float)) and expression.number is not None:
        if isinstance(value, float) and math.isnan(value):
            return f"{expression.number} IS NOT NULL AND NOT ({is_number_sql(expression.number)})", []
        number = value if fits_int64(value) else _as_float(value)
        return ("1 = 0", []) if number is None else (f"{expression.number} = %s", [number])
    raise QueryError(f"column {column.label!r} cannot be filtered by {value!r}; use a condition in SQL")


def _as_float(value: float) -> float | None:
    """Return a number as a float, None if it is beyond their range."""
    try:
        return float(value)
    except OverflowError:
        return None


def _time(text: str) -> str:
    """Return a time as SQLite stores it, which PostgreSQL reads as well."""
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise QueryError(f"expected a time in ISO 8601, got {text!r}") from None
    if time.tzinfo is None:
        raise QueryError(f"expected a time with its zone, got {text!r}")
    return time.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f+00:00")


def _like(text: str) -> str:
    """Return a pattern of LIKE that matches a text."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
