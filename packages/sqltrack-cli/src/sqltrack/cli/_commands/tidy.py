"""sqltrack tidy: move metrics from the column extras to their own columns."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

from sqltrack.cli._confirm import apply_if_agreed
from sqltrack.cli._edit_options import add_edit_options
from sqltrack.cli._output import print_note, printable, progress_bar
from sqltrack.cli._parser import Commands, open_client
from sqltrack.cli._table import print_table
from sqltrack.commands._extras_rows import has_pending
from sqltrack.commands.tidy import Tidied, apply_tidy, plan_tidy
from sqltrack.wording import pluralize

__all__ = ["add_parser"]

_DESCRIPTION = """
Metrics whose column could not be added when they were logged, because other connections held a lock on the table, are
in metrics.extras (or pending in metrics_pending). This command moves them to columns that hold exactly the same values,
and says why others stay. If a row has a value in both places, the column wins, as it does for all readers, and the
other value is dropped ("superseded"). Jobs can continue to log meanwhile.
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "tidy",
        description=" ".join(_DESCRIPTION.split()),
        example="sqltrack tidy --dry-run",
    )
    add_edit_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    client = open_client(options)
    with progress_bar("reading rows") as progress:
        found = plan_tidy(client, progress)
    movable = [item for item in found if item.column is not None]
    is_pending = has_pending(client)
    works = bool(movable or is_pending)
    if not options.json and (options.dry_run or not works or not options.yes):
        _print(found, moved=False)

    def move() -> list[Tidied]:
        with progress_bar("moving rows") as progress:
            return apply_tidy(client, found, progress)

    question = f"move {pluralize(len(movable), 'metric')}" if movable else "move pending metrics to extras"
    tidied = apply_if_agreed(
        options,
        question if works else None,
        move,
        lambda tidied: [dataclasses.asdict(item) for item in (found if tidied is None else tidied)],
    )
    if tidied is not None:
        if not options.json:
            _print(tidied, moved=True)
        print_note(f"{pluralize(sum(item.moved for item in tidied), 'value')} moved")
    elif options.dry_run or not works:
        print_note(f"{pluralize(len(movable), 'metric')} would be moved" if movable else _nothing(found, is_pending))
    else:
        print_note("nothing was changed")
        return 1
    return 0


def _nothing(found: Sequence[Tidied], is_pending: bool) -> str:
    if is_pending:
        return "pending metrics would be moved to extras"
    return "nothing can be moved" if found else "all metrics are in columns"


def _print(found: Sequence[Tidied], *, moved: bool) -> None:
    records = [dataclasses.asdict(item) for item in found]
    if records:
        counts = ["moved", "superseded"] if moved else []
        print_table(records, ["name", "values", "column", "change", *counts], optional=("change",))
        for item in found:
            if item.why is not None:
                # Reasons are too long for a column of the table.
                print(printable(f"{item.name}: values stay, {item.why}"))
