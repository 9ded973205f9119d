"""sqltrack diff: show how runs differ."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqltrack.cli._cells import Cell, show_exact, show_status, show_value, styled
from sqltrack.cli._edit_options import add_runs, named_runs
from sqltrack.cli._formats import add_format_options, print_records
from sqltrack.cli._output import print_note
from sqltrack.cli._parser import Commands, Parser, add_superuser_option, open_client
from sqltrack.commands.diff import compare_runs

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["add_parser"]

_MISSING = object()

# A value longer than _SHORT is shown from _BEFORE characters before the first difference, _LONGEST at most.
_SHORT, _BEFORE, _LONGEST = 20, 8, 60


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "diff",
        description="Prints one column for each run, and '--' where a run lacks a value. Metrics are compared by their "
        "last, smallest and greatest values. Environment variables come last, because many differ between jobs. The "
        "table shortens long values to the part that differs; the other formats show them whole.",
        example="sqltrack diff 12 13\n         sqltrack diff 3,20-22",
    )
    add_runs(parser, nargs="+")
    parser.add_argument("--all", action="store_true", help="also show values that are the same, marked with =")
    add_format_options(parser)
    add_superuser_option(parser)
    parser.set_defaults(run=_run, parser=parser)


def _run(options: argparse.Namespace) -> None:
    runs = named_runs(options.runs)
    if len(set(runs)) < 2 and runs[0].first == runs[0].last:
        parser: Parser = options.parser
        parser.error("expected the ids of two or more runs")
    rows = compare_runs(open_client(options), runs, as_superuser=options.as_superuser)
    # The first row comes from a column of the table runs, so it has a value for every run.
    run_ids = list(rows[0]["values"])
    shown = [row for row in rows if options.all or row["differs"]]
    if options.format == "table" and not shown:
        print_note("the runs do not differ")
    elif options.format == "table":
        _print_table(shown, run_ids, mark=options.all)
    else:
        _print_whole(shown, run_ids, options.format, mark=options.all)


def _print_whole(rows: Sequence[Mapping[str, Any]], run_ids: Sequence[int], format_: str, *, mark: bool) -> None:
    objects = [{**row, "values": {str(run_id): value for run_id, value in row["values"].items()}} for row in rows]
    records = [{**row, **row["values"]} for row in objects]
    names = list(map(str, run_ids))
    columns = ["section", "name", *(["differs"] if mark else []), *names]
    print_records(records, columns, format_, objects=objects)


def _print_table(rows: Sequence[Mapping[str, Any]], run_ids: Sequence[int], *, mark: bool) -> None:
    records = []
    section = None
    for row in rows:
        cells = _shortened([_cell(row["name"], row["values"].get(run_id, _MISSING)) for run_id in run_ids])
        sign = "" if row["differs"] else "="
        shown = "" if row["section"] == section else row["section"]
        records.append({"section": shown, "=": sign, "name": row["name"], **dict(zip(map(str, run_ids), cells))})
        section = row["section"]
    columns = ["section", *(["="] if mark else []), "name", *map(str, run_ids)]
    shown_as_is: dict[str, Cell] = dict.fromkeys(map(str, run_ids), lambda cell: cell)
    print_records(records, columns, "table", cells=shown_as_is, headers={"section": "", "name": "", "=": ""})


def _shortened(cells: Sequence[Text]) -> list[Text]:
    """Return cells that show long values from where they differ."""
    long = {cell.plain for cell in cells if len(cell) > _SHORT}
    common = _common_length(list(long)) if len(long) > 1 else 0
    begin = common - _BEFORE if common > _BEFORE + 1 else 0
    return [_cut(cell, begin) if len(cell) > _SHORT else cell for cell in cells]


def _common_length(texts: Sequence[str]) -> int:
    """Return the length of the common prefix of texts."""
    differing = (place for place, chars in enumerate(zip(*texts)) if len(set(chars)) > 1)
    return next(differing, min(map(len, texts)))


def _cut(cell: Text, begin: int) -> Text:
    """Return a cell from a position on, with an ellipsis for the part before it."""
    rest = cell[begin:]
    rest.truncate(_LONGEST - bool(begin), overflow="ellipsis")
    return styled("…").append_text(rest) if begin else rest


def _cell(name: str, value: Any) -> Text:
    if value is _MISSING:
        return show_value(None)
    if name == "status":
        return show_status(value)
    # A null that was set explicitly differs from a missing value.
    return styled("null") if value is None and name not in _OFTEN_EMPTY else show_exact(value)


_OFTEN_EMPTY = frozenset({"comment", "runtime", "started"})
