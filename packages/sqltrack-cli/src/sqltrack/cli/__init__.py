"""The sqltrack program."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from sqltrack.client import Client
from sqltrack.commands.setup import setup
from sqltrack.errors import SQLTrackError

__all__ = ["main"]

_CONNECTION_OPTIONS = ("engine", "dbpath", "user", "host", "dbname", "schema")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        argv: arguments without the program's name, default: those of the process.

    Returns:
        The exit status: 0, 1 if the command failed; a wrong command line ends the process with 2.
    """
    args = _parser().parse_args(argv)
    try:
        client = Client(args.config_path, **{name: getattr(args, name) for name in _CONNECTION_OPTIONS})
        setup(client, args.scripts)
    except (SQLTrackError, OSError) as error:
        Console(stderr=True, soft_wrap=True).print(f"sqltrack: {error}", markup=False, highlight=False)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sqltrack", description="Work with a database of experiments.")
    commands: Any = parser.add_subparsers(metavar="COMMAND", required=True)
    command = commands.add_parser(
        "setup", help="create the tables", description="Create the tables, and execute scripts that were not before."
    )
    command.add_argument("scripts", nargs="*", metavar="SCRIPT", help="SQL files to execute after the base script")
    command.add_argument("--config-path", metavar="PATH", help="config file to read")
    for name in _CONNECTION_OPTIONS:
        command.add_argument(f"--{name}", metavar=name.upper(), help=f"connection parameter {name}")
    return parser
