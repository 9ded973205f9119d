"""How the commands that delete runs show what goes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

from sqltrack.cli._output import confirm, progress_bar
from sqltrack.cli._table import print_note, print_pairs
from sqltrack.client import Client
from sqltrack.commands._deletion import Deletion
from sqltrack.commands._words import counted
from sqltrack.engines.admin import admin_of

__all__ = ["as_record", "delete_if_agreed", "describe", "print_deletion", "report"]

T = TypeVar("T")

_SHOWN = 20


def delete_if_agreed(
    options: argparse.Namespace,
    delete: Callable[[Callable[[T], bool], Callable[[int], object]], T | None],
    show: Callable[[T], None],
    deletion_of: Callable[[T], Deletion],
) -> tuple[T, bool]:
    """Delete what the user agrees to.

    Args:
        options: options of the command line, of `add_edit_options`.
        delete: does it; gets a function that asks, and one that is called with the number of runs done.
        show: prints what was found.
        deletion_of: returns what is to be deleted of that.

    Returns:
        What was found, and whether it was deleted.
    """
    proposed: list[T] = []
    bars: list[Callable[[int], object]] = []
    with ExitStack() as stack:

        def agree(found: T) -> bool:
            proposed.append(found)
            if not options.json:
                show(found)
            deletion = deletion_of(found)
            agreed = confirm(f"delete {describe(deletion)}", yes=options.yes)
            if agreed:
                # Not before the answer, for which it would be in the way.
                bars.append(stack.enter_context(progress_bar("deleting runs", len(deletion.runs))))
            return agreed

        found = delete(agree, lambda done: [bar(done) for bar in bars])
    if not proposed:
        assert found is not None
        if not options.json:
            show(found)
        return found, False
    return (proposed[0], False) if found is None else (found, True)


def report(options: argparse.Namespace, client: Client, deletion: Deletion, *, done: bool) -> int:
    """Tell what was done, and return the exit status."""
    what = describe(deletion)
    if not deletion.runs and deletion.experiment is None:
        print_note("nothing was deleted" if done else "there is nothing to delete")
    elif options.dry_run:
        print_note(f"{what} would be deleted")
    elif not done:
        print_note("nothing was deleted")
        return 1
    else:
        print_note(f"{what} deleted")
        if admin_of(client.engine).keeps_space and not getattr(options, "vacuum", False):
            print_note("the database keeps their space for new rows; sqltrack gc --vacuum gives it back")
    return 0


def print_deletion(deletion: Deletion, kept: Mapping[str, Sequence[int]] | None = None) -> None:
    """Print what goes, and what is kept for which reason."""
    pairs: dict[str, Any] = {} if deletion.experiment is None else {"experiment": deletion.experiment}
    pairs["runs"] = _ids(deletion.runs)
    pairs |= {"rows of metrics": f"{deletion.metrics:,}", "links": f"{deletion.links:,}"}
    print_pairs({**pairs, **{name: _ids(run_ids) for name, run_ids in (kept or {}).items() if run_ids}})


def describe(deletion: Deletion) -> str:
    """Return what goes in words."""
    parts = [] if deletion.experiment is None else [f"experiment {deletion.experiment!r}"]
    parts += [counted(len(deletion.runs), "run")]
    parts += [counted(deletion.metrics, "row") + " of metrics", counted(deletion.links, "link")]
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def as_record(deletion: Deletion, *, done: bool, **kept: Sequence[int]) -> dict[str, Any]:
    """Return what goes for JSON."""
    return {"done": done, **deletion._asdict(), **kept}


def _ids(run_ids: Sequence[int]) -> str:
    if not run_ids:
        return "none"
    shown = ", ".join(map(str, run_ids[:_SHOWN]))
    more = f" and {len(run_ids) - _SHOWN:,} more" if len(run_ids) > _SHOWN else ""
    return f"{len(run_ids):,} ({shown}{more})"
