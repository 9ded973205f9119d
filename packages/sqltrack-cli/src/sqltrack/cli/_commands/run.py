"""sqltrack run: run a program and track it."""

from __future__ import annotations

import argparse
import os
from typing import Any

from sqltrack.cli._output import print_error
from sqltrack.cli._pairs import named_value
from sqltrack.cli._parser import FILE, Commands, Parser, connection_options, open_client
from sqltrack.errors import SQLTrackError, UnusableValueError

__all__ = ["add_parser"]

# The exit status of programs such as env and nohup if they fail themselves, before the program starts.
_FAILED = 125

_DESCRIPTION = """
Creates a run, runs the command, and sets the status of the run by its exit status: COMPLETED for 0, CANCELLED after
SIGINT, SIGTERM or SIGHUP, otherwise FAILED. The command keeps the terminal, gets signals that are sent to this process,
and finds the run in SQLTRACK_RUN_ID; in Python, sqltrack.track and run_from_env use this run. The exit status is that
of the command; 126 if it cannot be executed, 127 if it is not found, 125 if the run cannot be created.
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "run",
        description=" ".join(_DESCRIPTION.split()),
        example="sqltrack run --experiment digits --arg lr=0.1 --tag sweep -- ./train --lr 0.1",
    )
    parser.usage = "sqltrack run [options] -- COMMAND …"
    parser.add_argument("--experiment", metavar="NAME", help="name of the experiment (default: that of the program)")
    parser.add_argument(
        "--arg",
        action="append",
        default=[],
        type=named_value,
        metavar="NAME=VALUE",
        help="argument of the run, in addition to those that the help text of a Python script describes; values are as "
        "in sqltrack log; repeatable",
    )
    parser.add_argument("--tag", action="append", default=[], metavar="TAG", help="tag of the run; repeatable")
    parser.add_argument("--comment", help="comment of the run")
    parser.add_argument(
        "--capture",
        metavar="NAMES",
        help="what to store about the context, as in the setting capture: on, off, all, or names such as on,output",
    )
    command: Any = parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND …", help="the command")
    command.complete = FILE
    parser.set_defaults(run=_run, parser=parser)


def _run(options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser: Parser = options.parser
        parser.error("expected a command, as in: sqltrack run -- python train.py")
    if os.name != "posix":
        raise UnusableValueError("sqltrack run needs a POSIX system; on Windows, use sqltrack.track in the program")
    # Imported here because these modules need a POSIX system.
    from sqltrack.commands.run import Program, run_program

    try:
        config = {**open_client(options, outbox=True).config}
        if options.capture is not None:
            config["capture"] = options.capture
        program = Program(
            command, options.experiment, dict(options.arg), options.tag, options.comment, _variables(options)
        )
        return run_program(config, program)
    except SQLTrackError as error:
        print_error(str(error))
        return _FAILED


def _variables(options: argparse.Namespace) -> dict[str, str]:
    """Return the environment variables by which the command finds the same database."""
    found = {f"SQLTRACK_DSN_{name.upper()}": str(value) for name, value in connection_options(options).items()}
    if "SQLTRACK_DSN_DBPATH" in found:
        # The command may change its folder.
        found["SQLTRACK_DSN_DBPATH"] = os.path.abspath(os.path.expanduser(found["SQLTRACK_DSN_DBPATH"]))
    if options.capture is not None:
        found["SQLTRACK_DSN_CAPTURE"] = options.capture
    path = getattr(options, "config_path", None)
    return found if path is None else {**found, "SQLTRACK_CONFIG_PATH": os.path.abspath(path)}
