"""Read the Parquet files of Neptune's exporter: one row for each value of an attribute of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqltrack.errors import MissingPackageError
from sqltrack.importers._files import Folder, open_file, version_of
from sqltrack.importers._foreign import (
    BrokenRun,
    Description,
    ForeignRun,
    Found,
    Request,
    Sink,
    SourceError,
)

__all__ = ["read_runs"]

# The schema of https://github.com/neptune-ai/neptune-exporter.
_REQUIRED = frozenset({"project_id", "run_id", "attribute_path", "attribute_type", "step", "timestamp"})
_VALUES: Mapping[str, str] = {
    "float": "float_value",
    "int": "int_value",
    "string": "string_value",
    "bool": "bool_value",
    "datetime": "datetime_value",
    "string_set": "string_set_value",
    "float_series": "float_value",
    "string_series": "string_value",
}
_SERIES = frozenset({"float_series", "string_series"})
_CREATED, _MODIFIED, _NAME, _TAGS = "sys/creation_time", "sys/modification_time", "sys/name", "sys/tags"
_DESCRIPTION, _FAILED, _STATE = "sys/description", "sys/failed", "sys/state"
_PARENT = "sys/forking/parent"
_PARAMETERS = "parameters/"

Key = tuple[str, str]


def read_runs(request: Request) -> Found:
    """Return the runs of all files of an export."""
    folder = Folder(request.path if request.path.is_dir() else request.path.parent)
    files = list(folder.files()) if request.path.is_dir() else [request.path]
    yield from folder.closed
    files = [path for path in files if path.suffix == ".parquet"]
    if not files:
        raise SourceError(f"no Parquet files in {str(request.path)!r}", "give the folder of Neptune's exporter")
    # The rows of a run may be in several files.
    found: dict[Key, list[Path]] = {}
    for path in files:
        keys: dict[Key, None] = {}
        try:
            for row in _rows(path, ("project_id", "run_id")):
                keys[str(row["project_id"]), str(row["run_id"])] = None
        except (SourceError, OSError) as error:
            yield BrokenRun(str(path), str(error))
        for key in keys:
            found.setdefault(key, []).append(path)
    for key, paths in found.items():
        yield _found_run(key, paths, request)


def _found_run(key: Key, paths: Sequence[Path], request: Request) -> ForeignRun:
    project, run_id = key
    return ForeignRun(
        id=f"{project}/{run_id}",
        name=run_id,
        experiment=project,
        read=lambda sink: _read(key, paths, request.status, sink),
        version=version_of(paths),
    )


def _read(key: Key, paths: Sequence[Path], status: str, sink: Sink) -> Description:
    attributes: dict[str, Any] = {}
    for path in paths:
        try:
            for row in _rows(path, None, key):
                _read_row(row, attributes, sink)
        except (SourceError, OSError) as error:
            sink.damage(str(error))
    parameters = {
        name.removeprefix(_PARAMETERS): value for name, value in attributes.items() if name.startswith(_PARAMETERS)
    }
    created, modified = attributes.get(_CREATED), attributes.get(_MODIFIED)
    tags = attributes.get(_TAGS) or ()
    if attributes.get(_FAILED) is True:
        status = "FAILED"
    elif str(attributes.get(_STATE)).lower() == "running":
        status = "RUNNING"
    return Description(
        status=status,
        created=created if isinstance(created, datetime) else None,
        updated=modified if isinstance(modified, datetime) else None,
        args=parameters,
        comment=attributes.get(_DESCRIPTION) or attributes.get(_NAME) or key[1],
        tags=tuple(map(str, tags)),
        extras={name: value for name, value in attributes.items() if not name.startswith(_PARAMETERS)},
        parent=f"{key[0]}/{attributes[_PARENT]}" if attributes.get(_PARENT) else None,
    )


def _read_row(row: Mapping[str, Any], attributes: dict[str, Any], sink: Sink) -> None:
    name, kind, step = str(row["attribute_path"]), str(row["attribute_type"]), row["step"]
    column = _VALUES.get(kind)
    if column is None:
        sink.leave_out(f"attributes of type {kind}", _place(row, name))
    elif kind in _SERIES:
        # Steps are decimals: the fraction becomes the progress.
        sink.add(name, float(step) if isinstance(step, Decimal) and step % 1 else int(step or 0), row.get(column))
    else:
        attributes[name] = row.get(column)


def _place(row: Mapping[str, Any], name: str) -> str:
    file = row.get("file_value")
    return str(file.get("path") or name) if isinstance(file, dict) else name


def _rows(path: Path, columns: Sequence[str] | None, key: Key | None = None) -> Iterator[Mapping[str, Any]]:
    """Return the rows of a file, of one run or of all.

    Raises:
        SourceError: it is not a file of Neptune's exporter, or damaged.
    """
    try:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingPackageError("an export of Neptune", "pyarrow", "'sqltrack-import[parquet]'") from error

    with open_file(path) as binary:
        try:
            with pq.ParquetFile(binary) as file:
                missing = _REQUIRED - set(file.schema_arrow.names)
                if missing:
                    lacks = ", ".join(sorted(missing))
                    raise SourceError(f"{str(path)!r} is not of Neptune's exporter: it lacks the columns {lacks}")
                groups = range(file.num_row_groups) if key is None else _groups_with(file, key)
                for batch in file.iter_batches(row_groups=groups, columns=columns):
                    if key is not None:
                        is_project = pc.equal(batch.column("project_id"), key[0])
                        batch = batch.filter(pc.and_(is_project, pc.equal(batch.column("run_id"), key[1])))
                    yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{str(path)!r}: {error}") from error


def _groups_with(file: Any, key: Key) -> list[int]:
    """Return the row groups that may have rows of a run, which are next to each other in an export."""
    found = []
    column = file.schema_arrow.names.index("run_id")
    for number in range(file.num_row_groups):
        statistics = file.metadata.row_group(number).column(column).statistics
        if statistics is None or not statistics.has_min_max or statistics.min <= key[1] <= statistics.max:
            found.append(number)
    return found
