"""Make psycopg cursors that accept composed queries and never prepare statements that return rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.adapt import PyFormat

from sqltrack._quoting import EngineText, query_text
from sqltrack.engines._first_rows import Parts
from sqltrack.engines._foreign import Spelled, is_instance, native
from sqltrack.engines.json import Jsonb
from sqltrack.engines.postgres._first_rows import first_rows_sql
from sqltrack.engines.postgres._pooler import LOST_STATEMENT_ERRORS, stop_preparing
from sqltrack.engines.postgres.sql import POSTGRES
from sqltrack.engines.sqltext import outer_keywords

__all__ = ["accepting_sql"]

# Statements that return no rows without RETURNING.
_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})
_VERBS = _CHANGES | {"SELECT", "VALUES", "TABLE"}

# Types of parameters that are passed to psycopg unchanged.
_OWN_TYPES = frozenset({bool, int, float, str, bytes, date, datetime, timedelta, dict, list, type(None), Jsonb})


def accepting_sql(cursor_class: type[psycopg.Cursor[Any]]) -> type[psycopg.Cursor[Any]]:
    """Return a cursor class whose queries may be `sqltrack.util.SQL`.

    Parameters may be missing values and numbers of other packages, as in SQLite.

    Only statements that return no rows are prepared, by psycopg's rules. A prepared `SELECT *` would fail forever
    after a new metric has added a column.
    """

    class SQLCursor(cursor_class):  # type: ignore[valid-type,misc]
        def first_rows_sql(self, parts: Parts) -> str | None:
            return first_rows_sql(self.connection, parts)

        def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            args, kwargs = _without_empty_parameters(query, args, kwargs)
            text = _as_text(query, self, (args[0] if args else kwargs.get("params")) is not None)
            if kwargs.get("prepare") is None and _returns_rows(text):
                kwargs["prepare"] = False
            args, kwargs = _with_own_types(self, args, kwargs)
            try:
                return super().execute(text, *args, **kwargs)
            except LOST_STATEMENT_ERRORS as error:
                if not stop_preparing(self.connection, error):
                    raise
            return super().execute(text, *args, **kwargs)

        def executemany(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            text = _as_text(query, self, True)
            if args:
                args = (_each_with_own_types(self, args[0]), *args[1:])
            elif "params_seq" in kwargs:
                kwargs["params_seq"] = _each_with_own_types(self, kwargs["params_seq"])
            if not _returns_rows(text):
                return super().executemany(text, *args, **kwargs)
            with _preparing_nothing(self.connection):
                return super().executemany(text, *args, **kwargs)

        def stream(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            args, kwargs = _without_empty_parameters(query, args, kwargs)
            text = _as_text(query, self, (args[0] if args else kwargs.get("params")) is not None)
            args, kwargs = _with_own_types(self, args, kwargs)
            return super().stream(text, *args, **kwargs)

    return SQLCursor


def _with_own_types(
    cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a statement with its parameters converted to types that psycopg knows."""
    if args:
        return (_parameters(cursor, args[0]), *args[1:]), kwargs
    if "params" in kwargs:
        return args, {**kwargs, "params": _parameters(cursor, kwargs["params"])}
    return args, kwargs


def _each_with_own_types(cursor: Any, params_seq: Iterable[Any]) -> Iterator[Any]:
    return (_parameters(cursor, params) for params in params_seq)


def _parameters(cursor: Any, params: Any) -> Any:
    if is_instance(params, Mapping):
        if _OWN_TYPES.issuperset(map(type, params.values())):
            return params
        return {name: _parameter(cursor, value) for name, value in params.items()}
    if not is_instance(params, Sequence) or is_instance(params, (str, bytes)):
        return params
    return params if _OWN_TYPES.issuperset(map(type, params)) else [_parameter(cursor, value) for value in params]


def _parameter(cursor: Any, value: Any) -> Any:
    """Convert a missing value to None, and a number or time that psycopg does not know to a Python type."""
    if type(value) in _OWN_TYPES:
        return value
    plain = native(value)
    if plain is None or plain is value:
        return plain
    return value if is_instance(plain, (list, Spelled)) or _is_known(cursor, value) else plain


def _without_empty_parameters(
    query: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments without empty parameters, which would make psycopg parse placeholders in our own queries."""
    if isinstance(query, EngineText):
        if args and not args[0]:
            args = (None, *args[1:])
        elif not kwargs.get("params", True):
            kwargs = {**kwargs, "params": None}
    return args, kwargs


def _is_known(cursor: Any, value: Any) -> bool:
    try:
        cursor.adapters.get_dumper(type(value), PyFormat.AUTO)
    except psycopg.ProgrammingError:
        return False
    return True


def _as_text(query: Any, cursor: Any, has_parameters: bool) -> Any:
    return query if isinstance(query, bytes) else query_text(query, cursor, has_parameters=has_parameters)


@lru_cache(maxsize=512)
def _returns_rows(query: str | bytes) -> bool:
    """Return whether a statement may return rows: False for INSERT, UPDATE, DELETE and MERGE without RETURNING."""
    text = query if isinstance(query, str) else query.decode("utf-8", "replace")
    words = outer_keywords(text, POSTGRES)
    verb = next(words, "")
    if verb == "WITH":
        verb = next((word for word in words if word in _VERBS), "")
    return verb not in _CHANGES or "RETURNING" in words


@contextmanager
def _preparing_nothing(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Return a context manager in which psycopg prepares nothing; `executemany` has no option for that."""
    threshold, connection.prepare_threshold = connection.prepare_threshold, None
    try:
        yield
    finally:
        connection.prepare_threshold = threshold
