"""Import the runs of Trackio's projects into SQLTrack; run it again to import new ones.

    python import_trackio.py

This imports all projects in Trackio's folder. Name a file, such as `digits.db`, to import only that one. The runs go
to the database that SQLTrack's configuration names.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _foreign import ForeignRun, Point, number, report, store_runs, utc

import sqltrack
from sqltrack.commands import setup


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", nargs="*", type=Path, help="files of projects (default: all in Trackio's folder)")
    parser.add_argument(
        "--status", default="COMPLETED", help="status of the runs, which Trackio does not record (default: %(default)s)"
    )
    options = parser.parse_args()
    client = sqltrack.Client()
    setup(client)
    paths = options.database or sorted(trackio_folder().glob("*.db"))
    report(store_runs(client, (run for path in paths for run in read_runs(path, options.status))))


def trackio_folder() -> Path:
    cache = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    return Path(os.environ.get("TRACKIO_DIR", cache / "trackio"))


def read_runs(path: Path, status: str) -> Iterator[ForeignRun]:
    """Return the runs of a project, which is named after its file."""
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        # Older versions tell runs apart only by name.
        columns = [row[1] for row in connection.execute("PRAGMA table_info(metrics)")]
        key = "run_id" if "run_id" in columns else "run_name"
        query = f"""
            SELECT {key}, run_name, MIN(timestamp), MAX(timestamp) FROM metrics GROUP BY {key}, run_name
            ORDER BY MIN(timestamp), MIN(id)
        """
        for run_id, name, first, last in connection.execute(query).fetchall():
            yield read_run(connection, path.stem, (key, run_id), name, status, first, last)


def read_run(
    connection: Any, project: str, key: tuple[str, str], name: str, status: str, first: str, last: str
) -> ForeignRun:
    column, run_id = key
    row = connection.execute(f"SELECT config FROM configs WHERE {column} = ?", (run_id,)).fetchone()
    config = {name: number(value) for name, value in json.loads(row[0]).items()} if row else {}
    own = {name: value for name, value in config.items() if name.startswith("_")}
    return ForeignRun(
        origin=f"trackio:{project}/{run_id}",
        experiment=project,
        status=status,
        created=utc(own.get("_Created") or first),
        updated=utc(last),
        args={name: value for name, value in config.items() if name not in own},
        points=lambda: read_points(connection, column, run_id),
        comment=name,
        tags=() if own.get("_Group") is None else (own["_Group"],),
        extras={"trackio": own},
    )


def read_points(connection: Any, column: str, run_id: str) -> Iterator[Point]:
    query = f"SELECT step, metrics FROM metrics WHERE {column} = ? ORDER BY id"
    for step, text in connection.execute(query, (run_id,)):
        for name, value in json.loads(text).items():
            if value is not None:
                yield Point(name, step, number(value))


if __name__ == "__main__":
    main()
