"""Mark RUNNING runs whose process has died."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._databases import read_only, transaction
from sqltrack.commands._lookup import find_experiment
from sqltrack.commands._rows import batches, fetch, lock_rows
from sqltrack.commands._sightings import Sight, find_changes, look_at_runs
from sqltrack.commands._slurm import Job, JobState, ask_slurm, find_job, has_slurm
from sqltrack.engines.schema import INT64, fits_int64
from sqltrack.errors import SlurmError, UnusableValueError
from sqltrack.statuses import ALIVE_STATES, ENDED_STATES, OTHER, find_group, find_state
from sqltrack.util import placeholders

__all__ = ["Finding", "apply_reap", "plan_reap"]

# Maximum difference of clocks. A run that was updated later than this after the end of its job has outlived the job.
_TOLERANCE = timedelta(minutes=5)

_SQL = """
    SELECT
        runs.id, experiments.name AS experiment, runs.status,
        runs.time_created, runs.time_started, runs.time_updated, runs.env
    FROM runs JOIN experiments ON experiments.id = runs.experiment_id
"""

Progress = Callable[[int], object]


class Finding(NamedTuple):
    """The finding about a run.

    Attributes:
        run_id: id of the run.
        experiment: name of its experiment.
        job: id of its job in the form of Slurm, None without a job.
        last_update: time of its last sign of life.
        status: its status.
        new_status: its new status, None if it is left alone.
        ended: end of its job, None if unknown.
        why: the reason.
        time_updated: its `time_updated` in the plan.
        marked: whether it was marked.
        seen: the rest of its state in the plan.
    """

    run_id: int
    experiment: str
    job: str | None
    last_update: datetime
    status: str
    new_status: str | None
    ended: datetime | None
    why: str
    time_updated: datetime | None
    marked: bool = False
    seen: Sight = MappingProxyType({})


def plan_reap(
    client: Client,
    *,
    older_than: timedelta | None = None,
    experiment: str | None = None,
    status: str = "FAILED",
    progress: Progress | None = None,
) -> tuple[list[Finding], list[str]]:
    """Plan to mark the runs whose process has died.

    A run gets the state of its Slurm job. It is left alone if the job may still run, or has an unknown state. A run
    that Slurm does not know is judged by the time since its last update.

    Args:
        client: client to use.
        older_than: time without an update after which to mark runs that Slurm does not know; by default they are left
            alone.
        experiment: name or id of an experiment, default: all.
        status: new status of runs that Slurm does not know.
        progress: called now and then with the number of jobs that were looked up.

    Returns:
        The finding about each run whose status says that it has a process, by id; and why lookups of some jobs failed.

    Raises:
        NotFoundError: the experiment does not exist.
        SlurmError: sacct fails or does not answer, and `older_than` is not given.
        UnusableValueError: (a ValueError) the status is not one of a run that has ended.
    """
    if not status.strip() or not status.isprintable() or find_state(status) in ALIVE_STATES:
        raise UnusableValueError(f"status must be one of a run that has ended, such as 'FAILED', got {status!r}")
    runs = _find_runs(client, experiment)
    jobs = {run["id"]: run["job"] for run in runs if run["job"] is not None}
    states: Mapping[Job, JobState] = {}
    failures: list[str] = []
    if jobs and has_slurm():
        states, failures = ask_slurm(jobs.values(), progress)
    if failures and older_than is None:
        raise SlurmError(failures[0], "add --older-than to judge runs by their last update if Slurm does not answer")
    now = datetime.now(timezone.utc)
    return [_judge(run, states, older_than, status, now) for run in runs], failures


def apply_reap(client: Client, findings: Sequence[Finding], progress: Progress | None = None) -> list[Finding]:
    """Set the new status of runs, except those that were updated or moved since.

    Args:
        client: client to use.
        findings: the findings of `plan_reap`.
        progress: called now and then with the number of runs done.

    Returns:
        The findings after the changes.
    """
    done: list[Finding] = []
    for batch in batches(findings):
        # In one transaction, so that others see all changes or none.
        with transaction(client) as connection:
            done += _mark(client, connection, batch)
        if progress is not None:
            progress(len(done))
    return done


def _find_runs(client: Client, experiment: str | None) -> list[dict[str, Any]]:
    """Return the runs whose status says that they have a process, with their job instead of their environment."""
    runs: list[dict[str, Any]] = []
    conditions = f"WHERE runs.status IN ({placeholders(len(ALIVE_STATES))})"
    parameters: list[Any] = [*ALIVE_STATES]
    last = INT64[0]
    with read_only(client) as connection:
        if experiment is not None:
            conditions += " AND runs.experiment_id = %s"
            parameters.append(find_experiment(connection, experiment))
        # In batches, because environments are large.
        sql = f"{_SQL} {conditions} AND runs.id >= %s ORDER BY runs.id LIMIT 500"
        while batch := fetch(connection, sql, (*parameters, last)):
            seen = look_at_runs(connection, [run["id"] for run in batch])
            for run in batch:
                run["job"] = find_job(run.pop("env"))
                run["seen"] = {key: seen[key] for key in [("run", run["id"])]}
            runs += batch
            last = batch[-1]["id"] + 1
            if not fits_int64(last):
                break
    return runs


def _judge(
    run: Mapping[str, Any],
    states: Mapping[Job, JobState],
    older_than: timedelta | None,
    status: str,
    now: datetime,
) -> Finding:
    job: Job | None = run["job"]
    state = None if job is None else states.get(job)
    times = (run[f"time_{name}"] for name in ("created", "started", "updated"))
    last_update = max(time for time in times if isinstance(time, datetime))
    new_status, ended, why = _by_age(now - last_update, older_than, status)
    if state is not None and state.state not in ENDED_STATES:
        new_status, why = None, _why_alive(state.state)
    elif state is not None and state.ended is not None and last_update > state.ended + _TOLERANCE:
        why = f"outlived its job, {why}"
    elif state is not None:
        new_status, ended, why = state.state, state.ended, f"Slurm: {state.state}, exit {state.exit_code}"
    elif job is not None:
        why = f"{'unknown to Slurm' if has_slurm() else 'no sacct'}, {why}"
    id_ = None if job is None else job.id
    return Finding(
        run["id"],
        run["experiment"],
        id_,
        last_update,
        run["status"],
        new_status,
        ended,
        why,
        run["time_updated"],
        seen=run["seen"],
    )


def _why_alive(state: str) -> str:
    if find_group(state) is OTHER:
        return f"Slurm: {state}, a state unknown to sqltrack" if state else "Slurm: no state"
    return f"Slurm: {state}"


def _by_age(age: timedelta, older_than: timedelta | None, status: str) -> tuple[str | None, datetime | None, str]:
    if older_than is None:
        return None, None, "needs --older-than"
    if age < older_than:
        return None, None, "updated recently"
    return status, None, "not updated for too long"


def _mark(client: Client, connection: Any, findings: Sequence[Finding]) -> list[Finding]:
    """Mark runs in the open transaction, except those that have changed."""
    planned = [finding.run_id for finding in findings if finding.new_status is not None]
    lock_rows(client, connection, "runs", planned)
    current = look_at_runs(connection, planned)
    done: list[Finding] = []
    for finding in findings:
        key = ("run", finding.run_id)
        now: Sight = {key: current[key]} if key in current else {}
        changes = find_changes(finding.seen, now)
        if finding.new_status is None:
            done.append(finding)
        elif changes:
            done.append(finding._replace(new_status=None, why=f"changed in the meantime: {changes[key]}"))
        else:
            _set_status(client, finding)
            done.append(finding._replace(marked=True))
    return done


def _set_status(client: Client, finding: Finding) -> None:
    # The time never moves backward.
    seen = finding.time_updated
    moves = finding.ended is not None and (seen is None or finding.ended > seen)
    changes = {"status": finding.new_status, **({"time_updated": finding.ended} if moves else {})}
    sql = f"UPDATE runs SET {', '.join(f'{column} = %s' for column in changes)} WHERE id = %s"
    client.execute(sql, (*changes.values(), finding.run_id))
