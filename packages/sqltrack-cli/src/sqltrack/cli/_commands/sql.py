"""sqltrack sql: run a query."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqltrack.cli._formats import FORMATS, add_format_options, write_records
from sqltrack.cli._output import exact_output, json_output, print_note, progress_bar
from sqltrack.cli._parser import FILE, Commands, add_superuser_option, count, open_client
from sqltrack.cli._scripts import STDIN, read_script
from sqltrack.cli._table import print_result
from sqltrack.commands._files import replacing
from sqltrack.commands.sql import QueryResult, query, write_csv, write_json
from sqltrack.errors import UnusableValueError

__all__ = ["add_parser"]

_FORMATS = (*FORMATS, "parquet")
# Formats by file endings that are not the name of a format.
_SUFFIXES = {"md": "markdown", "tex": "latex"}
_WRITERS = {"csv": write_csv, "json": write_json}

_DESCRIPTION = """
The query is read-only. NULL is empty in CSV, NaN is NaN in all formats, times are in UTC. Without --format, the ending
of the output file decides; otherwise the result is a table in a terminal, and CSV in a file or pipe.
"""
_EXAMPLE = """sqltrack sql "SELECT status, COUNT(*) FROM runs GROUP BY status"
         sqltrack sql "SELECT * FROM metrics" --limit 0 --output metrics.parquet
         sqltrack sql - < query.sql"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("sql", description=" ".join(_DESCRIPTION.split()), example=_EXAMPLE)
    parser.add_argument("query", metavar="QUERY", help="SQL query, - to read it from standard input")
    add_format_options(parser, formats=_FORMATS, default=None)
    output: Any = parser.add_argument("--output", metavar="FILE", help="file to write instead of standard output")
    output.complete = FILE
    parser.add_argument(
        "--limit", type=count, default=1000, metavar="N", help="read at most N rows, 0 for all (default: %(default)s)"
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="time limit of the query (default: %(default)g)",
    )
    add_superuser_option(parser)
    parser.set_defaults(run=_run)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.001 <= seconds <= 1_000_000:
        raise argparse.ArgumentTypeError(f"expected a number of seconds from 0.001 to 1000000, got {text!r}")
    return seconds


def _run(options: argparse.Namespace) -> None:
    format_ = options.format or _usual_format(options.output)
    text = read_script(STDIN) if options.query == STDIN else options.query
    if not text.strip():
        raise UnusableValueError("the query is empty")
    if format_ == "parquet":
        is_cut = _write_parquet(options, text)
    else:
        target = replacing(options.output) if options.output else nullcontext()
        with target as path, _query(options, text) as result:
            _write(result, format_, path)
        is_cut = result.is_cut
    if is_cut:
        print_note(f"there are more rows than the limit of {options.limit}; --limit 0 reads all")


def _query(options: argparse.Namespace, text: str) -> AbstractContextManager[QueryResult]:
    return query(
        open_client(options),
        text,
        limit=options.limit,
        seconds=options.timeout,
        as_superuser=options.as_superuser,
    )


def _usual_format(output: str | None) -> str:
    if output is None:
        return "table" if sys.stdout.isatty() else "csv"
    suffix = Path(output).suffix.lower().lstrip(".")
    return suffix if suffix in _FORMATS else _SUFFIXES.get(suffix, "csv")


def _write(result: QueryResult, format_: str, path: Path | None) -> None:
    """Write a result to a file, or to the standard output."""
    if format_ not in _WRITERS:
        _write_table(result, format_, path)
        return
    writer = _WRITERS[format_]
    if path is None:
        writer(result, exact_output(newline="") if format_ == "csv" else json_output())
        return
    newline = "" if format_ == "csv" else None
    with path.open("w", encoding="utf-8", newline=newline) as file, progress_bar("rows") as progress:
        writer(result, file, progress)


def _write_table(result: QueryResult, format_: str, path: Path | None) -> None:
    """Write a result in one of the formats that need all rows at once."""
    names = result.unique_names()
    records = [dict(zip(names, row)) for row in result]
    headers = dict(zip(names, result.names))
    with nullcontext() if path is None else path.open("w", encoding="utf-8") as file:
        if format_ == "table":
            print_result(records, names, headers=headers, file=file)
        else:
            write_records(file or exact_output(), records, names, format_, headers=headers)


def _write_parquet(options: argparse.Namespace, text: str) -> bool:
    """Write a result as Parquet and return whether rows were left out."""
    from sqltrack.commands._parquet import write_parquet

    if options.output is None and sys.stdout.isatty():
        raise UnusableValueError("a terminal cannot show the format 'parquet'", "add --output FILE")
    target = replacing(options.output) if options.output else _for_stdout()
    with target as path, _query(options, text) as result, progress_bar("rows") as progress:
        write_parquet(result, path, progress)
    return result.is_cut


@contextmanager
def _for_stdout() -> Iterator[Path]:
    """Return the path of a file to write in the `with` block, and copy it to standard output at the end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "result.parquet")
        yield path
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
