"""Copy experiments from one database to another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import Any

from sqltrack.client import Client
from sqltrack.commands._copying.reader import Records, RunRecord
from sqltrack.commands._copying.spool import Layout, Spool, differing
from sqltrack.commands._copying.writer import Writer, experiment_changes, run_changes
from sqltrack.commands._rows import batches
from sqltrack.commands.setup import set_up_quietly
from sqltrack.errors import ConflictError, MissingRunError, NotSetUpError
from sqltrack.metrics import MetricsRow

__all__ = ["CopyResult", "copy"]

Progress = Callable[[int, int], None]

# Two runs with the same number of rows and the same time of the last change are known to be equal only if that was at
# least this long ago: `time_updated` may lag a second behind the metrics, and clocks differ.
_SETTLING = timedelta(minutes=10)

_NULLS: Mapping[str, Any] = dict.fromkeys(("comment", "tags", "extras"))


@dataclasses.dataclass
class CopyResult:
    """The outcome of a copy.

    Attributes:
        experiments: number of new experiments.
        experiments_changed: number of existing experiments that lacked a comment, tags or extras.
        runs: number of new runs.
        runs_changed: number of existing runs that lacked values or had different ones.
        runs_unchanged: number of existing runs that were the same.
        rows: number of new rows of metrics.
        rows_changed: number of existing rows that lacked values or had different ones.
        links: number of new links.
        links_left_out: number of links to runs or experiments that were not copied.
    """

    experiments: int = 0
    experiments_changed: int = 0
    runs: int = 0
    runs_changed: int = 0
    runs_unchanged: int = 0
    rows: int = 0
    rows_changed: int = 0
    links: int = 0
    links_left_out: int = 0


def copy(
    source: Client,
    target: Client,
    experiments: Iterable[str] | None = None,
    *,
    dry_run: bool = False,
    full: bool = False,
    set_up: bool = False,
    as_superuser: bool = False,
    progress: Progress | None = None,
) -> CopyResult:
    """Copy experiments with their runs, metrics and links from one database to another.

    This adds only what the target lacks, so it can be repeated, also after an earlier copy was killed, or while runs
    are still logging. The target remembers in the table `copied_runs` where each run came from. A run that was copied
    before follows its source. A run that was created in the target only gets what it lacks, unless it was changed later
    in the source. Additions in the target stay. The source is never changed.

    Args:
        source: client of the database to read.
        target: client of the database to write.
        experiments: names or ids of the experiments to copy, default: all.
        dry_run: whether to count the changes without making them.
        full: whether to compare all metrics, even those of runs that seem unchanged.
        set_up: whether to set up the target if necessary.
        as_superuser: whether a superuser of the source keeps all rights while reading, default False.
        progress: called with the number of rows of metrics that are done, and the number of all rows.

    Returns:
        The numbers of additions and changes.

    Raises:
        NotFoundError: the source does not have the experiment.
        NotSetUpError: a database has no tables of SQLTrack.
        ConflictError: (a ValueError) source and target are the same database.
        DatabaseError: a database failed; the rows stored until then stay.
    """
    with ExitStack() as stack:
        records = stack.enter_context(Records(source, "the source has nothing to copy", as_superuser=as_superuser))
        if set_up and not dry_run:
            set_up_quietly(target)
        present = stack.enter_context(Records(target, f"{NotSetUpError.ADVICE}, or copy with --setup"))
        if records.identity() == present.identity():
            raise ConflictError(f"source and target are the same database, {present.engine.describe()}")
        stack.enter_context(target.metrics.bulk())
        return _Copy(records, present, None if dry_run else Writer(target), full, progress).run(experiments)


class _Copy:
    """One copy.

    Args:
        source: reads the source.
        target: reads the target.
        writer: writes the target, None for a dry run.
        full: whether to compare all metrics.
        progress: called with the numbers of finished and of all rows.
    """

    def __init__(
        self, source: Records, target: Records, writer: Writer | None, full: bool, progress: Progress | None
    ) -> None:
        self._source = source
        self._target = target
        self._writer = writer
        self._full = full
        self._progress = progress
        self._done = self._total = 0
        self._result = CopyResult()
        # Ids in the target by ids in the source, None for new ones in a dry run.
        self._experiment_ids: dict[int, int | None] = {}
        self._run_ids: dict[int, int | None] = {}

    def run(self, names: Iterable[str] | None) -> CopyResult:
        """Copy experiments by name, or all, and return the outcome."""
        names = None if names is None else list(names)
        self._copy_experiments(self._source.experiments(names))
        run_ids, self._total = self._source.run_ids(list(self._experiment_ids))
        # Runs that can keep their ids come first, before other runs get one of these ids.
        in_use = self._target.run_ids_in_use(run_ids)
        run_ids.sort(key=lambda run_id: run_id in in_use)
        if names is None and self._writer is not None:
            self._writer.add_columns(self._source.column_types())
        for batch in batches(run_ids):
            self._copy_runs(batch)
        self._copy_links("experiment_links", self._experiment_ids, self._find_experiments)
        self._copy_links("run_links", self._run_ids, self._find_runs)
        if self._writer is not None:
            self._writer.finish()
        return self._result

    # Experiments

    def _copy_experiments(self, records: Sequence[Mapping[str, Any]]) -> None:
        present = self._target.experiments_named([record["name"] for record in records])
        for record in records:
            old = present.get(record["name"])
            changes = experiment_changes(record, old or _NULLS)
            target_id = None if old is None else old["id"]
            if self._writer is not None:
                if target_id is None:
                    target_id = self._writer.add_experiment(record["name"])
                if changes:
                    self._writer.change("experiments", target_id, changes)
            self._experiment_ids[record["id"]] = target_id
            self._result.experiments += old is None
            self._result.experiments_changed += old is not None and bool(changes)

    # Runs

    def _copy_runs(self, ids: Sequence[int]) -> None:
        runs = self._source.runs(ids)
        found = self._target.find([run.origin for run in runs.values()])
        present = self._target.runs(list(found.values()))
        if self._writer is not None:
            self._writer.add_packages(self._source.packages(runs.values()))
        for run_id in ids:
            run = runs.get(run_id)
            if run is None:
                # It was deleted in the meantime.
                continue
            self._copy_run(run_id, run, present[found[run.origin]] if run.origin in found else None)
            self._done += run.rows
            if self._progress is not None:
                self._progress(min(self._done, self._total), self._total)

    def _copy_run(self, run_id: int, run: RunRecord, old: RunRecord | None) -> None:
        if old is not None and not self._full and _has_same_metrics(run, old):
            self._run_ids[run_id] = old.values["id"]
            self._finish(run, old, rows=0)
            return
        if self._writer is None and old is None:
            self._run_ids[run_id] = None
            self._result.runs += 1
            self._result.rows += run.rows
            return
        with Spool() as spool:
            read, layout = self._source.spool(run_id, spool)
            if read is None or read.origin != run.origin or read.values["experiment_id"] not in self._experiment_ids:
                # It was deleted, or moved to another experiment, in the meantime.
                return
            is_new = old is None
            old = old or self._add_run(read)
            self._run_ids[run_id] = old.values["id"]
            rows = self._copy_rows(spool, layout, read, old)
        self._finish(read, old, rows, is_new=is_new)

    def _add_run(self, run: RunRecord) -> RunRecord:
        """Store a run without its metrics, and return the stored run."""
        assert self._writer is not None
        experiment_id = self._experiment_ids[run.values["experiment_id"]]
        assert experiment_id is not None
        run_id = self._writer.add_run(run, experiment_id)
        if run_id is None:
            # Another copy stored it first; from here on both do the same.
            run_id = self._target.find([run.origin]).get(run.origin)
        stored = None if run_id is None else self._target.runs([run_id]).get(run_id)
        if stored is None:
            raise MissingRunError(run.values["id"], "it was deleted from the target while it was copied")
        return stored

    def _copy_rows(self, spool: Spool, layout: Layout, run: RunRecord, old: RunRecord) -> int:
        """Copy a run's metrics and return how many rows were stored."""
        stored, done = 0, 0
        replace = _may_replace(run, old)
        for chunk in spool.chunks():
            rows = [layout.row(values) for values in chunk]
            wanted = self._lacking(rows, old, replace) if old.rows else rows
            if wanted and self._writer is not None:
                self._writer.add_rows(old.values["id"], wanted)
            self._result.rows += len(wanted) if not old.rows else 0
            stored += len(wanted)
            done += len(rows)
            if self._progress is not None:
                self._progress(min(self._done + done, self._total), self._total)
        return stored

    def _lacking(self, rows: Sequence[MetricsRow], old: RunRecord, replace: bool) -> list[MetricsRow]:
        """Return the rows with the metrics that the target lacks, or has with other values."""
        present = self._target.metrics_at(old.values["id"], rows)
        wanted = []
        for row in rows:
            there = present.get((row.step, row.progress))
            if there is None:
                self._result.rows += 1
                wanted.append(row)
                continue
            values = {**there.extras, **there.metrics}
            metrics = differing(row.metrics, values, replace=replace)
            extras = differing(row.extras, values, replace=replace)
            if metrics or extras:
                self._result.rows_changed += 1
                wanted.append(row._replace(metrics=metrics, extras=extras))
        return wanted

    def _finish(self, run: RunRecord, old: RunRecord, rows: int, *, is_new: bool = False) -> None:
        """Update a run's own columns after its metrics."""
        experiment_id = self._experiment_ids.get(run.values["experiment_id"])
        values = {**run.values, "experiment_id": experiment_id}
        changes = run_changes(values, old.values, replace=_may_replace(run, old))
        if self._writer is not None:
            if changes:
                self._writer.change("runs", old.values["id"], changes)
            if old.is_copy and not old.is_settled and _is_settled(run):
                self._writer.settle(run.origin)
        if is_new:
            self._result.runs += 1
        elif changes or rows:
            self._result.runs_changed += 1
        else:
            self._result.runs_unchanged += 1

    # Links

    def _copy_links(
        self, table: str, ids: Mapping[int, int | None], find: Callable[[Sequence[int]], Mapping[int, int]]
    ) -> None:
        for batch in self._source.links(table):
            links = [link for link in batch if link[0] in ids or link[2] in ids]
            ends = {end for from_id, _, to_id in links for end in (from_id, to_id)}
            found = {**find([end for end in ends if end not in ids]), **ids}
            known = [link for link in links if link[0] in found and link[2] in found]
            self._result.links_left_out += len(links) - len(known)
            mapped = [(found[from_id], kind, found[to_id]) for from_id, kind, to_id in known]
            from_ids = list({from_id for from_id, _, _ in mapped if from_id is not None})
            present = {link for links in self._target.links(table, from_ids) for link in links}
            new = [link for link in mapped if link not in present]
            self._result.links += len(new)
            if new and self._writer is not None:
                self._writer.add_links(table, new)

    def _find_experiments(self, ids: Sequence[int]) -> Mapping[int, int]:
        """Return the ids in the target of experiments that are not part of this copy."""
        if not ids:
            return {}
        names = {record["id"]: record["name"] for record in self._source.experiments(None) if record["id"] in ids}
        present = self._target.experiments_named(list(names.values()))
        return {source_id: present[name]["id"] for source_id, name in names.items() if name in present}

    def _find_runs(self, ids: Sequence[int]) -> Mapping[int, int]:
        """Return the ids in the target of runs that are not part of this copy."""
        runs = self._source.runs(ids)
        found = self._target.find([run.origin for run in runs.values()])
        return {run_id: found[run.origin] for run_id, run in runs.items() if run.origin in found}


def _has_same_metrics(run: RunRecord, old: RunRecord) -> bool:
    """Return whether a run and its copy seem to have the same metrics, without reading them."""
    updated = run.values["time_updated"] == old.values["time_updated"]
    return updated and run.rows == old.rows and (old.is_settled or (not old.is_copy and _is_settled(run)))


def _is_settled(run: RunRecord) -> bool:
    """Return whether a run has not changed for some time."""
    updated = run.values["time_updated"]
    if updated is None:
        return run.rows == 0
    return bool(datetime.now(timezone.utc) - updated > _SETTLING)


def _may_replace(run: RunRecord, old: RunRecord) -> bool:
    """Return whether a run in the target follows its source, instead of only getting what it lacks.

    The copy of a run follows. If the run was created in the target, the source has the copy, and the run follows only
    if that copy was changed later.
    """
    if old.is_copy:
        return True
    updated, old_updated = run.values["time_updated"], old.values["time_updated"]
    return updated is not None and (old_updated is None or updated > old_updated)
