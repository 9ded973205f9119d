"""Find passwords of PostgreSQL users in the password file, and hash them for the server."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

__all__ = ["advise_on_password_file", "encrypt_password", "encrypt_password_offline", "find_password"]


def find_password(parameters: Mapping[str, Any]) -> str | None:
    """Return the password for a connection from the password file (passfile, PGPASSFILE, ~/.pgpass).

    libpq finds it by its own rules, and warns on stderr if others can read the file.
    """
    # An empty password keeps libpq from using PGPASSWORD or a service.
    conninfo = make_conninfo("", **{**parameters, "password": ""})
    # libpq reads the file before it sends anything; the connection is not needed after that.
    connection = psycopg.pq.PGconn.connect_start(conninfo.encode("utf-8"))
    try:
        password = connection.password
    finally:
        connection.finish()
    return password.decode("utf-8", "surrogateescape") if password else None


# An invalid address, so that libpq gives up before it sends anything.
_NOWHERE = b"hostaddr=nowhere"


def encrypt_password(connection: psycopg.Connection[Any], user: str, password: str) -> str:
    """Hash a password by the method of the server's setting password_encryption."""
    secret = password.encode("utf-8", "surrogateescape")
    return connection.pgconn.encrypt_password(secret, user.encode("utf-8")).decode("ascii")


def encrypt_password_offline(user: str, password: str) -> str:
    """Hash a password by scram-sha-256, which all servers accept, whatever their password_encryption."""
    connection = psycopg.pq.PGconn.connect_start(_NOWHERE)
    try:
        secret = password.encode("utf-8", "surrogateescape")
        return connection.encrypt_password(secret, user.encode("utf-8"), b"scram-sha-256").decode("ascii")
    finally:
        connection.finish()


def advise_on_password_file(connection: psycopg.pq.abc.PGconn) -> str:
    """Return advice for a password that libpq did not find.

    libpq does not report why, or only on stderr, which a notebook does not show.

    Args:
        connection: the connection that needed a password.
    """
    line = "a line HOST:PORT:DBNAME:USER:PASSWORD"
    path = _password_file(connection)
    if path is None:  # pragma: no cover - a user without a home
        return f"name a file that holds {line} with passfile"
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            return f"the password file {path!r} must be a plain file"
        with open(path, "rb"):
            pass
    except OSError as error:
        return f"add {line} to the password file {path!r}, which cannot be read: {error.strerror}"
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        return f"the password file {path!r} is ignored because others may use it, do: chmod 600 {shlex.quote(path)}"
    return f"the password file {path!r} has no password for this host, port, dbname and user, add {line}"


def _password_file(connection: psycopg.pq.abc.PGconn) -> str | None:
    for option in connection.info:
        if option.keyword == b"passfile" and option.val:
            return os.fsdecode(option.val)
    return None  # pragma: no cover - a user without a home
