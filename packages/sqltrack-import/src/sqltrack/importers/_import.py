"""Import the runs of a source, or find out what an import would do."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable, Collection, Sequence
from typing import Literal, TypeAlias

from sqltrack.engines.json import escape_text
from sqltrack.errors import MissingRunError, UnusableValueError
from sqltrack.importers._foreign import BrokenRun, Description, ForeignRun, Found, Request, SkippedRun
from sqltrack.importers._kinds import read_runs
from sqltrack.importers._spool import LeftOut, Spool
from sqltrack.importers._target import Known, MetricReport, Target, digest_of

__all__ = ["ImportReport", "Outcome", "Progress", "RunReport", "import_from"]

Progress = Callable[[int], None]

# Errors of a single run; the import continues with the next. RecursionError comes from deeply nested JSON.
_RUN_ERRORS = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, NotImplementedError),
    *(RecursionError, EOFError, sqlite3.Error),
)


Outcome: TypeAlias = Literal["new", "continued", "unchanged", "broken"]


@dataclasses.dataclass
class RunReport:
    """The outcome of an import for one run.

    Attributes:
        id: id of the run in the source; the path of a file that holds no run.
        name: name of the run in the source.
        experiment: name of its experiment; None for a broken run.
        run_id: its id in the database; None if it is not stored.
        outcome: "new"; "continued" if it lacked data of the source; "unchanged"; "broken" if nothing of it was stored.
        values: number of values in the source.
        added: number of values that the import stored, or would store.
        metrics: the metrics in the source; empty for an unchanged run.
        stored: the same metrics in the database after the import; empty for an unchanged run and a dry run.
        left_out: data that is not imported, and where it is.
        notes: messages about the source that need no action.
        problems: why a run is broken or incomplete, and where source and database differ.
    """

    id: str
    name: str
    experiment: str | None = None
    run_id: int | None = None
    outcome: Outcome = "new"
    values: int = 0
    added: int = 0
    metrics: list[MetricReport] = dataclasses.field(default_factory=list)
    stored: list[MetricReport] = dataclasses.field(default_factory=list)
    left_out: list[LeftOut] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class ImportReport:
    """The outcome of an import.

    Attributes:
        kind: kind of the source.
        source: the source.
        runs: the outcome for each run.
        skipped: runs that are not imported on purpose, such as deleted ones.
    """

    kind: str
    source: str
    runs: list[RunReport] = dataclasses.field(default_factory=list)
    skipped: list[LeftOut] = dataclasses.field(default_factory=list)

    @property
    def experiments(self) -> list[str]:
        """Names of the experiments, in the order of the source."""
        return list(dict.fromkeys(run.experiment for run in self.runs if run.experiment is not None))

    @property
    def added(self) -> int:
        """Number of values that were stored."""
        return sum(run.added for run in self.runs)

    @property
    def has_problems(self) -> bool:
        """Whether a run is broken, incomplete, or differs from the source."""
        return any(run.problems for run in self.runs)

    def count(self, outcome: Outcome) -> int:
        """Return the number of runs with an outcome."""
        return sum(run.outcome == outcome for run in self.runs)


def import_from(
    request: Request,
    target: Target,
    *,
    experiment: str | None,
    only: Collection[str],
    is_dry: bool,
    progress: Progress | None,
) -> ImportReport:
    """Import the runs of a source, or find out what that would do; see `apply_import`."""
    job = _Import(request, target, experiment, is_dry, progress)
    skipped = Spool()
    for found in _until_damage(read_runs(request), request.place):
        if isinstance(found, BrokenRun):
            job.report.runs.append(_broken(found.name, found.name, found.reason))
        elif isinstance(found, SkippedRun):
            skipped.leave_out(found.what, found.where)
        elif not only or found.experiment in only:
            job.add(found)
    job.link()
    job.report.skipped = skipped.left_out
    return job.report


def _until_damage(runs: Found, place: str) -> Found:
    """Return runs up to a damage of the source itself, which is reported like a broken run unless nothing was found."""
    is_empty = True
    try:
        for found in runs:
            is_empty = False
            yield found
    except _RUN_ERRORS as error:
        if is_empty:
            raise
        yield BrokenRun(place, reason_of(error))


class _Import:
    """One import.

    Args:
        request: what to import.
        target: the database.
        experiment: name of the experiment for all runs, None for those of the source.
        is_dry: whether to store nothing.
        progress: called with the number of values that are done. Values that are read, but not stored, count half.
    """

    def __init__(
        self, request: Request, target: Target, experiment: str | None, is_dry: bool, progress: Progress | None
    ) -> None:
        self.report = ImportReport(request.kind, request.place)
        self._request = request
        self._target = target
        self._experiment = experiment
        self._is_dry = is_dry
        self._progress = progress
        self._done = 0
        self._seen: set[str] = set()

    def add(self, run: ForeignRun) -> None:
        """Import one run."""
        # Names of files may have bytes that are not UTF-8. Later imports look for the escaped id, which is stored.
        experiment = escape_text(run.experiment if self._experiment is None else self._experiment)
        run = run._replace(id=escape_text(run.id), name=escape_text(run.name), experiment=experiment)
        if run.id in self._seen:
            self.report.runs.append(_broken(run.id, run.name, "another run of the source has the same id"))
            return
        self._seen.add(run.id)
        known = self._target.find(run.id)
        if known is not None and _is_same_version(known, run):
            self.report.runs.append(_unchanged(run, known))
            return
        with Spool(self._show_read) as spool:
            try:
                description = run.read(spool)
            except _RUN_ERRORS as error:
                # Damage explains why nothing is left.
                self.report.runs.append(_broken(run.id, run.name, *spool.damages, reason_of(error)))
                return
            self.report.runs.append(self._store(run, known, spool, description))

    def link(self) -> None:
        """Link runs to their parents, after all runs are stored."""
        if not self._is_dry:
            self._target.link_to_parents()

    def _store(self, run: ForeignRun, known: Known | None, spool: Spool, description: Description) -> RunReport:
        report = RunReport(run.id, run.name, run.experiment, values=spool.values, left_out=spool.left_out)
        report.notes, report.problems = list(spool.notes), list(spool.damages)
        report.run_id = None if known is None else known.run_id
        if known is not None and _has_same_content(known, spool, description):
            report.outcome = "unchanged"
            return report
        report.outcome = "new" if known is None else "continued"
        report.added = max(spool.values - (known.values if known is not None else 0), 0)
        report.metrics = [
            MetricReport(name, metric.count, metric.first, metric.last) for name, metric in spool.metrics.items()
        ]
        if self._is_dry:
            self._done += spool.values
            self._show(self._done)
            return report
        try:
            report.run_id = self._write(run, spool, description)
        except (MissingRunError, UnusableValueError) as error:
            return _broken(run.id, run.name, str(error))
        report.stored = self._target.stored(report.run_id, [metric.name for metric in report.metrics])
        report.problems += _differences(report.metrics, report.stored)
        return report

    def _write(self, run: ForeignRun, spool: Spool, description: Description) -> int:
        run_id = self._target.claim(run, self._request)
        stored = 0
        for values in self._target.add_rows(run_id, spool):
            stored += values
            self._show(self._done + (spool.values + stored) // 2)
        self._done += spool.values
        self._target.finish(run_id, run, self._request, spool, description)
        return run_id

    def _show_read(self, values: int) -> None:
        self._show(self._done + (values if self._is_dry else values // 2))

    def _show(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done)


def reason_of(error: BaseException) -> str:
    """Return why something cannot be read."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename!r}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error) or type(error).__name__


