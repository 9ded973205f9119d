"""Send the calls of an outbox to its database: in order, in batches, and so that sending twice changes nothing."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqltrack._metric_values import Row
from sqltrack._outbox._calls import (
    ADD_METRICS,
    BEGIN_RUN,
    begin_experiment,
    metrics_of,
    perform,
    with_real_ids,
)
from sqltrack._outbox._journal import EXPERIMENTS, Call, Journal
from sqltrack._outbox._outages import is_outage
from sqltrack.engines.json import Jsonb
from sqltrack.errors import DatabaseUnavailableError, MissingRunError, OutboxError, SQLTrackError
from sqltrack.statuses import ENDED_STATES

if TYPE_CHECKING:
    from sqltrack.client import Client

__all__ = ["Sender", "Sent"]

# Number of calls that are read at once, and of rows of metrics that are stored in one transaction.
_BATCH = 1_000

# Seconds for which the database may be silent while it stores a batch, and further seconds for each row of it.
_PATIENCE, _PER_ROW = 30.0, 0.01

# The same for a single call, after it has taken too long several times.
_LONGEST_PATIENCE = 8 * _PATIENCE

# Batches grow again if they take less than this part of their time.
_QUICK = 0.25

# Prefix of calls that create something.
_BEGIN = "begin_"

# Name of a note in a file that is made while it is sent.
_LOST = "lost"

# Columns of runs that show their progress, and that only the latest attempt may set.
_STATE_COLUMNS = frozenset({"status", "time_started", "time_updated"})

Refuse = Callable[[Sequence[Call], str], None]


class Sent(NamedTuple):
    """The number of calls that were sent or refused.

    Attributes:
        calls: number of calls that were sent.
        refused: number of calls that the database refuses permanently.
        outdated: number of sent calls whose changes were only partly made, because the run has been started again or
            rewound since.
    """

    calls: int = 0
    refused: int = 0
    outdated: int = 0

    def plus(self, other: Sent) -> Sent:
        """Return the sums."""
        return Sent(*(mine + others for mine, others in zip(self, other)))


class Sender:
    """Sends calls with a client.

    Args:
        client: client of the database, without an outbox.
        journal: the file.
        refuse: called with calls that the database refuses permanently, and the reason. None leaves them in the file.

    Attributes:
        client: the same.
    """

    def __init__(self, client: Client, journal: Journal, refuse: Refuse | None) -> None:
        self.client: Client = client
        self._journal = journal
        self._refuse = refuse
        # How much is sent in one transaction, and for how long: less and longer for a database that is slow.
        self._most_calls = _BATCH
        self._patience = _PATIENCE
        self._is_slow = False
        about = journal.about()
        # The ids of experiments in the database, by the ids that they got during an outage.
        self._experiment_ids: dict[int, int] = {int(new): real for new, real in about.get(EXPERIMENTS, {}).items()}
        # Subjects that could not be created, so that no calls about them can be sent.
        self._lost: set[str] = set(about.get(_LOST, ()))

    @property
    def experiment_ids(self) -> Mapping[int, int]:
        """The ids of experiments in the database, by the ids that they got during an outage."""
        return self._experiment_ids

    @property
    def is_slow(self) -> bool:
        """Whether the last batch has taken too long, so that the next one is smaller or may take longer."""
        return self._is_slow

    def send_batch(self, after: int = 0) -> tuple[int, Sent]:
        """Send the first calls of the file.

        Args:
            after: the position after which to begin.

        Returns:
            The position of the last call that was sent, or `after` if there was none; and the numbers of calls.

        Raises:
            SQLTrackError: the database is away. No call is lost; those that were sent may be sent again.
        """
        sent = Sent()
        last = after
        for group in _groups(self._journal.read(self._most_calls, after)):
            try:
                done = self._send_group(group)
            except DatabaseUnavailableError:
                if not self._is_slow or last == after:
                    raise
                # Count the groups before it; the next batch begins with this one.
                break
            sent = sent.plus(done)
            last = group[-1].seq
            if done.refused and self._refuse is None:
                continue
            # A damaged file stays unchanged, with its unreadable calls. Sending the others again changes nothing.
            if self._journal.damage is None:
                self._forget(group[0].seq, last)
        return last, sent

    def _forget(self, first: int, last: int) -> None:
        try:
            self._journal.forget(first, last)
        except OutboxError:
            if self._refuse is None:
                # Some of these calls may have been refused.
                raise
            # Removing calls takes space as well, which a full disk does not have.
            self._journal.skip(last)

    def _send_group(self, group: Sequence[Call]) -> Sent:
        if group[0].owner in self._lost:
            return self._refuse_all(group, f"{group[0].owner} could not be created")
        try:
            return Sent(calls=len(group), outdated=self._send_in_time(group))
        except SQLTrackError as error:
            if is_outage(self.client.engine, error):
                raise
            reason = error
        except MemoryError:
            raise
        except Exception as error:
            # An unexpected error must not hold up the other calls.
            reason = SQLTrackError(f"{type(error).__name__}: {error}")
        if len(group) == 1 or _is_owner_missing(group[0], reason):
            if group[0].name.startswith(_BEGIN):
                self._lost.add(group[0].owner)
                self._journal.note(_LOST, sorted(self._lost))
            return self._refuse_all(group, str(reason))
        # One of these calls is the reason: find out which.
        parts = [self._send_group([call]) for call in group]
        return Sent(*(sum(numbers) for numbers in zip(*parts)))

    def _refuse_all(self, group: Sequence[Call], reason: str) -> Sent:
        if self._refuse is not None:
            self._refuse(group, reason)
        return Sent(refused=len(group))

    def _send_in_time(self, group: Sequence[Call]) -> int:
        """Do the same as `_send`, and adapt the size of batches to the time that it takes."""
        rows = sum(len(metrics_of(call.name, call.arguments)[0]) for call in group if call.name in ADD_METRICS)
        seconds = self._patience + rows * _PER_ROW
        self._is_slow = False
        begin = time.monotonic()
        try:
            outdated = self._send(group, seconds)
        except DatabaseUnavailableError:
            # Otherwise the database has refused, or the connection was lost.
            if time.monotonic() - begin > seconds / 2:
                self._slow_down(len(group))
            raise
        if time.monotonic() - begin < seconds * _QUICK:
            self._patience = _PATIENCE
            if len(group) >= self._most_calls:
                self._most_calls = min(self._most_calls * 2, _BATCH)
        return outdated

    def _slow_down(self, calls: int) -> None:
        self._is_slow = calls > 1 or self._patience < _LONGEST_PATIENCE
        if calls > 1:
            self._most_calls = calls // 2
        else:
            self._patience = min(self._patience * 2, _LONGEST_PATIENCE)

    def _send(self, group: Sequence[Call], seconds: float) -> int:
        """Send calls about one experiment or run; return how many of them are outdated."""
        kind, _, row_id = group[0].owner.partition(" ")
        session = self.client._session
        group = [
            call._replace(arguments=with_real_ids(call.name, call.arguments, self._experiment_ids)) for call in group
        ]
        if kind == "runs" and group[0].name != BEGIN_RUN:
            return session.perform_within(seconds, lambda: self._send_to_run(int(row_id), group))
        if kind == "database":
            from sqltrack.commands.setup import create_missing_tables

            create_missing_tables(self.client)
        elif group[0].name == "begin_experiment":
            new_id = group[0].arguments[0]
            real_id = session.perform_within(seconds, lambda: begin_experiment(self.client, group[0].arguments))
            if real_id != new_id:
                self._experiment_ids[new_id] = real_id
                self._journal.note(EXPERIMENTS, self._experiment_ids)
        else:
            session.perform_within(seconds, lambda: perform(self.client, group[0].name, group[0].arguments))
        return 0

    def _send_to_run(self, run_id: int, group: Sequence[Call]) -> int:
        client = self.client
        batch = [row for call in group if call.name in ADD_METRICS for row in metrics_of(call.name, call.arguments)[0]]
        if batch:
            client.metrics.require_columns(batch)
        with client._session.transaction() as connection, client._session.translated_errors():
            client.engine.lock_rows(connection, "runs", [run_id])
            history = _History.read(client, connection, run_id, self._journal.times_of(run_id))
            outdated = 0
            if group[0].name in ADD_METRICS:
                outdated = self._send_metrics(run_id, group, history)
            else:
                for call in group:
                    arguments = history.present(client, connection, call)
                    outdated += arguments != call.arguments
                    if arguments is not None:
                        perform(client, call.name, arguments)
        return outdated

    def _send_metrics(self, run_id: int, group: Sequence[Call], history: _History) -> int:
        metrics = self.client.metrics
        present: list[Row] = []
        past: list[Row] = []
        outdated = 0
        latest: datetime | None = None
        for call in group:
            rows, updated = metrics_of(call.name, call.arguments)
            if history.is_past(call):
                outdated += 1
                past += [row for row in rows if not history.is_rewound(call, row.key[1])]
                continue
            present += rows
            if updated is not None and not history.has_later_update(call, updated):
                latest = updated
        metrics.fill(run_id, _merged(past))
        if present or latest is not None:
            present.sort(key=lambda row: row.key)
            metrics.store(run_id, present, latest)
        return outdated


class _History:
    """The history of a run, including changes by other processes.

    Attributes:
        status: its status.
        started: when it was last started.
        updated: when it was last updated.
        known: times that the process of the calls had set or found before, by a clock that may have differed.
        rewinds: the times at which it was rewound, each with the last step that was kept.
    """

    def __init__(
        self,
        status: str | None,
        started: datetime | None,
        updated: datetime | None,
        known: Collection[datetime],
        rewinds: Sequence[tuple[datetime, int]],
    ) -> None:
        self.status = status
        self.started = started
        self.updated = updated
        self.known = known
        self.rewinds = rewinds

    @classmethod
    def read(cls, client: Client, connection: Any, run_id: int, known: Collection[datetime]) -> _History:
        """Return the history of a run; `known` is the attribute.

        Raises:
            MissingRunError: the run does not exist.
        """
        sql = "SELECT status, time_started, time_updated FROM runs WHERE id = %s"
        found = connection.execute(sql, (run_id,)).fetchone()
        if found is None:
            raise MissingRunError(run_id, "it may have been deleted")
        status, started, updated = found
        rewinds: Sequence[tuple[datetime, int]] = ()
        if client.engine.table_columns(connection, "rewinds"):
            sql = "SELECT time, step FROM rewinds WHERE run_id = %s"
            rewinds = connection.execute(sql, (run_id,)).fetchall()
        return cls(status, started, updated, known, rewinds)

    def is_past(self, call: Call) -> bool:
        """Return whether the run has been started again or rewound since a call was made."""
        return self._precedes(call, self.started) or any(call.time < time for time, _ in self.rewinds)

    def _precedes(self, call: Call, time: datetime | None) -> bool:
        """Return whether a call was made before the run was started or updated at this time."""
        return time is not None and call.time < time and time not in self.known

    def is_rewound(self, call: Call, step: int) -> bool:
        """Return whether rows of this step have been removed since a call was made."""
        return any(call.time < time and step > kept for time, kept in self.rewinds)

    def has_later_update(self, call: Call, value: datetime) -> bool:
        """Return whether the run was updated after a call was made that sets `time_updated` to an earlier value."""
        return self.updated is not None and value < self.updated and self._precedes(call, self.updated)

    def present(self, client: Client, connection: Any, call: Call) -> tuple[Any, ...] | None:
        """Return the arguments of a call that still apply, None if none do."""
        if call.name == "set_columns":
            values = {
                column: value
                for column, value in call.arguments[2].items()
                if self._counts(client, connection, call, column)
            }
            return (*call.arguments[:2], values) if values else None
        if not self.is_past(call) or call.name == "add_link":
            return call.arguments
        if call.name == "merge_json":
            table, run_id, column, items = call.arguments
            there = _value(connection, run_id, column)
            new = {key: value for key, value in items.obj.items() if not (isinstance(there, dict) and key in there)}
            return (table, run_id, column, Jsonb(new)) if new else None
        return None

    def _counts(self, client: Client, connection: Any, call: Call, column: str) -> bool:
        if column in _STATE_COLUMNS:
            if self.is_past(call):
                return False
            # A process that has ended the run since knows better.
            has_ended = self.status in ENDED_STATES and self._precedes(call, self.updated)
            value = call.arguments[2][column]
            return not has_ended and (column != "time_updated" or not self.has_later_update(call, value))
        return not self.is_past(call) or _value(connection, call.arguments[1], column) is None


def _value(connection: Any, run_id: int, column: str) -> Any:
    return connection.execute(f"SELECT {column} FROM runs WHERE id = %s", (run_id,)).fetchone()[0]


def _is_owner_missing(call: Call, reason: Exception) -> bool:
    """Return whether the run that a call is about does not exist."""
    return isinstance(reason, MissingRunError) and call.owner == f"runs {reason.run_id}"


def _merged(rows: Iterable[Row]) -> list[Row]:
    """Return one row for each point in time, with the last value of each metric."""
    merged: dict[Any, Row] = {}
    for row in rows:
        before = merged.get(row.key)
        if before is not None:
            values = {**dict(zip(before.names, before.values)), **dict(zip(row.names, row.values))}
            types = tuple(map(type, values.values()))
            row = Row(row.key, tuple(values), tuple(values.values()), types, before.kept | row.kept)
        merged[row.key] = row
    return list(merged.values())


def _groups(calls: Iterable[Call]) -> Iterable[list[Call]]:
    """Return calls in groups that can be sent together: consecutive calls with metrics of one run, or describing it."""

    def key(call: Call) -> Any:
        is_single = call.name.startswith(_BEGIN) or not call.owner.startswith("runs ")
        return call.owner, call.name in ADD_METRICS, call.seq if is_single else None

    return [list(group) for _, group in itertools.groupby(calls, key)]
