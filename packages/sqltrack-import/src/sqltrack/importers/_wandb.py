"""Read W&B's files, which each run writes into the folder wandb, online and offline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqltrack.commands._rows import to_number
from sqltrack.importers._files import Folder, version_of
from sqltrack.importers._foreign import (
    BrokenRun,
    Description,
    ForeignRun,
    Found,
    Request,
    Sink,
    SourceError,
    as_time,
)
from sqltrack.importers._log_files import read_log
from sqltrack.importers._protobuf import Fields, as_float, as_signed, parse_fields, text_of

__all__ = ["read_runs"]

# Fields of a record (wandb/proto/wandb_internal.proto).
_HISTORY, _SUMMARY, _CONFIG, _FILES, _STATS, _ARTIFACT, _METRIC, _RUN, _EXIT = 2, 3, 5, 6, 7, 8, 12, 17, 18
_USE_ARTIFACT = 25
# The run is described in the first records.
_FIRST_RECORDS = 50
_UPDATE, _REMOVE = 1, 2
# Data of a run that is not imported.
_LEFT_OUT = {_STATS: "system metrics", _ARTIFACT: "artifacts", _USE_ARTIFACT: "artifacts"}

Path_ = tuple[str, ...]


class _Head(NamedTuple):
    """The identity of a run.

    Attributes:
        project: name of its project.
        run_id: its id in the project.
        name: its display name.
    """

    project: str
    run_id: str
    name: str


def read_runs(request: Request) -> Found:
    """Return the runs; one that was resumed has several files."""
    folder = Folder(request.path if request.path.is_dir() else request.path.parent)
    files = list(folder.files()) if request.path.is_dir() else [request.path]
    yield from folder.closed
    files = sorted((path for path in files if path.suffix == ".wandb"), key=_time_key)
    if not files:
        raise SourceError(f"no .wandb files in {str(request.path)!r}", "give the folder wandb of a project")
    found: dict[_Head, list[Path]] = {}
    names: dict[tuple[str, str], _Head] = {}
    for path in files:
        try:
            head = _read_head(path)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            yield BrokenRun(str(path), str(error))
        else:
            # The name may have changed between the files.
            found.setdefault(names.setdefault(head[:2], head), []).append(path)
    for head, paths in found.items():
        yield _found_run(head, paths)


def _time_key(path: Path) -> tuple[str, Path]:
    """Return what files are sorted by: the time in the name of their folder, then their path."""
    return path.parent.name.removeprefix("offline-"), path


def _found_run(head: _Head, paths: Sequence[Path]) -> ForeignRun:
    return ForeignRun(
        id=f"{head.project}/{head.run_id}",
        name=head.name,
        experiment=head.project,
        read=lambda sink: _Reader(sink).read(paths),
        version=version_of(paths),
    )


def _read_head(path: Path) -> _Head:
    """Return the identity of the run in a file."""
    messages: list[str] = []
    for number, (_, record) in enumerate(read_log(path, messages.append, messages.append)):
        run = parse_fields(record).get(_RUN)
        if run:
            fields = parse_fields(run[0])
            run_id = text_of(fields, 1)
            return _Head(text_of(fields, 3) or "uncategorized", run_id, text_of(fields, 8) or run_id)
        if number >= _FIRST_RECORDS:
            break
    raise SourceError("; ".join([f"{str(path)!r} does not describe a run", *messages[:1]]))


class _Reader:
    """Reads the files of one run.

    Args:
        sink: takes the content.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._config: dict[str, Any] = {}
        self._summary: dict[str, Any] = {}
        self._axes: dict[str, str] = {}
        self._run: Fields = {}
        self._times: list[float] = []
        self._exit_code: int | None = None

    def read(self, paths: Sequence[Path]) -> Description:
        """Read files and return the description of the run."""
        for path in paths:
            # A resumed run continues after an earlier end.
            self._exit_code = None
            for offset, record in read_log(path, self._sink.note, self._sink.damage):
                try:
                    self._read_record(parse_fields(record), path)
                except (ValueError, TypeError, AttributeError) as error:
                    self._sink.damage(f"{str(path)!r}, offset {offset}: {error}")
        return self._description(paths)

    def _description(self, paths: Sequence[Path]) -> Description:
        run = self._run
        started = _timestamp(run)
        if self._exit_code is None:
            status = "RUNNING"
            self._sink.note(f"{str(paths[-1])!r} has no end: the run is still going, or was killed")
        else:
            status = "COMPLETED" if self._exit_code == 0 else "FAILED"
        names = {"name": 8, "group": 6, "job_type": 7, "entity": 2, "sweep": 12, "host": 13}
        extras: dict[str, Any] = {name: text_of(run, number) for name, number in names.items()}
        extras.update(
            folder=str(paths[-1].parent),
            axes=self._axes,
            summary={name: value for name, value in self._summary.items() if _is_plain(name, value)},
        )
        return Description(
            status=status,
            created=as_time(started if started is not None else min(self._times, default=None)),
            updated=as_time(max(self._times, default=started)),
            args={name: value for name, value in self._config.items() if not name.startswith("_")},
            comment=text_of(run, 9) or text_of(run, 8) or None,
            tags=tuple(tag.decode("utf-8", "backslashreplace") for tag in run.get(10, [])),
            extras={name: value for name, value in extras.items() if value},
        )

    def _read_record(self, record: Fields, path: Path) -> None:
        for number, values in record.items():
            if number == _HISTORY:
                self._read_history(parse_fields(values[0]))
            elif number == _SUMMARY:
                _update(self._summary, parse_fields(values[0]))
            elif number == _CONFIG:
                _update(self._config, parse_fields(values[0]))
            elif number == _RUN:
                self._read_run(parse_fields(values[0]))
            elif number == _METRIC:
                metric = parse_fields(values[0])
                if axis := text_of(metric, 4):
                    self._axes[text_of(metric, 1) or text_of(metric, 2)] = axis
            elif number == _EXIT:
                self._exit_code = parse_fields(values[0]).get(1, [0])[-1]
            elif number == _FILES:
                for item in parse_fields(values[0]).get(1, []):
                    self._sink.leave_out("files", str(path.parent / "files" / text_of(parse_fields(item), 1)))
            elif number in _LEFT_OUT:
                self._sink.leave_out(_LEFT_OUT[number], str(path))

    def _read_run(self, run: Fields) -> None:
        # A later record repeats only some of the fields.
        self._run = {**self._run, **run}
        for number, target in ((4, self._config), (5, self._summary)):
            for part in run.get(number, []):
                _update(target, parse_fields(part))

    def _read_history(self, history: Fields) -> None:
        items = dict(map(_read_item, map(parse_fields, history.get(1, []))))
        steps = [parse_fields(step).get(1, [0])[-1] for step in history.get(2, [])]
        # Without a step, the values cannot be placed, and are reported.
        step: Any = items.get(("_step",), as_signed(steps[-1]) if steps else None)
        time = items.get(("_timestamp",))
        if isinstance(time, (int, float)) and as_time(time) is not None:
            self._times.append(time)
            # Only the first and the last are needed.
            self._times[:] = [min(self._times), max(self._times)]
        media = {path[:-1]: value for path, value in items.items() if path[-1] == "_type"}
        for prefix, kind in media.items():
            self._sink.leave_out(f"values of type {kind}", ".".join(prefix))
        for path, value in items.items():
            if path[0].startswith("_") or any(path[:length] in media for length in range(1, len(path) + 1)):
                continue
            for name, found in _flattened(".".join(path), value, self._sink):
                self._sink.add(name, step, to_number(found))


