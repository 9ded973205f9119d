"""Read Trackio's files: a SQLite database for each project."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqltrack.commands._rows import to_number
from sqltrack.importers._databases import ForeignDatabase, open_database
from sqltrack.importers._files import Folder
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

_MEDIA_PREFIX = "trackio."


def read_runs(request: Request) -> Found:
    """Return the runs of a project, which is named after its file, or of all projects of a folder."""
    if not request.path.is_dir():
        yield from _runs_of(request)
        return
    paths = [path for path in Folder(request.path).files() if path.suffix == ".db" and path.parent == request.path]
    if not paths:
        raise SourceError(f"no projects of Trackio in {str(request.path)!r}", "give the file of a project")
    for path in paths:
        try:
            yield from _runs_of(request._replace(source=str(path)))
        except (OSError, SourceError) as error:
            yield BrokenRun(str(path), str(error))


def _runs_of(request: Request) -> Found:
    with open_database(request) as database:
        database.require("Trackio", metrics="id timestamp run_name step metrics")
        # Older versions tell runs apart only by name.
        key = "run_id" if "run_id" in database.columns("metrics") else "run_name"
        sql = f"""
            SELECT {key}, MAX(run_name), MIN(timestamp), MAX(timestamp), COUNT(*) FROM metrics GROUP BY {key}
            ORDER BY MIN(timestamp), MIN(id)
        """
        for row in list(database.rows(sql)):
            try:
                yield _found_run(database, request.path, key, row, request.status)
            except SourceError as error:
                yield BrokenRun(f"{request.path.stem}/{row[1]}", str(error))


def _found_run(database: ForeignDatabase, path: Path, key: str, row: Sequence[Any], status: str) -> ForeignRun:
    run_id, name, first, last, count = row
    config = _config_of(database, key, run_id)
    return ForeignRun(
        id=f"{path.stem}/{run_id}" if key == "run_id" else f"{path.stem}/{run_id}@{first}",
        name=str(name),
        experiment=path.stem,
        read=lambda sink: _read(database, path, key, row, config, sink, status),
        version=f"{last} {count} {config}" if len(config) < 100 else None,
    )


def _config_of(database: ForeignDatabase, key: str, run_id: str) -> str:
    if key not in database.columns("configs"):
        return "{}"
    rows = list(database.rows(f"SELECT config FROM configs WHERE {key} = %s", (run_id,)))
    config = rows[-1][0] if rows else "{}"
    # Newer versions store bytes.
    return config.decode("utf-8", "backslashreplace") if isinstance(config, bytes) else str(config)


def _read(
    database: ForeignDatabase, path: Path, key: str, row: Sequence[Any], config: str, sink: Sink, status: str
) -> Description:
    run_id, name, first, last, _ = row
    try:
        found = json.loads(config)
    except json.JSONDecodeError:
        sink.damage(f"{str(path)!r}: the configuration of run {name!r} is not JSON")
        found = {}
    values = {str(key): to_number(value) for key, value in found.items()} if isinstance(found, dict) else {}
    own = {key: value for key, value in values.items() if key.startswith("_")}
    sql = f"SELECT id, step, metrics FROM metrics WHERE {key} = %s ORDER BY id"
    for row_id, step, text in database.rows(sql, (run_id,)):
        _read_metrics(row_id, step, text, path, sink)
    _count_others(database, key, run_id, sink, path)
    return Description(
        status=status,
        created=parse_time(own.get("_Created")) or parse_time(first),
        updated=parse_time(last),
        args={key: value for key, value in values.items() if key not in own},
        comment=str(name),
        tags=(str(own["_Group"]),) if own.get("_Group") is not None else (),
        extras=own,
    )


def _read_metrics(row_id: int, step: Any, text: Any, path: Path, sink: Sink) -> None:
    try:
        metrics = json.loads(text)
    except (ValueError, TypeError):
        sink.damage(f"{str(path)!r}: row {row_id} of table metrics is not JSON")
        return
    for name, value in metrics.items() if isinstance(metrics, dict) else ():
        kind = value.get("_type") if isinstance(value, dict) else None
        if kind is not None:
            sink.leave_out(f"values of type {str(kind).removeprefix(_MEDIA_PREFIX)}", name)
        else:
            sink.add(name, step, to_number(value))


def _count_others(database: ForeignDatabase, key: str, run_id: str, sink: Sink, path: Path) -> None:
    """Count rows of tables that are not imported."""
    for table, what in (("system_metrics", "rows of system metrics"), ("alerts", "alerts"), ("traces", "traces")):
        if key in database.columns(table):
            ((count,),) = database.rows(f"SELECT COUNT(*) FROM {table} WHERE {key} = %s", (run_id,))
            if count:
                sink.leave_out(what, f"{path}, table {table}", count)
