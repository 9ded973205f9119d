"""Import runs of other trackers.

A run is found again by its id in the source, which is stored in `extras`, under `imported`. A second import changes
nothing, or adds the new values of a run that was still going. An interrupted import can be repeated.
"""

from __future__ import annotations

from collections.abc import Collection

from sqltrack.client import Client
from sqltrack.importers._foreign import Request, SourceError
from sqltrack.importers._import import ImportReport, Progress, RunReport, import_from
from sqltrack.importers._kinds import KINDS, find_request
from sqltrack.importers._spool import LeftOut
from sqltrack.importers._target import MetricReport, Target

__all__ = [
    "KINDS",
    "ImportReport",
    "LeftOut",
    "MetricReport",
    "RunReport",
    "SourceError",
    "apply_import",
    "plan_import",
]


def plan_import(
    client: Client,
    kind: str | None,
    source: str | None,
    *,
    experiment: str | None = None,
    only: Collection[str] = (),
    status: str = "COMPLETED",
    step: str | None = None,
    run: str | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Find out what `apply_import` would do, without changing the database.

    This reads the whole source, so that the numbers are exact.

    Args:
        client: client of the database that the runs go to.
        kind: kind of the source, one of `KINDS`; None if the source itself tells.
        source: path or address of the source; None for the usual place, if the kind has one.
        experiment: name of the experiment for all runs, default: the names in the source.
        only: names of experiments or projects in the source, default: all.
        status: status of runs whose source does not record one, default "COMPLETED".
        step: tables: column with the step, default: "step", or else the number of the row.
        run: tables: column that tells runs apart, default: "run", or else one run for each file.
        progress: called with the number of values that are read.

    Returns:
        The runs with their outcomes, as `apply_import` would return them.

    Raises:
        SourceError: (a ValueError) the source does not exist, or is of another or an unknown kind.
        MissingPackageError: a package that reads the source is not installed.
        NotSetUpError: the database has no tables of SQLTrack.
        DatabaseError: the database failed.
    """
    request = find_request(Request(kind or "", source or "", status, step, run))
    target = Target(client, request.kind)
    return import_from(request, target, experiment=experiment, only=only, is_dry=True, progress=progress)


def apply_import(
    client: Client,
    kind: str | None,
    source: str | None,
    *,
    experiment: str | None = None,
    only: Collection[str] = (),
    status: str = "COMPLETED",
    step: str | None = None,
    run: str | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Import the runs of a source that the database lacks, and data that earlier imports lacked.

    Runs that have not changed in the source stay as they are in the database, including your changes there. A run
    that cannot be read is reported, and the import continues with the next.

    Args:
        client: client of the database that the runs go to.
        kind: kind of the source, one of `KINDS`; None if the source itself tells.
        source: path or address of the source; None for the usual place, if the kind has one.
        experiment: name of the experiment for all runs, default: the names in the source.
        only: names of experiments or projects in the source, default: all.
        status: status of runs whose source does not record one, default "COMPLETED".
        step: tables: column with the step, default: "step", or else the number of the row.
        run: tables: column that tells runs apart, default: "run", or else one run for each file.
        progress: called with the number of values that are done; values that are read, but not stored, count half.

    Returns:
        The runs with their outcomes.

    Raises:
        SourceError: (a ValueError) the source does not exist, or is of another or an unknown kind.
        MissingPackageError: a package that reads the source is not installed.
        NotSetUpError: the database has no tables of SQLTrack.
        DatabaseError: the database failed; the runs stored until then stay.
    """
    request = find_request(Request(kind or "", source or "", status, step, run))
    target = Target(client, request.kind)
    with client.metrics.bulk():
        report = import_from(request, target, experiment=experiment, only=only, is_dry=False, progress=progress)
    client.metrics.move_pending()
    return report
