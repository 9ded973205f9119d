"""sqltrack ls: list experiments."""

from __future__ import annotations

import argparse

from sqltrack.cli._cells import show_tags
from sqltrack.cli._formats import add_format_options, print_records
from sqltrack.cli._output import print_note
from sqltrack.cli._parser import Commands, add_superuser_option, open_client
from sqltrack.commands.ls import list_experiments

__all__ = ["add_parser"]

_COLUMNS = ("id", "name", "runs", "running", "updated", "tags", "comment")


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "ls",
        example="sqltrack ls",
    )
    add_format_options(parser)
    add_superuser_option(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    experiments = list_experiments(open_client(options), as_superuser=options.as_superuser)
    if options.format == "table" and not experiments:
        print_note("there are no experiments yet")
        return
    texts = {"tags": show_tags}
    print_records(experiments, _COLUMNS, options.format, cells=texts, texts=texts, optional=("tags", "comment"))
