"""Track a run of any program, which need not know of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack._outbox._outbox import close_all
from sqltrack._tracking import TRACKED_RUN, tracked_run
from sqltrack._updates import RUN_VARIABLE
from sqltrack.capture._command import current_folder
from sqltrack.capture._resources import Usage
from sqltrack.capture._run_capture import RunCapture
from sqltrack.capture._settings import capture_setting
from sqltrack.client import Client
from sqltrack.commands._child import CANNOT_RUN, NOT_FOUND, Child, Ending, block_signals, end_like
from sqltrack.commands._output_copies import Output, copied_output
from sqltrack.errors import MissingRunError, SQLTrackError
from sqltrack.run import Run
from sqltrack.track_functions import start

__all__ = ["Program", "experiment_name", "run_program"]

# What this process knows better than the program about itself.
_OWN_FACTS = frozenset({"command", "output", "resources"})


class Program(NamedTuple):
    """A program to run and track.

    Attributes:
        command: its name and arguments.
        experiment: name of the experiment; None for that of an existing run that SQLTRACK_RUN_ID names, or else that of
            the program.
        args: arguments of the run, in addition to those that its help text describes.
        tags: tags of the run.
        comment: comment of the run, None for none.
        environ: further environment variables.
    """

    command: Sequence[str]
    experiment: str | None
    args: Mapping[str, Any]
    tags: Sequence[str] = ()
    comment: str | None = None
    environ: Mapping[str, str] = {}


def experiment_name(command: Sequence[str]) -> str:
    """Return a name for the experiment of a command: that of its script or program, without folder and ending."""
    script = _script_of(command)
    name = os.path.basename(command[0] if script is None else script)
    return os.path.splitext(name)[0] or name


def run_program(config: Mapping[str, Any], program: Program) -> int:
    """Run a program, and track it as a run.

    The program gets the terminal, files and environment of this process. By SQLTRACK_EXPERIMENT_ID and SQLTRACK_RUN_ID,
    `run_from_env` and `sqltrack.track` find the run there. The exit status decides the status of the run. If a signal
    ends the program, this process ends by the same signal.

    Args:
        config: configuration of the database.
        program: the program.

    Returns:
        The exit status of the program, or 126 or 127 if it cannot be started.

    Raises:
        DatabaseError: the run cannot be created; the program was not started.
    """
    names = capture_setting(config)
    mask = block_signals()
    client = Client({**config, "capture": "off"})
    run = _begin(client, program)
    output = copied_output() if "output" in names else None
    try:
        child = _start(run, program, mask, output)
    except OSError as error:
        return _fail_to_start(client, run, names, program, error)
    capture = _begin_capture(client, run, names, program, child)
    ending = _wait(child, output)
    _end(run, capture, ending, {} if output is None else output.text.read(), child.usage)
    if ending.signal is not None:
        # This signal ends the process without the work that Python does at its end.
        close_all()
    return end_like(ending)


def _begin(client: Client, program: Program) -> Run:
    if program.experiment is None and os.environ.get(RUN_VARIABLE):
        with contextlib.suppress(MissingRunError):
            return _begin_in(client, program, None)
    return _begin_in(client, program, program.experiment or experiment_name(program.command))


def _begin_in(client: Client, program: Program, experiment: str | None) -> Run:
    return start(
        experiment,
        args={**_detected_args(program.command), **program.args} or None,
        tags=program.tags,
        comment=program.comment,
        client=client,
    )


def _start(run: Run, program: Program, mask: set[signal.Signals], output: Output | None) -> Child:
    environ = {**os.environ, **program.environ, **_variables(run)}
    if output is None:
        return Child(program.command, environ, mask)
    return Child(program.command, environ, mask, output.actions, has_own_session=output.has_own_session)


def _wait(child: Child, output: Output | None) -> Ending:
    if output is None:
        return child.wait()
    output.begin(child.pid)
    ending = child.wait(output.resize, output.stop if output.has_own_session else None)
    output.end()
    return ending


def _script_of(command: Sequence[str]) -> str | None:
    """Return the path of the Python script that a command runs, None if it does not look like one."""
    return next((word for word in command if word.endswith((".py", ".pyz")) and os.path.isfile(word)), None)


def _detected_args(command: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of a Python script, if it describes them in its help text."""
    script = _script_of(command)
    if script is None:
        return {}
    try:
        from sqltrack.args import detect_args
    except ImportError:
        return {}
    rest = list(command[list(command).index(script) + 1 :])
    return dict(detect_args(script, argv=rest) or {})


