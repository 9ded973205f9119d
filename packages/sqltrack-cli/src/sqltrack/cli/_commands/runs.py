"""sqltrack runs: list runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from sqltrack.cli._cells import show_status, show_tags
from sqltrack.cli._output import print_json, print_note, progress_bar
from sqltrack.cli._parser import Commands, Parser, add_superuser_option, count, open_client
from sqltrack.cli._table import print_table
from sqltrack.commands.runs import list_runs, varying_args
from sqltrack.wording import pluralize

__all__ = ["add_parser"]

# So many runs take less than a second.
_QUICK = 1_000

_DESCRIPTION = """
Newest first. Arguments in which the listed runs differ are shown as far as there is room. A condition sees the columns
of the table runs, and experiment (its name), experiment_comment, experiment_tags and experiment_extras. The database
lets it read and nothing else.
"""
_EXAMPLE = """sqltrack runs baseline --best accuracy
         sqltrack runs --where "status = 'FAILED'" --limit 0
         sqltrack runs --where "args->>'optimizer' = 'sgd'" --best loss --min"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("runs", "list runs", description=" ".join(_DESCRIPTION.split()), example=_EXAMPLE)
    parser.add_argument(
        "experiment", nargs="?", metavar="EXPERIMENT", help="name or id, a name that is a number goes before an id"
    )
    parser.add_argument("--where", metavar="SQL", help="condition that runs must meet")
    _add_best(parser)
    parser.add_argument(
        "--limit", type=count, default=20, metavar="N", help="show at most N runs, 0 for all (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_superuser_option(parser)
    parser.set_defaults(run=_run)


def _add_best(parser: Parser) -> None:
    parser.add_argument("--best", metavar="METRIC", help="show the best value of a metric, and its step")
    direction = parser.add_mutually_exclusive_group()
    direction.add_argument("--max", dest="maximize", action="store_true", default=True, help="the greatest (default)")
    direction.add_argument("--min", dest="maximize", action="store_false", help="the smallest")


def _run(options: argparse.Namespace) -> None:
    chosen = {name: getattr(options, name) for name in ("where", "best", "maximize", "limit", "as_superuser")}
    is_quick = 0 < options.limit <= _QUICK
    with nullcontext() if is_quick else progress_bar("runs") as progress:
        runs, number = list_runs(open_client(options), options.experiment, progress=progress, **chosen)
    if options.json:
        print_json(runs)
    elif runs:
        _print(runs, options)
    else:
        print_note("there are no such runs" if options.where or options.experiment else "there are no runs yet")
    if number > len(runs):
        print_note(f"{pluralize(number - len(runs), 'more run')}, --limit 0 shows all")


def _print(runs: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> None:
    columns = ["id", "experiment", "status", "started", "runtime", "step"]
    if options.experiment is not None:
        columns.remove("experiment")
    if options.best is not None:
        columns += ["best", "best_step"]
    # What nobody has written needs no column.
    described = [name for name in ("tags", "comment") if any(run[name] for run in runs)]
    # An argument may be called as a column is.
    args = {f"args.{name}": name for name in varying_args(runs)}
    records = [{**run, **{key: (run["args"] or {}).get(name) for key, name in args.items()}} for run in runs]
    print_table(
        records,
        [*columns, *args, *described],
        cells={"status": show_status, "tags": show_tags},
        optional=[*described, *args],
        headers={**args, "best": str(options.best), "best_step": "at step"},
    )
