"""The PostgreSQL server of a test session, and the pooler in front of it."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from plugins.pgbouncer import PgBouncer
from plugins.pgbouncer import find_version as find_pooler_version
from plugins.postgres_server import NoServerError, PostgresServer, RunningServer, find_version, running_server

__all__ = ["LEASE", "ServerLease", "connection_parameters", "describe_server", "start_server"]


def connection_parameters(server: PostgresServer | RunningServer) -> dict[str, Any]:
    """Return libpq's parameters for the superuser of a server."""
    # Imported here, because some sessions run without it.
    import psycopg

    return dict(psycopg.conninfo.conninfo_to_dict(server.dsn))


class ServerLease:
    """The session's PostgreSQL server, and the pooler in front of it, started on first use.

    Args:
        behind_pooler: whether to start a pooler.

    Attributes:
        pooler: the pooler; None without one, or before the server runs.
    """

    def __init__(self, *, behind_pooler: bool) -> None:
        self.pooler: PgBouncer | None = None
        self._behind_pooler = behind_pooler
        self._stack = contextlib.ExitStack()
        self._server: RunningServer | None = None
        self._error: NoServerError | None = None

    def server(self) -> RunningServer:
        if self._error is not None:
            raise self._error
        if self._server is None:
            try:
                self._server = self._stack.enter_context(running_server())
            except NoServerError as error:
                self._error = error
                raise
            if self._behind_pooler:
                self.pooler = self._stack.enter_context(PgBouncer(connection_parameters(self._server)))
        return self._server

    def describe(self) -> str:
        try:
            version = f"PostgreSQL {find_version()}"
        except NoServerError:
            return "no PostgreSQL server"
        return f"{version} behind PgBouncer {find_pooler_version()}" if self._behind_pooler else version

    def close(self) -> None:
        self._stack.close()


LEASE = pytest.StashKey[ServerLease]()


def start_server(config: pytest.Config) -> None:
    """Start the server in a process that runs tests, if possible; call it before tests change the environment."""
    # With pytest-xdist, tests run in other processes, each with its own server.
    if config.getoption("dist", "no") == "no":
        with contextlib.suppress(NoServerError):
            config.stash[LEASE].server()


def describe_server(config: pytest.Config) -> str:
    """Return the versions of the session's server and of its pooler, for the header of the report."""
    return config.stash[LEASE].describe()
