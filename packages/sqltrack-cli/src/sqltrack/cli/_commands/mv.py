"""sqltrack mv: move runs to another experiment."""

from __future__ import annotations

import argparse

from sqltrack.cli._confirm import run_edit
from sqltrack.cli._edit_options import add_edit_options, add_runs, named_runs
from sqltrack.cli._parser import Commands, open_client
from sqltrack.commands.mv import plan_mv

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "mv",
        description="Runs keep their ids, metrics and links. Jobs that are still running continue to log.",
        example="sqltrack mv 5-9 12 failures --create",
    )
    add_runs(parser, nargs="+")
    parser.add_argument("experiment", metavar="EXPERIMENT", help="experiment to move the runs to (name or id)")
    parser.add_argument("--create", action="store_true", help="create the experiment if it does not exist")
    add_edit_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    client = open_client(options)
    edit = plan_mv(client, named_runs(options.runs), options.experiment, create=options.create)
    return run_edit(options, client, edit, "move runs")
