"""sqltrack tidy: move metrics into columns."""

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
Metrics that could not get a column when they were logged, because others held the table, are in metrics.extras (or wait
in metrics_pending). This moves them to columns if they are exactly the same there; the others stay, and the table says
why. Where a row has a value in both places, that of the column counts, as it does for everybody who reads it, and the
other one is dropped ("superseded"). Jobs may go on to log meanwhile.
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

    question = f"move {pluralize(len(movable), 'metric')}" if movable else "move what waits to extras"
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
        return "what waits would be moved to extras"
    return "nothing can be moved" if found else "all metrics are in columns"


def _print(found: Sequence[Tidied], *, moved: bool) -> None:
    records = [dataclasses.asdict(item) for item in found]
    if records:
        counts = ["moved", "superseded"] if moved else []
        print_table(records, ["name", "values", "column", "change", *counts], optional=("change",))
        for item in found:
            if item.why is not None:
                # Reasons are too long for a column.
                print(printable(f"{item.name}: values stay, {item.why}"))
