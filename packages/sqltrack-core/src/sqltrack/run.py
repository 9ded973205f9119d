"""Runs: single executions of a training script."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sqltrack import _updates
from sqltrack._arguments import as_client, as_row_id, as_rows, as_text
from sqltrack._creation import FoundRun, NewId, get_or_create_run
from sqltrack._descriptions import is_auto
from sqltrack._logging import get_logger
from sqltrack._times import Timestamp, times_to_set
from sqltrack._tracking import Tracking, is_tracked
from sqltrack.client import Client
from sqltrack.errors import DatabaseUnavailableError, SQLTrackError
from sqltrack.run_functions import (
    run_add_args,
    run_add_env,
    run_add_extras,
    run_add_link,
    run_add_tags,
    run_remove_args,
    run_remove_env,
    run_remove_extras,
    run_remove_link,
    run_remove_tags,
    run_set_args,
    run_set_comment,
    run_set_created,
    run_set_env,
    run_set_extras,
    run_set_started,
    run_set_status,
    run_set_tags,
    run_set_updated,
)

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Run"]

T = TypeVar("T")

_TABLE = "runs"

# Seconds to try to set the status of a run that an exception ends; the exception should not be delayed for longer.
_PATIENCE_AFTER_EXCEPTION = 3.0

# The same for a run that has done its work, and should not wait longer for a database that is away.
_PATIENCE_AT_END = 5.0


class Run:
    """A run in the database, which is created if it does not exist.

    Methods that change the run return it, so you can chain calls.

    Args:
        client: client to use.
        experiment_id: id of the experiment that the run belongs to; may be None if the run exists.
        run_id: id of the run; a str names the environment variable that holds the id; default: a new, unused id.

    Attributes:
        client: the client.
        id: the run's id.
        experiment_id: id of its experiment; 0 if you gave only the id of the run during an outage.

    Raises:
        ValueError: the environment variable does not hold an id, or the run belongs to another experiment
            (ConflictError), or the run or experiment does not exist (MissingRunError, MissingExperimentError).
    """

    def __init__(self, client: Client, experiment_id: int | None = None, run_id: int | str | None = None) -> None:
        run_id = _updates.as_run_id(run_id)
        if experiment_id is not None:
            experiment_id = as_row_id(experiment_id, "experiment_id")
        engine, session = as_client(client).engine, client._session
        new_id = None if session.outbox is None else NewId()
        if experiment_id is not None:
            experiment_id = session.real_experiment_id(experiment_id)
        found = session.create(
            lambda: _ask(
                client,
                lambda connection: get_or_create_run(engine, connection, experiment_id, run_id, {}, new_id),
            ),
            lambda outbox, reason: outbox.begin_run(experiment_id, run_id, {}, reason, new_id),
        )
        self._take(client, found)

    @classmethod
    def _find(cls, client: Client, find: Callable[[Any], FoundRun | None]) -> Self | None:
        """Return the run that a function finds or creates on a connection, None if there is none."""
        found = _ask(client, find)
        return None if found is None else cls._of(client, found)

    @classmethod
    def _of(cls, client: Client, found: FoundRun) -> Self:
        """Return a run that was found or created."""
        run = cls.__new__(cls)
        run._take(client, found)
        return run

    def _take(self, client: Client, found: FoundRun) -> None:
        self.client: Client = client
        self.id: int = found.id
        self.experiment_id: int = found.experiment_id
        self._status = found.status
        client.metrics._oversights.note_status(found.id, found.status)
        if client._session.outbox is not None:
            client._session.outbox.note_run(found.id, found.experiment_id, found.times)
        self._tracking: Tracking | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A copy must not track the run.
        return {**self.__dict__, "_tracking": None}

    # Hidden from type checkers, which find wrong names themselves.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            from sqltrack._habits import missing_attribute

            raise missing_attribute(self, name)

        def __getitem__(self, name: Any) -> Any:
            from sqltrack._habits import no_items

            raise no_items(self)

        def __setitem__(self, name: Any, value: Any) -> None:
            self[name]

        # Without this, Python would take a class with items for iterable.
        __iter__ = None

        def __enter__(self) -> Any:
            from sqltrack._habits import no_block

            raise no_block()

        def __exit__(self, *_: object) -> None:
            """Do nothing; exists so that Python calls `__enter__`, whose error names the right call."""

    def __repr__(self) -> str:
        return f"Run(id={self.id!r}, experiment_id={self.experiment_id!r})"

    def start(self, terminated: str = "CANCELLED", started: Timestamp = "auto", updated: Timestamp = "auto") -> Self:
        """Set the status to RUNNING and track the run until `stop`.

        If you do not call `stop`, the run gets its status when Python exits: FAILED after an exception, CANCELLED after
        KeyboardInterrupt, otherwise COMPLETED.

        Args:
            terminated: status if SIGTERM arrives before `stop`; see `sqltrack.sigterm`.
            started: value for `time_started`; see `run_set_started`.
            updated: value for `time_updated`; see `run_set_updated`.
        """
        terminated = as_text(terminated, "terminated")
        values: dict[str, Any] = {"status": "RUNNING", **times_to_set(time_started=started, time_updated=updated)}
        if self._tracking is not None:
            self._tracking.end()
        self._tracking = Tracking(self.client, self.id, terminated)
        self._tracking.begin()
        if self._tracking.is_attached:
            values = times_to_set(time_updated=updated)
        self.client.metrics.expect(self.id, self._status)
        self._status = "RUNNING"
        try:
            self._tracking.begin_capture()
            if values:
                _updates.set_columns(self.client, _TABLE, self.id, values)
        except BaseException:
            self._end_tracking()
            raise
        self.client._session.note_start()
        if is_auto(updated):
            self.client.metrics.was_touched(self.id)
        return self

    def stop(self, status: str = "COMPLETED", updated: Timestamp = "auto") -> Self:
        """Set the final status and end tracking, which closes the connection.

        Args:
            status: the status, default "COMPLETED"; see `run_set_status`.
            updated: value for `time_updated`; see `run_set_updated`.
        """
        return self._stop(as_text(status, "status"), updated, _PATIENCE_AT_END)

    @contextlib.contextmanager
    def track(
        self,
        normal: str = "COMPLETED",
        exception: str = "FAILED",
        interrupt: str = "CANCELLED",
        terminated: str = "CANCELLED",
        started: Timestamp = "auto",
        updated: Timestamp = "auto",
    ) -> Iterator[Self]:
        """Track the run in a `with` block, which returns the run: `start` at its beginning, `stop` at its end.

        Exceptions pass through unchanged, even if the status cannot be stored; that error is logged. If the run is
        tracked already, by `start` or by an outer block, the block changes nothing.

        Args:
            normal: status if the block ends normally, or with `sys.exit()` and status 0 or None.
            exception: status if it ends with an exception, or with `sys.exit()` and any other status.
            interrupt: status if it ends with KeyboardInterrupt (SIGINT, Ctrl-C), or its asyncio task is cancelled.
            terminated: status if SIGTERM arrives; see `sqltrack.sigterm`.
            started: value for `time_started`; see `run_set_started`.
            updated: value for `time_updated`, at start and stop; see `run_set_updated`.
        """
        # Check now, not at the end of a training.
        normal, exception = as_text(normal, "normal"), as_text(exception, "exception")
        interrupt, terminated = as_text(interrupt, "interrupt"), as_text(terminated, "terminated")
        if is_tracked(self.client, self.id):
            yield self
            return
        self.start(terminated, started, updated)
        tracking = self._tracking
        assert tracking is not None
        try:
            yield self
        except BaseException as error:
            if self._may_stop(tracking):
                status = _status_after(error, normal, exception, interrupt)
                self._stop_after_exception(terminated if tracking.was_terminated else status, updated)
            raise
        if self._may_stop(tracking):
            self._stop_at_end(terminated if tracking.was_terminated else normal, updated)

    def add_args(self, args: Any = "auto") -> Self:
        """Add arguments; see `run_add_args`."""
        run_add_args(self.client, self.id, args)
        return self

    def add_env(self, env: Literal["auto"] | Mapping[str, Any] | None = "auto") -> Self:
        """Add environment variables; see `run_add_env`."""
        run_add_env(self.client, self.id, env)
        return self

    def add_extras(self, extras: Mapping[str, Any] | None = None) -> Self:
        """Add extras; see `run_add_extras`."""
        run_add_extras(self.client, self.id, extras)
        return self

    def add_link(self, kind: str, to_id: int) -> Self:
        """Add a link to another run; see `run_add_link`."""
        run_add_link(self.client, self.id, kind, to_id)
        return self

    def add_metrics(
        self, metrics: Mapping[str, Any], step: int = 0, progress: float = 0.0, updated: Timestamp = "auto"
    ) -> Self:
        """Add metrics; see `run_add_metrics`.

        Args:
            metrics: names and values.
            step: absolute point in time, such as an iteration or epoch, default 0.
            progress: relative point in time, such as a percentage, default 0.0.
            updated: value for `time_updated`; "auto" (default) is the current time, which may lag by a second while
                the run is tracked; None leaves it unchanged.
        """
        # Not by run_add_metrics, which has no `updated`.
        self.client.metrics.add(self.id, metrics, step, progress, updated)
        return self

    def add_tags(self, *tags: str) -> Self:
        """Add tags; see `run_add_tags`."""
        run_add_tags(self.client, self.id, *tags)
        return self

    def remove_args(self, *args: str | Iterable[str]) -> Self:
        """Remove arguments by name; see `run_remove_args`."""
        run_remove_args(self.client, self.id, *args)
        return self

    def remove_env(self, *env: str | Iterable[str]) -> Self:
        """Remove environment variables by name; see `run_remove_env`."""
        run_remove_env(self.client, self.id, *env)
        return self

    def remove_extras(self, *extras: str | Iterable[str]) -> Self:
        """Remove extras by name; see `run_remove_extras`."""
        run_remove_extras(self.client, self.id, *extras)
        return self

    def remove_link(self, kind: str, to_id: int) -> Self:
        """Remove a link to another run; see `run_remove_link`."""
        run_remove_link(self.client, self.id, kind, to_id)
        return self

    def remove_tags(self, *tags: str | Iterable[str]) -> Self:
        """Remove tags; see `run_remove_tags`."""
        run_remove_tags(self.client, self.id, *tags)
        return self

    def set_args(self, args: Any = "auto") -> Self:
        """Replace the arguments; see `run_set_args`."""
        run_set_args(self.client, self.id, args)
        return self

    def set_comment(self, comment: str | None) -> Self:
        """Set the comment; see `run_set_comment`."""
        run_set_comment(self.client, self.id, comment)
        return self

    def set_created(self, dt: Timestamp = "auto") -> Self:
        """Set `time_created`; see `run_set_created`."""
        run_set_created(self.client, self.id, dt)
        return self

    def set_env(self, env: Literal["auto"] | Mapping[str, Any] | None = "auto") -> Self:
        """Replace the environment; see `run_set_env`."""
        run_set_env(self.client, self.id, env)
        return self

    def set_extras(self, extras: Mapping[str, Any] | None = None) -> Self:
        """Replace the extras; see `run_set_extras`."""
        run_set_extras(self.client, self.id, extras)
        return self

    def set_started(self, dt: Timestamp = "auto") -> Self:
        """Set `time_started`; see `run_set_started`."""
        run_set_started(self.client, self.id, dt)
        return self

    def set_status(self, status: str) -> Self:
        """Set the status; see `run_set_status`."""
        run_set_status(self.client, self.id, status)
        # A script may set the status to show that it resumes a run that has ended.
        self._status = status
        return self

    def set_tags(self, *tags: str) -> Self:
        """Replace the tags; see `run_set_tags`."""
        run_set_tags(self.client, self.id, *tags)
        return self

    def set_updated(self, dt: Timestamp = "auto") -> Self:
        """Set `time_updated`; see `run_set_updated`."""
        run_set_updated(self.client, self.id, dt)
        return self

    def add_metrics_many(self, rows: Iterable[Mapping[str, Any]], updated: Timestamp = "auto") -> Self:
        """Add many rows of metrics; see `run_add_metrics_many`."""
        self.client.metrics.add_many(self.id, as_rows(rows), updated)
        return self

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the database has stored all calls that wait in the outbox; see the setting `outbox`.

        These are all calls of this process, and those about this run that other processes on this host have made
        so far. The files of processes that have ended are sent.

        Args:
            timeout: seconds to wait at most, default: no limit.

        Returns:
            Whether none of these calls waits any more. Calls that the database refuses permanently, such as those of
            a deleted run, do not count.
        """
        outbox = self.client._session.outbox
        return True if outbox is None else outbox.flush(timeout, self.id)

    def _may_stop(self, tracking: Tracking) -> bool:
        """Tell whether a `track` block has to stop the run: not if its code already has, nor in a forked child."""
        return tracking is self._tracking and tracking.is_own

    def _stop(self, status: str, updated: Timestamp, patience: float, lock_limit: float | None = None) -> Self:
        begin = time.monotonic()
        try:
            values: dict[str, Any] = {"status": status, **times_to_set(time_updated=updated)}
            if self._tracking is not None and self._tracking.is_attached:
                del values["status"]
            if values:
                _updates.set_columns(self.client, _TABLE, self.id, values, patience=patience, lock_limit=lock_limit)
            self._status = status
            if self._tracking is not None:
                self._tracking.end_capture()
            self.client.metrics.move_pending()
        finally:
            self._end_tracking()
        if self.client._session.outbox is not None:
            self.client._session.outbox.count_wait(begin)
            self.client._session.outbox.flush_at_end()
        return self

    def _stop_at_end(self, status: str, updated: Timestamp) -> None:
        """Stop after a block that has succeeded; log an error if the database is away by then."""
        try:
            self._stop(status, updated, _PATIENCE_AT_END)
        except DatabaseUnavailableError as error:
            self._log_lost_status(status, error)

    def _stop_after_exception(self, status: str, updated: Timestamp) -> None:
        try:
            self._stop(status, updated, _PATIENCE_AFTER_EXCEPTION, _PATIENCE_AFTER_EXCEPTION)
        except SQLTrackError as error:
            self._log_lost_status(status, error)

    def _log_lost_status(self, status: str, error: SQLTrackError) -> None:
        get_logger("run").error("run %s ended as %s, which could not be stored: %s", self.id, status, error)

    def _end_tracking(self) -> None:
        if self._tracking is not None:
            self._tracking.end()
            self._tracking = None


def _ask(client: Client, find: Callable[[Any], T]) -> T:
    # Never repeated after the connection breaks: the first attempt may have created the run.
    return client._session.ask(find, once=True)


def _status_after(error: BaseException, normal: str, exception: str, interrupt: str) -> str:
    # In asyncio, Ctrl-C arrives as CancelledError.
    asyncio = sys.modules.get("asyncio.exceptions")
    if isinstance(error, KeyboardInterrupt) or (asyncio and isinstance(error, asyncio.CancelledError)):
        return interrupt
    # Python exits with status 1 for a float, also for 0.0.
    if isinstance(error, SystemExit) and (error.code is None or (error.code == 0 and isinstance(error.code, int))):
        return normal
    return exception
