"""sqltrack reap: mark runs whose process is gone."""

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
Looks at the runs that say that they have a process (RUNNING, say). Where the environment that is stored with a run
names a Slurm job, sacct is asked, and the run gets the state in which the job ended; as long as the job is alive, it is
left alone. Runs without a job, or of whose job Slurm knows nothing, are judged by how long ago they were last updated,
and only if --older-than says how long is too long. A run that is updated in the meantime is left alone.
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
        help="judge runs of which Slurm knows nothing by their age, such as 90min, 24h, 7d; longer than any pause "
        "between two calls that log metrics",
    )
    parser.add_argument(
        "--status", default="FAILED", help="status of runs of which Slurm knows nothing (default: %(default)s)"
    )
    add_experiment(parser, "only runs of this experiment, name or id")
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
        print_note("no run has to be marked" if findings else "no run says that it is running")
    elif options.dry_run:
        print_note(f"{pluralize(number, 'run')} would be marked")
    elif marked is None:
        print_note("nothing was changed")
        return 1
    else:
        done = sum(finding.marked for finding in marked)
        spared = (
            f", {pluralize(number - done, 'was', 'were')} spared, because they have changed in the meantime"
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
