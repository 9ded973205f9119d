"""Read MLflow's database, with the schemas of MLflow 1, 2 and 3."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sqltrack.importers._databases import ForeignDatabase, open_database
from sqltrack.importers._files import hash_of
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
from sqltrack.importers._mlflow import PARENT, STATUSES, comment_and_tags, parameter, time_of, unlimited

__all__ = ["read_database"]

_RUNS_SQL = """
    SELECT runs.run_uuid, experiments.name, runs.name, runs.status, runs.start_time, runs.end_time,
        runs.lifecycle_stage, runs.artifact_uri, experiments.lifecycle_stage
    FROM runs JOIN experiments ON experiments.experiment_id = runs.experiment_id
    ORDER BY runs.start_time, runs.run_uuid
"""
_ACTIVE = "active"


def read_database(request: Request) -> Found:
    """Return the runs, oldest first and without deleted ones."""
    with open_database(request) as database:
        database.require(
            "MLflow",
            experiments="experiment_id name lifecycle_stage",
            runs="run_uuid experiment_id name status start_time end_time lifecycle_stage artifact_uri",
            metrics="run_uuid key value timestamp",
            params="run_uuid key value",
            tags="run_uuid key value",
        )
        # MLflow before 1.0 had no steps, and before 1.1 no NaN.
        present = database.columns("metrics")
        columns = [name if name in present else "0" for name in ("step", "is_nan")]
        for row in list(database.rows(_RUNS_SQL)):
            if row[6] == row[8] == _ACTIVE:
                yield _found_or_broken(database, row, columns)
            else:
                yield SkippedRun("deleted runs", str(row[0]))


def _found_or_broken(database: ForeignDatabase, row: Sequence[Any], columns: Sequence[str]) -> ForeignRun | BrokenRun:
    try:
        return _found_run(database, row, columns)
    except SourceError as error:
        return BrokenRun(str(row[0]), str(error))


def _found_run(database: ForeignDatabase, row: Sequence[Any], columns: Sequence[str]) -> ForeignRun:
    run_id, experiment, name, status, start, end, *_ = row
    sql = "SELECT COUNT(*), MAX(timestamp) FROM metrics WHERE run_uuid = %s"
    (counted,) = database.rows(sql, (run_id,))
    texts = [text for table in ("params", "tags") for item in _texts(database, table, run_id).items() for text in item]
    return ForeignRun(
        id=str(run_id),
        name=str(name or run_id),
        experiment=str(experiment),
        read=lambda sink: _read(database, row, columns, sink),
        version=" ".join(map(str, (status, start, end, *counted, hash_of([str(name), *texts])))),
    )


def _read(database: ForeignDatabase, row: Sequence[Any], columns: Sequence[str], sink: Sink) -> Description:
    run_id, _, name, status, start, end, _, artifacts, _ = row
    last = start
    # Several values at a step are in the order of their times.
    sql = f"""
        SELECT key, {columns[0]} AS step, value, {columns[1]} AS is_nan, timestamp FROM metrics WHERE run_uuid = %s
        ORDER BY 2, timestamp, key, value
    """
    for key, step, value, is_nan, timestamp in database.rows(sql, (run_id,)):
        sink.add(key, step or 0, math.nan if is_nan or value is None else unlimited(float(value)))
        if timestamp is not None and (last is None or timestamp > last):
            last = timestamp
    params, tags = (_texts(database, table, run_id) for table in ("params", "tags"))
    comment, own = comment_and_tags(tags, str(name or ""))
    if artifacts:
        sink.leave_out("folders of artifacts", artifacts)
    return Description(
        status=STATUSES.get(status, str(status or "FAILED")),
        created=time_of(start),
        updated=time_of(end or last),
        args={key: parameter(value) for key, value in params.items()},
        comment=comment,
        tags=own,
        extras={"artifact_uri": artifacts, "tags": tags},
        parent=tags.get(PARENT),
    )


def _texts(database: ForeignDatabase, table: str, run_id: str) -> dict[str, str]:
    """Return the parameters or tags of a run."""
    rows = database.rows(f"SELECT key, value FROM {table} WHERE run_uuid = %s ORDER BY key", (run_id,))
    return {str(key): str(value or "") for key, value in rows}
