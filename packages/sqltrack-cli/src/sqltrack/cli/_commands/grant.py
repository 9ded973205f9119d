"""sqltrack grant: print the SQL that gives another PostgreSQL user access."""

from __future__ import annotations

import argparse

from sqltrack.cli._access_options import add_owner_option, tables_of
from sqltrack.cli._output import exact_output
from sqltrack.cli._parser import Commands
from sqltrack.commands.grant import grant_sql
from sqltrack.engines.postgres.sql import quote_if_needed

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "grant",
        description="Executes nothing: review the SQL, and execute it as the owner of the database.",
        example="sqltrack grant bob --write | sqltrack execute",
    )
    parser.add_argument("role", metavar="USER", help="user who gets access")
    rights = parser.add_mutually_exclusive_group()
    rights.add_argument("--read", action="store_true", help="allow reading (default)")
    rights.add_argument(
        "--write", action="store_true", help="allow reading and writing; new metrics go to metrics.extras"
    )
    rights.add_argument(
        "--as-owner",
        action="store_true",
        help="allow all that the owner may do, such as adding columns for new metrics or dropping tables",
    )
    add_owner_option(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    tables = tables_of(options)
    exact_output()
    statements = grant_sql(options.role, **tables, write=options.write, as_owner=options.as_owner)
    print("\n".join(statements))
    if options.write:
        print(
            "-- Only the owner can add columns: new metrics of this user are stored in metrics.extras, or in\n"
            "-- metrics_pending until the owner has added that column. A member of the owner's role can add columns,\n"
            "-- and do all else that the owner may. A user who may grant that role, such as a superuser, can execute:\n"
            f"-- GRANT {quote_if_needed(tables['owner'])} TO {quote_if_needed(options.role)};"
        )
