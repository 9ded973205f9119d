"""Parse a command line by the help texts that describe it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from typing import Any

import docopt

from sqltrack.args._conversions import ParsedOptions, convert_arguments

__all__ = ["UsageError", "docopt_parse_docstrings"]


class UsageError(ValueError, SystemExit):
    """the command line does not match the usage

    Where nothing catches it, it ends the program with the usage on stderr and exit status 1, and without a traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code: str | int | None = message


def docopt_parse_docstrings(
    docstrings: Iterable[str | None] | str | None, simplify_names: bool = True, **kwargs: Any
) -> ParsedOptions:
    """Parse the command line by the first docstring that describes it.

    Args:
        docstrings: help texts as docopt reads them (http://docopt.org), tried in this order; None values are ignored.
        simplify_names: whether to simplify the names of arguments, default True; see `convert_arguments`.
        kwargs: further arguments of `docopt.docopt`: `argv`, list of arguments, default `sys.argv[1:]`; `default_help`,
            whether `--help` prints the help text and ends the program, default True; `version`, what `--version`
            prints before it ends the program; `options_first`, default False.

    Returns:
        The arguments with their values converted; see `convert_arguments`.

    Raises:
        UsageError: (a ValueError) the command line matches no docstring; also a SystemExit that shows the usage.
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
            return convert_arguments(docopt.docopt(inspect.cleandoc(docstring), **kwargs), simplify_names)
        except docopt.DocoptExit as error:
            mismatch = mismatch or UsageError(str(error))
        except docopt.DocoptLanguageError as error:
            reason = str(error)
    if mismatch is not None:
        raise mismatch
    raise ValueError(f"no docstring describes the command line: {reason}")
