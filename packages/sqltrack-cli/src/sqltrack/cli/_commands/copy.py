"""sqltrack copy: copy experiments from one database to another."""

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
Adds only what the target lacks, so you can repeat a copy after an interruption, or while runs are still logging. Runs
that were copied before follow the source, and additions in the target stay. A run that is copied back to the database
that created it only gets what it lacks, unless it was changed later in the copy. Experiments with the same name are
merged. The source is never changed.

SOURCE and TARGET are each a file, the address of a PostgreSQL database, or '.' (or 'configured') for the configured
database. An existing file comes first; its content tells a SQLite database from a config file. An address is
postgresql://USER@HOST/DBNAME?schema=SCHEMA, or parameters such as "host=HOST dbname=DBNAME". Connection options and
SQLTRACK_DSN_* apply only to the configured database. Put passwords in the password file (~/.pgpass) or in a config
file, because other users can see command lines.
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
        help="copy only this experiment (name or id), may be repeated (default: all)",
    )
    parser.add_argument("--setup", action="store_true", help="set up the target first if necessary")
    parser.add_argument("--full", action="store_true", help="compare all metrics, even of runs that seem unchanged")
    parser.add_argument("--dry-run", action="store_true", help="show what would be copied, and change nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")
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
    """Return the summary: a line for the additions, and one for each other kind of outcome."""
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
        lines.append(f"left out: {pluralize(result.links_left_out, 'link')} to runs or experiments that are not copied")
    return "\n".join(lines)
