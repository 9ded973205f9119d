"""Change runs and experiments from the page: show a plan first, apply it then, and undo it."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Generic, NamedTuple, TypeVar

from sqltrack.commands.edits import Edit
from sqltrack.commands.rm import Deletion, apply_rm
from sqltrack.commands.undo import Undo, apply_undoable, plan_undo
from sqltrack.errors import (
    ConflictError,
    DatabaseError,
    DatabaseUnavailableError,
    NotFoundError,
    UnusableValueError,
)
from sqltrack.ui._edit_actions import ACTIONS, Planned, Subject
from sqltrack.ui._edit_summary import as_program, describe_deletion, describe_edit
from sqltrack.ui._errors import RequestError
from sqltrack.ui.queries import Database
from sqltrack.ui.queries._filters import parse_filter, parse_ids
from sqltrack.ui.queries._runs import ranked
from sqltrack.wording import pluralize

__all__ = ["Edits"]

_logger = logging.getLogger("sqltrack.ui")

T = TypeVar("T")

# Plans and edits that are kept in memory. A user applies a plan, or looks for another one, within seconds.
_PLANS, _UNDOS = 32, 64
# Runs that are changed at once.
_MOST_RUNS = 20_000


class _Done(NamedTuple):
    """An edit that can be undone.

    Attributes:
        sentence: its description, such as "changed the tags of 3 runs" or "undone: changed the tags of 3 runs".
        first: the description of the edit that was not an undo.
        undo: how to undo it.
        time: time of the edit.
        is_undo: whether it has undone `first`.
    """

    sentence: str
    first: str
    undo: Undo
    time: datetime
    is_undo: bool


class _Kept(Generic[T]):
    """The latest objects by a random name. Threads can share it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, item: T) -> str:
        """Keep an object, and return its name."""
        name = secrets.token_urlsafe(12)
        with self._lock:
            self._items[name] = item
            if len(self._items) > self._limit:
                self._items.popitem(last=False)
        return name

    def all(self) -> list[tuple[str, T]]:
        """Return names and objects, the latest first."""
        with self._lock:
            return list(reversed(self._items.items()))

    def find(self, name: Any) -> T | None:
        """Return an object."""
        with self._lock:
            return self._items.get(name) if isinstance(name, str) else None

    def take(self, name: Any) -> T | None:
        """Return an object, and forget it."""
        with self._lock:
            return self._items.pop(name, None) if isinstance(name, str) else None


