"""Read TensorBoard's event files: scalars and hyperparameters of each folder."""

from __future__ import annotations

import functools
import itertools
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqltrack.importers._event_files import FRAME, RecordError, TornRecordError, read_records
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
from sqltrack.importers._protobuf import Fields, as_float, as_signed, parse_fields, read_fields, text_of

__all__ = ["read_runs"]

_PROFILED = ".profile-empty"
_HPARAMS = "_hparams_/session_start_info"
_HPARAMS_END = "_hparams_/session_end_info"
_SESSIONS = frozenset({_HPARAMS, _HPARAMS_END, "_hparams_/experiment"})
# The first events of a file contain its hyperparameters.
_FIRST_EVENTS = 20
# HParams' statuses (tensorboard/plugins/hparams/api.proto).
_STATUSES = {1: "COMPLETED", 2: "FAILED", 3: "RUNNING"}
# Fields of a value that are not numbers, and plugins, by the name of what they hold.
_MEDIA_FIELDS = {4: "images", 5: "histograms", 6: "audio clips"}
_MEDIA = {
    "audio": "audio clips",
    "distributions": "histograms",
    "histograms": "histograms",
    "images": "images",
    "mesh": "meshes",
    "pr_curves": "precision-recall curves",
    "text": "texts",
}
_OTHER_EVENTS = {4: "graphs", 7: None, 8: "profiles of single steps", 9: "graphs"}
# Numbers in tensors: the field and the format by their type (tensorflow/core/framework/types.proto).
_TENSORS = {1: (5, "f"), 2: (6, "d"), 3: (7, "i"), 9: (10, "q"), 10: (11, "?"), 22: (16, "I"), 23: (17, "Q")}


# An event with a time, usually a step, and a number of 32 bits, whose lengths have one byte each.
_SCALAR = re.compile(
    rb"\x09(.{8})(?:\x10([\x80-\xff]{0,9}[\x00-\x7f]))?\x2a([\x00-\x7f])\x0a([\x00-\x7f])\x0a([\x00-\x7f])(.*)\x15(.{4})",
    re.DOTALL,
)
_DOUBLE, _FLOAT = struct.Struct("<d"), struct.Struct("<f")
_MASK = (1 << 64) - 1
# The year 9999, in seconds.
_MAX_TIME = 253_402_300_799


def read_runs(request: Request) -> Found:
    """Return a run for each folder with event files.

    PyTorch's `add_hparams` writes hyperparameters to a folder below that of the run; they belong to that run.
    """
    folder = Folder(request.path if request.path.is_dir() else request.path.parent)
    files = list(folder.files()) if request.path.is_dir() else [request.path]
    yield from folder.closed
    found: dict[Path, list[Path]] = {}
    for path in files:
        # TensorFlow's profiler adds a file without events, so that TensorBoard finds its folder.
        if "tfevents" in path.name and not path.name.endswith(_PROFILED) and path.stat().st_size:
            found.setdefault(path.parent, []).append(path)
    if not found:
        raise SourceError(f"no event files in {request.source!r}", "event files have 'tfevents' in their names")
    children = {path for path in found if path.parent in found and _is_session(found[path])}
    for path, own in found.items():
        if path not in children:
            below = [file for child in sorted(children) if child.parent == path for file in found[child]]
            yield _found_run(folder, path, [*own, *below], request)


def _found_run(folder: Folder, path: Path, files: Sequence[Path], request: Request) -> ForeignRun | BrokenRun:
    name = folder.name_of(path)
    return ForeignRun(
        # The name of the file contains time and host, because folders such as "version_0" exist in each project.
        id=f"{name}/{files[0].name}",
        name=name,
        experiment=folder.path.name or "tensorboard",
        read=lambda sink: _read(name, files, sink, request.status),
        version=version_of(files),
    )


class _State(NamedTuple):
    """The part of a run that is known while its files are read.

    Attributes:
        plugins: name of the plugin of each tag, which only its first value has.
        args: hyperparameters.
        times: of the first and last event.
        statuses: the status of the run, if recorded.
    """

    plugins: dict[str, str]
    args: dict[str, Any]
    times: list[float]
    statuses: list[str]


def _read(name: str, files: Sequence[Path], sink: Sink, status: str) -> Description:
    state = _State({}, {}, [], [])
    for path in files:
        # A tag may be a scalar in one file and something else in another.
        state.plugins.clear()
        try:
            _read_file(path, state, sink)
        except TornRecordError as error:
            sink.note(str(error))
        except RecordError as error:
            sink.damage(str(error))
    if not state.times:
        raise SourceError(f"{str(files[0])!r} has no events")
    return Description(
        status=state.statuses[-1] if state.statuses else status,
        created=as_time(min(state.times)),
        updated=as_time(max(state.times)),
        args=state.args,
        comment=name,
        extras={"folder": str(files[0].parent)},
    )


def _read_file(path: Path, state: _State, sink: Sink) -> None:
    """Read the events of a file, without those that are damaged."""
    position = 0

    def skip(error: RecordError, size: int) -> None:
        nonlocal position
        position += size
        sink.damage(str(error))

    for record in read_records(path, skip):
        try:
            if not _read_scalar(record, state, sink):
                _read_event(record, state, sink, path)
        except (ValueError, TypeError, AttributeError, struct.error) as error:
            sink.damage(f"{str(path)!r}, offset {position}: {error}")
        position += FRAME + len(record)


