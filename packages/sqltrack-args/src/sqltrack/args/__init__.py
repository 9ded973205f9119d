"""Arguments with types: values of command line options, converted by their names and texts."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

__all__ = ["Conversion", "convert_argument", "make_conversion", "register_conversion"]

Conversion: TypeAlias = Callable[[str, str], tuple[Any, bool]]


def make_conversion(pattern: str, func: Callable[[str], Any]) -> Conversion:
    """Create a conversion for arguments whose names match a pattern.

    Args:
        pattern: a pattern as in `fnmatch.fnmatchcase`.
        func: converts the value; a ValueError means that it cannot.

    Returns:
        A function that takes name and value, and returns the value, converted if possible, and whether it was.
    """

    def conversion(name: str, value: str) -> tuple[Any, bool]:
        if not fnmatch.fnmatchcase(name, pattern):
            return value, False
        try:
            return func(value), True
        except ValueError:
            return value, False

    return conversion


_conversions: dict[str, Conversion] = {
    "int": make_conversion("*int", int),
    "float": make_conversion("*float", float),
    "complex": make_conversion("*complex", complex),
    "path": make_conversion("*path", Path),
    "json": make_conversion("*json", json.loads),
    "str": make_conversion("*str", str),
}

# For all names, after the others; not to be changed, so that arguments can be detected without running any code.
_TRIALS: tuple[Callable[[str], Any], ...] = (int, float, complex, json.loads)


def register_conversion(name: str, func: Conversion) -> None:
    """Add a conversion after those that there are, or replace the one of the same name in its place.

    Args:
        name: what the conversion is called.
        func: takes name and value of an argument; see `make_conversion`.
    """
    _conversions[name] = func


def convert_argument(name: str, value: str) -> Any:
    """Convert the value of an argument to the type that its name or its text suggests.

    First the conversions by name are tried: a name that ends in int, float, complex, path, json or str. Then int,
    float, complex and JSON in this order. What fits nothing stays a str.

    Args:
        name: name of the argument, without dashes in front.
        value: its value as given on the command line.
    """
    for conversion in _conversions.values():
        converted, done = conversion(name, value)
        if done:
            return converted
    for trial in _TRIALS:
        try:
            return trial(value)
        except ValueError:
            continue
    return value
