"""Find runs of earlier imports in the database, and store new ones, so that each run is stored once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._databases import read_only, transaction
from sqltrack.commands._points import find_places, read_extras
from sqltrack.commands._rows import batches, lock_rows
from sqltrack.engines.json import escape_text, jsonb, plain
from sqltrack.errors import MissingRunError
from sqltrack.experiment import Experiment
from sqltrack.importers._foreign import Description, ForeignRun, Request
from sqltrack.importers._spool import LeftOut, Spool
from sqltrack.queries import column_sql
from sqltrack.run import Run
from sqltrack.run_functions import run_add_args, run_add_link

__all__ = ["IMPORTED", "PARENT", "Known", "MetricReport", "Target", "digest_of"]

# The key in `extras` of a run with its origin.
IMPORTED = "imported"
# The kind of links to the parent run.
PARENT = "child of"
# Keys of `extras` that hold a path of the source.
_PLACES = frozenset({"file", "folder"})
# Time limit of the query that reads back a run, which may have many millions of values.
_READ_SECONDS = 3600.0
# The status of a run while its metrics are being stored.
_UNFINISHED = "IMPORTING"

_KNOWN_SQL = """
    SELECT id, extras FROM runs WHERE id > %s AND CAST(extras AS TEXT) LIKE '%%"imported"%%' ORDER BY id
