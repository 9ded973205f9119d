"""Time the same training loop with SQLTrack and with other trackers, and count the steps that each loses in a kill.

A step logs 10 metrics. SQLTrack and one other tracker take turns in a separate process. MLflow stores in SQLite and in
PostgreSQL, the others in their default store. The killed job logs a step every few milliseconds. Right after a call has
returned it is killed with all processes that it started, as a batch system would.

Trackers that are not installed are left out. Needs any of: mlflow-skinny sqlalchemy alembic, tensorboard, wandb,
trackio; and psutil.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sqlite3
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import sqltrack
from _common import Engine, create_parser, open_engines, random_metrics, summarize, take_turns, write_json

# Stores the metrics of one step.
Write = Callable[[int, dict[str, float]], object]

METRICS = 10
BATCH = 25
ROUNDS = 20
KILLED_AFTER = 200
# Seconds between the steps of the job that will be killed.
PAUSE = 0.01


class Place(NamedTuple):
    """Where trackers can store: SQLTrack's configuration, SQLAlchemy's URL of a database, an empty folder."""

    config: dict[str, Any]
    url: str
    folder: str


class Tracker(NamedTuple):
    """A tracker that can be measured.

    Attributes:
        distribution: the distribution to install.
        stores_in: its store; None if it is the measured database.
        open: provides a function that logs one step.
        count: returns how many steps can be read at a place.
    """

    distribution: str
    stores_in: str | None
    open: Callable[[Place], contextlib.AbstractContextManager[Write]]
    count: Callable[[Place], int]


def main() -> None:
    options = create_parser(__doc__).parse_args()
    results = [row for engine in open_engines(options.engines) for row in measure_engine(engine, options.quick)]
    print_table(results)
    write_json(options.json, results=results)


def measure_engine(engine: Engine, quick: bool) -> Iterator[dict[str, Any]]:
    rounds, steps = (4, BATCH) if quick else (ROUNDS, KILLED_AFTER)
    names = [name for name, tracker in TRACKERS.items() if is_measured(tracker, engine)]
    ours: list[dict[str, float]] = []
    for name in names:
        with new_place(engine) as place, ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            own, figures = pool.submit(measure_turns, name, place, rounds).result()
        ours.append(own)
        kept = count_after_kill(engine, name, steps)
        yield describe(engine, name, figures, round(figures["p50"] / own["p50"], 1), steps, kept)
    if ours:
        # Together with the first of the others.
        yield describe(engine, "SQLTrack", ours[0], 1.0, steps, count_after_kill(engine, "SQLTrack", steps))


def is_measured(tracker: Tracker, engine: Engine) -> bool:
    if tracker.distribution == "sqltrack-core" or not is_installed(tracker.distribution):
        return False
    # Trackers that do not store in the database are measured once.
    return tracker.stores_in is None or engine.name == "sqlite"


def is_installed(distribution: str) -> bool:
    try:
        return bool(metadata.version(distribution))
    except metadata.PackageNotFoundError:
        return False


def describe(
    engine: Engine, name: str, figures: dict[str, float], ratio: float, logged: int, kept: int
) -> dict[str, Any]:
    tracker = TRACKERS[name]
    return {
        "engine": engine.name,
        "version": tracker.stores_in or engine.version,
        "peer": name,
        "peer_version": metadata.version(tracker.distribution),
        **figures,
        "ratio": ratio,
        "logged": logged,
        "lost": logged - kept,
    }


@contextlib.contextmanager
def new_place(engine: Engine) -> Iterator[Place]:
    # Processes that a killed job has left may still write.
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with folder, engine.database() as database, database.peer_url() as url:
        yield Place(database.client.config, url, folder.name)


def measure_turns(name: str, place: Place, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return percentiles of SQLTrack's calls and of another tracker's, in microseconds."""
    os.chdir(place.folder)
    rows = random_metrics(METRICS, BATCH)
    with contextlib.ExitStack() as stack:
        ours, theirs = (stack.enter_context(TRACKERS[tracker].open(place)) for tracker in ("SQLTrack", name))
        turns = {
            "ours": lambda step: ours(step, rows[step % BATCH]),
            "theirs": lambda step: theirs(step, rows[step % BATCH]),
        }
        times = take_turns(turns, rounds, batch=BATCH)
    ours_s, theirs_s = (summarize(times[side]) for side in turns)
    return as_microseconds(ours_s), as_microseconds(theirs_s)


def as_microseconds(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(value * 1e6, 3) for name, value in seconds.items()}


# Killed jobs


def count_after_kill(engine: Engine, name: str, steps: int) -> int:
    """Return how many of `steps` steps can be read after the job that logged them was killed."""
    with new_place(engine) as place:
        job = get_context("spawn").Process(target=log_and_die, args=(name, place, steps))
        job.start()
        job.join()
        if job.exitcode != -signal.SIGKILL:
            raise RuntimeError(f"the job of {name} was not killed but ended with {job.exitcode}")
        return TRACKERS[name].count(place)


def log_and_die(name: str, place: Place, steps: int) -> None:
    import psutil

    os.chdir(place.folder)
    with TRACKERS[name].open(place) as write:
        for step, row in enumerate(random_metrics(METRICS, steps)):
            time.sleep(PAUSE)
            write(step, row)
        for child in psutil.Process().children(recursive=True):
            child.kill()
        os.kill(os.getpid(), signal.SIGKILL)


