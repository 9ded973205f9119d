"""A PostgreSQL server with passwords and a certificate, and one that answers in another language."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import psycopg
import trustme

from plugins.postgres_server import PostgresServer

__all__ = ["PASSWORD", "SecureServer", "answering_in_german", "secure_server"]

PASSWORD = "s3cret: 100% 'pä\\ß'"  # noqa: S105

# The name in the server's certificate.
HOST = "localhost"

# First match wins: pg_hba.conf chooses by user how a client authenticates.
_HBA = """
local all postgres trust
local all peer peer
local all all scram-sha-256
host all rejected 127.0.0.1/32 reject
hostssl all only_ssl 127.0.0.1/32 scram-sha-256
hostssl all certified 127.0.0.1/32 cert
hostssl all other_scram 127.0.0.1/32 md5
host all stranger 127.0.0.1/32 scram-sha-256
host all +members 127.0.0.1/32 scram-sha-256
"""

# Users who may connect by password, and users who authenticate in other ways.
_MEMBERS = {
    "alice": "",
    "closed_out": "NOLOGIN",
    "expired": "VALID UNTIL '2001-01-01'",
    "limited": "CONNECTION LIMIT 0",
    "no_password": "PASSWORD NULL",
}
_OTHERS = ("certified", "only_ssl", "other_scram", "peer", "rejected")


class SecureServer:
    """A running server whose users have the password `PASSWORD`.

    Args:
        server: the server.
        certificates: folder with `authority.pem`, which signed the server's certificate, `other_authority.pem`, and
            client certificates of the users "certified" and "someone", each NAME.pem with NAME.key.
    """

    def __init__(self, server: PostgresServer, certificates: Path) -> None:
        self.server = server
        self.certificates = certificates

    def config(self, user: str, **parameters: Any) -> dict[str, Any]:
        """Return a configuration without a password, over TCP, without parameters that are None."""
        config = {
            "engine": "postgres",
            "host": HOST,
            # The name may have another meaning on this machine.
            "hostaddr": "127.0.0.1",
            "port": self.server.port,
            "dbname": "postgres",
            "user": user,
            **parameters,
        }
        return {name: value for name, value in config.items() if value is not None}

    def as_superuser(self) -> psycopg.Connection[Any]:
        """Connect as the superuser, who needs no password, with autocommit."""
        return psycopg.connect(self.server.dsn, autocommit=True)

    def create_user(self, name: str, password: str, group: str | None = "members") -> None:
        """Create a user who may connect by password, as a member of that group."""
        with self.as_superuser() as connection:
            statement = psycopg.sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            connection.execute(statement.format(psycopg.sql.Identifier(name), psycopg.sql.Literal(password)))
            if group is not None:
                connection.execute(
                    psycopg.sql.SQL("GRANT {} TO {}").format(*map(psycopg.sql.Identifier, (group, name)))
                )

    @contextlib.contextmanager
    def without_ssl(self) -> Iterator[None]:
        """Turn SSL off for a while."""
        self._set_ssl("off")
        try:
            yield
        finally:
            self._set_ssl("on")

    def _set_ssl(self, value: str) -> None:
        with self.as_superuser() as connection:
            connection.execute(f"ALTER SYSTEM SET ssl = {value}".encode())
        self.server.restart()

    def set_password(self, name: str, password: str) -> None:
        """Change a user's password and end the user's sessions."""
        with self.as_superuser() as connection:
            statement = psycopg.sql.SQL("ALTER ROLE {} PASSWORD {}")
            connection.execute(statement.format(psycopg.sql.Identifier(name), psycopg.sql.Literal(password)))
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"
            while connection.execute(query.encode(), (name,)).fetchall():
                pass


@contextlib.contextmanager
def secure_server(binaries: Path) -> Iterator[SecureServer]:
    """Start such a server."""
    settings = {"password_encryption": "scram-sha-256"}
    with tempfile.TemporaryDirectory() as folder, PostgresServer(binaries, settings) as server:
        secure = SecureServer(server, Path(folder))
        with secure.as_superuser() as connection:
            for name, value in {"ssl": "on", "ssl_ca_file": "authority.pem"}.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            connection.execute("CREATE ROLE members")
            connection.execute("CREATE DATABASE private")
            connection.execute("REVOKE CONNECT ON DATABASE private FROM PUBLIC")
            connection.execute("CREATE DATABASE closed ALLOW_CONNECTIONS false")
        for name in _OTHERS:
            secure.create_user(name, PASSWORD, group=None)
        for name, options in _MEMBERS.items():
            secure.create_user(name, PASSWORD)
            with secure.as_superuser() as connection:
                connection.execute(f"ALTER ROLE {name} {options}".encode())
        (server.data_dir / "pg_hba.conf").write_text(_HBA)
        _issue_certificates(server, Path(folder))
        server.restart()
        yield secure


def _issue_certificates(server: PostgresServer, folder: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "other_authority.pem"))
    for name in ("certified", "someone"):
        certificate = authority.issue_cert(f"{name}@example.org", common_name=name)
        certificate.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
        _write_private(folder / f"{name}.key", certificate.private_key_pem.bytes())
    certificate = authority.issue_cert(HOST)
    _write_private(server.data_dir / "server.crt", certificate.cert_chain_pems[0].bytes())
    _write_private(server.data_dir / "server.key", certificate.private_key_pem.bytes())
    shutil.copy(folder / "authority.pem", server.data_dir)
    owner = server.data_dir.stat()
    if os.geteuid() == 0:
        for file in ("server.crt", "server.key", "authority.pem"):
            os.chown(server.data_dir / file, owner.st_uid, owner.st_gid)


def _write_private(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)


# In other words

_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104


@contextlib.contextmanager
def answering_in_german(state: str, message: str, *, asks_for_password: bool) -> Iterator[int]:
    """Listen for PostgreSQL's clients and refuse all of them in German.

    Few machines have the locale that a real German server needs.

    Args:
        state: SQLSTATE.
        message: text of the error.
        asks_for_password: whether to ask the client for its password first.

    Yields:
        The port.
    """
    fields = {"S": "FATAL", "V": "FATAL", "C": state, "M": message}
    answer = b"".join(key.encode() + value.encode() + b"\0" for key, value in fields.items()) + b"\0"
    stopping = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while not stopping.is_set():
                client, _ = listener.accept()
                with client, contextlib.suppress(OSError):
                    _refuse(client, answer, asks_for_password)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            stopping.set()
            # One more client, which sends nothing, wakes the thread.
            socket.create_connection(listener.getsockname()).close()
            thread.join()


def _refuse(client: socket.socket, answer: bytes, asks_for_password: bool) -> None:
    with client.makefile("rb") as reader:
        while (code := _read_startup(reader)) in (_SSL_REQUEST, _GSS_REQUEST):
            client.sendall(b"N")
        if code is None:
            return
        if asks_for_password:
            client.sendall(b"R" + struct.pack("!ii", 8, 3))
            header = reader.read(5)
            # A client without a password disconnects.
            if len(header) < 5:
                return
            reader.read(struct.unpack("!i", header[1:])[0] - 4)
        client.sendall(b"E" + struct.pack("!i", len(answer) + 4) + answer)


def _read_startup(reader: BinaryIO) -> int | None:
    """Return the code of a client's first message, or None if the client has disconnected."""
    header = reader.read(8)
    if len(header) < 8:
        return None
    length, code = struct.unpack("!ii", header)
    reader.read(length - 8)
    return int(code)
