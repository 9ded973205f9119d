"""Give a metric another name, or move its values to a metric that there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._databases import administering, read_only, table_columns
from sqltrack.commands._extras_rows import ExtrasRow, RowEdit, edit_rows, has_pending, move_pending, read_rows
from sqltrack.commands._lookup import find_experiment, metric_columns, near
from sqltrack.commands._rows import fetch, to_number
from sqltrack.engines.admin import admin_of
from sqltrack.engines.json import Jsonb, is_storable_text
from sqltrack.engines.metrics_table import MisfitError
from sqltrack.engines.schema import EXTRAS, INT64, KEY
from sqltrack.errors import ConflictError, DatabaseError, DatabaseLockedError, NotFoundError, UnusableValueError
from sqltrack.queries import column_sql
from sqltrack.wording import pluralize

__all__ = ["Renaming", "apply_rename_metric", "plan_rename_metric"]

Progress = Callable[[int], object]


class Renaming(NamedTuple):
    """What renaming a metric means.

    Attributes:
        name: its name.
        new_name: its name from now on.
        experiment_id: id of the experiment whose runs are meant, None for all.
        column: what happens to its column: "rename", "move" if values go to another column, None if it has none.
        runs: ids of the runs that have values of it.
        values: number of values in its column.
        extras: number of values in the column `extras`.
        running: number of runs that say that they are running, and may log under the old name again.
    """

    name: str
    new_name: str
    experiment_id: int | None
    column: str | None
    runs: tuple[int, ...]
    values: int
    extras: int
    running: int


def plan_rename_metric(
    client: Client, name: str, new_name: str, *, experiment: str | None = None, merge: bool = False
) -> Renaming:
    """Plan to give a metric another name.

    Args:
        client: client to use.
        name: name of the metric.
        new_name: name that it gets.
        experiment: name or id of an experiment; only the values of its runs are moved then, to a metric `new_name`
            that is created if it is missing. Default: the metric is renamed for all.
        merge: whether values may be moved to a metric that there is.

    Raises:
        NotFoundError: there is no such metric or experiment.
        ConflictError: (a ValueError) there is a metric of the new name, or there are rows that have values of both.
        UnusableValueError: (a ValueError) a name cannot be that of a metric.
    """
    _check_text(name)
    _check_name(new_name)
    if name == new_name:
        raise UnusableValueError(f"the new name must differ from the old one, got {name!r} for both")
    with read_only(client) as connection:
        columns = metric_columns(client, connection)
        experiment_id = None if experiment is None else find_experiment(connection, experiment)
        running = _count_running(connection, experiment_id)
    in_extras = _count_extras(client, name, new_name, experiment_id)
    if name not in columns and not in_extras.any_old:
        raise NotFoundError(f"there is no metric {name!r}", near(name, columns))
    exists = new_name in columns or in_extras.any_new
    if exists and not merge and experiment is None:
        raise ConflictError(f"there is a metric {new_name!r} already", f"--merge moves the values of {name!r} to it")
    column = None
    if name in columns:
        column = "move" if experiment is not None or new_name in columns else "rename"
        _check_column(client, columns, name, new_name, column)
    runs, values = _count_values(client, columns, name, new_name, experiment_id, in_extras.conflicts)
    return Renaming(name, new_name, experiment_id, column, runs, values, in_extras.old, running)


def apply_rename_metric(client: Client, renaming: Renaming, progress: Progress | None = None) -> Renaming:
    """Rename a metric as `plan_rename_metric` has planned.

    Args:
        client: client to use.
        renaming: what to do.
        progress: called with the number of runs and rows of extras that are done, now and then.

    Returns:
        What was done.

    Raises:
        ConflictError: (a ValueError) a value is not the same in the other column.
        DatabaseLockedError: others did not let go of the table.
    """
    if renaming.column == "rename":
        with administering(client) as admin:
            is_renamed = admin.rename_metric(renaming.name, renaming.new_name)
        if not is_renamed:
            raise DatabaseLockedError(
                f"metric {renaming.name!r} could not be renamed: somebody's transaction uses the table metrics",
                "try again, sqltrack doctor tells who it is",
            )
    values = 0
    if renaming.column == "move":
        values = _move_values(client, renaming, progress)
    move_pending(client)
    extras = _rename_keys(client, renaming, progress)
    client.metrics.invalidate()
    return renaming._replace(values=values if renaming.column == "move" else renaming.values, extras=extras)


def _check_text(name: str) -> None:
    if not name or "\0" in name or not is_storable_text(name):
        raise UnusableValueError(f"the name of a metric must be text that is not empty, got {name!r}")


def _check_name(name: str) -> None:
    _check_text(name)
    if name in KEY or name == EXTRAS:
        raise UnusableValueError(f"a metric cannot be renamed to {name!r}: the column of that name has another meaning")


def _check_column(client: Client, columns: Mapping[str, str], name: str, new_name: str, change: str) -> None:
    table = client.engine.metrics_table
    others = dict(columns)
    if change == "rename":
        # A name may take the place of one from which it differs by case only.
        del others[name]
    if new_name not in columns and not table.can_be_column(new_name, others):
        raise UnusableValueError(
            f"{new_name!r} cannot be the name of a column here: it is too long, taken up to its case, or the "
            "table is full"
        )


class _InExtras(NamedTuple):
    """What there is in `extras`: values of the metric, rows with values of both, whether there is any of each."""

    old: int
    conflicts: int
    any_old: bool
    any_new: bool


def _count_extras(client: Client, name: str, new_name: str, experiment_id: int | None) -> _InExtras:
    with read_only(client) as connection:
        columns = metric_columns(client, connection)
        has_extras = EXTRAS in client.engine.table_columns(connection, "metrics")
        runs = _run_ids(connection, experiment_id)
    pending = admin_of(client.engine).pending_table
    tables = ["metrics"] if has_extras else []
    tables += [pending] if pending is not None and has_pending(client) else []
    old, conflicts, any_old, any_new = 0, 0, False, False
    for table in tables:
        for rows in read_rows(client, table=table, guarded=True):
            has_old, has_new = (
                _rows_with(client, rows, other) if other in columns else set() for other in (name, new_name)
            )
            for row in rows:
                any_old |= name in row.values
                any_new |= new_name in row.values
                if runs is not None and row.key[0] not in runs:
                    continue
                old += name in row.values
                conflicts += name in row.values and (new_name in row.values or row.key in has_new)
                conflicts += name not in row.values and new_name in row.values and row.key in has_old
    return _InExtras(old, conflicts, any_old, any_new)


def _rows_with(client: Client, rows: Sequence[ExtrasRow], name: str) -> set[tuple[int, int, float]]:
    """Return the keys between the first and the last of `rows` at which a column has a value."""
    sql = f"""
        SELECT run_id, step, progress FROM metrics WHERE {column_sql(name)} IS NOT NULL
        AND (run_id, step, progress) >= (%s, %s, %s) AND (run_id, step, progress) <= (%s, %s, %s)
    """
    return {tuple(key) for key in client.execute(sql, (*rows[0].key, *rows[-1].key)).fetchall()}


def _count_values(
    client: Client, columns: Mapping[str, str], name: str, new_name: str, experiment_id: int | None, conflicts: int
) -> tuple[tuple[int, ...], int]:
    """Return the runs with values in the column of a metric, and how many there are.

    Raises:
        ConflictError: there are rows that have values of both metrics, or values that do not fit.
    """
    runs: list[int] = []
    number = 0
    if name in columns:
        both = f"COUNT(CASE WHEN {column_sql(new_name)} IS NOT NULL THEN 1 END)" if new_name in columns else "0"
        where, parameters = _of_experiment(experiment_id)
        sql = f"""
            SELECT run_id, COUNT(*) AS number, {both} AS conflicts FROM metrics
            WHERE {column_sql(name)} IS NOT NULL AND {where} GROUP BY run_id ORDER BY run_id LIMIT %s
        """
        with read_only(client, _SECONDS) as connection:
            for row in fetch(connection, sql, (*parameters, INT64[-1])):
                runs.append(row["run_id"])
                number += row["number"]
                conflicts += row["conflicts"]
    if conflicts:
        raise ConflictError(
            f"both {name!r} and {new_name!r} have values in {pluralize(conflicts, 'row')}",
            "which of them counts is yours to say: set one of them to NULL first",
        )
    return tuple(runs), number


# Counting all values of a metric can take long.
_SECONDS = 600.0


def _count_running(connection: Any, experiment_id: int | None) -> int:
    where, parameters = ("", ()) if experiment_id is None else (" AND experiment_id = %s", (experiment_id,))
    sql = f"SELECT COUNT(*) AS number FROM runs WHERE status = %s{where}"
    return int(fetch(connection, sql, ("RUNNING", *parameters))[0]["number"])


def _run_ids(connection: Any, experiment_id: int | None) -> set[int] | None:
    """Return the ids of an experiment's runs, None for all."""
    if experiment_id is None:
        return None
    return {row["id"] for row in fetch(connection, "SELECT id FROM runs WHERE experiment_id = %s", (experiment_id,))}


