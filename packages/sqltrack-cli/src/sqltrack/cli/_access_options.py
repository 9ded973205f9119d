"""Options of the commands `grant` and `revoke`."""

from __future__ import annotations

import argparse
from typing import Any

from sqltrack.cli._parser import Parser, connection_options
from sqltrack.commands._access import configured_database, configured_user, require_users
from sqltrack.config import load_config

__all__ = ["add_owner_option", "tables_of"]


def add_owner_option(parser: Parser) -> None:
    """Add the option that names the owner of the tables."""
    parser.add_argument("--owner", metavar="ROLE", help="role that set up the database (default: the configured user)")


def tables_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments that name the tables and their database for the functions that build the SQL.

    Raises:
        ConfigError: the database has no users, or the configuration is unusable.
    """
    config = load_config(getattr(options, "config_path", None), **connection_options(options))
    require_users(config)
    owner = configured_user(config) if options.owner is None else options.owner
    return {"dbname": configured_database(config), "owner": owner, "schema": config.get("schema") or "public"}
