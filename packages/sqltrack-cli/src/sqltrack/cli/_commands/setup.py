"""sqltrack setup: create the tables."""

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
        description="For each script a line is printed: (NEW) if it was executed just now, (OK) if it had been before.",
        example="sqltrack setup v001.sql",
    )
    scripts: Any = parser.add_argument("scripts", nargs="*", metavar="SCRIPT", help="SQL file, after the base script")
    scripts.complete = FILE
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    setup(open_client(options), options.scripts)
