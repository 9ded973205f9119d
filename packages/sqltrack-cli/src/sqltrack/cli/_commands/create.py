"""sqltrack create: print the SQL that creates a PostgreSQL user and database."""

from __future__ import annotations

import argparse

from sqltrack.cli._output import exact_output
from sqltrack.cli._parser import Commands, connection_options
from sqltrack.commands.create import create
from sqltrack.config import load_config

__all__ = ["add_parser"]

_DESCRIPTION = (
    "Executes nothing: review the SQL, and execute it with psql or 'sqltrack execute' as a user who may create users "
    "and databases. The names are those of --user and --dbname (default: the name of the user), or those in the "
    "configuration. To find the server's password encryption, the command connects as configured, without these two "
    "options. If it cannot connect, for example because the user does not exist yet, it uses scram-sha-256."
)


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "create",
        description=_DESCRIPTION,
        example="sqltrack create | sudo -u postgres psql\n"
        "         sqltrack create --user alice | sqltrack execute --user postgres --dbname postgres",
    )
    parser.add_argument("--no-user", action="store_true", help="do not create a user")
    parser.add_argument("--no-db", action="store_true", help="do not create a database")
    parser.add_argument(
        "--password",
        action="store_true",
        help="give the user a password: from the password file (~/.pgpass), or from a prompt",
    )
    parser.add_argument(
        "--plain-password", action="store_true", help="like --password, but print the password unencrypted"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    path, given = getattr(options, "config_path", None), connection_options(options)
    named = load_config(path, **given)
    if "user" in given and "dbname" not in given:
        # The configured database may be the one to connect to.
        named["dbname"] = given["user"]
    exact_output()
    create(
        load_config(path, **{name: value for name, value in given.items() if name not in ("user", "dbname")}),
        no_user=options.no_user,
        no_db=options.no_db,
        password=options.password,
        plain_password=options.plain_password,
        **{name: named[name] for name in ("user", "dbname") if name in named},
    )
