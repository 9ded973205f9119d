"""Add SQL functions to SQLite that SQLTrack's statements need."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable
from typing import Any

from sqltrack.engines.json import dumps

__all__ = ["create_functions"]


def create_functions(connection: sqlite3.Connection, raised: list[BaseException]) -> None:
    """Add the functions to a connection.

    Args:
        connection: the connection.
        raised: list to which exceptions in the functions are added, including those of signal handlers, because sqlite3
            replaces them by an error of the statement.
    """
    functions = {"sqltrack_merge_json": _merge_json, "sqltrack_remove_keys": _remove_keys}
    for name, function in functions.items():
        connection.create_function(name, 2, _noting(function, raised), deterministic=True)
    aggregate: Any = _StandardDeviation
    connection.create_aggregate("stddev_samp", 1, aggregate)


def _noting(function: Callable[..., Any], raised: list[BaseException]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except BaseException as error:
            raised.append(error)
            raise

    return call


def _object(stored: str | float | None) -> dict[str, Any] | None:
    """Return the JSON object in a column, None if it holds something else, which only plain SQL can have stored."""
    value = json.loads(stored) if isinstance(stored, str) else None
    return value if isinstance(value, dict) else None


def _merge_json(old: str | float | None, new: str) -> str:
    merged = _object(old) or {}
    merged.update(json.loads(new))
    return dumps(merged)


def _remove_keys(old: str | float | None, keys: str) -> str | float | None:
    kept = _object(old)
    if kept is None:
        return old
    for key in json.loads(keys):
        kept.pop(key, None)
    return dumps(kept)


class _StandardDeviation:
    """The sample standard deviation, like PostgreSQL's stddev_samp.

    NULL for fewer than two values, NaN if a value is NaN. Computed in one pass without cancellation (B. P. Welford,
    Technometrics 4, 1962).
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean = 0.0
        self._squares = 0.0

    def step(self, value: Any) -> None:
        if value is None:
            return
        number = float(value)
        self._count += 1
        delta = number - self._mean
        self._mean += delta / self._count
        self._squares += delta * (number - self._mean)

    def finalize(self) -> float | str | None:
        if self._count < 2:
            return None
        deviation = math.sqrt(self._squares / (self._count - 1))
        return "NaN" if math.isnan(deviation) else deviation
