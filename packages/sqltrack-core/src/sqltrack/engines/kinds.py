"""The kinds of values that columns hold, independent of the database's type names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal

__all__ = ["KINDS", "ColumnKind"]

ColumnKind = Literal["boolean", "bytes", "date", "float", "integer", "interval", "json", "text", "timestamp"]

#: The kind of each Python type's values.
KINDS: Mapping[type, ColumnKind] = {
    bool: "boolean",
    bytes: "bytes",
    date: "date",
    datetime: "timestamp",
    Decimal: "float",
    dict: "json",
    float: "float",
    int: "integer",
    list: "json",
    str: "text",
    timedelta: "interval",
}
