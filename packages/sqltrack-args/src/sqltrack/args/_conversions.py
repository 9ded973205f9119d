"""Values with types, from the texts of a command line."""

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

# What a function raises to say that a text is not of its kind; RecursionError is for JSON that is nested too deeply.
_MISFITS = (ValueError, ArithmeticError, LookupError, RecursionError)


class ParsedOptions(docopt.ParsedOptions):
    """Arguments by name, a dict whose items are attributes as well.

    A name that is none of Python's, or that dicts use themselves (`items`), can only be had as `args["items"]`.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no argument {name!r}, only {', '.join(map(repr, self))}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(dict, name):
            raise AttributeError(f"{name!r} is a method of dicts; set it as args[{name!r}]")
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"there is no argument {name!r}") from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(name for name in self if name.isidentifier())]


def make_conversion(pattern: str, func: Callable[[str], Any]) -> Conversion:
    """Create a conversion for arguments whose names match a pattern.

    Args:
        pattern: a pattern as in `fnmatch.fnmatchcase`.
        func: converts the value; a ValueError, ArithmeticError or LookupError means that it cannot.

    Returns:
        A function that takes name and value, and returns the value, converted if possible, and whether it was.
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
    """Add a conversion after those that there are, or replace the one of the same name in its place.

    What is registered is unknown to whoever detects the arguments of a script without running it.

    Args:
        name: what the conversion is called; those that there are: int, float, complex, path, json, str.
        func: takes name and value of an argument, and returns the converted value and True, or the value and False if
            it is not for this argument; see `make_conversion`.
    """
    _conversions[name] = func


def convert_argument(name: str, value: str) -> Any:
    """Convert the value of an argument to the type that its name or its text suggests.

    First the conversions by name are tried: a name that ends in int, float, complex, path, json or str. Then int,
    float, complex and JSON in this order, as Python reads them. What fits nothing stays a str.

    So `007` is 7, `1_000` is 1000, `1e5` a float, `true` and `null` are True and None, but `True`, `None` and `0x10`
    stay text. Text that only looks like a number (a zip code, a commit's hash) needs a name that ends in str. A number
    too big for a float, such as the hash `1234e567`, stays text, and so does the letter `j`, to Python a complex one.

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
        except _MISFITS:
            continue
    return value


def convert_arguments(arguments: Mapping[str, Any], simplify_names: bool = True) -> ParsedOptions:
    """Convert the values of arguments as docopt returns them; see `convert_argument`.

    Args:
        arguments: names and values; a str is converted, a list item by item, anything else (a switch, a count, an
            argument that was not given) stays as it is.
        simplify_names: whether to leave out dashes in front and angle brackets around a name, and to replace other
            dashes by underscores: `--batch-size` becomes `batch_size`. Names that would become the same stay as they
            are. Default: True.
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
    # Of "-" and "--", which stand for standard input and the end of the options, nothing would be left.
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


# For all names, after the others; not to be changed, so that arguments can be detected without running any code.
_TRIALS: tuple[Callable[[str], Any], ...] = (int, _finite_float, _finite_complex, _finite_json)
