"""Python types and the SQL types that hold their values."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["find_sql_type"]


def find_sql_type(typ: type, sql_types: Mapping[type, str]) -> str | None:
    """Return the SQL type of the nearest base class of `typ` that has one, None if none has."""
    return next((sql_types[base] for base in typ.__mro__ if base in sql_types), None)
