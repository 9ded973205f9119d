"""Time `sqltrack import` of 1,000,000 values into SQLite, and count the memory that it takes.

Each source has one run with 10 metrics. Peak memory grows by a fixed amount only, because long runs are sorted in a
temporary file.
"""

from __future__ import annotations

import contextlib
import resource
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import sqltrack
from _common import create_parser, metric_names, write_json
from sqltrack.commands.setup import set_up_quietly
from sqltrack.importers import apply_import
from sqltrack.importers._event_files import framed

VALUES = 1_000_000
QUICK_VALUES = 20_000
METRICS = 10

MLFLOW_TABLES = """
    CREATE TABLE experiments (experiment_id INTEGER, name TEXT, lifecycle_stage TEXT);
    CREATE TABLE runs (run_uuid TEXT, name TEXT, experiment_id INTEGER, status TEXT, start_time BIGINT,
        end_time BIGINT, lifecycle_stage TEXT, artifact_uri TEXT);
    CREATE TABLE metrics (key TEXT, value FLOAT, timestamp BIGINT, run_uuid TEXT, step BIGINT, is_nan BOOLEAN,
        PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan));
    CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
    CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
    CREATE TABLE latest_metrics (key TEXT);
    INSERT INTO experiments VALUES (1, 'digits', 'active');
    INSERT INTO runs VALUES ('a', 'first', 1, 'FINISHED', 1, 2, 'active', '');
"""


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--values", type=int, help="number of values (default: 1,000,000)")
    parser.add_argument("--measure", nargs=2, metavar=("KIND", "SOURCE"), help="measure one source in this process")
    options = parser.parse_args()
    if options.measure:
        print(*measure(*options.measure))
        return
    values = options.values or (QUICK_VALUES if options.quick else VALUES)
    results = []
    for kind, write in SOURCES.items():
        with tempfile.TemporaryDirectory(dir=".") as folder:
            source = write(Path(folder), values)
            command = [sys.executable, __file__, "--measure", kind, str(source)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
        seconds, cpu, megabytes = map(float, done.stdout.split())
        results.append({"kind": kind, "values": values, "seconds": seconds, "cpu": cpu, "peak_mb": megabytes})
    print(f"{'kind':<14}{'values':>12}{'seconds':>10}{'CPU, s':>10}{'values/s':>12}{'peak, MB':>10}")
    for row in results:
        rate = row["values"] / row["seconds"]
        figures = f"{row['seconds']:>10.1f}{row['cpu']:>10.1f}{rate:>12,.0f}{row['peak_mb']:>10.0f}"
        print(f"{row['kind']:<14}{row['values']:>12,}{figures}")
    write_json(options.json, results=results)


def measure(kind: str, source: str) -> tuple[float, float, float]:
    """Return the seconds that an import takes, its CPU seconds, and the peak memory of the process in MB."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        client = sqltrack.Client(engine="sqlite", dbpath=f"{folder}/sqltrack.db", outbox="off")
        set_up_quietly(client)
        begin, begin_cpu = time.perf_counter(), time.process_time()
        report = apply_import(client, kind, source)
        seconds, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
        assert report.count("new") == 1
        assert not report.has_problems
    return seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rows(values: int) -> Iterator[tuple[int, list[float]]]:
    """Return steps with their values."""
    for step in range(values // METRICS):
        yield step, [(step + 1) / (number + 3) for number in range(METRICS)]


def write_csv(folder: Path, values: int) -> Path:
    path = folder / "metrics.csv"
    with path.open("w", encoding="utf-8") as file:
        print("step", *metric_names(METRICS), sep=",", file=file)
        for step, row in rows(values):
            print(step, *row, sep=",", file=file)
    return path


def write_events(folder: Path, values: int) -> Path:
    """Write an event file as PyTorch does: an event for each value."""
    names = [name.encode() for name in metric_names(METRICS)]
    with (folder / "events.out.tfevents.1.host").open("wb") as file:
        for step, row in rows(values):
            head = b"\x09" + struct.pack("<d", 1e9 + step) + b"\x10" + varint(step)
            for name, value in zip(names, row):
                item = b"\x0a" + bytes([len(name)]) + name + b"\x15" + struct.pack("<f", value)
                summary = b"\x0a" + bytes([len(item)]) + item
                file.write(framed(head + b"\x2a" + bytes([len(summary)]) + summary))
    return folder


def varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def write_mlflow(folder: Path, values: int) -> Path:
    path = folder / "mlflow.db"
    names = metric_names(METRICS)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(MLFLOW_TABLES)
        connection.executemany(
            "INSERT INTO metrics VALUES (?, ?, ?, 'a', ?, 0)",
            ((name, value, step, step) for step, row in rows(values) for name, value in zip(names, row)),
        )
        connection.commit()
    return path


SOURCES: dict[str, Callable[[Path, int], Path]] = {
    "mlflow": write_mlflow,
    "tensorboard": write_events,
    "csv": write_csv,
}

if __name__ == "__main__":
    main()
