"""sqltrack rewind: remove the metrics that a run logged after a checkpoint."""

from __future__ import annotations

import argparse

from sqltrack.cli._confirm import apply_if_agreed
from sqltrack.cli._edit_options import add_edit_options, run_id
from sqltrack.cli._output import print_note, progress_bar
from sqltrack.cli._parser import Commands, open_client
from sqltrack.commands.rewind import Rewinding, apply_rewind, plan_rewind
from sqltrack.wording import pluralize

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "rewind",
        description="Rows with a greater step are removed. Use it before a run continues from the checkpoint.",
        example="sqltrack rewind 12 40000 --dry-run",
    )
    parser.add_argument("run_id", type=run_id, metavar="RUN", help="id of the run")
    parser.add_argument("step", type=int, metavar="STEP", help="step of the checkpoint, which is kept; -1 removes all")
    parser.add_argument(
        "--force", action="store_true", help="also rewind a run that is RUNNING and was updated in the last 10 minutes"
    )
    add_edit_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    client = open_client(options)
    rewinding = plan_rewind(client, options.run_id, options.step, force=options.force)
    if not options.json:
        print(_describe(rewinding))

    def remove() -> Rewinding:
        with progress_bar("removing rows"):
            # With --yes the user has not seen the plan.
            return apply_rewind(client, rewinding, even_if_changed=options.yes)

    question = f"remove {pluralize(rewinding.rows, 'row')} of run {rewinding.run_id}" if rewinding.rows else None
    removed = apply_if_agreed(
        options, question, remove, lambda removed: _record(removed or rewinding, removed=removed is not None)
    )
    if removed is not None:
        print_note(f"{pluralize(removed.rows, 'row')} removed")
    elif question is not None and not options.dry_run:
        print_note("nothing was changed")
        return 1
    return 0


def _record(rewinding: Rewinding, *, removed: bool) -> dict[str, object]:
    record = rewinding._asdict()
    del record["force"], record["seen"]
    return {**record, "removed": removed}


def _describe(rewinding: Rewinding) -> str:
    where = f"run {rewinding.run_id} after step {rewinding.step}"
    if not rewinding.rows:
        return f"{where}: no rows"
    return (
        f"{where}: {pluralize(rewinding.rows, 'row')}, from step {rewinding.first_step} to step {rewinding.last_step}"
    )
