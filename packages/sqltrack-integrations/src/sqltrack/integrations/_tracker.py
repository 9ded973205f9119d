"""The run of a callback: found or created on first use, never a reason for the training to fail."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import sqltrack
from sqltrack import _updates
from sqltrack._arguments import as_client
from sqltrack._logging import get_logger
from sqltrack._times import Timestamp
from sqltrack._tracking import _status_at_exit, is_tracked
from sqltrack.commands.rewind import apply_rewind, plan_rewind
from sqltrack.engines._foreign import is_instance
from sqltrack.engines._spelling import quote
from sqltrack.errors import DatabaseError, UnusableValueError
from sqltrack.integrations._ranks import announce_main_run, current_rank, find_main_run
from sqltrack.run import _status_after

__all__ = ["Tracker", "first_rank"]

# The link from the run of a rank to that of rank 0.
_LINK = "rank of"

# Without an outbox, each call waits for a database that is away. After a failure that took longer than the first number
# of seconds, calls are skipped for the second.
_LONG = 1.0
_PAUSE = 60.0

# Held while a run is created, so that threads share it. Not an attribute, because locks cannot be pickled.
_creating = threading.RLock()

# Those whose training has begun and not ended in this process.
_begun: set[Tracker] = set()


def first_rank() -> int:
    """Return 0: frameworks without ranks log from every process."""
    return 0


class Tracker:
    """The run that a callback logs to, on the ranks that log.

    Methods that hooks call never raise: the first failure is logged as a warning, and the training continues.

    Args:
        run: the run to log to, default: the run of the environment, or a new one.
        experiment: name or id of the experiment of a new run.
        client: client of a new run, default: one for the configured database.
        per_rank: whether each rank logs to a run of its own, default: only rank 0 logs.
        get_rank: returns the rank of this process.

    Attributes:
        run: the run; None before the first use, on ranks that do not log, and if no run could be created.

    Raises:
        UnusableValueError: (a ValueError) an argument has the wrong type, `run` is given together with another
            argument, or nothing names the experiment.
        ConfigError: (a ValueError) the configuration cannot be used.
    """

    def __init__(
        self,
        run: sqltrack.Run | None = None,
        experiment: str | int | sqltrack.Experiment | None = None,
        client: sqltrack.Client | None = None,
        *,
        per_rank: bool = False,
        get_rank: Callable[[], int] = current_rank,
    ) -> None:
        _check(run, experiment, client)
        self.run: sqltrack.Run | None = None
        self._given = run
        self._experiment = experiment
        self._name: str | None = None
        # Created now, because an unusable configuration should end the program before the training begins.
        self._client = _client_for(run, experiment, client)
        self._per_rank = per_rank
        self._get_rank = get_rank
        self._has_failed = False
        self._has_warned = False
        self._skip_until = 0.0
        self._owns_status = False
        self._is_copy = False
        self._has_ended = False
        self._is_open = False
        self._point: tuple[int, float] | None = None
        self.before_end: Callable[[], None] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # The copy is for another process or another training. It logs to the same run, whose status is not its own.
        return {**self.__dict__, "_owns_status": False, "_is_copy": True, "_skip_until": 0.0, "before_end": None}

    @property
    def name(self) -> str | None:
        """Name of the experiment, None on ranks that do not log, and if the database cannot tell."""
        if self._name is None:
            with self.guard():
                run = self._usable_run()
                sql = "SELECT name FROM experiments WHERE id = %s"
                row = None if run is None else run.client.execute(sql, (run.experiment_id,)).fetchone()
                self._name = None if row is None else row[0]
        return self._name

    @property
    def logs(self) -> bool:
        """Whether this rank logs; a rank that has failed to create its run does not."""
        return not self._has_failed and (self._per_rank or self._get_rank() == 0)

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Log an exception of the `with` block as a warning, the first time, and continue after the block."""
        begin = time.monotonic()
        try:
            yield
        except Exception as error:
            if isinstance(error, DatabaseError) and time.monotonic() - begin > _LONG:
                self._skip_until = time.monotonic() + _PAUSE
            self._warn(error)

    def begin(self, resumes_after: int | None = None, *, keeps_run: bool = False, is_open: bool = True) -> None:
        """Begin a training: use the run, or after an earlier training a new one.

        Args:
            resumes_after: step of the checkpoint that the training continues from; later rows are removed. Default: the
                training starts from its beginning.
            keeps_run: whether another training uses the same run.
            is_open: whether the framework tells when the training ends. If it does not until the process exits, the
                training has failed.
        """
        with self.guard():
            if self._has_ended and self._given is None and resumes_after is None and not keeps_run:
                self.run = None
                self._has_ended = False
            run = self.use()
            if run is None:
                return
            self._point = None
            self._start(run)
            if self._owns_status:
                self._is_open = is_open
                _begun.add(self)
        if resumes_after is not None:
            self.rewind(resumes_after)

    def rewind(self, step: int) -> None:
        """Remove the rows after a step, because the training repeats them from a checkpoint."""
        with self.guard():
            run = self._usable_run()
            plan = None if run is None else plan_rewind(run.client, run.id, step, force=True)
            if run is not None and plan is not None and plan.rows:
                apply_rewind(run.client, plan, even_if_changed=True)

    def use(self) -> sqltrack.Run | None:
        """Return the run to log to, which is created at the first call.

        None on ranks that do not log, and after a call that failed to create the run.
        """
        if self.run is None and self.logs:
            with _creating:
                if self.run is None and not self._has_failed:
                    with self._fatal():
                        self.run = self._create()
        return self.run

    def log(self, metrics: Mapping[str, Any], step: int | None = None, progress: float = 0.0) -> None:
        """Add metrics to the run.

        Args:
            metrics: names and values.
            step: the step, default: that of the previous call.
            progress: fraction of the training that is done; ignored if the step is that of the previous call, so that
                there is one row for each step.
        """
        with self.guard():
            run = self._usable_run() if metrics else None
            if run is not None:
                run.add_metrics(metrics, *self._as_point(step, progress))

    def add_args(self, args: Any) -> None:
        """Add arguments to the run: a dict or another object with names and values, which can be nested."""
        with self.guard():
            run = self._usable_run()
            if run is not None:
                run.add_args(args)

    def add_extras(self, **extras: Any) -> None:
        """Add extras to the run."""
        with self.guard():
            run = self._usable_run()
            if run is not None:
                run.add_extras(extras)

    def end(self, status: str = "COMPLETED") -> None:
        """End the training. The run gets the status, unless the program tracks the run itself."""
        _begun.discard(self)
        with self.guard():
            tracking = None if self.run is None else self.run._tracking
            if self.run is None or self._has_ended or not self._owns_status or tracking is None or not tracking.is_own:
                return
            self._has_ended = True
            if self.before_end is not None:
                self.before_end()
            self.run.stop(tracking.terminated if tracking.was_terminated else status)

    def end_by(self, error: BaseException | None) -> None:
        """End a training that an exception has ended, which the framework may not pass on to the program."""
        # `sys.exit()` leaves the training in its middle, also with status 0.
        status = "FAILED" if error is None else _status_after(error, "FAILED", "FAILED", "CANCELLED")
        if isinstance(error, KeyboardInterrupt):
            # Also if the program tracks the run: it will see another exception, or none.
            self._owns_status = self.run is not None and self.run._tracking is not None
        self.end(status)

    def end_at_exit(self) -> None:
        """End a training before the process exits."""
        status = "CANCELLED" if _is_interrupted(getattr(sys, "last_value", None)) else _status_at_exit()
        # A training that is left in its middle, for example by `sys.exit()`, has failed.
        self.end("FAILED" if status == "COMPLETED" and self._is_open else status)

    def create_child(self, kind: str, args: Any, started: Timestamp = "auto") -> sqltrack.Run | None:
        """Return a new, started run, None if that fails once.

        Args:
            kind: the kind of the link to the given run, if any.
            args: arguments of the new run.
            started: value for `time_started`.
        """
        if self._has_failed:
            return None
        with self._fatal():
            if self._given is None:
                return sqltrack.start(self._experiment, args=args, client=self._client, started=started)
            run = sqltrack.Experiment(self._client, self._given.experiment_id).get_run()
            return run.add_args(args).add_env().add_link(kind, self._given.id).start(started=started)

    @contextlib.contextmanager
    def _fatal(self) -> Iterator[None]:
        """Never try again what fails in the `with` block: it would cost the training the same time again."""
        try:
            yield
        except Exception:
            self._has_failed = True
            raise

    def _usable_run(self) -> sqltrack.Run | None:
        return None if time.monotonic() < self._skip_until else self.use()

    def _create(self) -> sqltrack.Run:
        rank = self._get_rank()
        run = self._main_run() if rank == 0 or not self._per_rank else self._rank_run(rank)
        if self._per_rank and rank == 0 and not self._is_planned():
            announce_main_run(run.id)
        return run

    def _main_run(self) -> sqltrack.Run:
        if self._given is not None:
            self._start(self._given)
            return self._given
        self._owns_status = True
        return sqltrack.start(self._experiment, client=self._client)

    def _rank_run(self, rank: int) -> sqltrack.Run:
        """Return a new run for a rank other than 0, linked to the main run."""
        main = self._given
        if main is None:
            run_id = _updates.id_from_env(_updates.RUN_VARIABLE) if self._is_planned() else find_main_run()
            main = sqltrack.Run(self._client, None, run_id)
        self._owns_status = True
        # By id, because the environment may name the main run.
        run = sqltrack.Experiment(self._client, main.experiment_id).get_run()
        run.add_args({"rank": rank}).add_env().add_link(_LINK, main.id)
        return run.start()

    def _is_planned(self) -> bool:
        """Return whether all ranks know the main run, from the program or the environment."""
        return self._given is not None or _has_run_variable()

    def _start(self, run: sqltrack.Run) -> None:
        """Track the run, unless the program does so already."""
        if not self._is_copy:
            for other in list(_begun):
                other._hand_over(self, run)
        if not is_tracked(self._client, run.id):
            run.start()
            self._owns_status = True
            self._has_ended = False

    def _hand_over(self, other: Tracker, run: sqltrack.Run) -> None:
        """Leave the status of a run to the training that continues this one, which was given up."""
        own = self.run
        if other is not self and own is not None and _is_same(own, run):
            _begun.discard(self)
            self._owns_status = False
            own._end_tracking()

    def _as_point(self, step: int | None, progress: float) -> tuple[int, float]:
        if self._point is None or (step is not None and step != self._point[0]):
            self._point = (0 if step is None else int(step), progress)
        return self._point

    def _warn(self, error: Exception) -> None:
        if not self._has_warned:
            self._has_warned = True
            consequence = "nothing is logged" if self._has_failed else "some values are not logged"
            get_logger("integrations").warning(
                "%s, and the training continues: %s: %s", consequence, type(error).__name__, error
            )


