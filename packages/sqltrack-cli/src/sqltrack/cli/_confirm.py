"""Show a plan, ask for confirmation, and report the outcome."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sqltrack.cli._cells import show_value
from sqltrack.cli._output import confirm, print_json, print_note
from sqltrack.cli._table import print_pairs, print_table
from sqltrack.client import Client
from sqltrack.commands.edits import Change, Edit, apply_edit
from sqltrack.engines.admin import admin_of
from sqltrack.wording import pluralize

if TYPE_CHECKING:
    from rich.text import Text

    from sqltrack.commands.rm import Deletion

__all__ = ["apply_if_agreed", "as_record", "describe", "print_deletion", "report_deletion", "run_edit"]

T = TypeVar("T")

# Show at most this many changes (--json shows all), and ids of runs.
_SHOWN_CHANGES = 40
_SHOWN_IDS = 20


def apply_if_agreed(
    options: argparse.Namespace, question: str | None, apply: Callable[[], T], record: Callable[[T | None], Any]
) -> T | None:
    """Apply a plan if the user agrees. With --json, print JSON in either case.

    Args:
        options: options of the command line, of `add_edit_options`.
        question: the question without a question mark, None if there is nothing to do.
        apply: applies the plan.
        record: returns the output of --json for an outcome, or for the plan if the outcome is None.

    Returns:
        The outcome, None if the plan was not applied.
    """
    outcome = None
    if question is not None and not options.dry_run and confirm(question, yes=options.yes):
        outcome = apply()
    if options.json:
        print_json(record(outcome))
    return outcome


# Edits


def run_edit(options: argparse.Namespace, client: Client, edit: Edit, question: str) -> int:
    """Make the changes of an edit if the user agrees, and print them.

    Args:
        options: options of the command line, of `add_edit_options`.
        client: client to use.
        edit: the changes.
        question: the question without a question mark.

    Returns:
        The exit status.
    """
    planned = edit.changes
    if planned and not options.json and not options.yes:
        _print_changes(planned)
    # With --yes the user has not seen the plan, so a plan that has changed is still applied.
    made = apply_if_agreed(
        options,
        f"{question} ({pluralize(len(planned), 'change')})" if planned else None,
        lambda: apply_edit(client, edit, even_if_changed=options.yes),
        lambda made: {
            "done": bool(made),
            "changes": [change._asdict() for change in (planned if made is None else made)],
        },
    )
    changes = planned if made is None else made
    if options.yes and not options.json and changes:
        _print_changes(changes)
    return _report_edit(changes, done=made is not None, dry_run=options.dry_run)


def _report_edit(changes: Sequence[Change], *, done: bool, dry_run: bool) -> int:
    if not changes:
        print_note("nothing to change")
    elif dry_run:
        print_note(f"{pluralize(len(changes), 'change')} would be made")
    elif not done:
        print_note("nothing was changed")
        return 1
    else:
        print_note(f"{pluralize(len(changes), 'change')} made")
    return 0


def _print_changes(changes: Sequence[Change]) -> None:
    records = [
        {"what": f"{item.kind} {'(new)' if item.id is None else item.id}", **item._asdict()}
        for item in changes[:_SHOWN_CHANGES]
    ]
    print_table(records, ("what", "field", "old", "new"), cells={"old": _cell, "new": _cell})
    if len(changes) > _SHOWN_CHANGES:
        print_note(f"and {pluralize(len(changes) - _SHOWN_CHANGES, 'more change')}, --json shows all")


def _cell(value: Any) -> Text:
    return show_value(", ".join(value) or None) if isinstance(value, list) else show_value(value)


# Deletions


def print_deletion(deletion: Deletion, kept: Mapping[str, Sequence[int]] | None = None) -> None:
    """Print the runs, rows and links to delete, and the runs to keep with the reasons."""
    pairs: dict[str, Any] = {} if deletion.experiment is None else {"experiment": deletion.experiment}
    pairs["runs"] = _ids(deletion.runs)
    pairs |= {"rows of metrics": f"{deletion.metrics:,}", "links": f"{deletion.links:,}"}
    print_pairs({**pairs, **{name: _ids(run_ids) for name, run_ids in (kept or {}).items() if run_ids}})


def describe(deletion: Deletion) -> str:
    """Return a description of a deletion."""
    parts = [] if deletion.experiment is None else [f"experiment {deletion.experiment!r}"]
    parts += [pluralize(len(deletion.runs), "run")]
    parts += [pluralize(deletion.metrics, "row") + " of metrics", pluralize(deletion.links, "link")]
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def report_deletion(options: argparse.Namespace, client: Client, deletion: Deletion, *, done: bool) -> int:
    """Report a deletion, and return the exit status."""
    what = describe(deletion)
    if not deletion.runs and deletion.experiment is None:
        print_note("nothing was deleted" if done else "nothing to delete")
    elif options.dry_run:
        print_note(f"{what} would be deleted")
    elif not done:
        print_note("nothing was deleted")
        return 1
    else:
        print_note(f"{what} deleted")
        if admin_of(client.engine).keeps_space and not getattr(options, "vacuum", False):
            print_note("the database keeps their space for new rows; sqltrack gc --vacuum reclaims it")
    return 0


def as_record(deletion: Deletion, *, done: bool, **kept: Sequence[int]) -> dict[str, Any]:
    """Return a deletion as an object for JSON."""
    counts = {name: getattr(deletion, name) for name in ("experiment", "runs", "metrics", "links")}
    return {"done": done, **counts, **kept}


def _ids(run_ids: Sequence[int]) -> str:
    if not run_ids:
        return "none"
    shown = ", ".join(map(str, run_ids[:_SHOWN_IDS]))
    more = f" and {len(run_ids) - _SHOWN_IDS:,} more" if len(run_ids) > _SHOWN_IDS else ""
    return f"{len(run_ids):,} ({shown}{more})"
