"""sqltrack log: log metrics of a run, from any program."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from sqltrack.cli._output import print_error
from sqltrack.cli._pairs import named_value, read_line
from sqltrack.cli._parser import Commands, Parser, open_client
from sqltrack.errors import MissingRunError
from sqltrack.run_functions import run_add_metrics

if TYPE_CHECKING:
    from sqltrack.client import Client

__all__ = ["add_parser"]

_VARIABLE = "SQLTRACK_RUN_ID"
# Seconds that calls may wait at the end for a database that is away. A script may start this program hundreds of times.
_AT_END = 0.5

# Names in lines of standard input that are no metrics. On the command line, they are options.
_PLACE = ("step", "progress")

# Lines that were left out and are reported one by one.
_REPORTED = 5

_DESCRIPTION = f"""
The run is the one that {_VARIABLE} names, as below sqltrack run, unless you give its id first. Values are numbers,
true, false, JSON, or else text; in double quotes, as in x='"1"', they are text. With - in place of names and values,
each line of standard input is a row: names and values, separated by blanks or commas, or a JSON object. There, step and
progress are those of the row; without a step, it is the number of the row, from 0. A line that cannot be read is left
out, and the exit status is 1 at the end. While the database is away, values wait in the outbox.
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "log",
        description=" ".join(_DESCRIPTION.split()),
        example="sqltrack log loss=0.25 accuracy=0.91 --step 3\n"
        "         sqltrack log 12 loss=0.25 --step 3\n"
        "         ./train | sqltrack log -",
    )
    parser.usage = "sqltrack log [options] [RUN] NAME=VALUE [NAME=VALUE ...]\n       sqltrack log [options] [RUN] -"
    parser.add_argument("words", nargs="+", metavar="[RUN] NAME=VALUE …", help="the run, and names with values, or -")
    parser.add_argument("--step", type=_step, metavar="N", help="step of the row, or of the first line (default: 0)")
    parser.add_argument("--progress", type=_progress, default=0.0, metavar="X", help="progress of the row (default: 0)")
    parser.words = "words"
    parser.set_defaults(run=_run, parser=parser)


def _run(options: argparse.Namespace) -> int:
    parser: Parser = options.parser
    run_id, words = _split(parser, options.words)
    step = 0 if options.step is None else options.step
    client = open_client(options, outbox=True)
    if client._session.outbox is not None:
        client._session.outbox.limit_wait_at_end(_AT_END)
    if words == ["-"]:
        with client.metrics.bulk():
            refused = _log_lines(client, run_id, step, options.progress)
        return 1 if refused else 0
    try:
        metrics = dict(map(named_value, words))
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    for name in _PLACE:
        if name in metrics:
            parser.error(f"{name} is no metric; use --{name} {metrics[name]}")
    run_add_metrics(client, run_id, metrics, step, options.progress)
    return 0


def _split(parser: Parser, words: list[str]) -> tuple[int, list[str]]:
    """Return the id of the run, and the other words."""
    first, *rest = words
    if first.isascii() and first.isdigit():
        if not rest:
            parser.error("expected NAME=VALUE or - after the run")
        return int(first), rest
    given = os.environ.get(_VARIABLE, "")
    if not (given.isascii() and given.isdigit()):
        parser.error(f"expected the id of a run, because {_VARIABLE} does not hold one")
    return int(given), words


def _log_lines(client: Client, run_id: int, step: int, progress: float) -> int:
    """Log each line of standard input, as soon as it is there, and return the number of lines that were left out.

    The program that writes the lines may be a training, which would end with our end of the pipe. So a line that it
    should not have written is only reported.
    """
    refused = 0
    for number, line in enumerate(iter(sys.stdin.buffer.readline, b""), start=1):
        try:
            row = read_line(line.decode("utf-8-sig"))
            if row:
                at: dict[str, Any] = {"step": step, "progress": progress}
                at |= {name: _number(name, row.pop(name)) for name in _PLACE if name in row}
                run_add_metrics(client, run_id, row, **at)
                step += 1
        except MissingRunError:
            raise
        except (ValueError, RecursionError) as error:
            refused += 1
            if refused <= _REPORTED:
                print_error(f"line {number} of standard input was left out: {error}")
    if refused > _REPORTED:
        print_error(f"{refused} lines of standard input were left out")
    return refused


def _number(name: str, value: Any) -> Any:
    """Return the step or progress of a line.

    Raises:
        ValueError: it is not a number. None and truth values would be 0 and 1 elsewhere.
    """
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,40}", value):
        # Programs may pad steps with zeros.
        return int(value)
    if value is None or isinstance(value, (str, bool)):
        kind = "an integer" if name == "step" else "a number"
        raise ValueError(f"{name} must be {kind}, got {json.dumps(value)}")
    return value


def _step(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected an integer, got {text!r}") from None


def _progress(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}")
    return value
