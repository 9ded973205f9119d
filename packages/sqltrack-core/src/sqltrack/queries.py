"""Run a query and return a part of its result, and build the queries that are needed most often.

The latter are statements with parameters. `print` shows them as you would type them. Run them with
`client.execute(*query)` or `query_dataframe(client, *query)`. A best value is never NaN; a last value may be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from textwrap import dedent
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqltrack import util
from sqltrack._arguments import as_row_id
from sqltrack._quoting import placeholders, query_text, quote_identifier
from sqltrack.client import Client
from sqltrack.engines._cursors import check_cursor
from sqltrack.engines._first_rows import FirstRows, Parts, is_number_sql
from sqltrack.engines.json import Jsonb, dumps
from sqltrack.engines.schema import EXTRAS, KEY
from sqltrack.errors import UnusableValueError

if TYPE_CHECKING:
    from sqltrack._quoting import QueryText
    from sqltrack.engines.dbapi import DBAPICursor, Parameters

__all__ = [
    "Query",
    "best_values",
    "column_sql",
    "differing_args",
    "first_row",
    "first_value",
    "first_values",
    "last_values",
    "merged_curves",
    "seed_statistics",
]


def first_row(client: Client | DBAPICursor, query: QueryText, parameters: Parameters = ()) -> Any:
    """Return the first row of a query's result as a tuple, None if there are no rows.

    Args:
        client: client or cursor to use.
        query: the query, a str or SQL.
        parameters: values for the placeholders.
    """
    return _execute(client, query, parameters).fetchone()


def first_value(client: Client | DBAPICursor, query: QueryText, parameters: Parameters = ()) -> Any:
    """Return the first value of the first row of a query's result, None if there are no rows; see `first_row`."""
    row = first_row(client, query, parameters)
    return None if row is None else row[0]


def first_values(client: Client | DBAPICursor, query: QueryText, parameters: Parameters = ()) -> list[Any]:
    """Return the first value of each row of a query's result; see `first_row`."""
    return [row[0] for row in _execute(client, query, parameters).fetchall()]


class Query(NamedTuple):
    """A statement and the values for its placeholders.

    Attributes:
        sql: the statement.
        parameters: the values.
    """

    sql: str
    parameters: tuple[Any, ...]

    def __str__(self) -> str:
        """Return the statement with the values filled in."""
        if not self.parameters:
            return self.sql
        values = iter(self.parameters)
        return re.sub("%[%s]", lambda match: "%" if match.group() == "%%" else _literal(next(values)), self.sql)


def best_values(
    metric: str, also: Sequence[str] = (), *, maximize: bool = True, run_ids: Iterable[int] | None = None
) -> Query:
    """Return the query for the best value of a metric in each run, and where it was first reached.

    Its columns are run_id, step, progress, the metric, and those in `also`, from the same row. Add an index on
    (run_id, metric) to make it fast: clients and cursors of SQLTrack adapt the statement to their database, with the
    same result.

    Args:
        metric: name of the metric, which must be numeric; NULL and NaN are left out, and so are runs without other
            values.
        also: names of further metrics, such as the test score that belongs to the best validation score.
        maximize: whether the greatest value is the best (default), or the smallest.
        run_ids: only these runs, default: all.
    """
    return _first_rows(metric, also, "greatest" if maximize else "smallest", run_ids)


def last_values(metric: str, also: Sequence[str] = (), *, run_ids: Iterable[int] | None = None) -> Query:
    """Return the query for the last value of a metric in each run, which may be NaN, but not NULL.

    Its columns are run_id, step, progress, the metric, and those in `also`, from the same row.

    Args:
        metric: name of the metric.
        also: names of further metrics.
        run_ids: only these runs, default: all.
    """
    return _first_rows(metric, also, "last", run_ids)


