"""Ask Slurm's accounting how jobs ended (sacct's manual page, sections JOB STATE CODES and Job Accounting Fields)."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from sqltrack.errors import SlurmError
from sqltrack.statuses import ENDED_STATES, find_state
from sqltrack.wording import pluralize

__all__ = ["Job", "JobState", "ask_slurm", "find_job", "has_slurm"]

# Each call is a request to slurmdbd. Many small ones would slow it down for all users.
_JOBS_PER_CALL = 200
_TIMEOUT = 60.0

_GROUP = re.compile(r"(\d+)_\[([\d,:-]*)(?:%\d+)?\]")
_RANGE = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")
_CLUSTER = re.compile(r"\w[\w.-]*", re.ASCII)


class Job(NamedTuple):
    """A job, or a task of a job array.

    Attributes:
        id: id in the form of Slurm, "123" or "123_4".
        cluster: name of its cluster, None if unknown.
    """

    id: str
    cluster: str | None


class JobState(NamedTuple):
    """The state of a job in Slurm.

    Attributes:
        state: state, such as "TIMEOUT".
        ended: end time, None if it has not ended, or if Slurm does not report it.
        exit_code: exit status and signal, such as "1:0".
    """

    state: str
    ended: datetime | None
    exit_code: str


def find_job(env: Any) -> Job | None:
    """Return the job of a run, from its stored environment."""
    if not isinstance(env, Mapping):
        return None
    array, task = _number(env.get("SLURM_ARRAY_JOB_ID")), _number(env.get("SLURM_ARRAY_TASK_ID"))
    number = (
        f"{array}_{task}" if array and task else _number(env.get("SLURM_JOB_ID")) or _number(env.get("SLURM_JOBID"))
    )
    if not number:
        return None
    cluster = env.get("SLURM_CLUSTER_NAME")
    return Job(number, cluster if isinstance(cluster, str) and _CLUSTER.fullmatch(cluster) else None)


def has_slurm() -> bool:
    """Return whether the command sacct exists."""
    return shutil.which("sacct") is not None


def ask_slurm(
    jobs: Iterable[Job], progress: Callable[[int], object] | None = None
) -> tuple[dict[Job, JobState], list[str]]:
    """Return the states of jobs, and why queries for some of them failed.

    Args:
        jobs: the jobs.
        progress: called now and then with the number of jobs done.
    """
    states: dict[Job, JobState] = {}
    failures: list[str] = []
    asked = 0
    clusters: dict[str | None, list[Job]] = {}
    for job in sorted(set(jobs), key=lambda job: (job.cluster or "", job.id)):
        clusters.setdefault(job.cluster, []).append(job)
    for cluster, members in clusters.items():
        for begin in range(0, len(members), _JOBS_PER_CALL):
            part = members[begin : begin + _JOBS_PER_CALL]
            try:
                states.update(_ask(cluster, part))
            except SlurmError as error:
                number = pluralize(len(members) - begin, "job")
                failures.append(f"{error}, so {number}{_of(cluster)} could not be looked up")
                # A command that failed or hung once would do so again.
                break
            asked += len(part)
            if progress is not None:
                progress(asked)
    return states, failures


def _of(cluster: str | None) -> str:
    return "" if cluster is None else f" of cluster {cluster!r}"


def _number(value: Any) -> str | None:
    text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    return text if text.isascii() and text.isdigit() else None


def _ask(cluster: str | None, jobs: Sequence[Job]) -> dict[Job, JobState]:
    command = [
        "sacct",
        "--noheader",
        "--parsable2",
        # Runs in a shared database may belong to other users.
        "--allusers",
        "--allocations",
        "--format=JobID,State,End,ExitCode",
        f"--jobs={','.join(job.id for job in jobs)}",
        *([] if cluster is None else [f"--clusters={cluster}"]),
    ]
    rows = _Rows()
    for line in _output_of(command).splitlines():
        rows.add(line)
    found = {job: rows.find(job.id) for job in jobs}
    return {job: state for job, state in found.items() if state is not None}


def _output_of(command: Sequence[str]) -> str:
    """Return the output of sacct.

    Raises:
        SlurmError: sacct fails, or takes too long.
    """
    # Epoch seconds need no time zone; a bit string length of 0 lists pending array tasks in full.
    environment = {**os.environ, "SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}
    try:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            errors="replace",
            # So that a wrapper script and its children can be killed together.
            start_new_session=True,
        )
    except OSError as error:
        raise SlurmError(f"sacct cannot be started: {error.strerror}") from error
    with process:
        try:
            output, errors = process.communicate(timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise SlurmError(f"sacct did not answer within {_TIMEOUT:g} s") from None
        except BaseException:
            _kill(process)
            raise
    if process.returncode:
        said = " ".join(errors.split()) or "no message"
        raise SlurmError(f"sacct failed with exit status {process.returncode}: {said[:200]}")
    return output


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


class _Rows:
    """The rows of sacct's answer."""

    def __init__(self) -> None:
        # By job, then by the component of a heterogeneous job, "0" for others. After a requeue a job has several
        # rows; the last one counts.
        self._jobs: dict[str, dict[str, JobState]] = {}
        self._groups: list[tuple[str, str, JobState]] = []

    def add(self, line: str) -> None:
        """Add one row; rows of job steps and other lines are left out."""
        fields = line.strip().split("|")
        if len(fields) < 4 or "." in fields[0]:
            return
        state = JobState(find_state(fields[1]), _as_time(fields[2]), fields[3])
        group = _GROUP.fullmatch(fields[0])
        if group is not None:
            self._groups.append((group[1], group[2], state))
            return
        job, _, component = fields[0].partition("+")
        # In a federation, several clusters could have started the job; only one did.
        if state.state != "REVOKED" or job not in self._jobs:
            self._jobs.setdefault(job, {})[component or "0"] = state

    def find(self, job: str) -> JobState | None:
        """Return the state of a job, None if it is unknown."""
        components = self._jobs.get(job)
        array, _, task = job.partition("_")
        # A requeued task is among the pending ones, and may also have its own row.
        for group, tasks, state in self._groups:
            if (
                task
                and group == array
                and _holds(tasks, int(task))
                and (not components or state.state not in ENDED_STATES)
            ):
                return state
        if not components:
            return None
        alive = (state for state in components.values() if state.state not in ENDED_STATES)
        return next(alive, components[min(components, key=lambda number: (len(number), number))])


def _holds(tasks: str, task: int) -> bool:
    return any(task in numbers for numbers in _ranges(tasks))


def _ranges(tasks: str) -> Iterator[range]:
    for part in tasks.split(","):
        match = _RANGE.fullmatch(part)
        if match is not None:
            yield range(int(match[1]), int(match[2] or match[1]) + 1, max(int(match[3] or 1), 1))


def _as_time(text: str) -> datetime | None:
    try:
        if text.isascii() and text.isdigit():
            return datetime.fromtimestamp(int(text), timezone.utc) if int(text) else None
        # A sacct that does not know the format writes local time.
        return datetime.fromisoformat(text).astimezone(timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None
