"""Check a SQLite database and its file system."""

from __future__ import annotations

import os
import shutil
import sqlite3
from functools import partial
from typing import TYPE_CHECKING

from sqltrack.engines._missing_index import LARGE_ROWS, missing_index
from sqltrack.engines.checks import PATIENCE, Checks, Verdict, fetch_rows, note, ok, problem
from sqltrack.engines.schema import KEY
from sqltrack.engines.sqlite._connection import Connection
from sqltrack.engines.sqlite._file_errors import find_lock_refusal
from sqltrack.engines.sqlite._filesystem import is_network_file_system
from sqltrack.engines.sqlite._interruptible import interruptible
from sqltrack.wording import short_bytes

if TYPE_CHECKING:
    from sqltrack.engines.sqlite._engine import SQLiteEngine

__all__ = ["sqlite_checks"]

# Free bytes on the disk.
_NO_ROOM, _LITTLE_ROOM = 100 * 10**6, 10**9

_SHOWN_FAULTS = 3


def sqlite_checks(engine: SQLiteEngine, connection: Connection, *, full: bool) -> Checks:
    """Return the checks for a SQLite database."""
    checks = {
        "version": _version,
        "file": _file,
        "journal": _journal,
        "writable": _writable,
        "disk": _disk,
        "best values": _best_values,
        **({"integrity": _integrity, "references": _references} if full else {}),
    }
    return {name: partial(check, engine, connection) for name, check in checks.items()}


def _version(engine: SQLiteEngine, connection: Connection) -> Verdict:
    return ok(f"SQLite {sqlite3.sqlite_version} (supported: 3.35 or newer)")


def _file(engine: SQLiteEngine, connection: Connection) -> Verdict:
    path = engine.path
    # The write-ahead log holds changes that are not in the file yet.
    size = sum(os.path.getsize(file) for file in (path, f"{path}-wal") if os.path.exists(file))
    found = f"{path}, {short_bytes(size)}"
    if is_network_file_system(path):
        return note(
            f"{found}, on a network file system",
            "SQLite relies on its locks; if several machines write, PostgreSQL is the safe choice",
        )
    return ok(found)


def _journal(engine: SQLiteEngine, connection: Connection) -> Verdict:
    mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
    on_network = is_network_file_system(engine.path)
    if mode == "wal" and on_network:
        return problem(
            "write-ahead log on a network file system, which corrupts the database",
            "while no process uses it, execute: PRAGMA journal_mode = DELETE",
        )
    if mode == "wal" or on_network:
        return ok(f"journal_mode = {mode}")
    return note(
        f"journal_mode = {mode}: slower than the write-ahead log, and readers and writers wait for each other",
        "sqltrack switches when no other process uses the file; if not, execute: PRAGMA journal_mode = WAL",
    )


def _writable(engine: SQLiteEngine, connection: Connection) -> Verdict:
    try:
        engine.execute_within(connection, PATIENCE, "BEGIN IMMEDIATE", ())
        # In a read-only file, this transaction would only read, so change something and roll back.
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute(f"PRAGMA user_version = {version}")
    except sqlite3.OperationalError as error:
        return _why_not_writable(str(error), engine.path)
    finally:
        connection.rollback()
    return ok("the file can be written to")


def _why_not_writable(message: str, path: str) -> Verdict:
    if "locked" in message:
        refusal = find_lock_refusal(path)
        if refusal is not None:
            return problem(
                f"the file system refuses locks ({refusal})", "move the file to a local disk, and set dbpath"
            )
        found = f"another process has been writing for {PATIENCE:g} s"
        return problem(found, "find out which process has the file open, and why")
    # SQLite reports a read-only file also if only its folder is read-only.
    if "unable to open" in message or ("readonly" in message and os.access(path, os.W_OK)):
        found = f"no file can be created in the folder {os.path.dirname(path)!r}, where SQLite must put its journal"
        return problem(found, "check its permissions")
    if "readonly" in message:
        return problem("the file is read-only, so runs cannot be tracked", "check its permissions")
    return problem(f"the file cannot be written to: {message}")


def _disk(engine: SQLiteEngine, connection: Connection) -> Verdict:
    free = shutil.disk_usage(os.path.dirname(engine.path)).free
    found = f"{short_bytes(free)} free"
    if free < _NO_ROOM:
        return problem(found, "free space; when the disk is full, metrics cannot be stored")
    return note(found, "free space before the disk is full") if free < _LITTLE_ROOM else ok(found)


def _best_values(engine: SQLiteEngine, connection: Connection) -> Verdict | None:
    columns = engine.table_columns(connection, "metrics")
    numbers = (name for name, typ in columns.items() if typ.upper() == "REAL" and name not in KEY)
    metric = next(numbers, None)
    if metric is None:
        return None
    query = f"SELECT count(*) FROM (SELECT 1 FROM metrics LIMIT {LARGE_ROWS})"
    if fetch_rows(engine, connection, query)[0][0] < LARGE_ROWS:
        return None
    query = """
        SELECT 1
        FROM pragma_index_list('metrics') AS list
            JOIN pragma_index_info(list.name) AS run ON run.seqno = 0 AND run.name = 'run_id'
            JOIN pragma_index_info(list.name) AS metric ON metric.seqno = 1
        WHERE metric.name NOT IN (%s, %s, %s)
        LIMIT 1
    """
    return None if fetch_rows(engine, connection, query, KEY) else missing_index(metric)


def _integrity(engine: SQLiteEngine, connection: Connection) -> Verdict:
    try:
        with interruptible(connection):
            faults = [str(fault) for (fault,) in connection.execute("PRAGMA quick_check(100)")]
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        # Too damaged to check.
        faults = [str(error)]
    if faults == ["ok"]:
        return ok("quick_check finds the file intact")
    shown = "; ".join(" ".join(fault.split()) for fault in faults[:_SHOWN_FAULTS])
    return problem(
        f"quick_check finds the file damaged: {shown}",
        "restore a backup, or save the readable data with: sqlite3 FILE .recover",
    )


def _references(engine: SQLiteEngine, connection: Connection) -> Verdict:
    query = 'SELECT "table", count(*) FROM pragma_foreign_key_check GROUP BY 1'
    broken = [f"{count} of {table}" for table, count in connection.execute(query)]
    if not broken:
        return ok("all rows belong to an existing run or experiment")
    return problem(
        f"rows whose run or experiment does not exist: {', '.join(broken)}",
        "they result from changes without PRAGMA foreign_keys = ON; delete them, PRAGMA foreign_key_check lists them",
    )