class Edits:
    """Plans that the page has shown, and edits that can be undone.

    A plan is applied once. If the data have changed in between, nothing is changed.

    Args:
        source: the database.
    """

    def __init__(self, source: Database) -> None:
        self._source = source
        self._plans: _Kept[Planned] = _Kept(_PLANS)
        self._done: _Kept[_Done] = _Kept(_UNDOS)

    def plan(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return what an edit would change, without changing it.

        Args:
            spec: dict with action, see `sqltrack.ui._edit_actions`, or "undo" with undo, the name of an edit; one of
                runs (a list of ids), filter (for all its runs) and experiment (a name); and what the action needs.

        Returns:
            A dict with plan, the name to apply it by, None if nothing would change; what, such as "delete 3 runs";
            changes, their number; groups of equal changes, dicts with kind, field, old, new, count and ids; more, the
            number of groups left out; notes, a list of sentences; and python. If the edit is not possible, for example
            because a run does not exist, a dict with plan, which is None, and refused, a sentence.

        Raises:
            RequestError: the specification is not valid.
            DatabaseError: the database is not available.
        """
        try:
            planned = self._undo(spec) if spec.get("action") == "undo" else self._plan(spec)
        except (ConflictError, NotFoundError, UnusableValueError) as error:
            # The advice of a conflict names options of the program.
            return {"plan": None, "refused": error.message if isinstance(error, ConflictError) else str(error)}
        plan = planned.plan
        shown = describe_edit(planned) if isinstance(plan, Edit) else describe_deletion(self._source, planned, plan)
        name = self._plans.keep(planned) if shown["changes"] else None
        return {"plan": name, **shown}

    def apply(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Make the changes of a plan in one transaction, all or none.

        Args:
            spec: dict with plan, the name of the plan.

        Returns:
            A dict with done (words such as "deleted 3 runs"), changes (their number), undo (a name to undo it by, None
            if it cannot be undone) and version.

        Raises:
            RequestError: the plan is not known any more, the data have changed, or the database refuses the change, for
                example because it is read-only.
            DatabaseUnavailableError: the database is not available.
        """
        planned = self._plans.take(spec.get("plan"))
        if planned is None:
            raise RequestError("this plan was applied already, or is too old: look again", "unknown")
        try:
            answer = self._apply(planned)
        except ConflictError as error:
            raise RequestError(str(error), "conflict") from error
        except DatabaseUnavailableError:
            raise
        except DatabaseError as error:
            raise RequestError(f"the database refuses this change: {error.message}", "denied") from error
        self._source.expire()
        _logger.info("%s", answer["done"])
        return {**answer, "version": self._source.version()}

    def recent(self) -> dict[str, Any]:
        """Return a dict with edits that can be undone, the latest first: dicts with undo, done, time and is_undo."""
        edits = [
            {"undo": name, "done": done.sentence, "time": done.time, "is_undo": done.is_undo}
            for name, done in self._done.all()
        ]
        return {"edits": edits}

    def _plan(self, spec: Mapping[str, Any]) -> Planned:
        action = ACTIONS.get(str(spec.get("action")))
        if action is None:
            raise RequestError(f"action must be one of {', '.join([*ACTIONS, 'undo'])}, got {spec.get('action')!r}")
        planned = action(self._source.client, self._subject(spec), spec)
        return planned._replace(python=as_program(self._source, planned.python))

    def _undo(self, spec: Mapping[str, Any]) -> Planned:
        done = self._done.find(spec.get("undo"))
        if done is None:
            raise RequestError("this change is too old to be undone", "unknown")
        plan = plan_undo(self._source.client, done.undo)
        verbs = ("redo", "redone") if done.is_undo else ("undo", "undone")
        return Planned(plan, verbs, f": {done.first}", "", undoes=spec["undo"])

    def _subject(self, spec: Mapping[str, Any]) -> Subject:
        experiment = spec.get("experiment")
        if sum(spec.get(name) is not None for name in ("runs", "filter", "experiment")) != 1:
            raise RequestError("name either runs, a filter or an experiment")
        if experiment is not None:
            if not isinstance(experiment, str):
                raise RequestError(f"experiment must be text, got {experiment!r}")
            return Subject([], experiment)
        if spec.get("runs") is not None:
            return Subject(list(parse_ids(spec["runs"])))
        ids, _ = ranked(self._source, parse_filter(spec["filter"]))
        if not ids or len(ids) > _MOST_RUNS:
            number = pluralize(len(ids), "run")
            raise UnusableValueError(f"expected 1 to {_MOST_RUNS:,} runs to change, the filter has {number}")
        return Subject(list(ids))

    def _apply(self, planned: Planned) -> dict[str, Any]:
        client = self._source.client
        if isinstance(planned.plan, Deletion):
            deleted = apply_rm(client, planned.plan)
            number = len(deleted.runs) + (deleted.experiment is not None)
            return {"done": planned.done(len(deleted.runs)), "changes": number, "undo": None}
        applied = apply_undoable(client, planned.plan)
        done = planned.done(len({change.id for change in applied.changes if change.kind == planned.kind}))
        undone = self._done.take(planned.undoes)
        undo = None
        if applied.undo is not None:
            first, is_undo = (done, False) if undone is None else (undone.first, not undone.is_undo)
            undo = self._done.keep(_Done(done, first, applied.undo, datetime.now(timezone.utc), is_undo))
        return {"done": done, "changes": len(applied.changes), "undo": undo}
