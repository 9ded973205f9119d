"""Print the SQL that creates a user and a database in PostgreSQL."""

from __future__ import annotations

import getpass
import warnings
from typing import Any

from sqltrack.commands._access import configured_database, configured_user, require_users
from sqltrack.engines import create_engine
from sqltrack.engines.admin import admin_of
from sqltrack.engines.postgres.sql import quote_if_needed
from sqltrack.errors import ConfigError, DatabaseError, UnusableValueError
from sqltrack.util import quote_text

__all__ = ["create", "create_sql"]

_RIGHTS = "NOSUPERUSER NOCREATEDB NOCREATEROLE INHERIT LOGIN"


def create(config: dict[str, Any], no_user: bool = False, no_db: bool = False, **kwargs: Any) -> None:
    """Print the commands that create a user, and a database that belongs to that user.

    They are printed only, for whoever may execute them; nothing is when one of them cannot be made.

    Args:
        config: the configuration; its `user` and `dbname` are created, unless `kwargs` holds others.
        no_user: whether to leave out the user.
        no_db: whether to leave out the database.
        kwargs: see `create_sql`.

    Raises:
        ConfigError: (a ValueError) the engine has no users, or nothing says how the user is called.
        UnusableValueError: (a ValueError) a name or password cannot be used.
        DatabaseError: the server cannot encrypt the password.
    """
    print("".join(f"{statement}\n" for statement in create_sql(config, no_user, no_db, **kwargs)), end="")


def create_sql(
    config: dict[str, Any],
    no_user: bool = False,
    no_db: bool = False,
    *,
    password: bool | str = False,
    plain_password: bool = False,
    **kwargs: Any,
) -> list[str]:
    """Return the commands that `create` prints.

    Args:
        config: the configuration, which also says how to connect to ask how to encrypt a password.
        no_user: whether to leave out the user.
        no_db: whether to leave out the database.
        password: the new user's password, or True to take it from the password file, or else to ask for it.
        plain_password: whether the password may be seen; else it is encrypted as the server says, or by scram-sha-256
            if connecting fails, for example because the user does not exist yet. Implies `password`.
        kwargs: parameters that win over those of the configuration, where `user` and `dbname` are what is created,
            and not what is connected to.
    """
    named = {**config, **kwargs}
    require_users(named)
    wants_password = password is not False or plain_password
    if wants_password and no_user:
        raise UnusableValueError("a password needs a user: ask for no password, or do not leave out the user")
    user, statements = configured_user(named), []
    if not no_user:
        secret = _password(named, password) if wants_password else None
        if secret is not None and not plain_password:
            connecting = {name: value for name, value in kwargs.items() if name not in ("user", "dbname")}
            secret = _encrypt({**config, **connecting}, user, secret)
        statements.append(_create_role_sql(user, secret))
    if not no_db:
        dbname = configured_database(named)
        statements.append(f"CREATE DATABASE {quote_if_needed(dbname)} OWNER {quote_if_needed(user)};")
    return statements


def _create_role_sql(user: str, password: str | None) -> str:
    option = "" if password is None else f" PASSWORD {quote_text(password)}"
    return f"CREATE ROLE {quote_if_needed(user)} {_RIGHTS}{option};"


def _password(config: dict[str, Any], password: bool | str) -> str:
    """Return the password that was given, is on file, or that the user types."""
    if not isinstance(password, str):
        user = configured_user(config)
        on_file = admin_of(create_engine(config)).find_password(user, configured_database(config))
        password = on_file or _ask_for_password(user)
    if not password or not password.isprintable():
        raise UnusableValueError("a password must not be empty, and not hold control characters")
    return password


def _ask_for_password(user: str) -> str:
    try:
        with warnings.catch_warnings():
            # Where it cannot turn the echo off, getpass would warn and show what is typed.
            warnings.simplefilter("error", getpass.GetPassWarning)
            password = getpass.getpass(f"password for the new user {user!r}: ")
            again = getpass.getpass("the same password again: ")
    except (getpass.GetPassWarning, EOFError, OSError):
        raise ConfigError(
            f"the password file has no password for user {user!r}, and without a terminal nobody can be asked",
            "add a line host:port:dbname:user:password to the file",
        ) from None
    if password != again:
        raise UnusableValueError("the two passwords are not the same")
    return password


def _encrypt(config: dict[str, Any], user: str, password: str) -> str:
    engine = create_engine(config)
    try:
        connection = engine.connect()
    except DatabaseError:
        # The user who could ask the server is perhaps the one to create.
        return admin_of(engine).encrypt_password(user, password)
    try:
        return admin_of(engine, connection).encrypt_password(user, password)
    finally:
        connection.close()
