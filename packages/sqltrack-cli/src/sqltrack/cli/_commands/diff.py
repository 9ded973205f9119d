"""sqltrack diff: tell in what runs differ."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from sqltrack.cli._cells import show_exact, show_status, show_value
from sqltrack.cli._output import print_json, print_note
from sqltrack.cli._parser import Commands, Parser, add_superuser_option, open_client
from sqltrack.cli._table import print_table
from sqltrack.commands.diff import compare_runs

__all__ = ["add_parser"]

_MISSING = object()


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "diff",
        "tell in what runs differ",
        description="One column for each run. Metrics count by their last, smallest and greatest value. Environment "
        "variables come last, because many differ from job to job. A run without something has '--' there.",
        example="sqltrack diff 12 13",
    )
    parser.add_argument("run_ids", type=int, nargs="+", metavar="RUN", help="ids of two or more runs")
    parser.add_argument("--all", action="store_true", help="also show what is the same, marked with =")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_superuser_option(parser)
    parser.set_defaults(run=_run, parser=parser)


def _run(options: argparse.Namespace) -> None:
    run_ids = list(dict.fromkeys(options.run_ids))
    if len(run_ids) < 2:
        parser: Parser = options.parser
        parser.error("expected the ids of two or more runs")
    rows = compare_runs(open_client(options), run_ids, as_superuser=options.as_superuser)
    shown = [row for row in rows if options.all or row["differs"]]
    if options.json:
        print_json(
            [{**row, "values": {str(run_id): value for run_id, value in row["values"].items()}} for row in shown]
        )
    elif shown:
        _print(shown, run_ids, mark=options.all)
    else:
        print_note("the runs do not differ")


def _print(rows: Sequence[Mapping[str, Any]], run_ids: Sequence[int], *, mark: bool) -> None:
    records = []
    section = None
    for row in rows:
        values = {str(run_id): (row["name"], row["values"].get(run_id, _MISSING)) for run_id in run_ids}
        sign = "" if row["differs"] else "="
        shown = "" if row["section"] == section else row["section"]
        records.append({"section": shown, "=": sign, "name": row["name"], **values})
        section = row["section"]
    columns = ["section", *(["="] if mark else []), "name", *map(str, run_ids)]
    cells = dict.fromkeys(map(str, run_ids), _cell)
    print_table(records, columns, cells=cells, headers={"section": "", "name": "", "=": ""})


def _cell(item: tuple[str, Any]) -> Text:
    name, value = item
    if value is _MISSING:
        return show_value(None)
    if name == "status":
        return show_status(value)
    # A null that somebody has set is not the same as nothing.
    return Text("null") if value is None and name not in _OFTEN_EMPTY else show_exact(value)


_OFTEN_EMPTY = frozenset({"comment", "runtime", "started"})
