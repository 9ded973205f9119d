"""Warn, once for each run, of calls that look like mistakes: values replaced, runs started again or never."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from operator import eq
from typing import TYPE_CHECKING, Any

from sqltrack._logging import get_logger
from sqltrack._metric_values import Row
from sqltrack._quoting import quote_identifier
from sqltrack.engines._foreign import Spelled
from sqltrack.engines._spelling import quote
from sqltrack.engines.schema import KEY
from sqltrack.errors import DatabaseUnavailableError, SQLTrackError

if TYPE_CHECKING:
    from sqltrack._sessions import Session

__all__ = ["Oversights"]

# Number of names in a warning.
_MAX_NAMED = 3

# Number of runs whose last rows are remembered.
_MAX_RUNS = 1000

# Number of metrics in a query.
_MAX_ASKED = 100

# These variables change when a batch system or launcher restarts a process by itself: Slurm, torchrun, LSF.
_RESTARTS: Mapping[str, str] = {"SLURM_RESTART_COUNT": "0", "TORCHELASTIC_RESTART_COUNT": "0", "LSB_RESTART": "N"}

# Beginning of the names of measurements, which SQLTrack adds to rows itself.
_MEASURED = "sys/"

# Warnings that this process has logged: kind, database, run.
_told: set[tuple[str, str, int]] = set()


# The rows that several calls have logged for one point in time: key, all names, and the rows.
_Point = tuple[tuple[int, int, float], tuple[str, ...], list[Row]]


class Oversights:
    """Notices mistakes in the calls of a client, by the last rows of its runs.

    Args:
        session: queries the database, once for each run.
        time_column: name of the metric for the time of a row, which changes whenever the row is logged again.

    Attributes:
        last: for each run, the first row of the last point in time; missing for runs that have to be checked first.
    """

    def __init__(self, session: Session, time_column: str | None = None) -> None:
        self.last: dict[int, Row] = {}
        self._time_column = time_column
        self._session = session
        self._looked_at: set[int] = set()
        self._ended: set[int] = set()
        self._points: dict[int, _Point] = {}
        self._replacing: set[int] = set()
        # The step of the first row that this process has logged to a run.
        self._first: dict[int, int] = {}

    def begin(self, run_id: int, status: str | None) -> None:
        """Prepare for the first row of a run that is being started.

        Args:
            run_id: id of the run.
            status: the run's status before, if any.
        """
        self._looked_at.add(run_id)
        self.last.pop(run_id, None)
        self._first.pop(run_id, None)
        self._points.pop(run_id, None)
        self._ended.discard(run_id)
        if status is not None and _is_final(status) and not _is_restart():
            self._ended.add(run_id)

    def note_status(self, run_id: int, status: str | None) -> None:
        """Remember that a run has a status, so that it need not be queried."""
        if _tells_of_start(status):
            self._looked_at.add(run_id)

    def look_at(self, row: Row, read_columns: Callable[[], Mapping[str, str]]) -> None:
        """Check a run before its first row is stored; `read_columns` returns the columns of the table."""
        run_id, step, _ = row.key
        if len(self.last) >= _MAX_RUNS:
            self.forget()
        self._first[run_id] = step
        if run_id in self._ended:
            self._ended.discard(run_id)
            if self._starts_over(run_id, step, row.names, read_columns):
                self._tell(
                    "again",
                    run_id,
                    "run %s has ended, and starts over at step %s: use a new run, or first: sqltrack rewind %s %s",
                    *(run_id, step, run_id, step - 1),
                )
                # This warning covers the values that it replaces.
                self._replacing.add(run_id)

    def look_again(self, run_id: int) -> None:
        """Check a run after its first row was stored.

        Not before: in a block this query would be the first statement, and occupy a pooler's server connection while
        another one adds the columns.
        """
        if run_id not in self._looked_at and not self._session.tracks(run_id):
            self._looked_at.add(run_id)
            try:
                was_started = self._was_started(run_id)
            except DatabaseUnavailableError:
                # The row is stored, so the call has not failed.
                return
            if not was_started:
                self._tell(
                    "unstarted",
                    run_id,
                    "run %s was never started, so it has no status: use 'with run.track():' or run.start()",
                    run_id,
                )

    def compare(self, row: Row, last: Row) -> None:
        """Compare a row with the run's last one, which has the same point in time."""
        run_id = row.key[0]
        if run_id in self._replacing:
            return
        point = self._points.get(run_id)
        _, names, rows = point if point is not None and point[0] == row.key else (row.key, last.names, [last])
        new, shared = _merge(names, row.names)
        replaced = [
            name
            for name, index in shared
            if name != self._time_column
            and not name.startswith(_MEASURED)
            and _is_replaced(_value(rows, name), row.values[index])
        ]
        if replaced:
            self._replacing.add(run_id)
            self._tell_replaced(row, replaced)
        elif new:
            rows.append(row)
            self._points[run_id] = (row.key, names + new, rows)

    def compare_many(self, rows: Sequence[Row]) -> None:
        """Compare rows of one run, in the order of their keys, with each other and with the last row."""
        last = self.last.get(rows[0].key[0])
        keys = [row.key for row in rows]
        if any(map(eq, keys, keys[1:])) or (last is not None and last.key in keys):
            for row in rows:
                if last is not None and last.key == row.key:
                    self.compare(row, last)
                else:
                    last = row
        self.last[rows[0].key[0]] = rows[-1] if last is None or last.key != keys[-1] else last

    def forget(self) -> None:
        """Forget all rows, because they may no longer be stored."""
        self.last.clear()
        self._first.clear()
        self._points.clear()

    def _tell_replaced(self, row: Row, names: Sequence[str]) -> None:
        run_id, step, progress = row.key
        named = ", ".join(map(quote, names[:_MAX_NAMED])) + (", …" if len(names) > _MAX_NAMED else "")
        self._tell(
            "replaced",
            run_id,
            "run %s logged %s again at step %s%s, which replaces the values: use %s",
            run_id,
            named,
            step,
            f" and progress {progress}" if progress else "",
            "other names, such as train_loss and val_loss, or other steps" if step else "add_metrics(…, step=step)",
        )

    def went_back(self, row: Row, last: Row) -> None:
        """Check a row whose step is below that of the last one: a loop that starts again replaces all logged values.

        A run that continues from a checkpoint does so above its first step.
        """
        run_id, step, _ = row.key
        names = [name for name in row.names if name in last.names]
        if step <= self._first.get(run_id, step - 1) and names and run_id not in self._replacing:
            self._replacing.add(run_id)
            self._tell(
                "replaced",
                run_id,
                "run %s went back from step %s to %s, which replaces values of %s: use higher steps, or a new run",
                run_id,
                last.key[1],
                step,
                ", ".join(map(quote, names[:_MAX_NAMED])) + (", …" if len(names) > _MAX_NAMED else ""),
            )

    def _tell(self, kind: str, run_id: int, message: str, *arguments: Any) -> None:
        key = (kind, self._session.engine.describe(), run_id)
        if key not in _told:
            _told.add(key)
            get_logger("metrics").warning(message, *arguments)

    def _was_started(self, run_id: int) -> bool:
        rows = self._ask("SELECT status, time_started FROM runs WHERE id = %s", run_id)
        # If the run does not exist, the following statement reports it.
        return not rows or rows[0][1] is not None or _tells_of_start(rows[0][0])

    def _starts_over(
        self, run_id: int, step: int, names: Sequence[str], read_columns: Callable[[], Mapping[str, str]]
    ) -> bool:
        """Return whether a run has values of (the first of) these metrics, and none of them before the step."""
        if step > 1:
            return False
        columns = read_columns()
        names = [name for name in names if name in columns][:_MAX_ASKED]
        if not names:
            return False
        present = " OR ".join(f"{quote_identifier(name).replace('%', '%%')} IS NOT NULL" for name in names)
        rows = self._ask(f"SELECT MIN({KEY[1]}) FROM metrics WHERE run_id = %s AND ({present})", run_id)
        return bool(rows) and rows[0][0] is not None and step <= rows[0][0]

    def _ask(self, sql: str, run_id: int) -> Sequence[Any]:
        """Return the rows of a query, none if it fails: the following statement will report the reason.

        Raises:
            DatabaseUnavailableError: the database is away; the following statement would wait as long once more.
        """
        try:
            rows: Sequence[Any] = self._session.call_guarded(
                lambda connection: connection.execute(sql, (run_id,)).fetchall()
            )
        except DatabaseUnavailableError:
            raise
        except SQLTrackError:
            return ()
        return rows


