"""A standby of a PostgreSQL server: it follows the primary, can be read, and can take over."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Mapping

import psycopg

from plugins.postgres_server import PostgresServer

__all__ = ["StandbyServer", "become_standby", "promote", "wait_until_copied"]

_SIGNAL = "standby.signal"


class StandbyServer(PostgresServer):
    """A hot standby with a copy of a primary's data, which it follows by streaming replication.

    Starting it restarts the primary, because the data are copied while that is stopped.

    Args:
        primary: a running server.
        settings: server settings, as for `PostgresServer`.
    """

    def __init__(self, primary: PostgresServer, settings: Mapping[str, str] | None = None) -> None:
        source = f"host=127.0.0.1 port={primary.port} user=postgres application_name=standby"
        following = {"primary_conninfo": source, "wal_retrieve_retry_interval": "100ms"}
        super().__init__(primary.binaries, {**following, **(settings or {})})
        self._primary = primary

    def _fill(self) -> None:
        primary = self._primary
        primary._end(signal.SIGINT)
        try:
            shutil.copytree(primary.data_dir, self.data_dir, dirs_exist_ok=True, ignore=_without_files_of_processes)
        finally:
            primary.start()
        (self.data_dir / _SIGNAL).touch()
        self.log_file.touch()
        self._own_all()

    def _own_all(self) -> None:
        if self._account is None:
            return
        for folder, _, names in os.walk(self.data_dir):
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                os.chown(path, self._account.uid, self._account.gid)


def become_standby(server: PostgresServer) -> None:
    """Restart a server as a standby that follows nobody, as an old primary that comes back after a failover."""
    if server._pid is not None:
        server.kill()
    path = server.data_dir / _SIGNAL
    path.touch()
    if server._account is not None:
        os.chown(path, server._account.uid, server._account.gid)
    server.start()


def promote(server: PostgresServer) -> None:
    """Make a standby writable, and wait until it is."""
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_promote(true, 60)")
        # No server waits for a standby of its own.
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        connection.execute("SELECT pg_reload_conf()")


def _without_files_of_processes(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name in ("postmaster.pid", "postmaster.opts")}


def wait_until_copied(primary: PostgresServer, standby: PostgresServer) -> None:
    """Wait until a standby shows what its primary has stored."""
    with psycopg.connect(primary.dsn) as connection:
        (position,) = connection.execute("SELECT pg_current_wal_lsn()::text").fetchone() or ("",)
    with psycopg.connect(standby.dsn, autocommit=True) as connection:
        while connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (position,)).fetchone() != (True,):
            time.sleep(0.01)
