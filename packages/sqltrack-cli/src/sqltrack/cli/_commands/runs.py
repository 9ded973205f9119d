"""sqltrack runs: list runs."""

from __future__ import annotations

import argparse
from contextlib import nullcontext

from sqltrack.cli._formats import add_format_options
from sqltrack.cli._output import print_json, print_note, progress_bar
from sqltrack.cli._parser import Commands, Parser, add_superuser_option, count, open_client
from sqltrack.cli._runs_table import RunsTable
from sqltrack.commands._run_order import COLUMNS
from sqltrack.commands.runs import RunList, list_runs
from sqltrack.wording import pluralize

__all__ = ["add_parser"]

# Reading this many runs takes less than a second.
_QUICK = 1_000

_DESCRIPTION = """
Newest first, or best first with --best. The table shows the arguments in which the runs differ, as many as fit; --limit
does not affect which. A condition can use the columns of the table runs, and experiment (its name),
experiment_comment, experiment_tags and experiment_extras. It is read-only.
"""
_EXAMPLE = """sqltrack runs baseline --best accuracy
         sqltrack runs --where "status = 'FAILED'" --limit 0
         sqltrack runs --where "args->>'optimizer' = 'sgd'" --best loss --min
         sqltrack runs baseline --best accuracy --format latex"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("runs", description=" ".join(_DESCRIPTION.split()), example=_EXAMPLE)
    parser.add_argument(
        "experiment", nargs="?", metavar="EXPERIMENT", help="name or id; a name that is a number comes before an id"
    )
    parser.add_argument("--where", metavar="SQL", help="SQL condition that runs must meet")
    _add_best(parser)
    _add_order(parser)
    parser.add_argument(
        "--limit", type=count, default=20, metavar="N", help="show at most N runs, 0 for all (default: %(default)s)"
    )
    parser.add_argument(
        "--wide", action="store_true", help="show all arguments in which runs differ, even if the table gets too wide"
    )
    add_format_options(parser)
    add_superuser_option(parser)
    parser.set_defaults(run=_run, parser=parser)


def _add_best(parser: Parser) -> None:
    parser.add_argument("--best", metavar="METRIC", help="show the best value of a metric and its step, best run first")
    direction = parser.add_mutually_exclusive_group()
    direction.add_argument(
        "--max", dest="maximize", action="store_true", default=None, help="the greatest value is the best (default)"
    )
    direction.add_argument(
        "--min", dest="maximize", action="store_false", default=None, help="the smallest value is the best"
    )


def _add_order(parser: Parser) -> None:
    parser.add_argument(
        "--sort",
        metavar="COLUMN",
        help=f"sort by a column, smallest first: {', '.join(name for name in COLUMNS)}, the metric of --best, or an "
        "argument; missing values come last",
    )
    parser.add_argument("--reverse", action="store_true", help="reverse the order; missing values stay last")


def _run(options: argparse.Namespace) -> None:
    if options.maximize is not None and options.best is None:
        parser: Parser = options.parser
        parser.error(f"{'--max' if options.maximize else '--min'} needs --best METRIC")
    names = ("where", "best", "sort", "reverse", "limit", "as_superuser")
    chosen = {"maximize": options.maximize is not False, **{name: getattr(options, name) for name in names}}
    with_args = options.format != "json"
    is_quick = 0 < options.limit <= _QUICK
    with nullcontext() if is_quick else progress_bar("runs") as progress:
        listed = list_runs(open_client(options), options.experiment, with_args=with_args, progress=progress, **chosen)
    if options.format == "json":
        print_json(listed.runs)
    elif listed.runs or options.format != "table":
        _print(listed, options)
    else:
        print_note("there are no such runs" if options.where or options.experiment else "there are no runs yet")
    if listed.number > len(listed.runs):
        print_note(f"{pluralize(listed.number - len(listed.runs), 'more run')}, --limit 0 shows all")


def _print(listed: RunList, options: argparse.Namespace) -> None:
    table = RunsTable(listed, with_experiment=options.experiment is None)
    if options.format == "table":
        table.print(wide=options.wide)
    else:
        table.print_whole(options.format)
