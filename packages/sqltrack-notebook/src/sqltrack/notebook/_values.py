"""Numbers, text, truth values and JSON as HTML."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from sqltrack.notebook._text import escape, is_missing

__all__ = [
    "check_ellipsis",
    "format_bool",
    "format_float",
    "format_json",
    "format_marked",
    "format_number",
    "format_percentage",
    "format_string",
]

# So many characters fit into the width that the stylesheet grants, even if all of them are wide.
SHORT = 12
# Hashes in hexadecimal, of MD5 to SHA-512, of which people know the first digits.
_HASH = re.compile(r"[0-9a-f]{32,128}")
ELLIPSES = {"left": "left", "right": "right", True: "left", False: None}
_STAR = '<span class="sqltrack-marked" role="img" aria-label="marked" title="marked">★</span>'


def check_ellipsis(ellipsis: str | bool) -> None:
    """Raise if a value says nothing about where text is cut.

    Args:
        ellipsis: see `format_string`.

    Raises:
        ValueError: it is none of the values that `format_string` takes.
    """
    if not isinstance(ellipsis, (str, bool)) or ellipsis not in ELLIPSES:
        raise ValueError(f"ellipsis must be 'left', 'right', True (the same as 'left') or False, got {ellipsis!r}")


def format_string(s: str | None, ellipsis: str | bool = "left", na_rep: str = "--") -> str:
    """Return text in one line, cut where it is too long for a table; hovering shows all of it.

    The stylesheet cuts, so the whole text can still be searched and copied. Of a hash, such as that of a commit, the
    first eight digits are shown, whichever side is cut.

    Args:
        s: the text; what is no str is shown as its str.
        ellipsis: the side that is cut: 'left' (default, or True) shows the end, as suits file names; 'right' shows
            the beginning; False leaves text whole.
        na_rep: replacement for missing values.

    Returns:
        HTML text.

    Raises:
        ValueError: ellipsis is something else.
    """
    check_ellipsis(ellipsis)
    if is_missing(s):
        return escape(na_rep)
    return _shorten(str(s), ELLIPSES[ellipsis])


def _shorten(text: str, side: str | None, hover: str | None = None) -> str:
    shown = escape(text)
    if side is None or len(text) <= SHORT:
        return shown
    title = escape(hover or text)
    if _HASH.fullmatch(text):
        return f'<span class="sqltrack-text sqltrack-hash" title="{title}">{shown}</span>'
    # Cutting the left side is done by writing from right to left; <bdi> keeps the text itself as it is.
    return f'<span class="sqltrack-text sqltrack-cut-{side}" title="{title}"><bdi>{shown}</bdi></span>'


def format_json(value: Any, na_rep: str = "--") -> str:
    """Return a JSON value as compact text, cut on the right; hovering shows all of it.

    Args:
        value: dict, list, or whatever JSON can hold; other objects are shown as their str.
        na_rep: replacement for missing values.

    Returns:
        HTML text.
    """
    if is_missing(value):
        return escape(na_rep)
    return _shorten(json_text(value), "right", json_text(value, indent=2))


def json_text(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON text, or its str if JSON cannot hold it.

    Args:
        value: any object; sets and arrays become lists.
        indent: spaces per level, None for one line.
    """
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain, indent=indent)
    except (TypeError, ValueError, RecursionError):
        return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return value.tolist() if hasattr(value, "tolist") else str(value)


def format_bool(v: bool | None, na_rep: str = "--") -> str:
    """Return True or False as text.

    Args:
        v: anything that is true or false.
        na_rep: replacement for missing values.

    Returns:
        HTML text.
    """
    return escape(na_rep) if is_missing(v) else str(bool(v))


def format_float(v: float | None, spec: str = ".2f", na_rep: str = "--") -> str:
    """Format a number.

    Args:
        v: the number.
        spec: format specification, default ".2f".
        na_rep: what to show for None and NaN.

    Returns:
        HTML text.
    """
    if is_missing(v) or math.isnan(number := float(v)):  # type: ignore[arg-type]
        return escape(na_rep)
    return escape(format(number, spec))


def format_number(number: float) -> str:
    """Return a number with up to six digits; whole numbers are shown in full, others when hovered over.

    Args:
        number: the number.

    Returns:
        HTML text.
    """
    if number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    short, full = format(number, ".6g"), repr(number)
    return short if short == full else f'<span title="{full}">{short}</span>'


def format_marked(is_marked: bool | None) -> str:
    """Return a gold star for what is marked, and nothing for the rest.

    Args:
        is_marked: anything that is true or false; missing values are false.

    Returns:
        HTML text.
    """
    return _STAR if not is_missing(is_marked) and bool(is_marked) else ""


def format_percentage(v: float | None, mul: float = 100, spec: str = ".1f", na_rep: str = "--") -> str:
    """Return a percentage with a bar behind it.

    Args:
        v: the value.
        mul: factor that turns it into percent, default 100 for values between 0 and 1.
        spec: format specification of the percentage, default ".1f".
        na_rep: replacement for missing values.

    Returns:
        HTML text. The bar ends at 0 and at 100 percent, the number is shown as it is.
    """
    if is_missing(v) or math.isnan(number := float(v) * mul):  # type: ignore[arg-type]
        return escape(na_rep)
    width = format(min(max(number, 0.0), 100.0), ".4g")
    return f'<span class="sqltrack-bar" style="--sqltrack-bar:{width}%">{escape(format(number, spec))}%</span>'
