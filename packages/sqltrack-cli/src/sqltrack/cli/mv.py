"""sqltrack mv: move runs into another experiment."""

from __future__ import annotations

import argparse

from sqltrack.cli._edits import add_edit_options, add_runs, named_runs, run_edit
from sqltrack.cli._parser import Commands, open_client
from sqltrack.commands.mv import mv

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "mv",
        "move runs into another experiment",
        description="Runs keep their ids, metrics and links. A job that is still running logs on undisturbed.",
        example="sqltrack mv 5-9 12 failures --create",
    )
    add_runs(parser, nargs="+")
    parser.add_argument("experiment", metavar="EXPERIMENT", help="name or id of the experiment to move them into")
    parser.add_argument("--create", action="store_true", help="create the experiment if there is none of that name")
    add_edit_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    client = open_client(options)
    run_ids = named_runs(client, options.runs)
    chosen = {"create": options.create, "dry_run": options.dry_run}
    return run_edit(options, lambda agree: mv(client, run_ids, options.experiment, agree=agree, **chosen), "move runs")
