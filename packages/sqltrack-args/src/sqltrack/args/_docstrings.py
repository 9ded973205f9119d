"""Parse a command line by the docstrings that describe it."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import docopt

from sqltrack.args._conversions import ParsedOptions, convert_arguments

__all__ = ["UsageError", "docopt_parse_docstrings"]


# The beginning of docopt's message about unexpected arguments.
_UNMATCHED = re.compile(r"\AWarning: found unmatched .*")
_MISMATCH = "the command line does not match the usage"

_USAGE_SECTION = re.compile(r"^.*\busage:.*(?:\n[ \t].*)*", re.MULTILINE | re.IGNORECASE)
# [--name VALUE...], with nothing else in the brackets.
_REPEATABLE_OPTION = re.compile(
    r"(?:\[|\()\s*(?P<option>--?[A-Za-z][\w-]*)\s+(?P<value>[A-Z][A-Z0-9_-]*|<[^<>]+>)\s*"
    r"(?:\.\.\.\s*[\])]|[\])]\s*\.\.\.)"
)
_DESCRIPTION = re.compile(r"^(?:.*options:)?[ \t]*(?P<names>-\S.*?)(?:  |$)", re.MULTILINE | re.IGNORECASE)
_DEFAULT = re.compile(r"\[default: (?P<text>.*)\]", re.IGNORECASE)


class UsageError(ValueError, SystemExit):
    """the command line does not match the usage

    If it is not caught, the program prints the usage on stderr and ends with exit status 1, without a traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code: str | int | None = message


def docopt_parse_docstrings(
    docstrings: Iterable[str | None] | str | None, simplify_names: bool = True, **kwargs: Any
) -> ParsedOptions:
    """Parse the command line by the first docstring that describes it.

    Args:
        docstrings: help texts for docopt (http://docopt.org), tried in this order; None is ignored.
        simplify_names: whether to simplify the names of arguments, default True; see `convert_arguments`.
        kwargs: further arguments of `docopt.docopt`: `argv`, list of arguments, default `sys.argv[1:]`; `default_help`,
            whether `--help` prints the help text and ends the program, default True; `version`, the text that
            `--version` prints before it ends the program; `options_first`, default False.

    Returns:
        The arguments with converted values; see `convert_arguments`.

    Raises:
        UsageError: (a ValueError and a SystemExit) the command line matches no docstring.
        ValueError: no docstring describes a command line.
    """
    if isinstance(docstrings, str):
        docstrings = [docstrings]
    if kwargs.get("argv") is not None and not isinstance(kwargs["argv"], str):
        kwargs["argv"] = [str(argument) for argument in kwargs["argv"]]
    mismatch: UsageError | None = None
    reason = "there is none (python -OO removes them)" if sys.flags.optimize > 1 else "there is none"
    for docstring in docstrings or ():
        if docstring is None:
            continue
        try:
            return convert_arguments(_parse(inspect.cleandoc(docstring), kwargs), simplify_names)
        except docopt.DocoptExit as error:
            mismatch = mismatch or UsageError(_UNMATCHED.sub(_MISMATCH, str(error)))
        except docopt.DocoptLanguageError as error:
            reason = str(error)
    if mismatch is not None:
        raise mismatch
    raise ValueError(f"no docstring describes the command line: {reason}")


def _parse(docstring: str, kwargs: dict[str, Any]) -> Mapping[str, Any]:
    """Parse the command line with docopt, and work around its errors."""
    completed = _describe_options(docstring)
    argv = kwargs.get("argv")
    words = sys.argv[1:] if argv is None else argv.split() if isinstance(argv, str) else argv
    # For --help, docopt must show the original text.
    shows_text = kwargs.get("default_help", True) and not {"-h", "--help"}.isdisjoint(words)
    arguments = docopt.docopt(docstring if shows_text else completed, **kwargs)
    defaults = dict(_mistaken_defaults(docstring))
    return {name: _true_default(value, defaults) for name, value in arguments.items()}


def _describe_options(docstring: str) -> str:
    """Add missing descriptions of repeatable options to a help text.

    Without a description, docopt takes `[--name VALUE...]` for a switch and an unrelated value.
    """
    usage = _USAGE_SECTION.search(docstring)
    if usage is None:
        return docstring
    others = docstring[: usage.start()] + docstring[usage.end() :]
    described = {name for match in _DESCRIPTION.finditer(others) for name in re.split(r"[ ,=]+", match["names"])}
    found = {match["option"]: match["value"] for match in _REPEATABLE_OPTION.finditer(usage[0])}
    missing = [f"{option} {value}" for option, value in found.items() if option not in described]
    return "\n".join([docstring, "", *missing]) if missing else docstring


def _mistaken_defaults(docstring: str) -> Iterator[tuple[str, str]]:
    """Yield each default that docopt would read up to the last bracket of its line, and the right default."""
    for match in _DEFAULT.finditer(docstring):
        text = match["text"]
        depth = 0
        for index, char in enumerate(text):
            depth += {"[": 1, "]": -1}.get(char, 0)
            if depth < 0:
                yield text, text[:index]
                break


def _true_default(value: Any, defaults: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return defaults.get(value, value)
    if isinstance(value, list):
        return next((right.split() for mistaken, right in defaults.items() if mistaken.split() == value), value)
    return value
