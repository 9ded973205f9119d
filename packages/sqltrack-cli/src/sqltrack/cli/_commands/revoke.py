"""sqltrack revoke: print the SQL that revokes access from a PostgreSQL user or from PUBLIC."""

from __future__ import annotations

import argparse

from sqltrack.cli._access_options import add_owner_option, tables_of
from sqltrack.cli._output import exact_output
from sqltrack.cli._parser import Commands
from sqltrack.commands.revoke import revoke_public_sql, revoke_sql
from sqltrack.engines.postgres.sql import quote_if_needed

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "revoke",
        description="Executes nothing: review the SQL, and execute it as the owner of the database.",
        example="sqltrack revoke --public | sqltrack execute\n         sqltrack revoke bob | sqltrack execute",
    )
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("role", metavar="USER", nargs="?", help="user who loses access")
    whose.add_argument(
        "--public", action="store_true", help="let only users connect who were granted the right (the owner has it)"
    )
    parser.add_argument(
        "--as-owner",
        action="store_true",
        help="also revoke membership in the owner's role, which grant --as-owner gives",
    )
    add_owner_option(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    tables = tables_of(options)
    exact_output()
    if options.public:
        print("\n".join(revoke_public_sql(dbname=tables["dbname"])))
        return
    print("\n".join(revoke_sql(options.role, **tables, as_owner=options.as_owner)))
    if not options.as_owner:
        print(
            "-- A member of the owner's role keeps access until a user who may grant that role executes:\n"
            f"-- REVOKE {quote_if_needed(tables['owner'])} FROM {quote_if_needed(options.role)};"
        )
