"""Read the folder of Sacred's FileStorageObserver."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqltrack.importers._files import Folder, may_exist, parse_json, version_of
from sqltrack.importers._foreign import (
    BrokenRun,
    Description,
    ForeignRun,
    Found,
    Request,
    Sink,
    SourceError,
    parse_time,
)

__all__ = ["read_runs"]

_STATUSES = {"INTERRUPTED": "CANCELLED", "QUEUED": "PLANNED"}
_FILES = ("run.json", "config.json", "info.json", "metrics.json")
# The only object of jsonpickle that is restored; others stay dicts.
_TUPLE = "py/tuple"


def read_runs(request: Request) -> Found:
    """Return the runs of an observer's folder, in the order of their numbers."""
    folder = Folder(request.path)
    if not request.path.is_dir():
        raise SourceError(f"{str(request.path)!r} is not a folder", "give the folder of a FileStorageObserver")
    paths = [path for path in folder.folders() if may_exist(path / _FILES[0])]
    if not paths:
        raise SourceError(f"no runs of Sacred in {str(request.path)!r}", "give the folder of a FileStorageObserver")
    for path in sorted(paths, key=lambda path: (len(path.name), path.name)):
        try:
            yield _found_run(path)
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            yield BrokenRun(str(path), f"not a run of Sacred: {error}")


def _found_run(path: Path) -> ForeignRun:
    run = _read_object(path / "run.json")
    experiment = str(run["experiment"]["name"])
    begin = run.get("start_time") or (run.get("meta") or {}).get("queue_time")
    return ForeignRun(
        # Numbers begin at 1 in each folder, so they do not identify a run.
        id=f"{experiment}/{path.name}@{begin}",
        name=f"{experiment}/{path.name}",
        experiment=experiment,
        read=lambda sink: _read(path, run, begin, sink),
        version=version_of(path / name for name in _FILES),
    )


def _read(path: Path, run: Mapping[str, Any], begin: Any, sink: Sink) -> Description:
    for name, series in _read_object(path / "metrics.json").items():
        steps, values = series["steps"], series["values"]
        if len(steps) != len(values):
            sink.damage(
                f"{str(path / 'metrics.json')!r}: metric {name!r} has {len(steps)} steps for {len(values)} values"
            )
        for step, value in zip(steps, values):
            sink.add(name, step, value)
    artifacts = run.get("artifacts") or []
    if artifacts:
        sink.leave_out("artifacts", str(path), len(artifacts))
    for name, what in (("cout.txt", "captured outputs"), ("_sources", "folders of sources")):
        if (path / name).exists() or (name == "_sources" and (path.parent / name).exists()):
            sink.leave_out(what, str(path / name if (path / name).exists() else path.parent / name))
    extras = {
        "folder": str(path),
        **{name: run.get(name) for name in ("host", "command", "result", "fail_trace")},
        "artifacts": artifacts,
        "repositories": run["experiment"].get("repositories"),
        "info": _read_object(path / "info.json"),
    }
    return Description(
        status=_STATUSES.get(run["status"], str(run["status"])),
        created=parse_time(begin),
        updated=parse_time(run.get("stop_time") or run.get("heartbeat") or begin),
        args=_read_object(path / "config.json"),
        comment=str((run.get("meta") or {}).get("comment") or "") or None,
        extras={name: _without_types(value) for name, value in extras.items() if value},
    )


def _read_object(path: Path) -> Mapping[str, Any]:
    """Return the content of a file, or an empty dict if Sacred did not write it.

    Raises:
        SourceError: it is damaged.
    """
    if not path.is_symlink() and not path.exists():
        return {}
    found = _without_types(parse_json(path))
    if not isinstance(found, dict):
        raise SourceError(f"{str(path)!r} is not a JSON object")
    return found


def _without_types(value: Any) -> Any:
    """Return JSON with the tuples that jsonpickle has written as objects turned into lists."""
    if isinstance(value, dict):
        if set(value) == {_TUPLE}:
            return _without_types(value[_TUPLE])
        return {key: _without_types(item) for key, item in value.items()}
    return [_without_types(item) for item in value] if isinstance(value, list) else value
