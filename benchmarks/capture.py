"""Time the start and the end of a run with capture against the same without it.

The process runs in a repository of many files, with many packages on its path. Sides take turns. The end of a run
includes the wait for the thread, because these runs end as soon as they have begun; it waits for one second at most.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import sqltrack
from _common import BY_HAND, OURS, Engine, Row, compare, run_benchmark
from sqltrack.capture import _facts

FILES, PACKAGES, RUNS = 50_000, 300, 40
QUICK_FILES, QUICK_PACKAGES, QUICK_RUNS = 100, 10, 2
FILES_PER_FOLDER = 100


def main() -> None:
    run_benchmark(__doc__, measure_engine)


def measure_engine(engine: Engine, quick: bool) -> Iterator[Row]:
    files, packages, runs = (QUICK_FILES, QUICK_PACKAGES, QUICK_RUNS) if quick else (FILES, PACKAGES, RUNS)
    with engine.database() as database, project(files, packages):
        clients = {
            name: sqltrack.Client({**database.client.config, "capture": setting})
            for name, setting in ((OURS, "on"), (BY_HAND, "off"))
        }
        starts: dict[str, list[int]] = {name: [] for name in clients}
        ends: dict[str, list[int]] = {name: [] for name in clients}
        for number in range(runs + 1):
            for name, client in clients.items():
                run = sqltrack.Experiment(client, name="capture").get_run()
                # Otherwise runs share the state of the repository.
                _facts._changes.clear()
                begin = time.perf_counter_ns()
                run.start()
                started = time.perf_counter_ns()
                run.stop()
                ended = time.perf_counter_ns()
                if number:
                    starts[name].append(started - begin)
                    ends[name].append(ended - started)
        yield compare(engine, f"start, {files} files, {packages} packages", starts)
        yield compare(engine, f"end, {files} files, {packages} packages", ends)


@contextlib.contextmanager
def project(files: int, packages: int) -> Iterator[None]:
    """Work in a repository, with packages that the process could import."""
    here = os.getcwd()
    main = sys.modules["__main__"]
    script = getattr(main, "__file__", None)
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder, "site")
        for number in range(packages):
            (site / f"package_{number}-1.{number}.dist-info").mkdir(parents=True)
        repository = Path(folder, "project")
        for number in range(files):
            path = repository / str(number // FILES_PER_FOLDER) / f"{number}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"x = {number}\n")
        git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@example.org"]
        for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
            subprocess.run([*git, *arguments], check=True)  # noqa: S603
        sys.path.insert(0, str(site))
        os.chdir(repository)
        main.__file__ = str(repository / "train.py")
        try:
            yield
        finally:
            main.__file__ = script
            os.chdir(here)
            sys.path.remove(str(site))


if __name__ == "__main__":
    main()
