"""Show experiments in notebooks: values as readable HTML."""

from __future__ import annotations

import html
import math

__all__ = ["format_float"]


def format_float(v: float | None, spec: str = ".2f", na_rep: str = "--") -> str:
    """Format a number.

    Args:
        v: the number.
        spec: format specification, default ".2f".
        na_rep: what to show for None and NaN.

    Returns:
        HTML text.
    """
    if v is None or math.isnan(v):
        return html.escape(na_rep)
    return html.escape(format(float(v), spec))
