"""Read the metrics of a run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._databases import read_only
from sqltrack.commands._lookup import near, require_runs
from sqltrack.commands._points import logged_metrics, read_points
from sqltrack.commands._rows import fetch
from sqltrack.engines.schema import KEY
from sqltrack.errors import NotFoundError

__all__ = ["Curves", "read_curves"]


class Curves(NamedTuple):
    """The metrics of a run, or of a chain of runs.

    Attributes:
        names: names of the metrics as they are in the points. A metric that is called `run_id`, `step` or `progress`
            is `metrics.step` there, for example.
        points: dicts with run_id, step, progress and the metrics, by step and progress; None where there is no value.
    """

    names: list[str]
    points: list[dict[str, Any]]


def read_curves(
    client: Client, run_id: int, names: Sequence[str] = (), *, merged: bool = False, as_superuser: bool = False
) -> Curves:
    """Return what a run has logged, at every step at which there is a value.

    Args:
        client: client to use.
        run_id: id of the run.
        names: names of metrics, as they are or as they are in the points, default: all of which the run has a value.
        merged: whether to follow links of the kind "resumes", so that the runs of a chain make one curve.
        as_superuser: whether a superuser reads with all rights, default False.

    Raises:
        NotFoundError: there is no such run, or it has no such metric.
    """
    with read_only(client, as_superuser=as_superuser) as connection:
        require_runs(connection, [run_id])
        logged = logged_metrics(client, connection, _chain(connection, run_id) if merged else [run_id])
        names = [_named(name, logged) for name in names]
        for name in names:
            if name not in logged:
                raise NotFoundError(f"run {run_id!r} has no metric {name!r}", near(name, logged))
        chosen = {name: logged[name] for name in names or logged}
        heads = _heads(chosen)
        points = [
            {
                **{name: getattr(point, name) for name in KEY},
                **{heads[name]: value for name, value in point.values.items()},
            }
            for point in read_points(client, connection, run_id, chosen, merged=merged)
            if any(value is not None for value in point.values.values())
        ]
        return Curves(list(heads.values()), points)


def _heads(names: Iterable[str]) -> dict[str, str]:
    """Return what metrics are called next to the columns that say which row it is."""
    heads = {name: name for name in names}
    for name in heads.keys() & set(KEY):
        while heads[name] in (*KEY, *(heads.keys() - {name})):
            heads[name] = f"metrics.{heads[name]}"
    return heads


def _named(name: str, logged: Collection[str]) -> str:
    """Return the metric of a name, which may be the heading of its column."""
    meant = {head: name for name, head in _heads(logged).items()}
    return name if name in logged else meant.get(name, name)


def _chain(connection: Any, run_id: int) -> list[int]:
    """Return the runs that are linked with a run by "resumes", in both directions."""
    sql = """
        WITH RECURSIVE chain (run_id) AS (
            SELECT id FROM runs WHERE id = %s
            UNION
            SELECT CASE WHEN run_links.from_id = chain.run_id THEN run_links.to_id ELSE run_links.from_id END
            FROM chain
            JOIN run_links ON run_links.kind = 'resumes' AND chain.run_id IN (run_links.from_id, run_links.to_id)
        )
        SELECT run_id FROM chain ORDER BY run_id
    """
    return [row["run_id"] for row in fetch(connection, sql, (run_id,))]
