"""sqltrack rename: rename an experiment."""

from __future__ import annotations

import argparse

from sqltrack.cli._confirm import run_edit
from sqltrack.cli._edit_options import add_edit_options
from sqltrack.cli._parser import Commands, open_client
from sqltrack.commands.rename import plan_rename

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "rename",
        description="Its runs stay in the experiment. Use the new name in scripts from now on; the old name creates "
        "a new experiment.",
        example='sqltrack rename baseline "baseline with warm-up"',
    )
    parser.add_argument("experiment", metavar="EXPERIMENT", help="experiment to rename (name or id)")
    parser.add_argument("name", metavar="NEW-NAME", help="new name")
    add_edit_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    client = open_client(options)
    edit = plan_rename(client, options.experiment, options.name)
    return run_edit(options, client, edit, "rename the experiment")
