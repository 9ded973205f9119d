"""sqltrack gc: delete runs by status, age or lack of metrics."""

from __future__ import annotations

import argparse
from typing import Any

from sqltrack.cli._confirm import apply_if_agreed, as_record, describe, print_deletion, report_deletion
from sqltrack.cli._durations import duration
from sqltrack.cli._edit_options import add_edit_options, add_experiment, statuses
from sqltrack.cli._output import print_note, progress_bar
from sqltrack.cli._parser import Commands, open_client
from sqltrack.client import Client
from sqltrack.commands.gc import Garbage, apply_gc, plan_gc, reclaim_space
from sqltrack.wording import pluralize

__all__ = ["add_parser"]

_DESCRIPTION = """
Runs that meet all criteria are deleted with their metrics and links, all of them or none. An age or an experiment alone
is not enough. Keeps runs with the tag of --keep-tag, runs to which other kept runs link, runs that are being
logged to, and, unless --status names theirs, runs that have not ended, such as PLANNED or RUNNING ones.
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "gc",
        description=" ".join(_DESCRIPTION.split()),
        example="sqltrack gc --status FAILED,CANCELLED --older-than 30d --dry-run\n"
        "         sqltrack gc --without-metrics --experiment scratch --vacuum",
    )
    parser.add_argument("--status", type=statuses, metavar="STATUS,…", help="only runs with one of these statuses")
    parser.add_argument(
        "--older-than",
        type=duration,
        metavar="AGE",
        help="only runs without an update for this long, such as 12h, 30d or 8w",
    )
    parser.add_argument("--without-metrics", action="store_true", help="only runs without metrics")
    add_experiment(parser, "only runs of this experiment (name or id)")
    parser.add_argument(
        "--keep-tag", default="marked", metavar="TAG", help="keep runs with this tag (default: %(default)s)"
    )
    parser.add_argument(
        "--vacuum",
        action="store_true",
        help="reclaim the space of deleted rows, which takes a while; alone, delete nothing",
    )
    add_edit_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    client = open_client(options)
    criteria = {
        "statuses": options.status or (),
        "older_than": options.older_than,
        "without_metrics": options.without_metrics,
        "experiment": options.experiment,
    }
    status = 0
    if any(criteria.values()) or not options.vacuum:
        status = _delete(options, client, {**criteria, "keep_tag": options.keep_tag})
    if options.vacuum and not status and not options.dry_run:
        with progress_bar("reclaiming space"):
            reclaim_space(client)
        print_note("the space of deleted rows was reclaimed")
    return status


def _delete(options: argparse.Namespace, client: Client, criteria: dict[str, Any]) -> int:
    garbage = plan_gc(client, **criteria)
    if not options.json:
        _print(garbage)

    def delete() -> Garbage:
        with progress_bar("deleting runs", len(garbage.deletion.runs)) as progress:
            # With --yes the user has not seen the plan.
            return apply_gc(client, garbage, progress, even_if_changed=options.yes)

    question = f"delete {describe(garbage.deletion)}" if garbage.deletion.runs else None
    deleted = apply_if_agreed(
        options, question, delete, lambda deleted: _record(deleted or garbage, done=deleted is not None)
    )
    shown = deleted or garbage
    if shown.changed:
        print_note(f"{pluralize(len(shown.changed), 'run')} kept, changed in the meantime; look again")
    return report_deletion(options, client, shown.deletion, done=deleted is not None)


def _record(garbage: Garbage, *, done: bool) -> dict[str, Any]:
    kept = {name: getattr(garbage, name) for name in ("tagged", "linked", "active", "changed")}
    return as_record(garbage.deletion, done=done, **{f"kept_{name}": runs for name, runs in kept.items()})


def _print(garbage: Garbage) -> None:
    kept = {"kept for their tag": garbage.tagged, "kept for links": garbage.linked, "kept, active": garbage.active}
    print_deletion(garbage.deletion, kept)
