"""Escape text for HTML, and detect missing values."""

from __future__ import annotations

import html
from decimal import Decimal
from typing import Any

import pandas as pd

__all__ = ["escape", "is_missing"]

# Write line breaks and tabs as references, because itables would show them as "\n". Other control characters are not
# allowed in HTML.
_CONTROLS = {**dict.fromkeys((*range(32), *range(127, 160)), "\ufffd"), 9: "&#9;", 10: "&#10;", 13: "&#13;"}


def escape(text: object) -> str:
    """Escape a value's text for HTML, including quoted attributes.

    Args:
        text: the value; str() is applied to other types.
    """
    return html.escape(str(text), quote=True).translate(_CONTROLS)


def is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN, NaT or pandas' NA.

    Args:
        value: any object.
    """
    if value is None:
        return True
    if isinstance(value, (str, dict, list, tuple, set, frozenset)):
        return False
    if isinstance(value, Decimal):
        return value.is_nan()
    missing = pd.isna(value)
    # The result is an array if pandas takes the value for a column.
    return bool(missing) if getattr(missing, "ndim", 0) == 0 else False
