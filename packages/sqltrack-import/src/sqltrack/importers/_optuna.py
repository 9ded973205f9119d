"""Read Optuna's database: a run for each trial."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqltrack.importers._databases import ForeignDatabase, open_database
from sqltrack.importers._foreign import Description, ForeignRun, Found, Request, Sink, SkippedRun

__all__ = ["read_runs"]

_STATUSES = {"COMPLETE": "COMPLETED", "FAIL": "FAILED"}
_WAITING = "WAITING"
_INFINITIES = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
_TRIALS_SQL = """
    SELECT trials.trial_id, trials.number, studies.study_name, trials.state, trials.datetime_start,
        trials.datetime_complete, trials.study_id
    FROM trials JOIN studies ON studies.study_id = trials.study_id
    ORDER BY trials.study_id, trials.number
"""
_INTERMEDIATE = "intermediate_value"


def read_runs(request: Request) -> Found:
    """Return a run for each trial that has begun, with the study as its experiment."""
    with open_database(request) as database:
        database.require(
            "Optuna",
            studies="study_id study_name",
            trials="trial_id number study_id state datetime_start datetime_complete",
            trial_params="trial_id param_name param_value distribution_json",
            trial_values="trial_id value",
            trial_intermediate_values="trial_id step intermediate_value",
        )
        for row in list(database.rows(_TRIALS_SQL)):
            if row[3] == _WAITING:
                yield SkippedRun("waiting trials", f"{row[2]}/{row[1]}")
            else:
                yield _found_run(database, row)


def _found_run(database: ForeignDatabase, row: Sequence[Any]) -> ForeignRun:
    _, number, study, state, start, complete, _ = row
    return ForeignRun(
        # Studies of different databases may have the same name.
        id=f"{study}/{number}@{start}",
        name=f"{study}/{number}",
        experiment=str(study),
        read=lambda sink: _read(database, row, sink),
        # A trial does not change after its end.
        version=f"{state} {complete}" if complete is not None else None,
    )


def _read(database: ForeignDatabase, row: Sequence[Any], sink: Sink) -> Description:
    trial_id, number, _, state, start, complete, study_id = row
    last = _read_intermediate(database, trial_id, sink)
    values = list(database.rows(_values_sql(database), (trial_id,)))
    for objective, value, kind in values:
        name = "value" if len(values) == 1 else f"values_{objective}"
        sink.add(name, last, _INFINITIES.get(kind, value))
    sql = "SELECT param_name, param_value, distribution_json FROM trial_params WHERE trial_id = %s ORDER BY param_id"
    params = {name: _parameter(value, text) for name, value, text in database.rows(sql, (trial_id,))}
    extras: dict[str, Any] = {"number": number}
    for table in ("trial_user_attributes", "trial_system_attributes"):
        found = _attributes(database, table, "trial_id", trial_id)
        if found:
            extras[table.removeprefix("trial_")] = found
    sql = "SELECT direction FROM study_directions WHERE study_id = %s ORDER BY objective"
    extras["directions"] = [direction for (direction,) in database.rows(sql, (study_id,))]
    return Description(
        status=_STATUSES.get(state, str(state)),
        created=_local(start),
        updated=_local(complete) or _local(start),
        args=params,
        comment=f"trial {number}",
        extras=extras,
    )


def _read_intermediate(database: ForeignDatabase, trial_id: int, sink: Sink) -> int:
    """Read the intermediate values of a trial, and return the last step, 0 without values."""
    kind = _kind_column(database, "trial_intermediate_values", "intermediate_value_type")
    sql = f"""
        SELECT step, intermediate_value, {kind} AS kind FROM trial_intermediate_values WHERE trial_id = %s ORDER BY step
    """
    last = 0
    for step, value, found in database.rows(sql, (trial_id,)):
        # Older versions store NaN as NULL.
        sink.add(_INTERMEDIATE, step, math.nan if value is None and found is None else _INFINITIES.get(found, value))
        last = step
    return last


def _values_sql(database: ForeignDatabase) -> str:
    kind = _kind_column(database, "trial_values", "value_type")
    return f"SELECT objective, value, {kind} AS kind FROM trial_values WHERE trial_id = %s ORDER BY objective"


def _kind_column(database: ForeignDatabase, table: str, name: str) -> str:
    """Return a column that tells finite values from others, which older versions lack."""
    return name if name in database.columns(table) else "NULL"


def _parameter(value: Any, text: str) -> Any:
    """Return the value of a parameter, of which the database contains a number and a description."""
    distribution: Mapping[str, Any] = json.loads(text)
    name, attributes = distribution.get("name", ""), distribution.get("attributes", {})
    if "Categorical" in name:
        return attributes["choices"][int(value)]
    return int(value) if name.startswith("Int") and value is not None else value


def _attributes(database: ForeignDatabase, table: str, key: str, row_id: int) -> dict[str, Any]:
    if not {"key", "value_json"} <= database.columns(table):
        return {}
    rows = database.rows(f"SELECT key, value_json FROM {table} WHERE {key} = %s ORDER BY key", (row_id,))
    return {name: json.loads(text) for name, text in rows}


def _local(value: Any) -> datetime | None:
    """Return a time of Optuna, which has no time zone: it is the local time of the computer."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value.astimezone() if isinstance(value, datetime) else None
