"""sqltrack execute: execute SQL from files or from standard input."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from sqltrack.cli._output import print_json, print_note, printable
from sqltrack.cli._parser import FILE, Commands, connection_options, open_client
from sqltrack.cli._scripts import STDIN, read_script, script_name
from sqltrack.cli._table import print_result
from sqltrack.client import Client
from sqltrack.commands._access import find_creator, only_creates
from sqltrack.commands.execute import Outcome, execute

__all__ = ["add_parser"]

_DESCRIPTION = """
Commits each statement by itself, except between a BEGIN and a COMMIT in the script, and stops at the first error. A
script that only creates users and databases is executed on the database 'postgres' if the configured one does not exist
yet, and as user 'postgres' if the configured user cannot connect and you do not give --user. Prints the rows that each
statement returns, and its command tag, such as CREATE TABLE.
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "execute",
        description=" ".join(_DESCRIPTION.split()),
        example="sqltrack create | sqltrack execute\n"
        "         sqltrack create --user alice | sqltrack execute --user postgres --dbname postgres",
    )
    scripts: Any = parser.add_argument(
        "scripts", nargs="*", metavar="FILE", help="SQL file, '-' for standard input (default)"
    )
    scripts.complete = FILE
    parser.add_argument("--json", action="store_true", help="print JSON, a list with an object for each statement")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    scripts = [(script_name(file), read_script(file)) for file in options.scripts or [STDIN]]
    client = _open(options, [script for _, script in scripts])
    outcomes: list[Outcome] = []
    show = outcomes.append if options.json else _print_outcome
    try:
        for name, script in scripts:
            execute(client, script, name=name, on_result=show, on_notice=_print_notice)
    finally:
        # Statements before an error have taken effect.
        if options.json:
            print_json([_as_object(outcome) for outcome in outcomes])


def _open(options: argparse.Namespace, scripts: Sequence[str]) -> Client:
    """Return the configured client, or another one if the scripts create its user or database."""
    client = open_client(options)
    if not only_creates(client, scripts):
        return client
    creator = find_creator(client, keep_user="user" in connection_options(options))
    if creator.config != client.config:
        user = f" as user {creator.config['user']!r}" if creator.config.get("user") != client.config.get("user") else ""
        print_note(f"connecting to database {creator.config['dbname']!r}{user}")
    return creator


def _print_outcome(outcome: Outcome) -> None:
    if outcome.columns is not None:
        columns = _distinct(outcome.columns)
        records = [dict(zip(columns, row)) for row in outcome.rows]
        if records:
            print_result(records, columns)
    print(printable(outcome.tag), flush=True)


def _print_notice(notice: str) -> None:
    print(printable(notice), file=sys.stderr)


def _as_object(outcome: Outcome) -> dict[str, Any]:
    if outcome.columns is None:
        return {"command": outcome.tag}
    columns = _distinct(outcome.columns)
    return {"command": outcome.tag, "rows": [dict(zip(columns, row)) for row in outcome.rows]}


def _distinct(columns: Iterable[str]) -> list[str]:
    """Return names of columns, with a number after repeated names."""
    names: list[str] = []
    for column in columns:
        count, name = 1, column
        while name in names:
            count += 1
            name = f"{column} ({count})"
        names.append(name)
    return names
