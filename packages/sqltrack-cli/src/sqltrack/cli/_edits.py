"""What the commands have in common that change what the database holds: they show it, ask, and tell what was done."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from rich.text import Text

from sqltrack.cli._output import confirm, print_json, show_value
from sqltrack.cli._parser import Parser
from sqltrack.cli._table import print_note, print_table
from sqltrack.client import Client
from sqltrack.commands._edits import Change
from sqltrack.commands._run_ranges import RunRange, find_run_ids, parse_ranges
from sqltrack.commands._words import counted
from sqltrack.errors import UnusableValueError

__all__ = [
    "add_edit_options",
    "add_experiment",
    "add_runs",
    "named_runs",
    "needs_runs_or_experiment",
    "run_edit",
    "run_ranges",
]

# So many changes are shown; --json tells all.
_SHOWN = 40


def run_ranges(text: str) -> list[RunRange]:
    """Return the runs that an argument names.

    Raises:
        ArgumentTypeError: it names none.
    """
    try:
        return parse_ranges(text)
    except UnusableValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_runs(parser: Parser, *, nargs: str) -> None:
    """Add an argument that names runs."""
    parser.add_argument("runs", nargs=nargs, type=run_ranges, metavar="RUN", help="ids of runs, such as 5, 5-9 or 3,7")


def add_experiment(parser: Parser, text: str) -> None:
    """Add an option that names an experiment."""
    parser.add_argument("--experiment", metavar="NAME", help=text)


def add_edit_options(parser: Parser) -> None:
    """Add the options that all commands have which change what the database holds."""
    parser.add_argument("--dry-run", action="store_true", help="show what would be done, and change nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print JSON")


def named_runs(client: Client, runs: Sequence[Sequence[RunRange]]) -> list[int]:
    """Return the ids of the runs that arguments name."""
    ranges = [item for argument in runs for item in argument]
    return find_run_ids(client, ranges) if ranges else []


def needs_runs_or_experiment(parser: Parser, options: argparse.Namespace) -> None:
    """End the program with status 2 unless either runs or an experiment are named."""
    if bool(options.runs) == (options.experiment is not None):
        parser.error("expected either runs or --experiment")


def run_edit(
    options: argparse.Namespace,
    edit: Callable[[Callable[[Sequence[Change]], bool] | None], list[Change]],
    question: str,
) -> int:
    """Make changes if the user agrees, and tell which.

    Args:
        options: options of the command line, of `add_edit_options`.
        edit: does it, and asks the function that it gets, or nobody.
        question: what to ask, without a question mark.

    Returns:
        The exit status.
    """
    proposed: list[Change] = []

    def agree(changes: Sequence[Change]) -> bool:
        proposed.extend(changes)
        if not options.json:
            _print(changes)
        return confirm(f"{question} ({counted(len(changes), 'change')})", yes=False)

    changes = edit(None if options.yes else agree)
    shown = proposed or changes
    done = bool(changes) and not options.dry_run
    if options.json:
        print_json({"done": done, "changes": [change._asdict() for change in shown]})
    elif changes and not proposed:
        _print(changes)
    return _report(shown, done=done, dry_run=options.dry_run)


def _report(changes: Sequence[Change], *, done: bool, dry_run: bool) -> int:
    if not changes:
        print_note("nothing has to be changed")
    elif dry_run:
        print_note(f"{counted(len(changes), 'change')} would be made")
    elif not done:
        print_note("nothing was changed")
        return 1
    else:
        print_note(f"{counted(len(changes), 'change')} made")
    return 0


def _print(changes: Sequence[Change]) -> None:
    records = [
        {"what": f"{item.kind} {'(new)' if item.id is None else item.id}", **item._asdict()}
        for item in changes[:_SHOWN]
    ]
    print_table(records, ("what", "field", "old", "new"), cells={"old": _cell, "new": _cell})
    if len(changes) > _SHOWN:
        print_note(f"and {counted(len(changes) - _SHOWN, 'more change')}, --json shows all")


def _cell(value: Any) -> Text:
    return show_value(", ".join(value) or None) if isinstance(value, list) else show_value(value)