def merged_curves(*metrics: str, kind: str = "resumes", run_ids: Iterable[int] | None = None) -> Query:
    """Return the query for learning curves in which linked runs count as one.

    Its columns are merged_id, run_id, step, progress and the metrics. merged_id is the run at the end of the chain of
    links. A run counts up to the point where the run that resumes it begins, so no point appears twice.

    Args:
        metrics: names of the metrics, default: all. A metric called merged_id is "metrics.merged_id" in the result.
        kind: kind of the links, from the later run to the earlier one, default "resumes".
        run_ids: only chains with these runs, default: all.
    """
    _check_metrics(metrics)
    columns = [column_sql(name) + (' AS "metrics.merged_id"' if name == "merged_id" else "") for name in metrics]
    names = ", ".join(("metrics.run_id", "metrics.step", "metrics.progress", *columns)) if metrics else "metrics.*"
    runs = _ids(run_ids)
    # Links in a circle have no end, so each of their runs counts alone.
    merged_id = "COALESCE(merged.merged_id, metrics.run_id)"
    sql = f"""
        WITH RECURSIVE chain (run_id, origin) AS (
            SELECT id, id FROM runs
            UNION
            SELECT chain.run_id, run_links.to_id
            FROM chain JOIN run_links ON run_links.from_id = chain.origin AND run_links.kind = %s
        ),
        merged (run_id, merged_id) AS (
            SELECT run_id, MIN(origin)
            FROM chain
            WHERE NOT EXISTS (SELECT 1 FROM run_links WHERE from_id = chain.origin AND kind = %s)
            GROUP BY run_id
        ),
        resumed (run_id, step, progress) AS (
            SELECT chain.origin, MIN(metrics.step), MIN(metrics.progress)
            FROM chain JOIN metrics ON metrics.run_id = chain.run_id
            WHERE chain.origin <> chain.run_id
            GROUP BY chain.origin
        )
        SELECT {merged_id} AS merged_id, {names}
        FROM metrics
        LEFT JOIN merged ON merged.run_id = metrics.run_id
        LEFT JOIN resumed ON resumed.run_id = metrics.run_id AND merged.run_id IS NOT NULL
        WHERE (resumed.run_id IS NULL OR (metrics.step, metrics.progress) < (resumed.step, resumed.progress))
        {_and(f"{merged_id} IN (SELECT merged_id FROM merged WHERE run_id {{}})", runs)}
        ORDER BY 1, metrics.step, metrics.progress
    """
    return _query(sql, (kind, kind, *runs))


def differing_args(client: Client, run_ids: Iterable[int]) -> Query:
    """Return the query for the arguments in which runs differ.

    Its columns are name, run_id and value, as JSON text. Arguments with the same value in all of the runs are left out;
    a run that lacks an argument has no row for it.

    Args:
        client: client whose database the query is for; databases read JSON in different ways.
        run_ids: the runs.
    """
    runs = _ids(run_ids)
    sql = f"""
        WITH item (run_id, name, value) AS (
            {client.engine.json_items_sql("runs.args")}
            WHERE runs.id {_in(runs)}
        )
        SELECT name, run_id, CAST(value AS TEXT) AS value
        FROM item
        WHERE name IN (
            SELECT name
            FROM item
            GROUP BY name
            HAVING COUNT(DISTINCT value) > 1
                OR COUNT(*) < (SELECT COUNT(*) FROM runs WHERE id {_in(runs)})
        )
        ORDER BY name, run_id
    """
    return _query(sql, (*runs, *runs))


def seed_statistics(
    client: Client,
    metric: str,
    *,
    seeds: Sequence[str] = ("seed",),
    maximize: bool = True,
    status: str | None = "COMPLETED",
) -> Query:
    """Return the query for mean and standard deviation over runs that differ only in their random seeds.

    Its columns are experiment_id, args (without the seeds, as JSON text), runs (their number), and mean, stddev, min
    and max of the runs' best values of the metric. stddev is that of the sample, NULL for a single run.

    Args:
        client: client whose database the query is for; databases read JSON in different ways.
        metric: name of the metric, which must be numeric; NULL and NaN are left out.
        seeds: names of the arguments that are seeds.
        maximize: whether the greatest value of a run is its best (default), or the smallest.
        status: only runs with this status, default "COMPLETED"; None for all.
    """
    sql = f"""
        WITH best (run_id, value) AS (
            SELECT run_id, CAST({"MAX" if maximize else "MIN"}({column_sql(metric)}) AS DOUBLE PRECISION)
            FROM metrics
            WHERE {is_number_sql(column_sql(metric))}
            GROUP BY run_id
        ),
        setting (run_id, experiment_id, args) AS (
            SELECT id, experiment_id, {client.engine.remove_keys_sql("args")}
            FROM runs
            WHERE {"TRUE" if status is None else "status = %s"}
        )
        SELECT
            experiment_id, CAST(args AS TEXT) AS args, COUNT(*) AS runs,
            AVG(value) AS mean, stddev_samp(value) AS stddev, MIN(value) AS min, MAX(value) AS max
        FROM setting JOIN best ON best.run_id = setting.run_id
        GROUP BY experiment_id, args
        ORDER BY experiment_id, mean {"DESC" if maximize else "ASC"}
    """
    return _query(sql, (Jsonb(list(seeds)), *(() if status is None else (status,))))


