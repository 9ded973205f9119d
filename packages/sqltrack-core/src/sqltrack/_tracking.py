"""The time between start and stop of a run: what happens to its status when the process is ended."""

from __future__ import annotations

import os

from sqltrack import _updates
from sqltrack._times import utc_now
from sqltrack.client import Client

__all__ = ["Tracking"]

# Seconds that a terminated process may spend on its status before the batch system kills it.
_LAST_CALL = 2.0


class Tracking:
    """A run that was started in this process and not stopped yet.

    Its client keeps connections open, and SIGTERM sets the run's status. A forked child inherits the object, but the
    status is the parent's to set.

    Args:
        client: client of the run.
        run_id: id of the run.
        terminated: status in case of SIGTERM.

    Attributes:
        terminated: the same.
        was_terminated: whether SIGTERM has arrived.
    """

    def __init__(self, client: Client, run_id: int, terminated: str) -> None:
        self.terminated = terminated
        self.was_terminated: bool = False
        self._client = client
        self._run_id = run_id
        self._pid = os.getpid()

    @property
    def is_own(self) -> bool:
        """Whether this is the process that started the run."""
        return self._pid == os.getpid()

    def begin(self) -> None:
        """Keep connections from now on, and listen for SIGTERM."""
        from sqltrack import sigterm

        self._client._session.track(self._run_id)
        sigterm.register(self, self._terminate)

    def end(self) -> None:
        """Undo `begin`."""
        from sqltrack import sigterm

        sigterm.deregister(self)
        self._client._session.untrack(self._run_id)

    def _terminate(self) -> None:
        self.was_terminated = True
        values = {"status": self.terminated, "time_updated": utc_now()}
        _updates.set_columns(self._client, "runs", self._run_id, values, patience=_LAST_CALL)
