"""sqltrack copy: bring experiments from one database into another."""

from __future__ import annotations

import argparse
import dataclasses
from contextlib import ExitStack
from typing import Any

from sqltrack.cli._output import print_json, progress_bar
from sqltrack.cli._parser import FILE, Commands, add_superuser_option, open_client
from sqltrack.client import Client
from sqltrack.commands._addresses import client_of
from sqltrack.commands.copy import CopyResult, copy
from sqltrack.wording import pluralize

__all__ = ["add_parser"]

_CONFIGURED = (".", "configured")

_DESCRIPTION = """
Only what the target lacks is added, so the same copy may be made again and again: after it was interrupted, or while
runs are still going on. Runs that were copied before follow the source, and what only the target has stays; where a run
goes back to the database in which it was created, it only gets what it lacks, unless it was changed later in the copy.
Experiments of the same name are one. The source is only read.

SOURCE and TARGET are each a file, if there is one of that name (it is seen from its content whether it is a SQLite
database or a config file); or the address of a PostgreSQL database, postgresql://USER@HOST/DBNAME?schema=SCHEMA or
parameters such as "host=HOST dbname=DBNAME"; or '.' (or 'configured') for the configured database, which is also the
only one to which the connection options and SQLTRACK_DSN_* apply. A password belongs into the password file (~/.pgpass)
or a config file, because others can see command lines.
"""
_EXAMPLE = """sqltrack copy laptop.db .
         sqltrack copy laptop.db postgresql://alice@db.example.org/alice
         sqltrack copy . archive.db --setup --experiment mnist"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "copy",
        description=" ".join(_DESCRIPTION.split()),
        example=_EXAMPLE,
    )
    for name, text in (("source", "database to read"), ("target", "database to write")):
        argument: Any = parser.add_argument(name, metavar=name.upper(), help=f"{text}: file, address, or .")
        argument.complete = FILE
    parser.add_argument(
        "--experiment",
        action="append",
        metavar="NAME",
        help="copy only the experiment of this name or id; may be given more than once (default: all)",
    )
    parser.add_argument("--setup", action="store_true", help="set up the target first, if that was not done")
    parser.add_argument(
        "--full", action="store_true", help="compare all metrics, also of runs that seem to be the same"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be copied")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    add_superuser_option(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    source, target = (_client(options, address) for address in (options.source, options.target))
    with ExitStack() as stack:
        bars: list[Any] = []

        def progress(done: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(progress_bar("rows", total)))
            bars[0](done)

        result = copy(
            source,
            target,
            options.experiment,
            dry_run=options.dry_run,
            full=options.full,
            set_up=options.setup,
            as_superuser=options.as_superuser,
            progress=progress,
        )
    if options.json:
        print_json({**dataclasses.asdict(result), "dry_run": options.dry_run})
    else:
        print(_summary(result, dry_run=options.dry_run))


def _client(options: argparse.Namespace, address: str) -> Client:
    return open_client(options) if address in _CONFIGURED else client_of(address)


def _summary(result: CopyResult, *, dry_run: bool) -> str:
    """Return what was done, one line for what was added and one for each other thing that there is to say."""
    would = "would be " if dry_run else ""
    added = [
        pluralize(result.experiments, "experiment"),
        pluralize(result.runs, "run"),
        pluralize(result.rows, "row of metrics", "rows of metrics"),
        pluralize(result.links, "link"),
    ]
    lines = [f"{would}added: {', '.join(added)}"]
    changed = [
        pluralize(result.experiments_changed, "experiment"),
        pluralize(result.runs_changed, "run"),
        pluralize(result.rows_changed, "row of metrics", "rows of metrics"),
    ]
    if result.experiments_changed or result.runs_changed or result.rows_changed:
        lines.append(f"{would}changed: {', '.join(changed)}")
    if result.runs_unchanged:
        lines.append(f"unchanged: {pluralize(result.runs_unchanged, 'run')}")
    if result.links_left_out:
        lines.append(f"left out: {pluralize(result.links_left_out, 'link')} to what is not copied")
    return "\n".join(lines)