# Trackers


@contextlib.contextmanager
def sqltrack_writer(place: Place) -> Iterator[Write]:
    with sqltrack.Experiment(sqltrack.Client(place.config), name="peers").get_run().track() as run:
        yield lambda step, row: run.add_metrics(row, step=step)


def count_sqltrack(place: Place) -> int:
    return int(sqltrack.Client(place.config).execute("SELECT count(*) FROM metrics").fetchone()[0])


@contextlib.contextmanager
def mlflow_writer(place: Place) -> Iterator[Write]:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow

    # It reports each step of creating its tables.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    mlflow.set_tracking_uri(place.url)
    mlflow.set_experiment("peers")
    with mlflow.start_run():
        yield lambda step, row: mlflow.log_metrics(row, step=step)


def count_mlflow(place: Place) -> int:
    import sqlalchemy

    engine = sqlalchemy.create_engine(place.url)
    with engine.connect() as connection:
        query = sqlalchemy.text(
            "SELECT min(number) FROM (SELECT count(*) AS number FROM metrics GROUP BY key) AS counts"
        )
        number = connection.execute(query).scalar()
    engine.dispose()
    return int(number or 0)


@contextlib.contextmanager
def tensorboard_writer(place: Place, *, flush: bool = False) -> Iterator[Write]:
    from tensorboard.summary import Writer

    # The writer of PyTorch's SummaryWriter, with the same defaults.
    with contextlib.closing(Writer(place.folder)) as writer:

        def write(step: int, row: dict[str, float]) -> None:
            for name, value in row.items():
                writer.add_scalar(name, value, step)
            if flush:
                writer.flush()

        yield write


def flushed_tensorboard_writer(place: Place) -> contextlib.AbstractContextManager[Write]:
    return tensorboard_writer(place, flush=True)


def count_tensorboard(place: Place) -> int:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(place.folder, size_guidance={"tensors": 0}).Reload()
    # Count a step only if all its values are there; the values are tensors of one number.
    counts = [len(events.Tensors(name)) for name in events.Tags()["tensors"]]
    return min(counts) if len(counts) == METRICS else 0


@contextlib.contextmanager
def wandb_writer(place: Place) -> Iterator[Write]:
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=place.folder, WANDB_ERROR_REPORTING="false")
    import wandb

    # Turn off everything that it would gather in addition to metrics.
    settings = wandb.Settings(x_disable_stats=True, console="off")
    with wandb.init(project="peers", settings=settings) as run:
        # With a step alone, a row would wait for the next one.
        yield lambda step, row: run.log(row, step=step, commit=True)


def count_wandb(place: Place) -> int:
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = Path(place.folder).rglob("*.wandb")
    records = (Record.FromString(data) for data in read_wandb(path.read_bytes()))
    return sum(record.HasField("history") for record in records)


def read_wandb(data: bytes) -> Iterator[bytes]:
    """Yield the complete records of an offline run: LevelDB's log format after a header of 7 bytes."""
    block, header, position, parts = 32_768, 7, 7, b""
    while position + header <= len(data):
        if block - position % block < header:
            position += block - position % block
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        position += header
        if kind == 0 or position + length > len(data):
            return
        parts += data[position : position + length]
        position += length
        # A complete record, or the last part of one.
        if kind in (1, 4):
            yield parts
            parts = b""


@contextlib.contextmanager
def trackio_writer(place: Place) -> Iterator[Write]:
    os.environ.update(TRACKIO_DIR=os.path.join(place.folder, "trackio"), HF_HUB_OFFLINE="1")
    import trackio

    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        trackio.init(project="peers", embed=False, auto_log_cpu=False, auto_log_gpu=False)
        yield lambda step, row: trackio.log(row, step=step)
        trackio.finish()


def count_trackio(place: Place) -> int:
    number = 0
    for path in Path(place.folder, "trackio").glob("*.db"):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            number += connection.execute("SELECT count(*) FROM metrics").fetchone()[0]
    return number


TRACKERS = {
    "SQLTrack": Tracker("sqltrack-core", None, sqltrack_writer, count_sqltrack),
    "MLflow": Tracker("mlflow-skinny", None, mlflow_writer, count_mlflow),
    "TensorBoard": Tracker("tensorboard", "event files", tensorboard_writer, count_tensorboard),
    "TensorBoard, flush() at each step": Tracker(
        "tensorboard", "event files", flushed_tensorboard_writer, count_tensorboard
    ),
    "W&B, offline": Tracker("wandb", "a log file", wandb_writer, count_wandb),
    "Trackio": Tracker("trackio", "its SQLite file", trackio_writer, count_trackio),
}


def print_table(results: Sequence[dict[str, Any]]) -> None:
    print(f"{'stored in':20}{'':36}{'p50, µs':>12}{'p99, µs':>12}{'ratio':>8}{'lost by a kill':>18}")
    for row in results:
        lost = f"{row['lost']} of {row['logged']}"
        print(f"{row['version']:20}{row['peer']:36}{row['p50']:12,.1f}{row['p99']:12,.1f}{row['ratio']:8.1f}{lost:>18}")


if __name__ == "__main__":
    main()
