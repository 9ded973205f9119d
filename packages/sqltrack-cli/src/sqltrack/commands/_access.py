"""Check the names of users and databases for `create`, `grant` and `revoke`, and find the configured ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from sqltrack.engines import has_users
from sqltrack.engines.postgres.sql import MAX_NAME_BYTES
from sqltrack.errors import ConfigError, UnusableValueError

__all__ = ["check_grantee", "check_name", "configured_database", "configured_user", "require_users"]


def require_users(config: Mapping[str, Any]) -> None:
    """Make sure that the database of a configuration has users; its driver need not be installed.

    Raises:
        ConfigError: it has none, or the engine is unknown.
    """
    if not has_users(config):
        raise ConfigError(
            f"engine {config['engine']!r} has neither users nor rights, and its database is created when it is set up",
            "for a database on a server choose engine=postgres",
        )


def configured_user(config: Mapping[str, Any]) -> str:
    """Return the name of the user in a configuration.

    Raises:
        ConfigError: there is none.
        UnusableValueError: (a ValueError) it cannot be a name.
    """
    return check_name("user", _parameter(config, "user", "PGUSER"))


def configured_database(config: Mapping[str, Any]) -> str:
    """Return the name of the database in a configuration; raises as `configured_user`."""
    name = config.get("dbname", os.environ.get("PGDATABASE"))
    return configured_user(config) if name is None else check_name("database", name)


def check_name(kind: str, name: str) -> str:
    """Return the name of a user, database or schema.

    Raises:
        UnusableValueError: (a ValueError) it is empty, or longer than PostgreSQL's names, or holds what is not shown.
    """
    if not name:
        raise UnusableValueError(f"the name of a {kind} must not be empty")
    if not name.isprintable():
        raise UnusableValueError(f"the name of a {kind} must not hold control characters, got {name!r}")
    if len(name.encode("utf-8")) > MAX_NAME_BYTES:
        raise UnusableValueError(
            f"the name of a {kind} must be at most {MAX_NAME_BYTES} bytes long, or PostgreSQL would cut it, "
            f"got {name!r}"
        )
    return name


def check_grantee(user: str, owner: str) -> None:
    """Check that rights can be given to, and taken from, a user.

    Raises:
        UnusableValueError: (a ValueError) they cannot.
    """
    check_name("user", user)
    check_name("user", owner)
    if user == "public":
        # In quotes as well, to PostgreSQL.
        raise UnusableValueError("'public' means everybody, expected the name of one user")
    if user == owner:
        raise UnusableValueError(f"user {user!r} owns the tables and has all rights, expected another user")


def _parameter(config: Mapping[str, Any], name: str, variable: str) -> str:
    value = config.get(name, os.environ.get(variable))
    if value is None:
        raise ConfigError(f"no {name} is configured", f"give one with --{name}, or {name}=… in sqltrack.conf")
    return str(value)
