"""Databases for tests, created quickly and dropped when they are no longer needed."""

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

# From this version on, CREATE DATABASE has a STRATEGY.
_MAJOR_WITH_STRATEGIES = 15

_numbers = itertools.count(1)


class Databases:
    """Databases of a server; use it as a context manager.

    Args:
        server: the server.
        address: parameters that override the server's own address, such as the address of a pooler.
    """

    def __init__(self, server: RunningServer, address: dict[str, str]) -> None:
        # Imported here, because some sessions run without it.
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
        """Drop the remaining databases, unless the server is ours and will be removed anyway."""
        with self._connection:
            if self._server.server is None:
                self._drop(self._kept)

    def create(self, template: str = "template1") -> dict[str, Any]:
        """Create a database from a template, and return libpq's parameters for it."""
        name = f"sqltrack_test_{os.getpid()}_{next(_numbers)}"
        if self._address:
            # The pooler keeps sessions open, but a template must have none.
            sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            self._connection.execute(sql, (template,))
        sql = f'CREATE DATABASE "{name}" TEMPLATE "{template}"{_strategy_sql(self._server)}'
        self._connection.execute(sql.encode())
        self._kept.add(name)
        return {**self._parameters, "dbname": name}

    def drop(self, names: Sequence[str]) -> None:
        """Drop databases later, together with the next ones, because the server waits for sessions that are ending."""
        self._drop(self._ended)
        self._ended = list(names)

    def _drop(self, names: Iterable[str]) -> None:
        for name in list(names):
            self._connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
            self._kept.discard(name)


def _strategy_sql(server: RunningServer) -> str:
    """Copy files in memory, which takes a third of the time; on a disk it takes longer, so the server chooses."""
    own = server.server
    if own is None or not own.data_dir.is_relative_to(MEMORY) or major_of(own.version) < _MAJOR_WITH_STRATEGIES:
        return ""
    return " STRATEGY FILE_COPY"
