"""sqltrack create: print how to create a user and a database."""

from __future__ import annotations

import argparse

from sqltrack.cli._output import exact_output
from sqltrack.cli._parser import Commands, connection_options
from sqltrack.commands.create import create
from sqltrack.config import load_config

__all__ = ["add_parser"]

_DESCRIPTION = (
    "Nothing is executed: look at the commands, and execute them with psql or 'sqltrack execute' as somebody who may. "
    "What is created is called as --user and --dbname say (default: as the user), or else the configuration. A "
    "password is encrypted as the server says, or by scram-sha-256 if the configuration without these two options "
    "cannot connect, for example as the user who does not exist yet."
)


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "create",
        description=_DESCRIPTION,
        example="sqltrack create | sudo -u postgres psql\n"
        "         sqltrack create --user alice | sqltrack execute --user postgres --dbname postgres",
    )
    parser.add_argument("--no-user", action="store_true", help="leave out the user")
    parser.add_argument("--no-db", action="store_true", help="leave out the database")
    parser.add_argument(
        "--password",
        action="store_true",
        help="give the user a password: the one in the password file (~/.pgpass), else it is asked for",
    )
    parser.add_argument(
        "--plain-password", action="store_true", help="the same, but print the password as plain text, unencrypted"
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
