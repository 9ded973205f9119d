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
    """Print the commands that create a user and a database of that user.

    They are not executed. After an error, nothing is printed.

    Args:
        config: the configuration with the names in `user` and `dbname`, unless `kwargs` holds others.
        no_user: whether to leave out the user.
        no_db: whether to leave out the database.
        kwargs: see `create_sql`.

    Raises:
        ConfigError: (a ValueError) the engine has no users, or the name of the user is missing.
        UnusableValueError: (a ValueError) a name or password is unusable.
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
        config: the configuration, also for connecting to the server to find its password encryption.
        no_user: whether to leave out the user.
        no_db: whether to leave out the database.
        password: the new user's password, or True to take it from the password file or a prompt.
        plain_password: whether to print the password unencrypted; implies `password`. By default, it is encrypted with
            the method of the server, or with scram-sha-256 if connecting fails, for example because the user does not
            exist yet.
        kwargs: parameters that override the configuration; `user` and `dbname` in here are the names to create, and not
            used for connecting.
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
    """Return the given password, or one from the password file or a prompt."""
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
            # If getpass cannot turn off the echo, it would warn and show the password.
            warnings.simplefilter("error", getpass.GetPassWarning)
            password = getpass.getpass(f"password for the new user {user!r}: ")
            again = getpass.getpass("the same password again: ")
    except (getpass.GetPassWarning, EOFError, OSError):
        raise ConfigError(
            f"the password file has no password for user {user!r}, and there is no terminal to ask for it",
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
        # The user of the connection may be the one to create.
        return admin_of(engine).encrypt_password(user, password)
    try:
        return admin_of(engine, connection).encrypt_password(user, password)
    finally:
        connection.close()
