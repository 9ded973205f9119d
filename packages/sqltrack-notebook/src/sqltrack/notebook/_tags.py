"""Show tags as bubbles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqltrack.notebook._colors import COLORS, textcolor
from sqltrack.notebook._text import escape, is_missing
from sqltrack.notebook._values import json_text

__all__ = ["format_tags"]


def format_tags(tags: Mapping[str, Any] | Iterable[str] | str | None) -> str:
    """Return a bubble for each tag, in a color that depends on its name.

    Args:
        tags: names with values, or names only. Values are shown as name=value unless they are True, None or empty.

    Returns:
        HTML text, empty without tags.
    """
    if is_missing(tags):
        return ""
    if isinstance(tags, Mapping):
        pairs = list(tags.items())
    elif isinstance(tags, str) or not isinstance(tags, Iterable):
        pairs = [(tags, True)]
    else:
        pairs = [(name, True) for name in tags]
    return " ".join(_bubble(str(name), value) for name, value in pairs)


def _bubble(name: str, value: Any) -> str:
    color = textcolor(name)
    text = name
    if not (value is None or value is True or value == ""):
        text += f"={value if isinstance(value, str) else json_text(value)}"
    return f'<span class="sqltrack-tag" style="background:{color};color:{COLORS[color]}">{escape(text)}</span>'