def _is_same_version(known: Known, run: ForeignRun) -> bool:
    return known.is_complete and run.version is not None and known.origin.get("version") == run.version


def _has_same_content(known: Known, spool: Spool, description: Description) -> bool:
    is_same = known.origin.get("digest") == digest_of(description)
    return known.is_complete and is_same and known.values == spool.values


def _unchanged(run: ForeignRun, known: Known) -> RunReport:
    report = RunReport(run.id, run.name, run.experiment, known.run_id, "unchanged")
    report.values, report.left_out = known.values, known.left_out
    return report


def _broken(foreign_id: str, name: str, *reasons: str) -> RunReport:
    return RunReport(foreign_id, name, outcome="broken", problems=list(reasons))


def _differences(source: Sequence[MetricReport], stored: Sequence[MetricReport]) -> list[str]:
    """Return what the database lacks; a run may have got more metrics there since an earlier import."""
    messages = []
    for wanted, found in zip(source, stored):
        if (
            found.first_step is None
            or found.last_step is None
            or found.values < wanted.values
            or (wanted.first_step is not None and found.first_step > wanted.first_step)
            or (wanted.last_step is not None and found.last_step < wanted.last_step)
        ):
            messages.append(
                f"metric {wanted.name!r}: the source has {_spelled(wanted)}, the database has {_spelled(found)}"
            )
    return messages


def _spelled(report: MetricReport) -> str:
    return f"{report.values} values at steps {report.first_step} to {report.last_step}"
