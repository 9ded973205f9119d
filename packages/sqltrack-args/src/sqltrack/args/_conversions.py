"""Convert the texts of a command line to values with types."""

from __future__ import annotations

import cmath
import fnmatch
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import docopt

__all__ = [
    "Conversion",
    "ParsedOptions",
    "convert_argument",
    "convert_arguments",
    "make_conversion",
    "register_conversion",
]

Conversion: TypeAlias = Callable[[str, str], tuple[Any, bool]]

# Errors that mean that a function cannot convert a text; RecursionError is for JSON that is nested too deeply.
_MISFITS = (ValueError, ArithmeticError, LookupError, RecursionError)


class ParsedOptions(docopt.ParsedOptions):
    """Arguments by name: a dict whose items are also attributes.

    If a name is not an identifier, or is an attribute of dicts such as `items`, use `args["items"]`.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no argument {name!r}, expected one of {', '.join(map(repr, self))}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(dict, name):
            raise AttributeError(f"{name!r} is a method of dicts; set it as args[{name!r}]")
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"no argument {name!r}") from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(name for name in self if name.isidentifier())]


def make_conversion(pattern: str, func: Callable[[str], Any]) -> Conversion:
    """Create a conversion for arguments whose names match a pattern.

    Args:
        pattern: a pattern as in `fnmatch.fnmatchcase`.
        func: function that converts the value, or raises ValueError, ArithmeticError or LookupError if it cannot.

    Returns:
        A function that takes name and value. It returns the converted value and True, or the value and False.
    """

    def conversion(name: str, value: str) -> tuple[Any, bool]:
        if not fnmatch.fnmatchcase(name, pattern):
            return value, False
        try:
            return func(value), True
        except _MISFITS:
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


def register_conversion(name: str, func: Conversion) -> None:
    """Append a conversion to the registered ones, or replace the one with the same name.

    A registered conversion does not apply when another program detects the arguments of your script without running it.

    Args:
        name: name of the conversion; int, float, complex, path, json and str are registered by default.
        func: function that takes name and value of an argument. It returns the converted value and True, or the value
            and False if it does not convert this argument; see `make_conversion`.
    """
    _conversions[name] = func


def convert_argument(name: str, value: str) -> Any:
    """Convert the value of an argument to the type that its name or its text suggests.

    If the name ends in int, float, complex, path, json or str, the value is converted to this type, if possible.
    Otherwise int, float, complex and JSON are tried in this order, by Python's rules. If none of them fits, the value
    stays a str.

    So `007` becomes 7, `1_000` 1000 and `1e5` a float. `true` and `null` become True and None, but `True`, `None` and
    `0x10` stay text. If text only looks like a number, such as a zip code or a commit hash, give the argument a name
    that ends in str. Numbers too big for a float, such as the hash `1234e567`, stay text. So does the letter `j`, which
    is a complex number in Python.

    Args:
        name: name of the argument, without leading dashes.
        value: value from the command line.
    """
    for conversion in _conversions.values():
        converted, done = conversion(name, value)
        if done:
            return converted
    for trial in _TRIALS:
        try:
            return trial(value)
        except _MISFITS:
            continue
    return value


def convert_arguments(arguments: Mapping[str, Any], simplify_names: bool = True) -> ParsedOptions:
    """Convert the values of docopt's arguments; see `convert_argument`.

    Args:
        arguments: names and values. Strings are converted, lists item by item. Other values (switches, counts, None for
            missing arguments) are not changed.
        simplify_names: whether to remove leading dashes and angle brackets from names, and to replace other dashes by
            underscores: `--batch-size` becomes `batch_size`. Names that would become equal are not changed. Default
            True.
    """
    names = _simple_names(arguments) if simplify_names else {name: name for name in arguments}
    return ParsedOptions((names[name], _convert_value(_simple_name(name), value)) for name, value in arguments.items())


def _convert_value(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return convert_argument(name, value)
    if isinstance(value, list):
        return [_convert_value(name, item) for item in value]
    return value


def _simple_names(names: Mapping[str, Any]) -> dict[str, str]:
    uses = Counter(map(_simple_name, names))
    return {name: _simple_name(name) if uses[_simple_name(name)] == 1 else name for name in names}


def _simple_name(name: str) -> str:
    bare = name[1:-1] if name.startswith("<") and name.endswith(">") else name.lstrip("-")
    # Keep "-" and "--", for standard input and the end of options.
    return bare.replace("-", "_") or name


def _finite_float(text: str) -> float:
    number = float(text)
    if math.isinf(number) and "inf" not in text.lower():
        raise OverflowError
    return number


def _finite_complex(text: str) -> complex:
    number = complex(text)
    if not any(map(str.isdigit, text)) or (cmath.isinf(number) and "inf" not in text.lower()):
        raise OverflowError
    return number


def _finite_json(text: str) -> Any:
    return json.loads(text, parse_float=_finite_float)


# For all names, after the registered conversions. Not configurable, so that arguments can be detected without running
# code.
_TRIALS: tuple[Callable[[str], Any], ...] = (int, _finite_float, _finite_complex, _finite_json)
