"""Import scalars and hyperparameters from TensorBoard's event files into SQLTrack; run it again to import new ones.

    python import_tensorboard.py runs

Each folder below `runs` that holds event files becomes a run, in an experiment named after `runs`. The runs go to the
database that SQLTrack's configuration names. Requires: pip install tensorboard
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from _foreign import ForeignRun, Point, report, store_runs

import sqltrack
from sqltrack.commands import setup

HPARAMS = "_hparams_/session_start_info"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logdir", type=Path, help="folder with event files, in folders of any depth")
    parser.add_argument("--experiment", help="name of the experiment (default: the name of the folder)")
    parser.add_argument(
        "--status",
        default="COMPLETED",
        help="status of the runs, which event files do not record (default: %(default)s)",
    )
    options = parser.parse_args()
    client = sqltrack.Client()
    setup(client)
    experiment = options.experiment or options.logdir.resolve().name
    report(store_runs(client, read_runs(options.logdir, experiment, options.status)))


def read_runs(logdir: Path, experiment: str, status: str) -> Iterator[ForeignRun]:
    """Return a run for each folder with event files.

    PyTorch's `add_hparams` writes hyperparameters to a folder below that of the run; they are added to that run.
    """
    folders = {path.parent for path in logdir.rglob("*tfevents*")}
    events = {folder: load(folder) for folder in sorted(folders)}
    children = {folder for folder in events if folder.parent in events and hyperparameters(events[folder])}
    for folder in events:
        if folder not in children:
            parts = [events[folder], *(events[child] for child in sorted(children) if child.parent == folder)]
            yield read_run(folder.relative_to(logdir).as_posix(), experiment, status, parts)


def load(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # 0 loads all events; the default is a random sample.
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def read_run(name: str, experiment: str, status: str, parts: list[Any]) -> ForeignRun:
    points = [(time, point) for events in parts for time, point in read_points(events)]
    times = [time for time, _ in points]
    created = min((events.FirstEventTimestamp() for events in parts), default=None)
    return ForeignRun(
        origin=f"tensorboard:{experiment}/{name}",
        experiment=experiment,
        status=status,
        created=as_time(created),
        updated=as_time(max(times, default=created)),
        args={name: value for events in parts for name, value in hyperparameters(events).items()},
        points=lambda: (point for _, point in points),
        comment=name,
    )


def read_points(events: Any) -> Iterator[tuple[float, Point]]:
    """Return scalars with their times, in both existing formats: numbers, and tensors of one number."""
    from tensorboard.util.tensor_util import make_ndarray

    for name in events.Tags()["scalars"]:
        for event in events.Scalars(name):
            yield event.wall_time, Point(name, event.step, event.value)
    for name in events.Tags()["tensors"]:
        if events.SummaryMetadata(name).plugin_data.plugin_name == "scalars":
            for event in events.Tensors(name):
                yield event.wall_time, Point(name, event.step, make_ndarray(event.tensor_proto).item())


def hyperparameters(events: Any) -> dict[str, Any]:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    try:
        content = events.SummaryMetadata(HPARAMS).plugin_data.content
    except KeyError:
        return {}
    stored = HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in stored.items()}


def as_time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)


if __name__ == "__main__":
    main()
