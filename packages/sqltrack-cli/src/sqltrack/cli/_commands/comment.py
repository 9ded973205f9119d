"""sqltrack comment: set a comment."""

from __future__ import annotations

import argparse
import sys

from sqltrack.cli._confirm import run_edit
from sqltrack.cli._edit_options import add_edit_options, add_experiment, named_runs, run_ranges
from sqltrack.cli._parser import Commands, Parser, open_client
from sqltrack.commands.comment import plan_comment
from sqltrack.commands.run_ranges import RunRange
from sqltrack.errors import UnusableValueError

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "comment",
        example='sqltrack comment 12 "with a warm start"\n'
        '         sqltrack comment --experiment baseline ""\n'
        "         sqltrack comment 12 - --yes < notes.txt",
    )
    parser.usage = (
        "sqltrack comment [options] RUN [RUN ...] TEXT\n       sqltrack comment [options] --experiment NAME TEXT"
    )
    parser.add_argument(
        "words",
        nargs="+",
        metavar="RUN … TEXT",
        help="run ids, such as 5, 5-9 or 3,7, and the comment: '' removes it, - reads it from standard input",
    )
    add_experiment(parser, "experiment to comment on (name or id), instead of runs")
    add_edit_options(parser)
    parser.words = "words"
    parser.set_defaults(run=_run, parser=parser)


def _run(options: argparse.Namespace) -> int:
    runs, text = _split(options)
    if text == "-":
        text = _read()
    client = open_client(options)
    edit = plan_comment(client, named_runs(runs), text, experiment=options.experiment)
    return run_edit(options, client, edit, "set the comment")


def _split(options: argparse.Namespace) -> tuple[list[list[RunRange]], str]:
    """Return the runs and the text."""
    parser: Parser = options.parser
    *words, text = options.words
    if bool(words) == (options.experiment is not None):
        parser.error("expected runs and a text, or --experiment and a text")
    try:
        return [run_ranges(word) for word in words], text
    except argparse.ArgumentTypeError as error:
        parser.error(f"{error}; quote a text of several words")


def _read() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig").rstrip("\n")
    except UnicodeDecodeError as error:
        raise UnusableValueError(f"a comment must be UTF-8, byte {error.start} is not") from None
