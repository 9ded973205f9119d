"""Sources of imports for the tests, and what is stored of them."""

from __future__ import annotations

import contextlib
import csv
import math
import sqlite3
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sqltrack
from sqltrack.importers import ImportReport, apply_import, plan_import
from sqltrack.importers._event_files import framed as record

__all__ = [
    "COMMON_METRICS",
    "DATA",
    "check_import",
    "counts",
    "event",
    "everything",
    "extras_of",
    "field",
    "links_of",
    "metrics_of",
    "record",
    "restore",
    "write_csv",
]

DATA = Path(__file__).parents[1] / "importers" / "data"

# The content of most records; the metric "again" has two values at step 0.
COMMON_METRICS = [
    (0, 0.0, 1.0, 0.5, None, 1.0),
    (0, 1.0, None, None, None, 2.0),
    (1, 0.0, 0.5, 0.6, "NaN", None),
    (2, 0.0, 1 / 3, 0.7, math.inf, None),
]


def counts(report: ImportReport) -> tuple[int, int, int, int]:
    """Return the numbers of new, continued, unchanged and broken runs."""
    new, continued, unchanged, broken = map(report.count, ("new", "continued", "unchanged", "broken"))
    return new, continued, unchanged, broken


def check_import(client: sqltrack.Client, kind: str | None, source: Any, **options: Any) -> ImportReport:
    """Import a source: the plan is exact, both sides agree, and a second import changes nothing."""
    before = everything(client)
    planned = plan_import(client, kind, str(source), **options)
    assert everything(client) == before
    done = apply_import(client, kind, str(source), **options)
    assert [(run.id, run.outcome, run.values, run.added) for run in planned.runs] == [
        (run.id, run.outcome, run.values, run.added) for run in done.runs
    ]
    assert [run.metrics for run in planned.runs] == [run.metrics for run in done.runs]
    assert [run.stored for run in done.runs] == [run.metrics for run in done.runs]
    assert (planned.skipped, [run.left_out for run in planned.runs]) == (
        done.skipped,
        [run.left_out for run in done.runs],
    )
    after = everything(client)
    again = apply_import(client, kind, str(source), **options)
    assert counts(again)[:2] == (0, 0)
    assert again.added == 0
    assert everything(client) == after
    return done


def links_of(client: sqltrack.Client) -> list[tuple[Any, ...]]:
    """Return the comments of linked runs."""
    return client.execute("""
        SELECT a.comment, kind, b.comment FROM run_links JOIN runs a ON a.id = from_id JOIN runs b ON b.id = to_id
    """).fetchall()


def metrics_of(client: sqltrack.Client, run_id: int, *names: str) -> list[tuple[Any, ...]]:
    """Return steps, progress and metrics of a run; NaN is text, as in SQLite."""
    columns = ", ".join(f'"{name}"' for name in names)
    rows = client.execute(
        f"SELECT step, progress, {columns} FROM metrics WHERE run_id = {run_id} ORDER BY step, progress"
    )
    return [tuple("NaN" if value != value else value for value in row) for row in rows]


def everything(client: sqltrack.Client) -> list[list[str]]:
    """Return all rows of all tables."""
    order = {"experiments": "1", "runs": "1", "run_links": "1, 2, 3", "metrics": "1, 2, 3"}
    return [
        [repr(row) for row in client.execute(f"SELECT * FROM {table} ORDER BY {by}")] for table, by in order.items()
    ]


def extras_of(client: sqltrack.Client, run_id: int) -> dict[str, Any]:
    (extras,) = client.execute(f"SELECT extras FROM runs WHERE id = {run_id}").fetchone()
    return dict(extras)


def restore(script: str, path: Path) -> Path:
    """Create a SQLite file with a script of the data."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript((DATA / script).read_text(encoding="utf-8"))
    return path


def write_csv(path: Path, rows: list[list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def field(number: int, value: Any) -> bytes:
    """Return a field of a protocol buffer: a varint for an int, a double for a float, otherwise bytes."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value & (1 << 64) - 1)
    if isinstance(value, float):
        return _varint(number << 3 | 1) + struct.pack("<d", value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def event(step: int, time: float, values: Iterable[tuple[str, float]]) -> bytes:
    """Return an event of TensorBoard with scalars."""
    summary = b"".join(
        field(1, field(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value)) for name, value in values
    )
    return field(1, time) + field(2, step) + field(5, summary)


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