def _variables(run: Run) -> dict[str, str]:
    return {
        "SQLTRACK_EXPERIMENT_ID": str(run.experiment_id),
        "SQLTRACK_RUN_ID": str(run.id),
        TRACKED_RUN: tracked_run(run.client, run.id),
    }


def _begin_capture(
    client: Client, run: Run, names: Iterable[str], program: Program, child: Child | None
) -> RunCapture | None:
    names = set(names)
    is_foreign = not _shares_environment(program.command)
    if is_foreign:
        # The packages of this Python are not those of the program.
        names.discard("packages")
    if not names:
        return None
    script = _script_of(program.command)
    folder = current_folder() if script is None else os.path.dirname(os.path.realpath(script))
    pid = None if child is None else child.pid
    capture = RunCapture(client, run.id, names, program.command, folder, pid, is_foreign=is_foreign)
    capture.begin()
    if "command" in names and pid is not None:
        capture.facts.add("command", {"pid": pid})
    return capture


def _shares_environment(command: Sequence[str]) -> bool:
    """Return whether a program belongs to the same Python environment as this process."""
    path = shutil.which(command[0])
    return path is not None and os.path.dirname(path) == os.path.dirname(sys.executable)


def _fail_to_start(client: Client, run: Run, names: Iterable[str], program: Program, error: OSError) -> int:
    is_missing = isinstance(error, FileNotFoundError)
    reason = "not found" if is_missing else f"cannot be executed: {error.strerror or error}"
    print(f"sqltrack: command {program.command[0]!r} {reason}", file=sys.stderr)
    ending = Ending(NOT_FOUND if is_missing else CANNOT_RUN, None)
    capture = _begin_capture(client, run, set(names) - {"output", "resources", "series"}, program, None)
    _end(run, capture, ending, {})
    return ending.code or 0


def _end(
    run: Run, capture: RunCapture | None, ending: Ending, output: Mapping[str, Any], usage: Usage | None = None
) -> None:
    """Store the status and the captured context."""
    try:
        if capture is not None:
            how = {"exit_code": ending.code} if ending.signal is None else {"signal": ending.signal}
            capture.facts.add("command", how)
            if output:
                capture.facts.add("output", output)
            found = _captured(run)
            if found != capture.written:
                # The program has captured its context itself, and knows its packages, for example.
                capture.facts.preferred = {name: found[name] for name in found if name not in _OWN_FACTS}
            capture.finish(usage=usage)
        run.stop(ending.status)
    except SQLTrackError as error:
        # What counts is how the program has ended.
        print(f"sqltrack: run {run.id} ended as {ending.status}, which was not stored: {error}", file=sys.stderr)


def _captured(run: Run) -> Mapping[str, Any]:
    """Return the captured context of a run as it is stored, an empty dict if the database is away."""
    with contextlib.suppress(Exception):
        sql = "SELECT extras FROM runs WHERE id = %s"
        rows = run.client._session.perform(
            lambda: run.client._session.call(
                lambda connection: connection.execute(sql, (run.id,)).fetchall(), patience=1.0
            )
        )
        extras = rows[0][0] if rows else None
        found = extras.get("capture") if isinstance(extras, dict) else None
        return found if isinstance(found, dict) else {}
    return {}
