"""sqltrack export: write the tables to CSV, JSON or Parquet files."""

from __future__ import annotations

import argparse
from typing import Any

from sqltrack.cli._output import print_json, progress_bar
from sqltrack.cli._parser import Commands, add_superuser_option, open_client
from sqltrack.cli._table import print_table
from sqltrack.commands.export import FORMATS, TABLES, export

__all__ = ["add_parser"]

_DESCRIPTION = """
The folder gets a file for each table: experiments.csv, experiment_links.csv, runs.csv, run_links.csv and metrics.csv.
If the command is interrupted or the disk is full, it writes none of them. NULL is empty in CSV, NaN is NaN
in all formats (a string in JSON), times are in UTC, intervals in seconds.
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "export",
        description=" ".join(_DESCRIPTION.split()),
        example="sqltrack export --output backup\n"
        "         sqltrack export baseline --format parquet --table runs --table metrics",
    )
    parser.add_argument("experiment", nargs="?", metavar="EXPERIMENT", help="export only this experiment (name or id)")
    parser.add_argument("--format", choices=FORMATS, default="csv", help="format of the files (default: %(default)s)")
    output: Any = parser.add_argument(
        "--output",
        default="sqltrack-export",
        metavar="FOLDER",
        help="folder to write to, created if missing (default: %(default)s)",
    )
    output.complete = {"bash": "_shtab_compgen_dirs", "zsh": "_files -/", "tcsh": "d"}
    parser.add_argument(
        "--table",
        action="append",
        choices=TABLES,
        default=[],
        metavar="TABLE",
        help=f"write only this table, one of {', '.join(TABLES)}, may be repeated",
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_superuser_option(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    chosen = {name: getattr(options, name) for name in ("experiment", "format", "force", "as_superuser")}
    with progress_bar("rows") as progress:
        files = export(open_client(options), options.output, tables=options.table, progress=progress, **chosen)
    records = [{"file": str(path), "rows": rows} for _, path, rows in files]
    if options.json:
        print_json(records)
    else:
        print_table(records, ("file", "rows"))
