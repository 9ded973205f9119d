"""Write to the terminal in any encoding: JSON, notes, errors, progress and questions.

If the encoding of the output lacks a character, text for people is escaped, signs get an ASCII form, and JSON is ASCII.
CSV, Markdown, LaTeX and SQL are for other programs, and always UTF-8 in files and pipes.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from io import TextIOWrapper
from json.encoder import encode_basestring
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

from sqltrack.engines.json import plain

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "ASCII_SIGNS",
    "UNLIMITED",
    "any_encoding",
    "ask",
    "can_encode",
    "confirm",
    "exact_output",
    "fit_encoding",
    "json_output",
    "open_streams",
    "print_error",
    "print_json",
    "print_note",
    "printable",
    "progress_bar",
    "stdout",
]

# Width of tables in files and pipes.
UNLIMITED = 100_000

# ASCII forms of the signs that the program prints, for encodings that lack them: one character each, to keep columns
# aligned.
ASCII_SIGNS: Mapping[str, str] = dict(zip("◇◔‖▶✔✖▲■•…→─━╸╺│⎯", ".:=>+x!#*~>----|-"))
_BRAILLE = range(0x2800, 0x2900)

# Names of the codec error handlers for text and for JSON.
_ESCAPE_TEXT, _ESCAPE_JSON = "sqltrack-text", "sqltrack-json"


@contextlib.contextmanager
def open_streams() -> Iterator[None]:
    """Open the null device in the `with` block for standard streams that the caller has closed.

    They are opened in order, so that no other file gets the number of a stream and its output.
    """
    with contextlib.ExitStack() as stack:
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(sys, name) is None:
                setattr(sys, name, stack.enter_context(open(os.devnull, mode, encoding="utf-8")))
                stack.callback(setattr, sys, name, None)
        yield


@contextlib.contextmanager
def any_encoding() -> Iterator[None]:
    """Make standard output and error accept any text in the `with` block, and restore their encodings after it."""
    before = [
        (stream, stream.encoding, stream.errors)
        for stream in (sys.stdout, sys.stderr)
        if isinstance(stream, TextIOWrapper)
    ]
    for stream, _, _ in before:
        stream.reconfigure(errors=_ESCAPE_TEXT)
    try:
        yield
    finally:
        for stream, encoding, errors in before:
            # A closed pipe is reported elsewhere.
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(encoding=encoding, errors=errors)


def can_encode(text: str, file: Any = None) -> bool:
    """Return whether the encoding of a file, by default of standard output, has all characters of a text."""
    return fit_encoding(text, file) == text


def fit_encoding(text: str, file: Any = None) -> str:
    """Return text as it appears in a file, by default in standard output, whose encoding may lack characters."""
    encoding = getattr(file or sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, _ESCAPE_TEXT).decode(encoding)


def _escape_text(error: UnicodeError) -> tuple[str, int]:
    text, end = _failed(error)
    return "".join(map(_ascii_form, text)), end


def _ascii_form(char: str) -> str:
    if ord(char) in _BRAILLE:
        return " " if ord(char) == _BRAILLE[0] else "."
    return ASCII_SIGNS.get(char) or char.encode("ascii", "backslashreplace").decode()


def _escape_json(error: UnicodeError) -> tuple[str, int]:
    text, end = _failed(error)
    return json.dumps(text)[1:-1], end


def _failed(error: UnicodeError) -> tuple[str, int]:
    """Return the text that cannot be encoded, and its end."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return error.object[error.start : error.end], error.end


codecs.register_error(_ESCAPE_TEXT, _escape_text)
codecs.register_error(_ESCAPE_JSON, _escape_json)


