"""Names and values on command lines and standard input: NAME=VALUE, with values as numbers where they look like it."""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

__all__ = ["named_value", "read_line", "read_value"]

_INTEGER = re.compile(r"[+-]?[0-9]+(?:_[0-9]+)*")
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "none": None}


def named_value(text: str) -> tuple[str, Any]:
    """Return name and value of a text such as "lr=0.1".

    Raises:
        ArgumentTypeError: it has no name or no =.
    """
    name, mark, value = text.partition("=")
    if not (name and mark):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, read_value(value)


def read_value(text: str) -> Any:
    """Return a text as integer, float, truth value, JSON list or object, or None, if it is one; otherwise unchanged."""
    word = text.strip()
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    if _INTEGER.fullmatch(word) and len(word) < 20:
        return int(word)
    try:
        return float(word)
    except ValueError:
        pass
    if word[:1] in ("[", "{"):
        try:
            return json.loads(word)
        except ValueError:
            pass
    return text


def read_line(line: str) -> dict[str, Any]:
    """Return names and values of a line: a JSON object, or pairs NAME=VALUE, separated by blanks or commas.

    Raises:
        ValueError: it is neither; the message names the expected form.
    """
    text = line.strip()
    if text.startswith("{"):
        items = json.loads(text)
        if not isinstance(items, dict):
            raise ValueError("expected a JSON object")
        return items
    try:
        return dict(named_value(word) for word in re.split(r"[,\s]+", text) if word)
    except argparse.ArgumentTypeError as error:
        raise ValueError(str(error)) from None
