"""Check names of users and databases, and find a user who may create them."""

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

# The user and the database of a new server.
_FIRST = "postgres"


def require_users(config: Mapping[str, Any]) -> None:
    """Check that the database of a configuration has users. Its driver need not be installed.

    Raises:
        ConfigError: it has no users, or the engine is unknown.
    """
    if not has_users(config):
        raise ConfigError(
            f"engine {config['engine']!r} has no users or rights; setup creates its database",
            "for a database on a server choose engine=postgres",
        )


def configured_user(config: Mapping[str, Any]) -> str:
    """Return the name of the user in a configuration.

    Raises:
        ConfigError: no user is configured.
        UnusableValueError: (a ValueError) the name is unusable.
    """
    return check_name("user", _parameter(config, "user", "PGUSER"))


def configured_database(config: Mapping[str, Any]) -> str:
    """Return the name of the database in a configuration; raises like `configured_user`."""
    name = config.get("dbname", os.environ.get("PGDATABASE"))
    return configured_user(config) if name is None else check_name("database", name)


def check_name(kind: str, name: str) -> str:
    """Return the name of a user, database or schema after checking it.

    Raises:
        UnusableValueError: (a ValueError) it is empty, too long for PostgreSQL, or holds control characters.
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
    """Check that rights can be granted to a user and revoked.

    Raises:
        UnusableValueError: (a ValueError) the user is the owner, or "public".
    """
    check_name("user", user)
    check_name("user", owner)
    if user == "public":
        # PostgreSQL reads it as a keyword even in quotes.
        raise UnusableValueError("'public' means all users, expected the name of one user")
    if user == owner:
        raise UnusableValueError(f"user {user!r} owns the tables and has all rights, expected another user")


def only_creates(client: Client, scripts: Iterable[str]) -> bool:
    """Return whether scripts only create users and databases, like the SQL of `create`."""
    if not has_users(client.config):
        return False
    statements = [item.text for script in scripts for item in locate_statements(script, client.engine.dialect)]
    return bool(statements) and all(text.upper().split()[:2] in _CREATIONS for text in statements)


_CREATIONS = (["CREATE", "ROLE"], ["CREATE", "DATABASE"])


def find_creator(client: Client, *, keep_user: bool) -> Client:
    """Return a client that can connect before the configured user and database exist.

    It tries the configured database first, then the default database of servers, and then that database as the default
    user of servers.

    Args:
        client: client of the configured database.
        keep_user: whether to connect only as the configured user.

    Raises:
        AccessDeniedError, DatabaseUnavailableError: neither the configured database nor the others accept a
            connection.
    """
    # Users and databases belong to the whole server. The password is for the configured user.
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
        # The server does not answer, or its default database is missing.
        raise errors[-1]
    raise AccessDeniedError(denied.message, "connect as a user who may create users and databases: add --user NAME")


def _parameter(config: Mapping[str, Any], name: str, variable: str) -> str:
    value = config.get(name, os.environ.get(variable))
    if value is None:
        raise ConfigError(f"no {name} is configured", f"give one with --{name}, or {name}=… in sqltrack.conf")
    return str(value)
