"""The kinds of values that columns hold, whatever the database calls their types."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal

__all__ = ["KINDS", "ColumnKind"]

ColumnKind = Literal["boolean", "bytes", "date", "float", "integer", "interval", "json", "text", "timestamp"]

#: The kind of values of a Python type.
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
