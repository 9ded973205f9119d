"""sqltrack grant: print how to let another user read or write."""

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
        description="Nothing is executed: look at the statements, and execute them as the owner of the database.",
        example="sqltrack grant bob --write | sqltrack execute",
    )
    parser.add_argument("role", metavar="USER", help="who is given access")
    rights = parser.add_mutually_exclusive_group()
    rights.add_argument("--read", action="store_true", help="to read (default)")
    rights.add_argument("--write", action="store_true", help="to read and write; new metrics go to metrics.extras")
    rights.add_argument(
        "--as-owner",
        action="store_true",
        help="to read and write, and to do all that the owner may, such as add columns for new metrics or drop tables",
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
            "-- Only the owner can add columns: new metrics of this user are kept in metrics.extras, and until the\n"
            "-- owner has added that, in metrics_pending. A member of the owner's role can add columns, and do all\n"
            "-- else that the owner may. Who may grant that role (a superuser, say) can execute:\n"
            f"-- GRANT {quote_if_needed(tables['owner'])} TO {quote_if_needed(options.role)};"
        )
