"""Buffer rows of metrics between databases."""

from __future__ import annotations

import math
import pickle
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from types import TracebackType
from typing import Any, NamedTuple

from sqltrack.engines.json import plain
from sqltrack.metrics import MetricsRow

__all__ = ["Layout", "Spool", "as_utc", "differing", "is_same"]

# Values of these types are read back unchanged.
_EXACT_TYPES = frozenset({bool, bytes, date, dict, float, int, list, timedelta, Decimal})

# Maximum number of bytes in memory; beyond it, a file is used.
_MAX_MEMORY = 16 * 2**20


class Layout(NamedTuple):
    """The meaning of the values in a row from `metrics`.

    Attributes:
        names: names of the metrics, whose values follow step and progress.
        types: their Python types, None if unknown.
        extras: number of columns with more metrics that follow; later columns take precedence.
    """

    names: Sequence[str]
    types: Sequence[type | None]
    extras: int

    def row(self, values: Sequence[Any]) -> MetricsRow:
        """Return a row as names and values; a column takes precedence over extras of its name."""
        metrics = {
            name: value if type(value) in _EXACT_TYPES else _read(value, typ)
            for name, typ, value in zip(self.names, self.types, values[2:])
            if value is not None
        }
        extras: dict[str, Any] = {}
        for items in values[len(values) - self.extras :]:
            if isinstance(items, dict):
                extras.update(items)
        if not metrics.keys().isdisjoint(extras):
            extras = {name: value for name, value in extras.items() if name not in metrics}
        return MetricsRow(values[0], values[1], metrics, extras)


def _read(value: Any, typ: type | None) -> Any:
    if isinstance(value, str):
        # SQLite stores it as text in a column of numbers.
        return math.nan if value == "NaN" and typ in (int, float) else value
    if isinstance(value, datetime):
        return as_utc(value)
    return plain(value)


def as_utc(time: datetime) -> datetime:
    """Return a time in UTC. A time without a time zone is taken as UTC."""
    return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)


def differing(new: Mapping[str, Any], old: Mapping[str, Any], *, replace: bool) -> dict[str, Any]:
    """Return the items of `new` that `old` lacks or, with `replace`, has with another value."""
    return {
        name: value for name, value in new.items() if name not in old or (replace and not is_same(value, old[name]))
    }


def is_same(one: Any, other: Any) -> bool:
    """Return whether two values are equal, also if one of them was stored as JSON, or both are NaN."""
    return bool(one == other or (one != one and other != other)) or plain(one) == plain(other)


class Spool:
    """Buffers chunks of rows, with only the last few in memory.

    A reader of SQLite without a write-ahead log blocks writers, and storing takes longer than reading, so all rows are
    read before the first is stored.
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_MAX_MEMORY)  # noqa: SIM115

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, chunk: Sequence[Sequence[Any]]) -> None:
        """Add a chunk."""
        pickle.dump(chunk, self._file, protocol=pickle.HIGHEST_PROTOCOL)

    def chunks(self) -> Iterator[Sequence[Sequence[Any]]]:
        """Return the chunks in the order of their addition."""
        end = self._file.tell()
        self._file.seek(0)
        while self._file.tell() < end:
            # Only this process has written to this file.
            yield pickle.load(self._file)  # noqa: S301