def _of_experiment(experiment_id: int | None) -> tuple[str, tuple[int, ...]]:
    """Return a condition for rows of an experiment's runs, and its parameters."""
    if experiment_id is None:
        return "1 = 1", ()
    return "run_id IN (SELECT id FROM runs WHERE experiment_id = %s)", (experiment_id,)


# Values in columns


def _move_values(client: Client, renaming: Renaming, progress: Progress | None) -> int:
    """Move values from one column to the other, run by run, and return how many."""
    sql_type = _equalise(client, renaming)
    if sql_type is not None:
        # All of them before the first is moved, and each again when it is.
        for run_id in renaming.runs:
            _check_values(client, renaming, sql_type, run_id)
    moved = 0
    old, new = column_sql(renaming.name), column_sql(renaming.new_name)
    # Of SET the names must stand alone.
    sql = f"""
        UPDATE metrics SET {new.partition(".")[2]} = {old}, {old.partition(".")[2]} = NULL
        WHERE run_id = %s AND {old} IS NOT NULL AND {new} IS NULL
    """
    for number, run_id in enumerate(renaming.runs, start=1):
        with client:
            if sql_type is not None:
                _check_values(client, renaming, sql_type, run_id)
            moved += client.execute(sql, (run_id,)).rowcount
        if progress is not None:
            progress(number)
    if renaming.experiment_id is None:
        with administering(client) as admin:
            admin.drop_empty_metric(renaming.name)
    return moved


