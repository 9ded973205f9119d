"""Databases for tests, made quickly and dropped when they are not needed any more."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from plugins.memory import MEMORY
from plugins.postgres_binaries import major_of
from plugins.postgres_server import RunningServer
from plugins.postgres_session import connection_parameters

__all__ = ["Databases"]

# From here on CREATE DATABASE can be told how to copy.
_MAJOR_WITH_STRATEGIES = 15

_numbers = itertools.count(1)


class Databases:
    """Databases of a server; use it as a context manager.

    Args:
        server: the server.
        address: where clients reach it, over what the server itself says; the address of a pooler.
    """

    def __init__(self, server: RunningServer, address: dict[str, str]) -> None:
        # Not above: some sessions run where it is not installed.
        import psycopg

        self._server = server
        self._address = address
        self._parameters = {**connection_parameters(server), **address}
        self._connection = psycopg.connect(server.dsn, autocommit=True)
        self._kept: set[str] = set()
        self._ended: list[str] = []

    def __enter__(self) -> Databases:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop what remains, unless the server is ours and goes with it."""
        with self._connection:
            if self._server.server is None:
                self._drop(self._kept)

    def create(self, template: str = "template1") -> dict[str, Any]:
        """Create a database from a template, and return libpq's parameters for it."""
        name = f"sqltrack_test_{os.getpid()}_{next(_numbers)}"
        if self._address:
            # The pooler keeps sessions, but a template must have none.
            sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            self._connection.execute(sql, (template,))
        sql = f'CREATE DATABASE "{name}" TEMPLATE "{template}"{_strategy_sql(self._server)}'
        self._connection.execute(sql.encode())
        self._kept.add(name)
        return {**self._parameters, "dbname": name}

    def drop(self, names: Sequence[str]) -> None:
        """Drop databases, with the next ones: the server waits for sessions that are about to end."""
        self._drop(self._ended)
        self._ended = list(names)

    def _drop(self, names: Iterable[str]) -> None:
        for name in list(names):
            self._connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
            self._kept.discard(name)


def _strategy_sql(server: RunningServer) -> str:
    """Copy files in memory, which takes a third of the time; on a disk, where it takes more, leave it to the server."""
    own = server.server
    if own is None or not own.data_dir.is_relative_to(MEMORY) or major_of(own.version) < _MAJOR_WITH_STRATEGIES:
        return ""
    return " STRATEGY FILE_COPY"
