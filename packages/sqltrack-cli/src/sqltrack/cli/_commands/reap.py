"""sqltrack reap: mark RUNNING runs whose process has died."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import timedelta

from sqltrack.cli._cells import show_status
from sqltrack.cli._confirm import apply_if_agreed
from sqltrack.cli._durations import duration
from sqltrack.cli._edit_options import add_edit_options, add_experiment
from sqltrack.cli._output import print_note, progress_bar
from sqltrack.cli._parser import Commands, open_client
from sqltrack.cli._table import print_table
from sqltrack.commands.reap import Finding, apply_reap, plan_reap
from sqltrack.wording import pluralize

__all__ = ["add_parser"]

_COLUMNS = ("id", "experiment", "job", "last_update", "status", "new_status", "why")
_DESCRIPTION = """
Checks the runs whose status says that they have a process, such as RUNNING. If the environment of a run names a Slurm
job, the command asks sacct: if the job has ended, the run gets the state of the job; otherwise it is left alone. Runs
without a job, or with a job that Slurm does not know, are judged by the time since their last update, and only with
--older-than. A run that is updated in the meantime is left alone.
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "reap",
        description=" ".join(_DESCRIPTION.split()),
        example="sqltrack reap --dry-run\n         sqltrack reap --older-than 24h --experiment baseline",
    )
    parser.add_argument(
        "--older-than",
        type=duration,
        metavar="AGE",
        help="mark runs that Slurm does not know after this time without an update, such as 90min, 24h or 7d; choose "
        "more than the longest pause between two calls that log metrics",
    )
    parser.add_argument(
        "--status", default="FAILED", help="new status of runs that Slurm does not know (default: %(default)s)"
    )
    add_experiment(parser, "only runs of this experiment (name or id)")
    add_edit_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    client = open_client(options)
    older_than: timedelta | None = options.older_than
    with progress_bar("asking Slurm") as progress:
        findings, failures = plan_reap(
            client, older_than=older_than, experiment=options.experiment, status=options.status, progress=progress
        )
    for failure in failures:
        print_note(failure)
    number = sum(finding.new_status is not None for finding in findings)
    if not options.json:
        _print(findings)

    def mark() -> list[Finding]:
        with progress_bar("marking runs", len(findings)) as progress:
            return apply_reap(client, findings, progress)

    question = f"mark {pluralize(number, 'run')}" if number else None
    marked = apply_if_agreed(
        options,
        question,
        mark,
        lambda marked: [_record(finding) for finding in (findings if marked is None else marked)],
    )
    return _report(options, findings, marked)


def _report(options: argparse.Namespace, findings: Sequence[Finding], marked: Sequence[Finding] | None) -> int:
    number = sum(finding.new_status is not None for finding in findings)
    if not number:
        print_note("no run needs to be marked" if findings else "no run is running")
    elif options.dry_run:
        print_note(f"{pluralize(number, 'run')} would be marked")
    elif marked is None:
        print_note("nothing was changed")
        return 1
    else:
        done = sum(finding.marked for finding in marked)
        spared = (
            f", {pluralize(number - done, 'was', 'were')} left alone because they have changed in the meantime"
            if done < number
            else ""
        )
        print_note(f"{pluralize(done, 'run')} marked{spared}")
    return 0


def _print(findings: Sequence[Finding]) -> None:
    if findings:
        print_table(
            [_record(finding) for finding in findings],
            _COLUMNS,
            cells={"new_status": show_status},
            optional=("experiment",),
            headers={"last_update": "updated", "new_status": "new status"},
        )


def _record(finding: Finding) -> dict[str, object]:
    record = finding._asdict()
    del record["time_updated"], record["seen"]
    return {"id": record.pop("run_id"), **record}
