"""Passwords of PostgreSQL's users: where they are kept on this side, and in which form the server keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

__all__ = ["encrypt_password", "find_password"]


def find_password(parameters: Mapping[str, Any]) -> str | None:
    """Return the password that the password file (passfile, PGPASSFILE, ~/.pgpass) holds for a connection.

    libpq looks for it by its own rules, and warns on stderr if others can read the file.
    """
    # An empty password keeps libpq from taking that of PGPASSWORD or a service.
    conninfo = make_conninfo("", **{**parameters, "password": ""})
    # The file is read before anything is sent, and after that the connection is not needed.
    connection = psycopg.pq.PGconn.connect_start(conninfo.encode("utf-8"))
    try:
        password = connection.password
    finally:
        connection.finish()
    return password.decode("utf-8", "surrogateescape") if password else None


def encrypt_password(connection: psycopg.Connection[Any], user: str, password: str) -> str:
    """Return a password encrypted by the method that the server's setting password_encryption names."""
    secret = password.encode("utf-8", "surrogateescape")
    return connection.pgconn.encrypt_password(secret, user.encode("utf-8")).decode("ascii")
