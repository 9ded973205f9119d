"""Mark runs that say that they are running, though their process is gone."""

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

# By how much clocks may differ. A run that was updated later than that after its job ended is not part of the job.
_TOLERANCE = timedelta(minutes=5)

_SQL = """
    SELECT
        runs.id, experiments.name AS experiment, runs.status,
        runs.time_created, runs.time_started, runs.time_updated, runs.env
    FROM runs JOIN experiments ON experiments.id = runs.experiment_id
"""

Progress = Callable[[int], object]


class Finding(NamedTuple):
    """What was found out about a run.

    Attributes:
        run_id: id of the run.
        experiment: name of its experiment.
        job: its job, as Slurm writes it, None if it has none.
        last_update: when it was last heard of.
        status: what it says.
        new_status: what it should say, None if it is left alone.
        ended: when its job ended, None if that is not known.
        why: the reason.
        time_updated: its `time_updated` when it was looked at.
        marked: whether it was marked.
        seen: what else was seen of it.
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
    """Plan to mark the runs whose process is gone.

    A run gets the state of its Slurm job, but is left alone if the job may still run, as in a state that is not known.
    A run of which Slurm knows nothing is judged by how long it was silent.

    Args:
        client: client to use.
        older_than: how long a run must have been silent of which Slurm knows nothing; default: those are left alone.
        experiment: name or id of an experiment, default: all.
        status: new status of runs of which Slurm knows nothing.
        progress: called now and then with the number of jobs that Slurm was asked about.

    Returns:
        The findings about each run whose status says that it has a process, by id; and why Slurm could not be asked
        about some jobs.

    Raises:
        NotFoundError: the experiment does not exist.
        SlurmError: sacct fails, or gives no answer, and there is no `older_than` to go by.
        UnusableValueError: (a ValueError) the status cannot be that of a run that has ended.
    """
    if not status.strip() or not status.isprintable() or find_state(status) in ALIVE_STATES:
        raise UnusableValueError(f"status must be one of runs that have ended, such as 'FAILED', got {status!r}")
    runs = _find_runs(client, experiment)
    jobs = {run["id"]: run["job"] for run in runs if run["job"] is not None}
    states: Mapping[Job, JobState] = {}
    failures: list[str] = []
    if jobs and has_slurm():
        states, failures = ask_slurm(jobs.values(), progress)
    if failures and older_than is None:
        raise SlurmError(failures[0], "with --older-than runs are judged by their age where Slurm is silent")
    now = datetime.now(timezone.utc)
    return [_judge(run, states, older_than, status, now) for run in runs], failures


def apply_reap(client: Client, findings: Sequence[Finding], progress: Progress | None = None) -> list[Finding]:
    """Give runs the status that was found for them, unless they have been heard of since, or moved.

    Args:
        client: client to use.
        findings: what `plan_reap` has found.
        progress: called now and then with the number of runs done.

    Returns:
        The same, as it is now.
    """
    done: list[Finding] = []
    for batch in batches(findings):
        # One transaction; others see all of it or nothing.
        with transaction(client) as connection:
            done += _mark(client, connection, batch)
        if progress is not None:
            progress(len(done))
    return done


def _find_runs(client: Client, experiment: str | None) -> list[dict[str, Any]]:
    """Return the runs that say that they have a process, with their job instead of their environment."""
    runs: list[dict[str, Any]] = []
    conditions = f"WHERE runs.status IN ({placeholders(len(ALIVE_STATES))})"
    parameters: list[Any] = [*ALIVE_STATES]
    last = INT64[0]
    with read_only(client) as connection:
        if experiment is not None:
            conditions += " AND runs.experiment_id = %s"
            parameters.append(find_experiment(connection, experiment))
        # Environments are large, so not all at once.
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
        return f"Slurm: {state}, a state that sqltrack does not know" if state else "Slurm: no state"
    return f"Slurm: {state}"


def _by_age(age: timedelta, older_than: timedelta | None, status: str) -> tuple[str | None, datetime | None, str]:
    if older_than is None:
        return None, None, "needs --older-than"
    if age < older_than:
        return None, None, "updated of late"
    return status, None, "silent too long"


def _mark(client: Client, connection: Any, findings: Sequence[Finding]) -> list[Finding]:
    """Mark some runs in the open transaction, but for those that are not as they were."""
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
    # The time only ever goes forward.
    seen = finding.time_updated
    moves = finding.ended is not None and (seen is None or finding.ended > seen)
    changes = {"status": finding.new_status, **({"time_updated": finding.ended} if moves else {})}
    sql = f"UPDATE runs SET {', '.join(f'{column} = %s' for column in changes)} WHERE id = %s"
    client.execute(sql, (*changes.values(), finding.run_id))
