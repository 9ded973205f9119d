"""Processes that tests start: programs, and scripts that report each step to the test in a line."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

__all__ = ["Ended", "Program", "Script", "run_together", "running"]

# The sqltrack program, in a separate process.
Program = Callable[..., subprocess.CompletedProcess[str]]

# The beginning of every script. Each line is written by one system call, so that a signal never meets a half-filled
# buffer, and a killed process leaves none behind. Processes in the background ignore SIGINT, and so do their children.
_PREAMBLE = """
import json, os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
import sqltrack
from sqltrack import Client, Experiment, Run
from sqltrack.commands import setup

def confirm(line):
    os.write(1, f"{line}\\n".encode())

def sleep_on():
    # Python handles a signal that comes just before a long sleep begins only at its end.
    while True:
        time.sleep(0.02)

config = json.loads(sys.argv[1])
client = Client(config)
"""

# Warnings are errors as in the tests, except about resources that a terminated process leaves open.
_WARNINGS = ("-W", "error", "-W", "ignore::ResourceWarning")

# A script that hangs is killed after this time; no script needs a tenth of it.
_PATIENCE = 60.0


@contextlib.contextmanager
def running(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start a program, and kill it at the end of the `with` block if it still runs.

    `subprocess.Popen` itself would wait there, for ever if the program hangs.

    Args:
        command: the program and its arguments.
        options: options of `subprocess.Popen`. The program does not ignore signals that the tests themselves ignore,
            such as SIGINT in the background of a shell.
    """
    if os.name == "posix":
        options.setdefault("preexec_fn", _heed_signals)
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def run_together(commands: Sequence[Sequence[str | Path]], **options: Any) -> list[subprocess.CompletedProcess[Any]]:
    """Run programs at the same time, and return their results in the same order.

    Args:
        commands: the programs with their arguments.
        options: options of `subprocess.Popen`.
    """
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(running(command, **pipes)) for command in commands]
        outputs = [process.communicate(timeout=_PATIENCE) for process in processes]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *output)
        for process, output in zip(processes, outputs)
    ]


def _heed_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass(frozen=True)
class Ended:
    """A script that has ended.

    Attributes:
        status: exit status, or minus the signal that ended it.
        lines: the lines that it confirmed.
        errors: its output on stderr.
        seconds: time that the test waited for its end.
    """

    status: int
    lines: list[str]
    errors: str
    seconds: float


class Script:
    """A running script; the end of the `with` block kills it if it still runs.

    The script can use `config`, a `client` of it, `confirm(line)`, and the usual imports.

    Args:
        text: the script, which runs with warnings as errors.
        config: configuration of its client.
        stdin: its input; default: a pipe that `send_line` writes to.
        prefix: a command, with its arguments, that runs Python.
        patience: seconds after which a script that hangs is killed.
    """

    def __init__(
        self,
        text: str,
        config: Mapping[str, Any],
        stdin: int | IO[Any] = subprocess.PIPE,
        prefix: Sequence[str] = (),
        patience: float = _PATIENCE,
    ) -> None:
        self._patience = patience
        self._process = subprocess.Popen(
            [*prefix, sys.executable, *_WARNINGS, "-c", _PREAMBLE + text, json.dumps(dict(config))],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self._lines: list[str] = []

    def __enter__(self) -> Script:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        with self._process:
            pass

    def read_line(self) -> str:
        """Wait for the next line that the script confirms, and return it."""
        stdout = self._process.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], self._patience)
        line = stdout.readline().decode() if ready else ""
        if not line.endswith("\n"):
            raise AssertionError(f"the script confirmed nothing more: {self.finish()}")
        self._lines.append(line.rstrip("\n"))
        return self._lines[-1]

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the script."""
        os.kill(self._process.pid, number)

    def send_line(self, line: str = "") -> None:
        """Send a line to the script's input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    def finish(self) -> Ended:
        """Close the script's input and wait for its end."""
        start = time.monotonic()
        try:
            output, errors = self._process.communicate(timeout=self._patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            output, errors = self._process.communicate()
            errors += b"\n(killed by the test, because it did not end)"
        seconds = time.monotonic() - start
        self._lines += output.decode().splitlines()
        return Ended(self._process.returncode, self._lines, errors.decode(), seconds)

    def succeed(self) -> list[str]:
        """Wait for the script to succeed, and return the lines that it confirmed."""
        ended = self.finish()
        # Shown if the test fails, including output of children of a successful script.
        print(ended.errors)
        assert ended.status == 0, ended.errors
        return ended.lines
