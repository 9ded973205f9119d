"""sqltrack rename-metric: rename a metric."""

from __future__ import annotations

import argparse

from sqltrack.cli._confirm import apply_if_agreed
from sqltrack.cli._edit_options import add_edit_options, add_experiment
from sqltrack.cli._output import print_note, progress_bar
from sqltrack.cli._parser import Commands, open_client
from sqltrack.commands.rename_metric import Renaming, apply_rename_metric, plan_rename_metric
from sqltrack.wording import pluralize

__all__ = ["add_parser"]

_DESCRIPTION = """
Without --experiment, renames the column for all runs. With it, moves the values of the experiment's runs to the new
name, and creates its column if missing. --merge moves values to an existing metric, and fails if a row has values of
both. Jobs that continue to log under the old name create the metric again.
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "rename-metric",
        description=" ".join(_DESCRIPTION.split()),
        example="sqltrack rename-metric acc accuracy\n         sqltrack rename-metric acc accuracy --merge --dry-run",
    )
    parser.add_argument("name", metavar="OLD", help="name of the metric")
    parser.add_argument("new_name", metavar="NEW", help="new name")
    add_experiment(parser, "only runs of this experiment (name or id)")
    parser.add_argument("--merge", action="store_true", help="move values to an existing metric")
    add_edit_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    client = open_client(options)
    renaming = plan_rename_metric(
        client, options.name, options.new_name, experiment=options.experiment, merge=options.merge
    )
    if not options.json:
        print_note(_describe(renaming))
    if renaming.running:
        runs = pluralize(renaming.running, "run is", "runs are")
        print_note(f"{runs} RUNNING: jobs that still log {renaming.name!r} create it again")

    def rename() -> Renaming:
        moves = len(renaming.runs) if renaming.column == "move" else 0
        with progress_bar("moving values", moves + renaming.extras) as progress:
            return apply_rename_metric(client, renaming, progress)

    question = f"rename {renaming.name!r} to {renaming.new_name!r}"
    renamed = apply_if_agreed(
        options, question, rename, lambda renamed: _record(renamed or renaming, renamed=renamed is not None)
    )
    if renamed is not None:
        return _report(renamed)
    if not options.dry_run:
        print_note("nothing was changed")
        return 1
    return 0


def _report(renamed: Renaming) -> int:
    """Print the outcome and the number of values that keep the old name; return 1 if the user has to look at those."""
    if not renamed.left:
        print_note("renamed")
        return 0
    later = renamed.left - renamed.both
    reasons = [f"{renamed.both:,} in rows with values of both"] if renamed.both else []
    reasons += [f"{later:,} that came in the meantime"] if later else []
    print_note(f"renamed, but {renamed.name!r} still has {pluralize(renamed.left, 'value')}: {', '.join(reasons)}")
    return 1 if renamed.both else 0


def _record(renaming: Renaming, *, renamed: bool) -> dict[str, object]:
    return {**renaming._asdict(), "runs": len(renaming.runs), "renamed": renamed}


def _describe(renaming: Renaming) -> str:
    names = f"{renaming.name!r} → {renaming.new_name!r}"
    extras = f", {pluralize(renaming.extras, 'value')} in extras" if renaming.extras else ""
    what = {"rename": "column renamed", "move": "values moved to another column", None: "no column"}[renaming.column]
    return f"{names}: {what}, {pluralize(renaming.values, 'value')} of {pluralize(len(renaming.runs), 'run')}{extras}"
