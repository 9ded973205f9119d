"""Read the metrics of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._lookup import find_runs, metric_columns, near
from sqltrack.commands._read_only import batches, fetch, read_only, to_number
from sqltrack.engines.results import find_reader
from sqltrack.engines.schema import EXTRAS
from sqltrack.errors import NotFoundError
from sqltrack.queries import Query, merged_curves
from sqltrack.util import placeholders, quote_identifier

__all__ = ["Curves", "logged_metrics", "read_curves", "read_points"]

_CHUNK = 1_000


class Curves(NamedTuple):
    """The metrics of a run, or of a chain of runs.

    Attributes:
        names: names of the metrics.
        points: dicts with run_id, step, progress and the metrics, by step and progress; what was not logged is None.
    """

    names: list[str]
    points: list[dict[str, Any]]


def read_curves(client: Client, run_id: int, names: Sequence[str] = (), *, merged: bool = False) -> Curves:
    """Return what a run has logged, at every step at which there is a value.

    Args:
        client: client to use.
        run_id: id of the run.
        names: names of metrics, default: all of which the run has a value.
        merged: whether to follow links of the kind "resumes", so that the runs of a chain make one curve.

    Raises:
        NotFoundError: there is no such run, or it has no such metric.
    """
    with read_only(client) as connection:
        find_runs(connection, [run_id])
        logged = logged_metrics(client, connection, _chain(connection, run_id) if merged else [run_id])
        for name in names:
            if name not in logged:
                raise NotFoundError(f"run {run_id!r} has no metric {name!r}", near(name, logged))
        chosen = {name: logged[name] for name in names or logged}
        points = read_points(client, connection, run_id, chosen, merged=merged)
        return Curves(list(chosen), [point for point in points if any(point[name] is not None for name in chosen)])


def logged_metrics(client: Client, connection: Any, run_ids: Sequence[int]) -> dict[str, str | None]:
    """Return the metrics of which runs have values, with the SQL types of their columns, None if they have none."""
    columns = metric_columns(client, connection)
    places = placeholders(len(run_ids))
    found: set[str] = set()
    for batch in batches(list(columns)):
        counts = ", ".join(f"COUNT({_column(name)})" for name in batch)
        row = connection.execute(f"SELECT {counts} FROM metrics WHERE run_id IN ({places})", tuple(run_ids)).fetchone()
        found.update(name for name, count in zip(batch, row) if count)
    if _has_extras(client, connection):
        sql = f"SELECT metrics.extras FROM metrics WHERE run_id IN ({places}) AND metrics.extras IS NOT NULL"
        for (extras,) in connection.execute(sql, tuple(run_ids)).fetchall():
            found.update(extras)
    # In the order of the columns, which is that in which they were first logged.
    return {name: columns.get(name) for name in (*columns, *sorted(found - columns.keys())) if name in found}


def read_points(
    client: Client, connection: Any, run_id: int, names: Mapping[str, str | None], *, merged: bool = False
) -> Iterator[dict[str, Any]]:
    """Return the points of a run's curves one after the other, by step and progress.

    Args:
        client: client to use.
        connection: connection that it has open.
        run_id: id of the run.
        names: metrics, as `logged_metrics` returns them.
        merged: whether to follow links.
    """
    columns = [name for name, sql_type in names.items() if sql_type is not None]
    extras = [EXTRAS] if _has_extras(client, connection) else []
    query = _merged_query(run_id, [*columns, *extras]) if merged else _query(run_id, [*columns, *extras])
    # As text stands what is no number in SQLite, and in JSON.
    numbers = {name for name, sql_type in names.items() if (sql_type or "").upper() != "TEXT"}
    with find_reader(connection.cursor()).read(connection.cursor(), *query, _CHUNK) as rows:
        for chunk in rows.chunks:
            for run, step, progress, *values in chunk:
                logged = dict(zip((*columns, *extras), values))
                # A value that does not fit into the column of its metric is among the extras.
                others = logged.pop(EXTRAS, None) or {}
                point = {"run_id": run, "step": step, "progress": progress}
                for name in names:
                    value = logged.get(name) if logged.get(name) is not None else others.get(name)
                    point[name] = to_number(value) if name in numbers else value
                yield point


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


def _has_extras(client: Client, connection: Any) -> bool:
    return EXTRAS in client.engine.table_columns(connection, "metrics")


def _query(run_id: int, columns: Sequence[str]) -> Query:
    names = ", ".join(("run_id", "step", "progress", *map(_column, columns)))
    return Query(f"SELECT {names} FROM metrics WHERE run_id = %s ORDER BY step, progress", (run_id,))


def _merged_query(run_id: int, columns: Sequence[str]) -> Query:
    merged = merged_curves(*columns, run_ids=[run_id])
    names = ", ".join(("run_id", "step", "progress", *(_column(name, "merged") for name in columns)))
    return Query(f"SELECT {names} FROM (\n{merged.sql}\n) AS merged ORDER BY step, progress", merged.parameters)


def _column(name: str, table: str = "metrics") -> str:
    return f"{table}.{quote_identifier(name)}".replace("%", "%%")
