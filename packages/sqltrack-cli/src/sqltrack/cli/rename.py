"""sqltrack rename: rename an experiment."""

from __future__ import annotations

import argparse

from sqltrack.cli._edits import add_edit_options, run_edit
from sqltrack.cli._parser import Commands, open_client
from sqltrack.commands.rename import rename

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "rename",
        "rename an experiment",
        description="Runs keep their experiment. A script that names the experiment must use the new name from now on, "
        "or it creates another one of the old name.",
        example='sqltrack rename baseline "baseline with warm-up"',
    )
    parser.add_argument("experiment", metavar="EXPERIMENT", help="name or id of the experiment")
    parser.add_argument("name", metavar="NEW-NAME", help="its new name")
    add_edit_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    client = open_client(options)
    return run_edit(
        options,
        lambda agree: rename(client, options.experiment, options.name, dry_run=options.dry_run, agree=agree),
        "rename the experiment",
    )
