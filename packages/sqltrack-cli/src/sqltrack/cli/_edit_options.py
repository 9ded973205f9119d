"""Arguments that name runs, and options of the commands that change the database."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from sqltrack.cli._parser import Parser
from sqltrack.commands.run_ranges import RunRange, parse_ranges
from sqltrack.errors import UnusableValueError

__all__ = [
    "add_edit_options",
    "add_experiment",
    "add_runs",
    "named_runs",
    "needs_runs_or_experiment",
    "run_id",
    "run_ranges",
    "statuses",
]


def run_ranges(text: str) -> list[RunRange]:
    """Return the runs that an argument names.

    Raises:
        ArgumentTypeError: it does not name runs.
    """
    try:
        return parse_ranges(text)
    except UnusableValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run_id(text: str) -> int:
    """Return the id of the single run that an argument names.

    Raises:
        ArgumentTypeError: it does not name exactly one run.
    """
    ranges = run_ranges(text)
    if len(ranges) > 1 or ranges[0].first != ranges[0].last:
        raise argparse.ArgumentTypeError(f"expected the id of one run, got several: {text!r}")
    return ranges[0].first


def statuses(text: str) -> tuple[str, ...]:
    """Return the statuses that an argument names, separated by commas.

    Raises:
        ArgumentTypeError: one is empty.
    """
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(
            f"expected statuses separated by commas, such as FAILED,CANCELLED, got {text!r}"
        )
    return names


def add_runs(parser: Parser, *, nargs: str) -> None:
    """Add an argument that names runs."""
    parser.add_argument("runs", nargs=nargs, type=run_ranges, metavar="RUN", help="run ids, such as 5, 5-9 or 3,7")


def add_experiment(parser: Parser, text: str) -> None:
    """Add an option that names an experiment."""
    parser.add_argument("--experiment", metavar="NAME", help=text)


def add_edit_options(parser: Parser) -> None:
    """Add the options of all commands that change the database."""
    parser.add_argument("--dry-run", action="store_true", help="show what would be done, and change nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.add_argument("--json", action="store_true", help="print JSON")


def named_runs(arguments: Sequence[Sequence[RunRange]]) -> list[RunRange]:
    """Return the runs that several arguments name."""
    return [item for argument in arguments for item in argument]


def needs_runs_or_experiment(parser: Parser, options: argparse.Namespace) -> None:
    """End the program with status 2 unless either runs or an experiment is named."""
    if bool(options.runs) == (options.experiment is not None):
        parser.error("expected either runs or --experiment")
