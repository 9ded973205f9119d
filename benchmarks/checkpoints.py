"""Time the checkpoints of SQLite's write-ahead log, by the number of pages after which they happen.

A call of a tracked run waits for the disk only when it makes a checkpoint. Here each checkpoint is a statement of its
own, so that it is timed alone.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import statistics
import tempfile
import time
from typing import Any

from _common import create_parser, metric_names, write_json

PAGES = (1_000, 2_000, 4_000, 10_000)
ROWS = 30_000
QUICK_ROWS = 3_000
METRICS = 10
# A page with its header in the log.
FRAME_BYTES = 4_096 + 24


def main() -> None:
    options = create_parser(__doc__).parse_args()
    rows = QUICK_ROWS if options.quick else ROWS
    results = [measure(pages, rows) for pages in PAGES]
    print(f"{'pages':>8}{'log, MB':>10}{'calls between':>15}{'each, ms':>10}{'per call, µs':>14}{'at the end, ms':>16}")
    for row in results:
        figures = f"{row['calls']:>15,}{row['each_ms']:>10.1f}{row['per_call_us']:>14.1f}{row['close_ms']:>16.1f}"
        print(f"{row['pages']:>8,}{row['pages'] * FRAME_BYTES / 1e6:>10.1f}{figures}")
    write_json(options.json, results=results)


def measure(pages: int, rows: int) -> dict[str, Any]:
    """Log rows one by one, and return the times of the checkpoints."""
    names = metric_names(METRICS)
    values = [0.123 * number for number in range(METRICS)]
    seconds, calls, last = [], [], 0
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = os.path.join(folder, "log.db")
        connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "wal_autocheckpoint = 0"):
            connection.execute(f"PRAGMA {pragma}")
        columns = ", ".join(f"{name} REAL" for name in names)
        connection.execute(f"CREATE TABLE m (step INTEGER PRIMARY KEY, {columns}) WITHOUT ROWID")
        sql = f"INSERT INTO m VALUES ({', '.join('?' * (METRICS + 1))})"
        for step in range(rows):
            connection.execute(sql, (step, *values))
            if step % 50 == 49 and os.path.getsize(f"{path}-wal") >= pages * FRAME_BYTES:
                seconds.append(time_statement(connection, "PRAGMA wal_checkpoint(RESTART)"))
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                calls.append(step - last)
                last = step
        begin = time.perf_counter()
        with contextlib.closing(connection):
            pass
        closed = time.perf_counter() - begin
    return {
        "pages": pages,
        "calls": round(statistics.median(calls)) if calls else rows,
        "each_ms": statistics.median(seconds) * 1e3 if seconds else 0.0,
        "per_call_us": sum(seconds) / rows * 1e6,
        "close_ms": closed * 1e3,
    }


def time_statement(connection: sqlite3.Connection, sql: str) -> float:
    begin = time.perf_counter()
    connection.execute(sql).fetchall()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