def column_sql(metric: str, table: str = "metrics") -> str:
    """Return the quoted column of a metric, for statements that have parameters.

    It includes the table: SQLite would take the bare name of a missing column for text.

    Args:
        metric: name of the metric.
        table: name or alias of the table, default "metrics".
    """
    return f"{table}.{quote_identifier(metric)}".replace("%", "%%")


def _execute(client: Client | DBAPICursor, query: QueryText, parameters: Parameters) -> Any:
    if isinstance(client, Client):
        return client.execute(query, parameters)
    check_cursor(client)
    text = query_text(query, client, has_parameters=bool(parameters))
    client.execute(text, parameters) if parameters else client.execute(text)
    return client


def _first_rows(
    metric: str, also: Sequence[str], which: Literal["greatest", "smallest", "last"], run_ids: Iterable[int] | None
) -> Query:
    """Return the query for each run's first row in an order, see `Parts`."""
    _check_metrics([metric])
    names = [name for name in dict.fromkeys((metric, *also)) if name not in KEY]
    runs = _ids(run_ids)
    parts = Parts(metric, column_sql(metric), _columns(names), which, _in(runs) if runs else "")
    # Any name can be a metric's.
    place = "place"
    while place in map(str.lower, names):
        place += "_"
    sql = f"""
        SELECT run_id, step, progress, {_columns(names, "ranked")}
        FROM (
            SELECT
                run_id, step, progress, {parts.columns},
                row_number() OVER (PARTITION BY run_id ORDER BY {parts.order}) AS {place}
            FROM metrics
            WHERE {parts.condition}
            {parts.on_ids("AND", "run_id")}
        ) AS ranked
        WHERE {place} = 1
        ORDER BY run_id
    """
    query = _query(sql, runs)
    return Query(FirstRows(query.sql, parts), query.parameters)


def _check_metrics(names: Iterable[str]) -> None:
    """Check that names do not belong to columns with another meaning.

    Raises:
        UnusableValueError: (a ValueError) one does.
    """
    for name in names:
        if name in KEY:
            raise UnusableValueError(
                f"{name!r} is not the column of a metric, but part of the key of a row; a metric of that name is in "
                f"the column {EXTRAS!r}"
            )


def _query(sql: str, parameters: Iterable[Any]) -> Query:
    values = tuple(parameters)
    text = "\n".join(line for line in dedent(sql).strip().splitlines() if line.strip())
    # Statements without parameters are not searched for placeholders, nor for doubled percent signs.
    return Query(text if values else text.replace("%%", "%"), values)


def _columns(metrics: Iterable[str], table: str = "metrics") -> str:
    return ", ".join(column_sql(metric, table) for metric in metrics)


def _ids(run_ids: Iterable[int] | None) -> tuple[int, ...]:
    """Return ids as a statement can hold them, empty if all runs are meant.

    Raises:
        UnusableValueError: (a ValueError) there are none, or one is not an integer.
    """
    if run_ids is None:
        return ()
    ids = tuple(dict.fromkeys(as_row_id(run_id, "run id") for run_id in run_ids))
    if not ids:
        raise UnusableValueError("run_ids must hold at least one id, got none")
    return ids


def _in(ids: Sequence[int]) -> str:
    return f"IN ({placeholders(len(ids))})"


def _and(condition: str, ids: Sequence[int]) -> str:
    """Return a further condition with the ids in it, or nothing if all runs are meant."""
    return f"AND {condition.format(_in(ids))}" if ids else ""


def _literal(value: Any) -> str:
    return util.Literal(dumps(value.obj) if isinstance(value, Jsonb) else value).as_string()
