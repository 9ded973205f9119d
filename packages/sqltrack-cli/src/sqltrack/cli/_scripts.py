"""Read SQL scripts from files and standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from sqltrack.errors import UnusableValueError

__all__ = ["STDIN", "read_script", "script_name"]

# The name of standard input.
STDIN = "-"


def script_name(file: str) -> str:
    """Return the name of a script in messages."""
    return "<stdin>" if file == STDIN else file


def read_script(file: str) -> str:
    """Return the text of a file or of standard input, which is always UTF-8.

    Raises:
        UnusableValueError: (a ValueError) it is not UTF-8.
    """
    if file == STDIN and sys.stdin.isatty():
        print("reading SQL until Ctrl-D", file=sys.stderr)
    content = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnusableValueError(f"script {script_name(file)!r} must be UTF-8, byte {error.start} is not") from None