def _equalise(client: Client, renaming: Renaming) -> str | None:
    """Make sure that there is a column of the new name that holds the values of the old one.

    Returns:
        The SQL type of the new column, if values have to be looked at, because it is another one.

    Raises:
        DatabaseLockedError: others did not let go of the table.
    """
    table = client.engine.metrics_table
    columns = table_columns(client, "metrics")
    old, new = columns[renaming.name], columns.get(renaming.new_name)
    with administering(client) as admin:
        connection = admin.connection
        if new is None:
            table.grow(connection, {renaming.new_name: old}, {})
        # Whichever of the two is the wider one.
        elif new != old and table.wider_type(old, float) == new:
            table.grow(connection, {}, {renaming.name: new})
        elif new != old and table.wider_type(new, float) == old:
            table.grow(connection, {}, {renaming.new_name: old})
    columns = table_columns(client, "metrics")
    if renaming.new_name not in columns:
        raise DatabaseLockedError(
            f"column {renaming.new_name!r} could not be added: others use the table metrics, or it is not this user's",
            "try again",
        )
    return None if columns[renaming.new_name] == columns[renaming.name] else columns[renaming.new_name]


def _check_values(client: Client, renaming: Renaming, sql_type: str, run_id: int) -> None:
    """Make sure that the values of a run are the same in a column of another type.

    Raises:
        ConflictError: they are not.
    """
    table = client.engine.metrics_table
    old = column_sql(renaming.name)
    sql = f"SELECT DISTINCT {old} FROM metrics WHERE run_id = %s AND {old} IS NOT NULL"
    is_text = table_columns(client, "metrics")[renaming.name].upper() == "TEXT"
    for (value,) in client.execute(sql, (run_id,)).fetchall():
        number = value if is_text else to_number(value)
        try:
            convert = table.converter(sql_type, type(number))
            if convert is not None:
                convert(number)
        except (MisfitError, TypeError):
            raise ConflictError(
                f"{renaming.name!r} has the value {value!r} in run {run_id!r}, which the column {renaming.new_name!r} "
                f"of type {sql_type} cannot hold unaltered"
            ) from None


# Values in extras


def _rename_keys(client: Client, renaming: Renaming, progress: Progress | None) -> int:
    """Rename a metric in `extras`, and return the number of rows."""
    if not renaming.extras or EXTRAS not in table_columns(client, "metrics"):
        return 0

    def edit(row: ExtrasRow, most: int) -> RowEdit | None:
        if renaming.name not in row.values or renaming.new_name in row.values:
            return None
        values = {renaming.new_name if name == renaming.name else name: value for name, value in row.values.items()}
        sql = f"""
            UPDATE metrics SET {EXTRAS} = %s
            WHERE run_id = %s AND step = %s AND progress = %s AND CAST(metrics.{EXTRAS} AS TEXT) = %s
            RETURNING run_id
        """
        return RowEdit(sql, (Jsonb(values), *row.key, row.text), (renaming.name,))

    condition, parameters = _of_experiment(renaming.experiment_id)
    done = left = 0
    for rows in read_rows(client, condition=condition, parameters=parameters, guarded=False):
        for outcomes in edit_rows(client, rows, edit):
            done += sum(outcome.edit is not None for outcome in outcomes)
            left += sum(outcome.why is not None for outcome in outcomes)
            if progress is not None:
                progress(len(renaming.runs) + done)
    if left:
        raise DatabaseError(
            f"{renaming.name!r} is still in the extras of {pluralize(left, 'row')}, others use them", "try again"
        )
    return done
