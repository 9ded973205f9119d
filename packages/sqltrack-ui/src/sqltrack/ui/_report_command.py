"""sqltrack report: write runs into one HTML file, to read without a server."""

from __future__ import annotations

import argparse
import os
from typing import Any

from sqltrack.cli._output import print_note
from sqltrack.cli._parser import FILE, Commands, open_client
from sqltrack.wording import pluralize, short_bytes

__all__ = ["add_parser"]

_DESCRIPTION = """
The file holds a table of the runs that you can sort, learning curves, groups of runs that differ only in seeds, and a
comparison. It needs no server and no network, so you can send it. A condition takes the same names as in `sqltrack
runs`. Environment variables are left out.
"""
_EXAMPLE = """sqltrack report baseline --output baseline.html
         sqltrack report --where "status = 'COMPLETED' AND args->>'model' = 'vit'" --output vit.html
         sqltrack report baseline --metric val_loss --metric val_acc --output baseline.html"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("report", description=" ".join(_DESCRIPTION.split()), example=_EXAMPLE)
    parser.add_argument(
        "experiment", nargs="?", metavar="EXPERIMENT", help="name or id; a name that is a number comes before an id"
    )
    parser.add_argument("--where", metavar="SQL", help="SQL condition that runs must meet")
    output: Any = parser.add_argument("--output", required=True, metavar="FILE", help="file to write, or to replace")
    output.complete = FILE
    parser.add_argument("--title", metavar="TEXT", help="title of the report (default: name of the experiment)")
    parser.add_argument(
        "--metric",
        dest="metrics",
        action="append",
        default=[],
        metavar="METRIC",
        help="draw curves of this metric, may be repeated (default: four metrics that most runs have)",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from sqltrack.commands._files import replacing
    from sqltrack.ui._report import read_report

    client = open_client(options)
    # First, so that an error about the folder comes before any work.
    with replacing(options.output) as path:
        names = ("experiment", "where", "metrics", "title")
        content, text = read_report(client, **{name: getattr(options, name) for name in names})
        path.write_text(text, encoding="utf-8", newline="\n")
        size = os.path.getsize(path)
    rows = len(content.runs["rows"])
    print(f"{options.output}: {pluralize(rows, 'run')}, {short_bytes(size)}")
    if not content.has_all:
        print_note(f"the report holds the first {rows:,} of {content.runs['total']:,} runs; choose fewer with --where")
