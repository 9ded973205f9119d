"""sqltrack ls: list experiments."""

from __future__ import annotations

import argparse

from sqltrack.cli._cells import show_tags
from sqltrack.cli._output import print_json, print_note
from sqltrack.cli._parser import Commands, add_superuser_option, open_client
from sqltrack.cli._table import print_table
from sqltrack.commands.ls import list_experiments

__all__ = ["add_parser"]

_COLUMNS = ("id", "name", "runs", "running", "updated", "tags", "comment")


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "ls",
        "list experiments, those that were last updated first",
        example="sqltrack ls",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_superuser_option(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    experiments = list_experiments(open_client(options), as_superuser=options.as_superuser)
    if options.json:
        print_json(experiments)
    elif experiments:
        print_table(experiments, _COLUMNS, cells={"tags": show_tags}, optional=("tags", "comment"))
    else:
        print_note("there are no experiments yet")
