"""Read MLflow's folder mlruns: a folder for each experiment, with a folder for each run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqltrack.errors import MissingPackageError
from sqltrack.importers._files import Folder, may_exist, open_file, read_text, unreadable, version_of
from sqltrack.importers._foreign import (
    BrokenRun,
    Description,
    ForeignRun,
    Found,
    Request,
    Sink,
    SkippedRun,
    SourceError,
)
from sqltrack.importers._mlflow import PARENT, STATUSES, comment_and_tags, parameter, time_of

__all__ = ["read_folder"]

_META = "meta.yaml"
_TRASH = ".trash"
# Statuses are numbers in files (mlflow/protos/service.proto).
_STATUSES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
# Size of a file with a few lines of YAML, in bytes.
_MAX_META = 1_000_000


def read_folder(request: Request) -> Found:
    """Return the runs, in the order of their start and without deleted ones."""
    folder = Folder(request.path)
    experiments = [path for path in folder.folders() if may_exist(path / _META) and path.name != _TRASH]
    if not experiments:
        raise SourceError(f"no experiments of MLflow in {str(request.path)!r}", "expected folders with a meta.yaml")
    yield from _deleted(folder)
    for path in experiments:
        try:
            meta = _read_meta(path / _META)
            name = str(meta["name"])
        except (OSError, ValueError, KeyError) as error:
            yield BrokenRun(str(path / _META), f"not a description of an experiment: {error}")
            continue
        try:
            yield from _runs_of(folder, path, name)
        except OSError as error:
            yield unreadable(path, error)


def _deleted(folder: Folder) -> Iterator[SkippedRun]:
    """Return the runs of deleted experiments."""
    trash = folder.path / _TRASH
    try:
        for experiment in folder.folders(trash) if trash.is_dir() and not trash.is_symlink() else ():
            for path in folder.folders(experiment):
                if may_exist(path / _META):
                    yield SkippedRun("deleted runs", str(path))
    except OSError:
        # Nothing in it would be imported.
        return


def _runs_of(folder: Folder, experiment: Path, name: str) -> Found:
    found: list[tuple[Any, Path, Mapping[str, Any]]] = []
    for path in folder.folders(experiment):
        if not may_exist(path / _META):
            continue
        try:
            meta = _read_meta(path / _META)
            start = int(meta["start_time"])
        except (OSError, ValueError, TypeError, OverflowError, KeyError) as error:
            yield BrokenRun(str(path / _META), f"not a description of a run: {error}")
            continue
        if meta.get("lifecycle_stage", "active") == "active":
            found.append((start, path, meta))
        else:
            yield SkippedRun("deleted runs", str(path))
    for _, path, meta in sorted(found, key=lambda item: (item[0], item[1])):
        try:
            yield _found_run(folder, path, meta, name)
        except OSError as error:
            yield unreadable(path, error)


def _found_run(folder: Folder, path: Path, meta: Mapping[str, Any], experiment: str) -> ForeignRun:
    run_id = str(meta.get("run_id") or meta.get("run_uuid") or path.name)
    files = [file for part in ("metrics", "params", "tags") for file in folder.files_of_run(path / part)]
    return ForeignRun(
        id=run_id,
        name=str(meta.get("run_name") or meta.get("name") or run_id),
        experiment=experiment,
        read=lambda sink: _read(folder, path, meta, sink),
        version=version_of([path / _META, *files]),
    )


def _read(folder: Folder, path: Path, meta: Mapping[str, Any], sink: Sink) -> Description:
    last = None
    for file in folder.files_of_run(path / "metrics"):
        for timestamp in _read_metric(file, file.relative_to(path / "metrics").as_posix(), sink):
            last = timestamp if last is None else max(last, timestamp)
    params = {_key(file, path / "params"): read_text(file) for file in folder.files_of_run(path / "params")}
    tags = {_key(file, path / "tags"): read_text(file) for file in folder.files_of_run(path / "tags")}
    artifacts = meta.get("artifact_uri")
    try:
        stored = sum(1 for _ in folder.files_of_run(path / "artifacts"))
    except OSError:
        stored = 0
    if stored:
        sink.leave_out("artifacts", str(path / "artifacts"), stored)
    elif artifacts:
        sink.leave_out("folders of artifacts", str(artifacts))
    status = _STATUSES.get(meta.get("status", 0), str(meta.get("status")))
    comment, own = comment_and_tags(tags, str(meta.get("run_name") or meta.get("name") or ""))
    return Description(
        status=STATUSES.get(status, status),
        created=time_of(meta.get("start_time")),
        updated=time_of(meta.get("end_time") or last or meta.get("start_time")),
        args={name: parameter(text) for name, text in params.items()},
        comment=comment,
        tags=own,
        extras={"artifact_uri": artifacts, "tags": tags},
        parent=tags.get(PARENT),
    )


def _key(file: Path, below: Path) -> str:
    return file.relative_to(below).as_posix()


def _read_metric(file: Path, name: str, sink: Sink) -> Iterator[int]:
    """Read the lines of a metric: time, value and step; return the times."""
    offset = 0
    with open_file(file) as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                # A process was killed, or is still writing; the number may be a part of another.
                sink.note(f"{str(file)!r}, offset {offset}: the last line is incomplete")
                return
            try:
                timestamp, value, *rest = line.split()
                number, step = float(value), int(rest[0]) if rest else 0
                yield int(timestamp)
            except ValueError:
                sink.damage(f"{str(file)!r}, offset {offset}: expected time, value and step, got {line[:40]!r}")
            else:
                sink.add(name, step, number)
            offset += len(line)


def _read_meta(path: Path) -> Mapping[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise MissingPackageError("a folder mlruns", "PyYAML", "'sqltrack-import[mlruns]'") from error

    with open_file(path) as file:
        content = file.read(_MAX_META + 1)
    if len(content) > _MAX_META:
        raise SourceError(f"{str(path)!r} is too large")
    try:
        found = yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError) as error:
        raise SourceError(f"{str(path)!r}: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise SourceError(f"{str(path)!r} has no names and values")
    return found
