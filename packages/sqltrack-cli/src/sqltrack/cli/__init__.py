"""The program sqltrack."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from sqltrack.cli._output import any_encoding, open_streams, print_error
from sqltrack.cli._parser import parse
from sqltrack.errors import SQLTrackError

__all__ = ["main"]

_FAILED = 1
# The exit status that shells report after SIGINT.
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Errors are printed as one line on stderr. With the environment variable SQLTRACK_DEBUG=1, they are raised.

    Args:
        argv: arguments without the program's name, default: those of the process.

    Returns:
        The exit status: 0, 1 if the command failed, 130 if it was interrupted. A wrong command line ends the process
        with 2.
    """
    with open_streams(), any_encoding():
        return _run(parse(argv))


def _run(options: argparse.Namespace) -> int:
    try:
        status: int | None = options.run(options)
        # Find errors of the output here, not when the interpreter ends.
        sys.stdout.flush()
        return status or 0
    except BrokenPipeError:
        # The reader of the pipe, for example `head`, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except KeyboardInterrupt:
        print_error("interrupted")
        return _INTERRUPTED
    except Exception as error:
        if os.environ.get("SQLTRACK_DEBUG"):
            raise
        print_error(_explain(error))
        return _FAILED


def _explain(error: Exception) -> str:
    if isinstance(error, SQLTrackError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename!r}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error} (SQLTRACK_DEBUG=1 shows where)"