def stdout(file: TextIO | None = None) -> Console:
    """Return the console for results, as wide as the terminal, and with colors unless NO_COLOR is set.

    Output to a pipe or file has no colors, unlimited width and no trailing blanks.

    Args:
        file: file to print to, default: standard output.
    """
    # Slow to import, and few lines need it.
    from rich.console import Console

    console = Console(file=file, highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = UNLIMITED
        console.file = cast("TextIO", _WithoutTrailingBlanks(console.file))
    return console


def _may_be_terminal(file: TextIO) -> bool:
    """Return whether rich may regard a file as a terminal, without importing rich."""
    return file.isatty() or any(name in os.environ for name in ("FORCE_COLOR", "TTY_COMPATIBLE"))


class _WithoutTrailingBlanks:
    """A file that removes trailing blanks, for text in whole lines such as tables."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        *lines, rest = text.split("\n")
        return self._file.write("".join(line.rstrip(" ") + "\n" for line in lines) + rest)


def exact_output(newline: str | None = None) -> TextIO:
    """Return standard output for data that other programs read, such as CSV, LaTeX and SQL.

    From now on it is UTF-8 in a file or pipe, like the files of the program; a terminal keeps its encoding.

    Args:
        newline: the line ending, as for `open`; default: that of the system.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(newline=newline)
        if not sys.stdout.isatty():
            sys.stdout.reconfigure(encoding="utf-8", errors=_ESCAPE_TEXT)
    return sys.stdout


def json_output() -> TextIO:
    """Return standard output for JSON, which is ASCII from now on unless the output is UTF-8."""
    if isinstance(sys.stdout, TextIOWrapper) and codecs.lookup(sys.stdout.encoding).name != "utf-8":
        sys.stdout.reconfigure(encoding="ascii", errors=_ESCAPE_JSON)
    return sys.stdout


def print_error(message: str) -> None:
    """Print a message as one line on stderr."""
    print(f"sqltrack: {printable(' '.join(message.split()))}", file=sys.stderr)


def print_note(text: str) -> None:
    """Print a note on stderr, to keep it out of piped results."""
    print(printable(text), file=sys.stderr)


def printable(text: object) -> str:
    """Return text with control characters escaped, such as those for colors."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def print_json(value: Any) -> None:
    """Print a value as JSON, with times in ISO 8601, durations in seconds, and NaN and infinities as text."""
    print(_indented(_for_json(value), "\n"), file=json_output())


@contextlib.contextmanager
def progress_bar(description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show the progress of slow work on stderr if it is a terminal.

    Args:
        description: name of the work.
        total: number of steps, None if unknown.

    Returns:
        A function to call with the number of finished steps.
    """
    if not _may_be_terminal(sys.stderr):
        yield lambda done: None
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        # Older versions of rich would end a line here without having started one.
        yield lambda done: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(description, total=total)
        yield lambda done: progress.update(task, completed=done)


def ask(question: str, default: str) -> str:
    """Ask the user for a text, and return it without surrounding blanks.

    Args:
        question: the question.
        default: the text for an empty answer, shown in brackets unless it is empty.

    Raises:
        KeyboardInterrupt: the user pressed Ctrl-C or Ctrl-D.
    """
    shown = f" [{printable(default)}]" if default else ""
    answer = _read_answer(f"{printable(question)}{shown} ")
    if not answer:
        raise KeyboardInterrupt
    return answer.strip() or default


def confirm(question: str, *, yes: bool) -> bool:
    """Ask the user for confirmation; return False if standard input is not a terminal.

    Args:
        question: the question, without a question mark.
        yes: whether the user agreed already, with --yes.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        print_error("cannot ask for confirmation: standard input is not a terminal (use --yes)")
        return False
    return _read_answer(f"{printable(question)}? [y/N] ").strip().lower() in ("y", "yes")


def _read_answer(prompt: str) -> str:
    """Return the line that the user types, with its line ending; empty at the end of input."""
    answer = ""
    try:
        print(prompt, end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()
    finally:
        # After Ctrl-C or Ctrl-D the cursor is still on the line of the question.
        if not answer:
            print(file=sys.stderr)
    return answer


def _for_json(value: Any) -> Any:
    """Return a value made of JSON types, like `plain`, which takes five times as long for simple values."""
    kind = type(value)
    if value is None or kind is bool or (kind is float and math.isfinite(value)) or (kind is str and _is_simple(value)):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        items = {key: _for_json(item) for key, item in value.items()}
        return items if all(type(key) is str and _is_simple(key) for key in items) else plain(items)
    if isinstance(value, (list, tuple)):
        return [_for_json(item) for item in value]
    return plain(value)


def _is_simple(text: str) -> bool:
    # NUL and lone surrogates are not printable.
    return text.isprintable()


def _indented(value: Any, line: str) -> str:
    """Return the same as `json.dumps` with indent=2, which is slow.

    Args:
        value: a value made of dict, list, str, int, float, bool and None.
        line: a line ending and the indentation of the next line.
    """
    if isinstance(value, str):
        return encode_basestring(value)
    if not value or not isinstance(value, (dict, list)):
        return json.dumps(value, allow_nan=False)
    inner = f"{line}  "
    if isinstance(value, dict):
        items = [f"{encode_basestring(key)}: {_indented(item, inner)}" for key, item in value.items()]
        return f"{{{inner}{f',{inner}'.join(items)}{line}}}"
    items = [_indented(item, inner) for item in value]
    return f"[{inner}{f',{inner}'.join(items)}{line}]"
