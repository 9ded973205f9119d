"""Ctrl-C in the middle of work that is soon done."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from support.processes import running

__all__ = ["interrupt_program"]

_SCRIPT = """
import json, os, signal, sys, threading, time
from pathlib import Path
import sqltrack
from sqltrack.cli import main

condition, values, seconds = json.loads(sys.argv[1])
is_under_way = eval(f"lambda values: {condition}")

def interrupt():
    while not is_under_way(values):
        time.sleep(0.002)
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
sys.exit(main(sys.argv[2:]))
"""


def interrupt_program(
    arguments: Sequence[str], condition: str, values: Any, seconds: float = 0.0
) -> subprocess.CompletedProcess[str]:
    """Run the program, and interrupt it once its work has begun.

    The signal comes from a thread of the same process, because on a busy machine another process may send it after the
    work is done.

    Args:
        arguments: arguments of the program.
        condition: an expression in Python, which may use `values`, `sqltrack` and `Path`. It becomes true when the work
            has begun.
        values: what the condition needs, as JSON.
        seconds: time between the beginning and the signal, default 0.
    """
    command = [sys.executable, "-c", _SCRIPT, json.dumps([condition, values, seconds]), *arguments]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        output, errors = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)
