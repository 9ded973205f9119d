"""Outages of databases, and their effect on a training loop."""

from __future__ import annotations

import contextlib
import itertools
import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg

import sqltrack
from plugins.postgres_server import PostgresServer
from sqltrack import Experiment, Run
from sqltrack.commands import setup
from support.cut_proxy import CutProxy
from support.databases import ask, connect_to_sqlite
from support.frozen import frozen_server
from support.metrics import same

__all__ = [
    "OUTAGES",
    "PASSWORD",
    "Outage",
    "OutageServer",
    "TrainingLoop",
    "expect_all_rows",
    "full_disk",
    "locked_file",
    "outage_server",
    "outbox_files",
    "outbox_settings",
]

PASSWORD = "s3cret pass"  # noqa: S105

# Servers before PostgreSQL 14 would store passwords in another form.
_HASH_SQL = "SET password_encryption = 'scram-sha-256'"

# Seconds between two calls of a training loop, and seconds by which a call may exceed its patience on a busy machine.
# Outages must be longer than both, or the limit shows nothing.
_PAUSE, _GRACE = 0.05, 1.5

_USER = "writer"

# Sessions of this user, who is not a superuser.
_END_SESSIONS_SQL = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{_USER}'"

Outage = Callable[["OutageServer"], contextlib.AbstractContextManager[None]]


def outbox_settings(tmp_path: Path, **settings: Any) -> dict[str, Any]:
    """Return settings of a client with an outbox."""
    return {"outbox": "on", "outbox_dir": str(tmp_path / "outbox"), "patience": 0.5, **settings}


def outbox_files(config: dict[str, Any]) -> list[str]:
    """Return the names of the files in the folder for outboxes."""
    folder = Path(config["outbox_dir"])
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


# Servers


class OutageServer:
    """A small PostgreSQL server with a user who tracks runs in a database and needs a password.

    Args:
        server: the server.
        proxy: a proxy to it whose network can be cut.

    Attributes:
        server, proxy: the same.
    """

    def __init__(self, server: PostgresServer, proxy: CutProxy) -> None:
        self.server = server
        self.proxy = proxy

    def config(self, **settings: Any) -> dict[str, Any]:
        """Return a configuration for that user, through the proxy."""
        address = {"host": "127.0.0.1", "port": self.proxy.port}
        return {"engine": "postgres", **address, "user": _USER, "password": PASSWORD, "dbname": "tracked", **settings}

    def direct_config(self) -> dict[str, Any]:
        """Return a configuration for the superuser, without the proxy and without an outbox."""
        return {"engine": "postgres", **psycopg.conninfo.conninfo_to_dict(self.server.dsn), "dbname": "tracked"}

    def as_superuser(self, dbname: str = "tracked") -> psycopg.Connection[Any]:
        """Connect as the superuser, with autocommit."""
        return psycopg.connect(self.server.dsn, dbname=dbname, autocommit=True)

    def execute(self, *statements: str) -> None:
        """Execute statements as the superuser."""
        with self.as_superuser() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def end_sessions(self) -> None:
        """End all sessions of that user."""
        with self.as_superuser() as connection:
            while connection.execute(_END_SESSIONS_SQL.encode()).fetchall():
                pass

    def fresh_database(self) -> None:
        """Replace the user's database by an empty one after setup."""
        with self.as_superuser("postgres") as connection:
            connection.execute(b"DROP DATABASE IF EXISTS tracked WITH (FORCE)")
            connection.execute(f"CREATE DATABASE tracked OWNER {_USER}".encode())
        setup(sqltrack.Client({**self.config(), "host": str(self.server.socket_dir), "port": self.server.port}))


@contextlib.contextmanager
def outage_server(binaries: Path) -> Iterator[OutageServer]:
    """Start a server with few connections."""
    settings = {"max_connections": "12", "superuser_reserved_connections": "3"}
    with PostgresServer(binaries, settings) as server:
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute(_HASH_SQL)
            connection.execute(f"CREATE ROLE {_USER} LOGIN PASSWORD '{PASSWORD}'".encode())
        path = server.data_dir / "pg_hba.conf"
        lines = [f"{kind} scram-sha-256" for kind in (f"local all {_USER}", f"host all {_USER} 127.0.0.1/32")]
        path.write_text("\n".join([*lines, path.read_text()]))
        server.restart()
        with CutProxy(f"{server.socket_dir}/.s.PGSQL.{server.port}") as proxy:
            yield OutageServer(server, proxy)


# Outages of servers


@contextlib.contextmanager
def _stopped(server: OutageServer) -> Iterator[None]:
    server.server.kill()
    try:
        yield
    finally:
        server.server.start()


@contextlib.contextmanager
def _frozen(server: OutageServer) -> Iterator[None]:
    with frozen_server(server.server):
        yield


@contextlib.contextmanager
def _silent(server: OutageServer) -> Iterator[None]:
    server.proxy.silence()
    try:
        yield
    finally:
        server.proxy.heal()


@contextlib.contextmanager
def _swallowing(server: OutageServer) -> Iterator[None]:
    server.proxy.swallow()
    try:
        yield
    finally:
        server.proxy.swallow(new=False)


