"""sqltrack tag: add or remove tags of runs or of an experiment."""

from __future__ import annotations

import argparse

from sqltrack.cli._confirm import run_edit
from sqltrack.cli._edit_options import add_edit_options, add_experiment, add_runs, named_runs, needs_runs_or_experiment
from sqltrack.cli._parser import Commands, Parser, open_client
from sqltrack.commands.tag import plan_tag

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "tag",
        example="sqltrack tag 5-9 12 --add paper --remove draft\n"
        "         sqltrack tag --experiment baseline --add marked",
    )
    add_runs(parser, nargs="*")
    parser.add_argument("--add", nargs="+", action="extend", default=[], metavar="TAG", help="tags to add")
    parser.add_argument("--remove", nargs="+", action="extend", default=[], metavar="TAG", help="tags to remove")
    add_experiment(parser, "experiment to tag (name or id), instead of runs")
    add_edit_options(parser)
    parser.set_defaults(run=_run, parser=parser)


def _run(options: argparse.Namespace) -> int:
    parser: Parser = options.parser
    needs_runs_or_experiment(parser, options)
    if not options.add and not options.remove:
        parser.error("expected --add or --remove")
    client = open_client(options)
    chosen = {name: getattr(options, name) for name in ("experiment", "add", "remove")}
    return run_edit(options, client, plan_tag(client, named_runs(options.runs), **chosen), "change tags")
