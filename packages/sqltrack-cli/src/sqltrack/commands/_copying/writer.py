"""Write the target of a copy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.capture._package_lists import TABLE as PACKAGES
from sqltrack.client import Client
from sqltrack.commands._copying.reader import COPIED_RUNS, JSON_COLUMNS, TIMES, Origin, RunRecord
from sqltrack.commands._copying.spool import differing, is_same
from sqltrack.commands.setup import create_table_once
from sqltrack.engines.json import jsonb
from sqltrack.experiment import Experiment
from sqltrack.metrics import MetricsRow
from sqltrack.util import placeholders

__all__ = ["Changes", "Writer", "experiment_changes", "run_changes"]

_RUN_COLUMNS = ("experiment_id", "status", *TIMES, "comment")
_INSERTED_COLUMNS = (*_RUN_COLUMNS, *JSON_COLUMNS)


class Changes(NamedTuple):
    """Changes of a row of `experiments` or `runs`.

    Attributes:
        values: columns with their new values.
        merged: columns of JSON with the keys to add or replace.
    """

    values: Mapping[str, Any]
    merged: Mapping[str, Mapping[str, Any]]

    def __bool__(self) -> bool:
        return bool(self.values or self.merged)


def experiment_changes(new: Mapping[str, Any], old: Mapping[str, Any]) -> Changes:
    """Return the values that an experiment lacks."""
    return _changes(new, old, ("comment",), ("tags", "extras"), replace=False)


def run_changes(new: Mapping[str, Any], old: Mapping[str, Any], *, replace: bool) -> Changes:
    """Return the values that a run lacks or, with `replace`, has with another value."""
    return _changes(new, old, _RUN_COLUMNS, JSON_COLUMNS, replace=replace)


def _changes(
    new: Mapping[str, Any], old: Mapping[str, Any], columns: Sequence[str], json: Sequence[str], *, replace: bool
) -> Changes:
    values = {
        name: new[name]
        for name in columns
        if new[name] is not None and (old[name] is None or (replace and new[name] != old[name]))
    }
    merged = {}
    for name in json:
        value, present = new[name], old[name]
        if isinstance(value, dict) and (present is None or isinstance(present, dict)):
            items = differing(value, present or {}, replace=replace)
            if items or present is None:
                merged[name] = items
        elif value is not None and (present is None or (replace and not is_same(value, present))):
            values[name] = jsonb(value)
    return Changes(values, merged)


class Writer:
    """Stores experiments, runs, metrics and links. Methods can be repeated, or called by several processes at once.

    Args:
        client: client of the database.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._has_table = False
        self._has_packages = False

    def add_experiment(self, name: str) -> int:
        """Return the id of an experiment, which is created if missing."""
        return Experiment(self._client, name=name).id

    def change(self, table: str, row_id: int, changes: Changes) -> None:
        """Change a row of `experiments` or `runs`."""
        merge = self._client.engine.merge_json_sql
        assignments = [f"{name} = %s" for name in changes.values]
        assignments += [f"{name} = {merge(name)}" for name in changes.merged]
        parameters = [*changes.values.values(), *map(jsonb, changes.merged.values()), row_id]
        self._client.execute(f"UPDATE {table} SET {', '.join(assignments)} WHERE id = %s", parameters)

    def add_run(self, run: RunRecord, experiment_id: int) -> int | None:
        """Store a run without its metrics, under its own id if that is free.

        Returns:
            The run's id, None if another process has just stored it.
        """
        if not self._has_table:
            create_table_once(self._client, COPIED_RUNS)
            self._has_table = True
        values = {**run.values, "experiment_id": experiment_id}
        values.update((name, jsonb(values[name])) for name in JSON_COLUMNS)
        row = [values[name] for name in _INSERTED_COLUMNS]
        sql = f"""
            INSERT INTO {COPIED_RUNS} (source_id, time_created, run_id, settled) VALUES (%s, %s, %s, %s)
            ON CONFLICT DO NOTHING RETURNING run_id
        """
        with self._client as connection:
            run_id = self._insert("id", [run.values["id"]], row)
            while run_id is None:
                # A generated id can collide with one that another transaction inserts explicitly; then try the next.
                run_id = self._insert("", [], row)
            if self._client.execute(sql, (*run.origin, run_id, False)).fetchall():
                return run_id
            connection.rollback()
        return None

    def _insert(self, id_column: str, ids: Sequence[int], row: Sequence[Any]) -> int | None:
        columns = [*([id_column] if id_column else []), *_INSERTED_COLUMNS]
        sql = f"""
            INSERT INTO runs ({", ".join(columns)}) VALUES ({placeholders(len(columns))})
            ON CONFLICT (id) DO NOTHING RETURNING id
        """
        rows = self._client.execute(sql, (*ids, *row)).fetchall()
        return rows[0][0] if rows else None

    def add_packages(self, packages: Mapping[str, Any]) -> None:
        """Store lists of packages, by hash."""
        if not packages:
            return
        if not self._has_packages:
            create_table_once(self._client, PACKAGES)
            self._has_packages = True
        sql = f"INSERT INTO {PACKAGES} (hash, packages) VALUES (%s, %s) ON CONFLICT (hash) DO NOTHING"
        self._client.executemany(sql, [(digest, jsonb(items)) for digest, items in packages.items()])

    def add_columns(self, types: Mapping[str, type]) -> None:
        """Add missing columns for metrics with values of these types, where possible."""
        self._client.metrics.add_columns(types)

    def add_rows(self, run_id: int, rows: Iterable[MetricsRow]) -> None:
        """Store rows of metrics, all or none."""
        self._client.metrics.add_copies(run_id, rows)

    def finish(self) -> None:
        """Move pending metrics to their place, if possible now."""
        self._client.metrics.move_pending()

    def settle(self, origin: Origin) -> None:
        """Record that a run is complete and had not changed for some time."""
        sql = f"UPDATE {COPIED_RUNS} SET settled = %s WHERE source_id = %s AND time_created = %s"
        self._client.execute(sql, (True, *origin))

    def add_links(self, table: str, links: Iterable[Sequence[Any]]) -> None:
        """Store links, each a sequence of from_id, kind and to_id."""
        sql = f"INSERT INTO {table} (from_id, kind, to_id) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
        self._client.executemany(sql, links)
