"""Text that is safe inside of HTML, and values that stand for nothing."""

from __future__ import annotations

import html
from decimal import Decimal
from typing import Any

import pandas as pd

__all__ = ["escape", "is_missing"]

# Line breaks and tabs as references, because itables shows them as "\n" otherwise. Other control characters
# have no place in HTML.
_CONTROLS = {**dict.fromkeys((*range(32), *range(127, 160)), "\ufffd"), 9: "&#9;", 10: "&#10;", 13: "&#13;"}


def escape(text: object) -> str:
    """Return a value's text as HTML that shows just this text, also inside of an attribute's quotes.

    Args:
        text: the value; what is no str is shown as its str.
    """
    return html.escape(str(text), quote=True).translate(_CONTROLS)


def is_missing(value: Any) -> bool:
    """Tell whether a value is None, NaN, NaT or pandas' NA.

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
    # An array for whatever pandas takes for a column of values.
    return bool(missing) if getattr(missing, "ndim", 0) == 0 else False