def _flattened(name: str, value: Any, sink: Sink) -> Iterator[tuple[str, Any]]:
    """Return the values of a dict by names with dots, as W&B shows them."""
    if not isinstance(value, dict):
        yield name, value
    elif "_type" in value:
        sink.leave_out(f"values of type {value['_type']}", name)
    else:
        for key, item in value.items():
            yield from _flattened(f"{name}.{key}", item, sink)


def _read_item(item: Fields) -> tuple[Path_, Any]:
    """Return the name and the value of an item of history, config or summary."""
    nested = item.get(2)
    path = tuple(part.decode("utf-8", "backslashreplace") for part in nested) if nested else (text_of(item, 1),)
    if 16 in item or 8 in item:
        return path, json.loads(item.get(16, item.get(8, [b"null"]))[-1])
    if 6 in item:
        return path, as_float(item[6][-1])
    if 5 in item:
        # Zigzag encoding.
        number = item[5][-1]
        return path, (number >> 1) ^ -(number & 1)
    if 4 in item:
        return path, bool(item[4][-1])
    return path, text_of(item, 7) if 7 in item else None


def _update(target: dict[str, Any], record: Fields) -> None:
    """Apply a change of config or summary."""
    for item in record.get(_UPDATE, []):
        path, value = _read_item(parse_fields(item))
        _set(target, path, value)
    for item in record.get(_REMOVE, []):
        path, _ = _read_item(parse_fields(item))
        inner: Any = target
        for part in path[:-1]:
            inner = inner.get(part) if isinstance(inner, Mapping) else None
        if isinstance(inner, dict):
            inner.pop(path[-1], None)


def _set(target: dict[str, Any], path: Path_, value: Any) -> None:
    for part in path[:-1]:
        inner = target.get(part)
        if not isinstance(inner, dict):
            inner = target[part] = {}
        target = inner
    target[path[-1]] = value


def _is_plain(name: str, value: Any) -> bool:
    """Return whether an item of the summary is neither W&B's own nor media."""
    return not name.startswith("_") and not (isinstance(value, dict) and "_type" in value)


def _timestamp(run: Fields) -> float | None:
    """Return the start of a run in seconds."""
    if 17 not in run:
        return None
    fields = parse_fields(run[17][-1])
    return float(as_signed(fields.get(1, [0])[-1])) + as_signed(fields.get(2, [0])[-1]) / 1e9
