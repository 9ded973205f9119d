"""Runs of other trackers, and the interface of the readers of their files and databases."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

from sqltrack._masking import masked_text
from sqltrack.errors import SQLTrackError

__all__ = [
    "BrokenRun",
    "Description",
    "ForeignRun",
    "Found",
    "Request",
    "Sink",
    "SkippedRun",
    "SourceError",
    "as_time",
    "parse_time",
]


class SourceError(SQLTrackError, ValueError):
    """the source cannot be imported"""


class Request(NamedTuple):
    """A source and its options.

    Attributes:
        kind: kind of the source, one of `KINDS`.
        source: path or address of the source.
        status: status of runs whose source does not record one.
        step: tables: name of the column with the step; None for "step", or else the number of the row.
        run: tables: name of the column that tells runs apart; None for "run", or else one run for each file.
    """

    kind: str
    source: str
    status: str = "COMPLETED"
    step: str | None = None
    run: str | None = None

    @property
    def path(self) -> Path:
        """The source as an absolute path without links."""
        return Path(self.source).expanduser().resolve()

    @property
    def is_address(self) -> bool:
        """Whether the source is the address of a database."""
        return "://" in self.source

    @property
    def place(self) -> str:
        """The source for messages and for `extras`, without passwords."""
        return masked_text(self.source) if self.is_address else str(self.path)


class Sink(Protocol):
    """Takes the content of a foreign run while it is read."""

    def add(self, name: str, step: float, value: Any) -> None:
        """Take one value of a metric, in the order in which the values of a step were logged.

        Args:
            name: name of the metric.
            step: its step; the fraction of a float becomes the progress.
            value: the value; None is ignored.
        """

    def leave_out(self, what: str, where: str, count: int = 1) -> None:
        """Count data that is not imported.

        Args:
            what: kind of the data, in the plural, such as "images".
            where: where it is: a path, or the name of a metric.
            count: number of items.
        """

    def note(self, message: str) -> None:
        """Report something that the user may want to know, such as a file whose end is missing."""

    def damage(self, message: str) -> None:
        """Report damage: a part of the run cannot be read."""


@dataclasses.dataclass
class Description:
    """All of a foreign run except its metrics.

    Attributes:
        status: its status in SQLTrack.
        created: when it began; None if unknown.
        updated: when it ended, or last logged something; None if unknown.
        args: its parameters.
        comment: a note or a name.
        tags: its tags.
        extras: other data, stored in `extras` under the name of the kind.
        parent: id of its parent run in the source, if any.
    """

    status: str
    created: datetime | None = None
    updated: datetime | None = None
    args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    comment: str | None = None
    tags: tuple[str, ...] = ()
    extras: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    parent: str | None = None


class ForeignRun(NamedTuple):
    """A run in a source, before its content is read.

    Attributes:
        id: identifies the run among all runs of its kind, now and in later imports.
        name: name for messages.
        experiment: name of its experiment or project.
        read: passes the content to a sink and returns the description. Raises SourceError, OSError or ValueError if
            nothing of the run can be used.
        version: changes whenever the content does; None if only reading the content tells.
    """

    id: str
    name: str
    experiment: str
    read: Callable[[Sink], Description]
    version: str | None = None


class BrokenRun(NamedTuple):
    """A run, or a file that should hold some, that cannot be read at all.

    Attributes:
        name: name or path.
        reason: why.
    """

    name: str
    reason: str


class SkippedRun(NamedTuple):
    """A run that is not imported on purpose.

    Attributes:
        what: kind of such runs, in the plural, such as "deleted runs".
        where: its name or id.
    """

    what: str
    where: str


Found: TypeAlias = Iterator[ForeignRun | BrokenRun | SkippedRun]


def as_time(seconds: float | None) -> datetime | None:
    """Return the time that is this many seconds after 1970 in UTC; None if that is out of range."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return None


def parse_time(text: Any) -> datetime | None:
    """Return the time in a text in ISO format, in UTC if the text names no time zone; None for any other object."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=timezone.utc)
