"""Format numbers, text, booleans and JSON as HTML."""

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

# This many characters fit into the stylesheet's column width, even if all are wide.
SHORT = 12
# Hexadecimal hashes, from MD5 to SHA-512, which people know by their first digits.
_HASH = re.compile(r"[0-9a-f]{32,128}")
ELLIPSES = {"left": "left", "right": "right", True: "left", False: None}
_STAR = '<span class="sqltrack-marked" role="img" aria-label="marked" title="marked">★</span>'


def check_ellipsis(ellipsis: str | bool) -> None:
    """Check the argument `ellipsis` of `format_string`.

    Args:
        ellipsis: see `format_string`.

    Raises:
        ValueError: `format_string` does not accept the value.
    """
    if not isinstance(ellipsis, (str, bool)) or ellipsis not in ELLIPSES:
        raise ValueError(f"ellipsis must be 'left', 'right', True (the same as 'left') or False, got {ellipsis!r}")


def format_string(s: str | None, ellipsis: str | bool = "left", na_rep: str = "--") -> str:
    """Return text in one line, cut if it is too long for a table; the whole text is shown on hover.

    The stylesheet cuts the text, so you can still search and copy all of it. A hash, such as that of a commit, is cut
    to its first eight digits on either side.

    Args:
        s: the text; str() is applied to other types.
        ellipsis: the side to cut: "left" (default, or True) shows the end, which suits file names; "right" shows the
            beginning; False does not cut.
        na_rep: replacement for missing values.

    Returns:
        HTML text.

    Raises:
        ValueError: `ellipsis` has another value.
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
    # CSS cuts the left side by writing from right to left; <bdi> isolates the text from that.
    return f'<span class="sqltrack-text sqltrack-cut-{side}" title="{title}"><bdi>{shown}</bdi></span>'


def format_json(value: Any, na_rep: str = "--") -> str:
    """Return a JSON value as compact text, cut on the right; the whole text is shown on hover.

    Args:
        value: dict, list, or another JSON value; str() is applied to other objects.
        na_rep: replacement for missing values.

    Returns:
        HTML text.
    """
    if is_missing(value):
        return escape(na_rep)
    return _shorten(json_text(value), "right", json_text(value, indent=2))


def json_text(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON text, or its str if it has no JSON form.

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
        v: any value with a truth value.
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
        na_rep: replacement for missing values.

    Returns:
        HTML text.
    """
    if is_missing(v) or math.isnan(number := float(v)):  # type: ignore[arg-type]
        return escape(na_rep)
    return escape(format(number, spec))


def format_number(number: float) -> str:
    """Return a number with up to six digits, with all digits on hover; whole numbers always have all digits.

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
    """Return a gold star if a value is true, otherwise an empty text.

    Args:
        is_marked: any value with a truth value; missing values are false.

    Returns:
        HTML text.
    """
    return _STAR if not is_missing(is_marked) and bool(is_marked) else ""


def format_percentage(v: float | None, mul: float = 100, spec: str = ".1f", na_rep: str = "--") -> str:
    """Return a percentage with a bar behind it.

    Args:
        v: the value.
        mul: factor that converts it to percent, default 100 for values between 0 and 1.
        spec: format specification of the percentage, default ".1f".
        na_rep: replacement for missing values.

    Returns:
        HTML text. The bar is limited to the range from 0 to 100 percent, the number is not.
    """
    if is_missing(v) or math.isnan(number := float(v) * mul):  # type: ignore[arg-type]
        return escape(na_rep)
    width = format(min(max(number, 0.0), 100.0), ".4g")
    return f'<span class="sqltrack-bar" style="--sqltrack-bar:{width}%">{escape(format(number, spec))}%</span>'