@contextlib.contextmanager
def _locked_table(server: OutageServer) -> Iterator[None]:
    with server.as_superuser() as connection, connection.transaction():
        connection.execute(b"LOCK TABLE metrics")
        yield


@contextlib.contextmanager
def _no_connections(server: OutageServer) -> Iterator[None]:
    with contextlib.ExitStack() as stack:

        def take_all() -> None:
            with contextlib.suppress(psycopg.OperationalError):
                for _ in itertools.repeat(None, 100):
                    connection = psycopg.connect(server.server.dsn, user=_USER, password=PASSWORD, dbname="tracked")
                    stack.callback(connection.close)

        server.end_sessions()
        take_all()
        yield


@contextlib.contextmanager
def _changed_password(server: OutageServer) -> Iterator[None]:
    server.execute(_HASH_SQL, f"ALTER ROLE {_USER} PASSWORD 'another'")
    server.end_sessions()
    try:
        yield
    finally:
        server.execute(_HASH_SQL, f"ALTER ROLE {_USER} PASSWORD '{PASSWORD}'")


@contextlib.contextmanager
def _read_only_role(server: OutageServer) -> Iterator[None]:
    server.execute(f"ALTER ROLE {_USER} SET default_transaction_read_only = on")
    server.end_sessions()
    try:
        yield
    finally:
        server.execute(f"ALTER ROLE {_USER} RESET default_transaction_read_only")


@contextlib.contextmanager
def _read_only_database(server: OutageServer) -> Iterator[None]:
    sql = b"ALTER DATABASE tracked SET default_transaction_read_only = %s"
    with server.as_superuser("postgres") as connection:
        connection.execute(sql % b"on")
        server.end_sessions()
        try:
            yield
        finally:
            connection.execute(sql % b"off")


OUTAGES: dict[str, Outage] = {
    "stopped server": _stopped,
    "frozen server": _frozen,
    "silent network": _silent,
    "swallowing network": _swallowing,
    "locked table": _locked_table,
    "no connection left": _no_connections,
    "changed password": _changed_password,
    "read-only role": _read_only_role,
    "read-only database": _read_only_database,
}


# Outages of files


@contextlib.contextmanager
def locked_file(config: dict[str, Any]) -> Iterator[None]:
    """Let another writer lock a SQLite file."""
    connection = connect_to_sqlite(config)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@contextlib.contextmanager
def full_disk(config: dict[str, Any]) -> Iterator[None]:
    """Fill the file system of a SQLite file, and the free space in its log."""
    ballast = Path(config["dbpath"]).with_name("ballast")
    with contextlib.closing(sqlite3.connect(config["dbpath"])) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        ballast.unlink()


# Loops


def _value(step: int) -> float:
    return math.nan if step % 3 == 2 else step / 7


class TrainingLoop:
    """A loop that logs twenty steps a second and measures each call.

    Args:
        run: the run.
        pause: seconds between two calls.

    Attributes:
        run: the same.
        steps: number of logged steps.
        seconds: durations of the calls during outages.
    """

    def __init__(self, run: Run, pause: float = _PAUSE) -> None:
        self.run = run
        self.steps = 0
        self.seconds: list[float] = []
        self._pause = pause

    @classmethod
    def begin(cls, config: dict[str, Any], pause: float = _PAUSE) -> TrainingLoop:
        """Begin a run."""
        client = sqltrack.Client(config)
        return cls(Experiment(client, name="experiment").get_run(), pause)

    def log(self, number: int) -> list[float]:
        """Log steps; return the seconds of each call."""
        seconds = []
        for _ in range(number):
            begin = time.monotonic()
            self.run.add_metrics({"loss": _value(self.steps), "text": f"step {self.steps}"}, step=self.steps)
            seconds.append(time.monotonic() - begin)
            self.steps += 1
            time.sleep(self._pause)
        return seconds

    def log_during(self, outage: contextlib.AbstractContextManager[None], seconds: float) -> None:
        """Log steps before, during and after an outage of this many seconds, and wait until they have arrived."""
        self.log(3)
        with outage:
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                self.seconds += self.log(1)
        self.log(3)
        assert self.run.flush(60)

    def expect_bounded(self, patience: float, share: float = 0.5, fast: float | None = None) -> None:
        """Check that the call that met the outage was within its limit, and that this share of the others did not wait.

        On a busy machine, a call that does not wait may take some tenths of a second, so it may take half of the
        patience, unless `fast` names its limit in seconds.
        """
        assert max(self.seconds) <= patience + _GRACE
        later = sorted(self.seconds[1:])
        # A busy machine may not reach any of them.
        assert not later or later[int(len(later) * share)] < (fast or patience / 2)


def expect_all_rows(config: dict[str, Any], loop: TrainingLoop) -> None:
    """Check that each logged step is stored once, with its values."""
    sql = "SELECT step, loss, text FROM metrics WHERE run_id = %s ORDER BY step"
    rows: Sequence[Any] = sqltrack.Client(config).execute(sql, (loop.run.id,)).fetchall()
    assert [step for step, _, _ in rows] == list(range(loop.steps))
    assert all(same(loss, _value(step)) and text == f"step {step}" for step, loss, text in rows)
    assert ask(config, f"SELECT COUNT(*) FROM metrics WHERE run_id = {loop.run.id}") == loop.steps
