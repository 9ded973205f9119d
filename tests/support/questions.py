"""Answer the confirmations of the program in a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from support.processes import running

__all__ = ["CTRL_C", "Answered", "answer"]

CTRL_C = None
_PATIENCE = 60.0

Answered = tuple[int, str, str]


def answer(arguments: Sequence[str], text: str | None, question: str = "[y/N] ") -> Answered:
    """Start the program, wait for its question, answer it, and return exit status, output and errors.

    Args:
        arguments: arguments of the program.
        text: the answer, or `CTRL_C`.
        question: how the question ends.
    """
    leader, follower = pty.openpty()
    program = Path(sys.executable).with_name("sqltrack")
    pipes = {"stdin": follower, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with running([program, *arguments], **pipes) as process:
        os.close(follower)
        try:
            asked = _read_question(process, question.encode())
            if text is CTRL_C:
                process.send_signal(signal.SIGINT)
            else:
                os.write(leader, f"{text}\n".encode())
            output, errors = process.communicate(timeout=_PATIENCE)
        finally:
            os.close(leader)
    return process.returncode, output.decode(), (asked + errors).decode()


def _read_question(process: subprocess.Popen[bytes], question: bytes) -> bytes:
    assert process.stderr is not None
    asked = b""
    deadline = time.monotonic() + _PATIENCE
    while question not in asked:
        ready, _, _ = select.select([process.stderr], [], [], max(deadline - time.monotonic(), 0))
        part = os.read(process.stderr.fileno(), 4096) if ready else b""
        if not part:
            raise AssertionError(f"the program has not asked: {asked!r}")
        asked += part
    return asked
