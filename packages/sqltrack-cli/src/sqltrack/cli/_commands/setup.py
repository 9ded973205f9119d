"""sqltrack setup: create the tables and execute new SQL scripts."""

from __future__ import annotations

import argparse
from typing import Any

from sqltrack.cli._parser import FILE, Commands, open_client
from sqltrack.commands.setup import setup

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "setup",
        description="Prints a line for each script: (NEW) if it was executed now, (OK) if it was executed before.",
        example="sqltrack setup v001.sql",
    )
    scripts: Any = parser.add_argument(
        "scripts", nargs="*", metavar="SCRIPT", help="SQL file to execute after the base script"
    )
    scripts.complete = FILE
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    setup(open_client(options), options.scripts)
