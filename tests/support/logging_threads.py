"""Threads that log to a run and record the confirmed steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import sqltrack
from sqltrack import Run
from support.databases import statuses

__all__ = ["LoggingThread", "expect_nothing_missing", "missing_steps", "wait_until"]

_BOUND = 15.0

# No call may take longer than the default settings allow for a silent server, about a minute and a half.
_PATIENCE = 150.0


def wait_until(condition: Callable[[], bool], seconds: float = _BOUND) -> None:
    """Wait until a condition holds; fail if that takes longer."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {seconds} seconds"
        time.sleep(0.01)


class LoggingThread(threading.Thread):
    """A thread that logs steps to a run until it is stopped by the end of the `with` block.

    Args:
        run: the run.
        tolerated: errors after which it continues with the next step; any other ends it.
        pause: seconds between two steps.

    Attributes:
        count: number of steps that it has tried, counted from 0.
        confirmed: the steps that were logged without an error.
        errors: the tolerated errors.
        error: the error that ended the thread.
        slowest: seconds of the slowest call.
    """

    def __init__(self, run: Run, tolerated: tuple[type[Exception], ...] = (), pause: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.count = 0
        self.confirmed: list[int] = []
        self.errors: list[Exception] = []
        self.error: BaseException | None = None
        self.slowest = 0.0
        self._run = run
        self._tolerated = tolerated
        self._pause = pause
        self._enough = threading.Event()

    def __enter__(self) -> LoggingThread:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._enough.set()
        self.join(_PATIENCE)
        assert not self.is_alive(), "a call of add_metrics does not end"
        if error is None and self.error is not None:
            raise self.error

    def run(self) -> None:
        """Log step after step."""
        try:
            while not self._enough.is_set():
                self._log_step()
                if self._pause:
                    self._enough.wait(self._pause)
        except BaseException as error:
            self.error = error

    def wait_for_more(self, number: int = 20, seconds: float = 60.0) -> None:
        """Wait until this many further steps are confirmed."""
        target = len(self.confirmed) + number
        wait_until(lambda: len(self.confirmed) >= target or self.error is not None, seconds)
        if self.error is not None:
            raise self.error

    def wait_for_error(self, seconds: float = 120.0) -> None:
        """Wait until an error was tolerated."""
        wait_until(lambda: bool(self.errors) or self.error is not None, seconds)
        if self.error is not None:
            raise self.error

    def _log_step(self) -> None:
        start = time.monotonic()
        try:
            self._run.add_metrics({"loss": 1.0}, step=self.count)
            self.confirmed.append(self.count)
        except self._tolerated as error:
            self.errors.append(error)
        finally:
            self.slowest = max(self.slowest, time.monotonic() - start)
        self.count += 1


def missing_steps(config: dict[str, Any], run_id: int, confirmed: list[int]) -> set[int]:
    """Return the confirmed steps of a run that are missing in the database."""
    rows = sqltrack.Client(config).execute("SELECT step FROM metrics WHERE run_id = %s", (run_id,))
    return set(confirmed) - {step for (step,) in rows}


def expect_nothing_missing(
    config: dict[str, Any], run: Run, thread: LoggingThread, record: Callable[..., None], *, faults: int
) -> None:
    """Check that no confirmed step is missing, and record the figures of the only run of a database."""
    missing = missing_steps(config, run.id, thread.confirmed)
    record(faults=faults, confirmed=len(thread.confirmed), missing=len(missing), errors=0, slowest=thread.slowest)
    assert not missing
    assert statuses(config) == ["COMPLETED"]