@functools.lru_cache(maxsize=256)
def _merge(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[tuple[str, ...], list[tuple[str, int]]]:
    """Return the names that only the second tuple has, and the shared ones with their positions in it."""
    known = frozenset(first)
    new = tuple(name for name in second if name not in known)
    return new, [(name, index) for index, name in enumerate(second) if name in known]


def _value(rows: Sequence[Row], name: str) -> Any:
    """Return the value of a metric in the row that has it."""
    for row in rows:
        if name in row.names:
            return row.values[row.names.index(name)]
    raise KeyError(name)


def _is_replaced(first: Any, second: Any) -> bool:
    """Return whether another value replaces this one. Frameworks log equal values again, including NaN."""
    if first is None or first == second or (first != first and second != second):
        return False
    return not (isinstance(first, Spelled) and isinstance(second, Spelled) and first.text == second.text)


def _tells_of_start(status: str | None) -> bool:
    return status not in (None, "PLANNED")


def _is_final(status: str) -> bool:
    from sqltrack.statuses import ENDED_STATES, find_state

    return find_state(status) in ENDED_STATES


def _is_restart() -> bool:
    """Return whether the process was restarted by its batch system, to continue earlier work."""
    return any(os.environ.get(name, usual) != usual for name, usual in _RESTARTS.items())
