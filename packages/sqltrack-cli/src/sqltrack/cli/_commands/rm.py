"""sqltrack rm: delete runs, or an experiment with all its runs."""

from __future__ import annotations

import argparse

from sqltrack.cli._confirm import apply_if_agreed, as_record, describe, print_deletion, report_deletion
from sqltrack.cli._edit_options import add_edit_options, add_experiment, add_runs, named_runs, needs_runs_or_experiment
from sqltrack.cli._output import progress_bar
from sqltrack.cli._parser import Commands, Parser, open_client
from sqltrack.commands.rm import Deletion, apply_rm, plan_rm

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "rm",
        description="Their metrics and links are deleted too, permanently. If anything fails, nothing is deleted.",
        example="sqltrack rm 5-9 12 --dry-run\n         sqltrack rm --experiment scratch",
    )
    add_runs(parser, nargs="*")
    add_experiment(parser, "experiment to delete with all its runs (name or id)")
    parser.add_argument(
        "--force", action="store_true", help="also delete runs that are RUNNING and were updated in the last 10 minutes"
    )
    add_edit_options(parser)
    parser.set_defaults(run=_run, parser=parser)


def _run(options: argparse.Namespace) -> int:
    parser: Parser = options.parser
    needs_runs_or_experiment(parser, options)
    client = open_client(options)
    deletion = plan_rm(client, named_runs(options.runs), experiment=options.experiment, force=options.force)
    if not options.json:
        print_deletion(deletion)

    def delete() -> Deletion:
        with progress_bar("deleting runs", len(deletion.runs)) as progress:
            # With --yes the user has not seen the plan.
            return apply_rm(client, deletion, progress, even_if_changed=options.yes)

    deleted = apply_if_agreed(
        options,
        f"delete {describe(deletion)}",
        delete,
        lambda deleted: as_record(deleted or deletion, done=deleted is not None),
    )
    return report_deletion(options, client, deleted or deletion, done=deleted is not None)
