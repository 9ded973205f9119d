"""Track runs from start to stop, and set their status if the process ends before."""

from __future__ import annotations

import atexit
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from sqltrack import _updates
from sqltrack._activity import activity
from sqltrack._logging import get_logger
from sqltrack._times import utc_now
from sqltrack.client import Client
from sqltrack.errors import SQLTrackError

if TYPE_CHECKING:
    from sqltrack.capture._run_capture import RunCapture

__all__ = ["TRACKED_RUN", "Tracking", "is_tracked", "tracked_run"]

# Seconds that a terminated process may spend on its status before the batch system kills it.
_LAST_CALL = 2.0

# Seconds that an exiting process may spend on the status of a run.
_AT_EXIT = 5.0

# Seconds that the end of a run, and of one that was terminated, waits for its context.
_CAPTURE_AT_END, _LAST_CAPTURE = 0.9, 0.2

#: The environment variable that names the run of `sqltrack run`, see `tracked_run`.
TRACKED_RUN = "SQLTRACK_TRACKED_RUN"

# Runs that were started and not stopped yet, by database and id.
_tracked: dict[tuple[str, int], Tracking] = {}


class Tracking:
    """A run that was started in this process and not stopped yet.

    Its client keeps connections open, and SIGTERM sets the run's status. A forked child inherits the object, but only
    the parent sets the status.

    Args:
        client: client of the run.
        run_id: id of the run.
        terminated: status if SIGTERM arrives.

    Attributes:
        terminated: the same.
        was_terminated: whether SIGTERM has arrived.
        is_attached: whether `sqltrack run` tracks the run, and sets its status.
    """

    def __init__(self, client: Client, run_id: int, terminated: str) -> None:
        self.terminated = terminated
        self.was_terminated: bool = False
        self._client = client
        self._run_id = run_id
        self._pid = os.getpid()
        self._key = _key(client, run_id)
        self._capture: RunCapture | None = None
        self.is_attached: bool = os.environ.get(TRACKED_RUN) == tracked_run(client, run_id)

    @property
    def is_own(self) -> bool:
        """Whether this process has started the run."""
        return self._pid == os.getpid()

    def begin(self) -> None:
        """Keep connections from now on, and listen for SIGTERM."""
        from sqltrack import sigterm

        self._client._session.track(self._run_id)
        if self._client._session.outbox is not None:
            self._client._session.outbox.send_left_behind()
        sigterm.register(self, self._terminate)
        _tracked[self._key] = self

    def begin_capture(self) -> None:
        """Begin to capture the context of the run, according to the settings of its client."""
        names = self._client._captured
        if self.is_attached:
            # `sqltrack run` sees the output and the resources of all its processes.
            names = names - {"output", "resources", "series"}
        if names:
            # Imported here because programs without capture do not need it.
            from sqltrack.capture._run_capture import RunCapture

            self._capture = RunCapture(self._client, self._run_id, names)
            self._capture.begin()

    def end_capture(self) -> None:
        """Store the whole context, within about a second."""
        capture, self._capture = self._capture, None
        if capture is not None and self.is_own:
            capture.finish(_LAST_CAPTURE if self.was_terminated else _CAPTURE_AT_END)

    def end(self) -> None:
        """Undo `begin`."""
        from sqltrack import sigterm

        sigterm.deregister(self)
        capture, self._capture = self._capture, None
        if capture is not None and self.is_own:
            # The run could not be started or stopped.
            capture.abandon()
        self._client._session.untrack(self._run_id)
        if _tracked.get(self._key) is self:
            del _tracked[self._key]

    def end_at_exit(self, status: str) -> None:
        """Set the final status of a run that was not stopped, and do the work of `end`; log errors."""
        try:
            self._set_status(self.terminated if self.was_terminated else status, _AT_EXIT)
            self.end_capture()
        except SQLTrackError as error:
            get_logger("run").error("run %s was not stopped, and its status was not stored: %s", self._run_id, error)
        finally:
            self.end()

    def _terminate(self) -> None:
        self.was_terminated = True
        if self._client._session.outbox is not None:
            self._client._session.outbox.hurry()
        self._set_status(self.terminated, _LAST_CALL)

    def _set_status(self, status: str, patience: float) -> None:
        begin = time.monotonic()
        values: dict[str, Any] = {"status": status, "time_updated": utc_now()}
        if self.is_attached:
            del values["status"]
        _updates.set_columns(self._client, "runs", self._run_id, values, patience=patience, lock_limit=patience)
        if self._client._session.outbox is not None:
            self._client._session.outbox.count_wait(begin)


def is_tracked(client: Client, run_id: int) -> bool:
    """Return whether this process has started a run and not stopped it yet."""
    tracking = _tracked.get(_key(client, run_id))
    return tracking is not None and tracking.is_own


def tracked_run(client: Client, run_id: int) -> str:
    """Return the value of `TRACKED_RUN` for a run, whose status another process sets."""
    return f"{run_id} in {client.engine.describe()}"


def _key(client: Client, run_id: int) -> tuple[str, int]:
    return client.engine.describe(), run_id


def _end_all() -> None:
    status = _status_at_exit()
    ending = [tracking for tracking in _tracked.values() if tracking.is_own]
    if ending:
        # Blocks that are still open will never be committed.
        with activity.given_up():
            for tracking in ending:
                tracking.end_at_exit(status)


def _status_at_exit() -> str:
    """Return the final status for the way in which this process ends."""
    # Python sets it for the exception that ends a program; in interactive sessions for all others, too.
    error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
    if error is None:
        return "COMPLETED"
    return "CANCELLED" if isinstance(error, KeyboardInterrupt) else "FAILED"


atexit.register(_end_all)
