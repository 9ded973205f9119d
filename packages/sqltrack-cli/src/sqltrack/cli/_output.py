"""Write to the terminal: JSON, notes, errors, progress, questions."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from io import TextIOWrapper
from typing import IO, Any, TextIO, cast

from rich.console import Console

from sqltrack.engines.json import plain

__all__ = [
    "confirm",
    "csv_output",
    "print_error",
    "print_json",
    "print_note",
    "printable",
    "progress_bar",
    "stdout",
]

# Width of tables in files and pipes.
_UNLIMITED = 100_000


def stdout(file: TextIO | None = None) -> Console:
    """Return the console for results, which is as wide as the terminal and has colors unless NO_COLOR is set.

    Output to a pipe or file has neither colors nor a limit of width, and lines do not end in blanks.

    Args:
        file: file to print to instead of the standard output.
    """
    console = Console(file=file, highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = _UNLIMITED
        console.file = cast("TextIO", _WithoutTrailingBlanks(console.file))
    return console


class _WithoutTrailingBlanks:
    """A file for text in whole lines, such as tables, whose cells are filled up with blanks."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        return self._file.write(re.sub(r" +(?=\n)", "", text))


def csv_output() -> TextIO:
    """Return the standard output for a writer of CSV, which ends lines in its own way."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(newline="")
    return sys.stdout


def print_error(message: str) -> None:
    """Print a message as one line on stderr."""
    print(f"sqltrack: {printable(' '.join(message.split()))}", file=sys.stderr)


def print_note(text: str) -> None:
    """Print a note on stderr, so that results can be piped."""
    print(printable(text), file=sys.stderr)


def printable(text: object) -> str:
    """Return text in which control characters, such as those for colors, are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text))


def print_json(value: Any) -> None:
    """Print a value as JSON: times in ISO 8601, durations in seconds, NaN and infinities as text."""
    print(json.dumps(plain(_for_json(value)), ensure_ascii=False, allow_nan=False, indent=2))


@contextlib.contextmanager
def progress_bar(description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show the progress of slow work on stderr, if that is a terminal.

    Args:
        description: name of the work.
        total: number of steps, None if it is not known.

    Returns:
        A function to call with the number of steps done.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        # Older versions of rich would end a line here that they have not begun.
        yield lambda done: None
        return
    # Slow to import, and few commands need it.
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(description, total=total)
        yield lambda done: progress.update(task, completed=done)


def confirm(question: str, *, yes: bool) -> bool:
    """Ask the user and return whether the answer is yes; without a terminal the answer is no.

    Args:
        question: the question, without a question mark.
        yes: whether the user has already agreed.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        print_error("nobody can be asked here, add --yes to agree")
        return False
    print(f"{printable(question)}? [y/N] ", end="", file=sys.stderr, flush=True)
    answer = ""
    try:
        answer = sys.stdin.readline()
    finally:
        # After Ctrl-C or Ctrl-D the cursor is still in the line of the question.
        if not answer:
            print(file=sys.stderr)
    return answer.strip().lower() in ("y", "yes")


def _for_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {key: _for_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_for_json(item) for item in value]
    return value
