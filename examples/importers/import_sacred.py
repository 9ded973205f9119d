"""Import the runs of Sacred's FileStorageObserver into SQLTrack; run it again to import new ones.

    python import_sacred.py my_runs

Pass the folder of the observer. The runs go to the database that SQLTrack's configuration names.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _foreign import ForeignRun, Point, report, store_runs, utc

import sqltrack
from sqltrack.commands import setup

STATUSES = {"INTERRUPTED": "CANCELLED", "QUEUED": "PLANNED"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of a FileStorageObserver")
    options = parser.parse_args()
    client = sqltrack.Client()
    setup(client)
    report(store_runs(client, read_runs(options.folder)))


def read_runs(folder: Path) -> Iterator[ForeignRun]:
    """Return the runs of an observer's folder, in the order of their numbers."""
    folders = [path.parent for path in folder.glob("*/run.json")]
    for path in sorted(folders, key=lambda path: (len(path.name), path.name)):
        yield read_run(path)


def read_run(path: Path) -> ForeignRun:
    run, config = read(path / "run.json"), read(path / "config.json")
    experiment, meta = run["experiment"]["name"], run.get("meta", {})
    begin = run.get("start_time") or meta.get("queue_time")
    extras = {
        "folder": str(path.resolve()),
        "host": run.get("host"),
        "command": run.get("command"),
        "result": run.get("result"),
        "artifacts": run.get("artifacts", []),
        "repositories": run["experiment"].get("repositories", []),
        "fail_trace": run.get("fail_trace"),
        "info": read(path / "info.json"),
    }
    return ForeignRun(
        # Numbers begin at 1 in each folder, so they do not identify a run.
        origin=f"sacred:{experiment}/{path.name}@{begin}",
        experiment=experiment,
        status=STATUSES.get(run["status"], run["status"]),
        created=utc(begin),
        updated=utc(run.get("stop_time") or run.get("heartbeat") or begin),
        args=config,
        points=lambda: read_points(read(path / "metrics.json")),
        comment=meta.get("comment"),
        extras={"sacred": {name: value for name, value in extras.items() if value}},
    )


def read_points(metrics: dict[str, Any]) -> Iterator[Point]:
    for name, series in metrics.items():
        for step, value in zip(series["steps"], series["values"]):
            yield Point(name, step, value)


def read(path: Path) -> Any:
    """Return the content of a file, or an empty dict if Sacred did not write it."""
    return json.loads(path.read_text(encoding="utf-8"), object_hook=without_types) if path.exists() else {}


def without_types(value: dict[str, Any]) -> Any:
    """Return the tuple that jsonpickle has written as a list."""
    return value["py/tuple"] if set(value) == {"py/tuple"} else value


if __name__ == "__main__":
    main()