def _check(run: Any, experiment: Any, client: Any) -> None:
    if run is not None:
        if not is_instance(run, sqltrack.Run):
            raise UnusableValueError(f"run must be a Run, got {quote(run)}", "use: run=experiment.get_run(…)")
        if experiment is not None or client is not None:
            raise UnusableValueError("run is given together with an experiment or a client, expected one of them")
    elif experiment is None:
        experiment_id, name = _updates.experiment_from_env()
        if experiment_id is None and name is None and not _has_run_variable():
            raise UnusableValueError("a run needs an experiment, got none", "name it, as in experiment='digits'")
    elif is_instance(experiment, bool) or not is_instance(experiment, (str, int, sqltrack.Experiment)):
        raise UnusableValueError(f"experiment must be a name or an id, got {quote(experiment)}")


def _client_for(run: Any, experiment: Any, client: Any) -> sqltrack.Client:
    if run is not None:
        return as_client(run.client)
    if client is not None:
        return as_client(client)
    return as_client(experiment.client) if is_instance(experiment, sqltrack.Experiment) else sqltrack.Client()


def _is_same(first: sqltrack.Run, second: sqltrack.Run) -> bool:
    return first.id == second.id and first.client.engine.describe() == second.client.engine.describe()


def _has_run_variable() -> bool:
    return _updates.RUN_VARIABLE in os.environ


def _is_interrupted(error: BaseException | None) -> bool:
    """Return whether an exception comes from Ctrl-C: CatBoost raises one of its own in the place of any other."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _end_all() -> None:
    for tracker in list(_begun):
        tracker.end_at_exit()


# Registered after that of the core, so called before it.
atexit.register(_end_all)