"""


@dataclasses.dataclass(frozen=True)
class MetricReport:
    """The values of a metric in a run.

    Attributes:
        name: name of the metric.
        values: number of values.
        first_step: their first step, None without values.
        last_step: their last step, None without values.
    """

    name: str
    values: int
    first_step: int | None
    last_step: int | None


class Known(NamedTuple):
    """A run of an earlier import.

    Attributes:
        run_id: id of the run.
        origin: what the import recorded in `extras`.
    """

    run_id: int
    origin: Mapping[str, Any]

    @property
    def is_complete(self) -> bool:
        """Whether the import of the run was not interrupted."""
        return self.origin.get("complete") is True

    @property
    def values(self) -> int:
        """Number of values that were stored by complete imports."""
        values = self.origin.get("values")
        return values if type(values) is int else 0

    @property
    def left_out(self) -> list[LeftOut]:
        """Data that the earlier import left out."""
        found = self.origin.get("left_out")
        return [
            LeftOut(str(item.get("what")), int(item.get("count") or 0), tuple(map(str, item.get("where") or ())))
            for item in (found if isinstance(found, list) else [])
            if isinstance(item, dict)
        ]


class Target:
    """The database that runs are imported into.

    Args:
        client: its client.
        kind: kind of the source.
    """

    def __init__(self, client: Client, kind: str) -> None:
        self._client = client
        self._kind = kind
        self._known: dict[str, Known] = {}
        self._last_id = 0
        self._columns: dict[str, type] = {}
        self._experiments: dict[str, int] = {}
        self._created: set[int] = set()
        with read_only(client) as connection:
            self._read_known(connection)

    def find(self, foreign_id: str) -> Known | None:
        """Return the run of an earlier import with this id in the source."""
        return self._known.get(foreign_id)

    def claim(self, run: ForeignRun, request: Request) -> int:
        """Return the id of a run that is about to be stored, and create it if it is missing.

        Imports that run at the same time get the same run, because each looks for it while it holds a lock.
        """
        known = self.find(run.id)
        if known is not None:
            return known.run_id
        experiment_id = self._experiments.get(run.experiment)
        if experiment_id is None:
            experiment_id = self._experiments[run.experiment] = Experiment(self._client, name=run.experiment).id
        with transaction(self._client) as connection:
            lock_rows(self._client, connection, "experiments", [experiment_id])
            self._read_known(connection)
            known = self.find(run.id)
            if known is not None:
                return known.run_id
            origin = {"kind": self._kind, "id": run.id, "source": request.place, "complete": False}
            created = Run(self._client, experiment_id).set_status(_UNFINISHED).set_extras({IMPORTED: origin})
        self._known[run.id] = Known(created.id, origin)
        self._created.add(created.id)
        return created.id

    def add_rows(self, run_id: int, spool: Spool) -> Iterable[int]:
        """Store the rows of a run, and return the number of values after each chunk."""
        self._add_columns(spool)
        for rows in spool.rows():
            self._client.metrics.add_copies(run_id, rows)
            yield sum(len(row.metrics) for row in rows)

    def finish(self, run_id: int, run: ForeignRun, request: Request, spool: Spool, description: Description) -> None:
        """Store the description of a run after its metrics, and record that the run is complete."""
        origin: dict[str, Any] = {
            "kind": self._kind,
            "id": run.id,
            "source": request.place,
            "complete": True,
            "values": spool.values,
            "digest": digest_of(description),
            "version": run.version,
            "left_out": [dataclasses.asdict(left) for left in spool.left_out],
        }
        if description.parent is not None:
            origin["parent"] = escape_text(description.parent)
            origin["linked"] = self._is_linked(run.id, origin["parent"])
        extras: dict[str, Any] = {IMPORTED: origin}
        if description.extras:
            extras[self._kind] = description.extras
        times = {"time_created": description.created, "time_started": description.created}
        values: dict[str, Any] = {**times, "time_updated": description.updated}
        if description.comment is not None:
            values["comment"] = escape_text(description.comment)
        values = {name: value for name, value in values.items() if value is not None}
        values["status"] = escape_text(description.status)
        merged = {"tags": dict.fromkeys(map(escape_text, description.tags), True), "extras": extras}
        with transaction(self._client):
            # This also masks credentials.
            run_add_args(self._client, run_id, description.args)
            self._update(run_id, values, merged)
        self._known[run.id] = Known(run_id, origin)

    def _update(self, run_id: int, values: Mapping[str, Any], merged: Mapping[str, Any]) -> None:
        """Set columns of a run, and add keys to its columns of JSON, with one statement."""
        merge = self._client.engine.merge_json_sql
        assignments = [*(f"{name} = %s" for name in values), *(f"{name} = {merge(name)}" for name in merged)]
        parameters = [*values.values(), *map(jsonb, merged.values()), run_id]
        self._client.execute(f"UPDATE runs SET {', '.join(assignments)} WHERE id = %s", parameters)

    def link_to_parents(self) -> None:
        """Link runs to their parents, including those of interrupted imports.

        Runs that were linked before stay as they are here, unless their parent was deleted and is imported again.
        """
        for child in list(self._known.values()):
            parent = self._known.get(str(child.origin.get("parent")))
            is_linked = child.origin.get("linked") is True
            if parent is not None and (not is_linked or parent.run_id in self._created):
                try:
                    self._link(child, parent)
                except MissingRunError:
                    # One of them was deleted in the meantime.
                    continue

    def _is_linked(self, foreign_id: str, parent: str) -> bool:
        known = self._known.get(foreign_id)
        return known is not None and known.origin.get("linked") is True and known.origin.get("parent") == parent

    def _link(self, child: Known, parent: Known) -> None:
        """Link a run to its parent, and record that, so that a later import does not link them again."""
        with transaction(self._client):
            run_add_link(self._client, child.run_id, PARENT, parent.run_id)
            self._update(child.run_id, {}, {"extras": {IMPORTED: {**child.origin, "linked": True}}})

    def stored(self, run_id: int, names: Collection[str]) -> list[MetricReport]:
        """Return the numbers and steps of the values that are stored of these metrics of a run."""
        found: dict[str, tuple[int, int | None, int | None]] = dict.fromkeys(names, (0, None, None))
        with read_only(self._client, _READ_SECONDS) as connection:
            places = find_places(self._client, connection)
            for batch in batches([name for name in names if name in places.columns]):
                found.update(_stored_in_columns(connection, run_id, batch))
            for row in read_extras(self._client, connection, [run_id], tables=places.extras):
                for name in found.keys() & row.values.keys():
                    count, first, last = found[name]
                    step = row.key[1]
                    found[name] = (
                        count + 1,
                        step if first is None else min(first, step),
                        step if last is None else max(last, step),
                    )
        return [MetricReport(name, *found[name]) for name in names]

    def _read_known(self, connection: Any) -> None:
        """Find runs that were imported since this was last called."""
        for run_id, extras in connection.execute(_KNOWN_SQL, (self._last_id,)).fetchall():
            self._last_id = run_id
            origin = extras.get(IMPORTED) if isinstance(extras, dict) else None
            if isinstance(origin, dict) and origin.get("kind") == self._kind and isinstance(origin.get("id"), str):
                self._known.setdefault(origin["id"], Known(run_id, origin))

    def _add_columns(self, spool: Spool) -> None:
        """Add the columns of a run's metrics with the types that all their values need."""
        types = {name: metric.column_type() for name, metric in spool.metrics.items()}
        new = {
            name: typ
            for name, typ in types.items()
            if typ is not None and self._columns.get(name) is not typ and self._columns.get(name) is not float
        }
        if new:
            self._client.metrics.add_columns(new)
            self._columns.update(new)


def digest_of(description: Description) -> str:
    """Return a text that is different for different descriptions, wherever the files of the source are now."""
    content = {name: getattr(description, name) for name in description.__dataclass_fields__}
    content["extras"] = {name: value for name, value in description.extras.items() if name not in _PLACES}
    text = json.dumps(plain({**content, "created": str(content["created"]), "updated": str(content["updated"])}))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _stored_in_columns(
    connection: Any, run_id: int, names: Sequence[str]
) -> dict[str, tuple[int, int | None, int | None]]:
    parts = []
    for name in names:
        column = column_sql(name)
        step = f"CASE WHEN {column} IS NOT NULL THEN step END"
        parts.append(f"COUNT({column}), MIN({step}), MAX({step})")
    row = connection.execute(f"SELECT {', '.join(parts)} FROM metrics WHERE run_id = %s", (run_id,)).fetchone()
    return {name: tuple(row[3 * index : 3 * index + 3]) for index, name in enumerate(names)}
