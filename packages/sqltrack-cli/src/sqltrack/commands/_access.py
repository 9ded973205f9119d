"""Users and databases for `create`, `execute`, `grant` and `revoke`: check their names, find who may create them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from sqltrack.client import Client
from sqltrack.engines import has_users
from sqltrack.engines.postgres.sql import MAX_NAME_BYTES
from sqltrack.engines.sqltext import locate_statements
from sqltrack.errors import AccessDeniedError, ConfigError, DatabaseUnavailableError, UnusableValueError

__all__ = [
    "check_grantee",
    "check_name",
    "configured_database",
    "configured_user",
    "find_creator",
    "only_creates",
    "require_users",
]

# The user and the database that a new server has.
_FIRST = "postgres"


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


def only_creates(client: Client, scripts: Iterable[str]) -> bool:
    """Tell whether scripts create users and databases, and do nothing else, as the SQL that `create` prints."""
    if not has_users(client.config):
        return False
    statements = [item.text for script in scripts for item in locate_statements(script, client.engine.dialect)]
    return bool(statements) and all(text.upper().split()[:2] in _CREATIONS for text in statements)


_CREATIONS = (["CREATE", "ROLE"], ["CREATE", "DATABASE"])


def find_creator(client: Client, *, keep_user: bool) -> Client:
    """Return a client that can connect before the configured user and database exist.

    The configured database is tried first, then the one that each server has, and then that one as the user that each
    server has.

    Args:
        client: client of the configured database.
        keep_user: whether to connect as the configured user only.

    Raises:
        AccessDeniedError, DatabaseUnavailableError: the configured database does not accept a connection, nor do the
            others.
    """
    # Users and databases belong to the whole server. The password is that of the configured user.
    configs = [client.config, {**client.config, "dbname": _FIRST}]
    if not keep_user:
        configs.append({name: value for name, value in configs[1].items() if name != "password"} | {"user": _FIRST})
    errors: list[AccessDeniedError | DatabaseUnavailableError] = []
    for config in configs:
        candidate = Client(config)
        try:
            candidate.engine.connect().close()
            return candidate
        except (AccessDeniedError, DatabaseUnavailableError) as error:
            errors.append(error)
    denied = next((error for error in errors if isinstance(error, AccessDeniedError)), None)
    if denied is None:
        # The server does not answer, or lacks even its own database.
        raise errors[-1]
    raise AccessDeniedError(denied.message, "execute it as a user who may create users and databases: add --user NAME")


def _parameter(config: Mapping[str, Any], name: str, variable: str) -> str:
    value = config.get(name, os.environ.get(variable))
    if value is None:
        raise ConfigError(f"no {name} is configured", f"give one with --{name}, or {name}=… in sqltrack.conf")
    return str(value)