def _read_scalar(record: bytes, state: _State, sink: Sink) -> bool:
    """Read an event with a single number, as PyTorch writes them; return False for any other event."""
    match = _SCALAR.fullmatch(record)
    if match is None:
        return False
    time, step, summary_length, value_length, tag_length, tag, value = match.groups()
    length = len(tag)
    if (tag_length[0], value_length[0], summary_length[0]) != (length, length + 7, length + 9):
        return False
    _widen(state.times, _DOUBLE.unpack(time)[0])
    sink.add(_text(tag), _step(step), _FLOAT.unpack(value)[0])
    return True


# All metrics of a step have it, and a file has few tags.
@functools.lru_cache(maxsize=1_024)
def _step(varint: bytes | None) -> int:
    number = 0
    for shift, byte in enumerate(varint or b""):
        number |= (byte & 0x7F) << 7 * shift
    return as_signed(number & _MASK)


@functools.lru_cache(maxsize=10_000)
def _text(tag: bytes) -> str:
    return tag.decode("utf-8", "backslashreplace")


def _read_event(record: bytes, state: _State, sink: Sink, path: Path) -> None:
    step, time, summaries = 0, None, []
    for number, value in read_fields(record):
        if number == 2:
            step = as_signed(value)
        elif number == 1:
            time = as_float(value)
        elif number == 5:
            summaries.append(value)
        elif (what := _OTHER_EVENTS.get(number)) is not None:
            sink.leave_out(what, str(path))
    if time is not None:
        _widen(state.times, time)
    for summary in summaries:
        for number, value in read_fields(summary):
            if number == 1:
                _read_value(value, step, state, sink)


def _widen(times: list[float], time: float) -> None:
    """Add a time to the first and the last one, unless it is none that a file of events can have."""
    if not 0 <= time < _MAX_TIME:
        return
    if not times:
        times += [time, time]
    elif time < times[0]:
        times[0] = time
    elif time > times[1]:
        times[1] = time


def _read_value(data: bytes, step: int, state: _State, sink: Sink) -> None:
    fields = parse_fields(data)
    tag = text_of(fields, 1)
    if 9 in fields:
        plugin = parse_fields(b"".join(parse_fields(fields[9][0]).get(1, [])))
        state.plugins.setdefault(tag, text_of(plugin, 1))
        if tag in _SESSIONS:
            _read_session(plugin, state)
            return
    if 2 in fields:
        sink.add(tag, step, as_float(fields[2][-1]))
        return
    plugin_name = state.plugins.get(tag, "")
    what = next((what for number, what in _MEDIA_FIELDS.items() if number in fields), None)
    if what is None and 8 in fields and plugin_name in ("", "scalars"):
        found = _number(parse_fields(fields[8][-1]))
        if found is not None:
            sink.add(tag, step, found)
            return
    if what is not None or 8 in fields:
        sink.leave_out(what or _MEDIA.get(plugin_name, "tensors"), tag)


def _number(tensor: Fields) -> float | None:
    """Return the only number of a tensor, None if it is something else."""
    kind = _TENSORS.get(tensor.get(1, [0])[-1])
    if kind is None or any(_sizes(tensor)):
        return None
    field, code = kind
    if 4 in tensor:
        content = tensor[4][-1]
        return struct.unpack(f"<{code}", content)[0] if len(content) == struct.calcsize(f"<{code}") else None
    values = tensor.get(field, [])
    if len(values) != 1:
        return None
    value = values[0]
    if isinstance(value, int):
        return bool(value) if code == "?" else as_signed(value)
    if code in "fd":
        return as_float(value) if len(value) == struct.calcsize(f"<{code}") else None
    # Packed: a single varint.
    packed = parse_fields(b"\x08" + value).get(1, [])
    return as_signed(packed[0]) if len(packed) == 1 else None


def _sizes(tensor: Fields) -> Iterator[bool]:
    """Return for each dimension of a tensor whether it has another size than 1."""
    for shape in tensor.get(2, []):
        for dimension in parse_fields(shape).get(2, []):
            yield parse_fields(dimension).get(1, [0])[-1] != 1


def _read_session(plugin: Fields, state: _State) -> None:
    """Read hyperparameters and status (tensorboard/plugins/hparams/plugin_data.proto)."""
    for content in plugin.get(2, []):
        data = parse_fields(content)
        for start in data.get(3, []):
            for item in parse_fields(start).get(1, []):
                entry = parse_fields(item)
                state.args[text_of(entry, 1)] = _plain(b"".join(entry.get(2, [])))
        for end in data.get(4, []):
            status = _STATUSES.get(parse_fields(end).get(1, [0])[-1])
            if status is not None:
                state.statuses.append(status)


def _plain(data: bytes) -> Any:
    """Return the Python value of a google.protobuf.Value."""
    for number, value in itertools.islice(read_fields(data), 1):
        if number == 2:
            return as_float(value)
        if number == 3:
            return value.decode("utf-8", "backslashreplace")
        if number == 4:
            return bool(value)
        if number == 5:
            items = [parse_fields(item) for item in parse_fields(value).get(1, [])]
            return {text_of(item, 1): _plain(b"".join(item.get(2, []))) for item in items}
        if number == 6:
            return [_plain(item) for item in parse_fields(value).get(1, [])]
    return None


def _is_session(files: Sequence[Path]) -> bool:
    """Return whether the first events of files contain hyperparameters."""
    needle = _HPARAMS.encode()
    for path in files:
        try:
            if any(needle in record for record in itertools.islice(read_records(path), _FIRST_EVENTS)):
                return True
        except (OSError, ValueError):
            # Reported when the run is read.
            continue
    return False
