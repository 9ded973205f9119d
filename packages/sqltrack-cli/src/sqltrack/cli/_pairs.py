"""Names and values on command lines and standard input: NAME=VALUE, with values as numbers where they look like it."""

from __future__ import annotations

import argparse
import json
import math
import re
from typing import Any

__all__ = ["named_value", "read_line", "read_value"]

# Integers that begin with zeros are often names, such as those of jobs and commits.
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|(?:0|[1-9][0-9]*)[eE][+-]?[0-9]+)")
_NOT_FINITE = re.compile(r"[+-]?(?:inf|infinity|nan)", re.IGNORECASE)
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
    """Return a text as integer, float, truth value, JSON list or object, or None, if it is one; otherwise unchanged.

    Integers of any length are exact. 007, 1_000 and 71e8421, which is too large for a float, stay text. A JSON string
    becomes the text without its quotes.
    """
    word = text.strip()
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    number = _read_number(word)
    if number is not None:
        return number
    if word[:1] in ("[", "{", '"'):
        try:
            return json.loads(word)
        except (ValueError, RecursionError):
            pass
    return text


def _read_number(word: str) -> int | float | None:
    if _INTEGER.fullmatch(word):
        try:
            return int(word)
        except ValueError:
            # Python refuses to read thousands of digits.
            return None
    if _NOT_FINITE.fullmatch(word):
        return float(word)
    value = float(word) if _FLOAT.fullmatch(word) else math.inf
    return value if math.isfinite(value) else None


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
