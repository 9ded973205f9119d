"""Rename a metric, or move its values to an existing metric."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._databases import administering, read_only, table_columns, transaction
from sqltrack.commands._extras_rows import ExtrasRow, RowEdit, edit_rows, has_pending, move_pending, read_rows
from sqltrack.commands._lookup import find_experiment, metric_columns, near
from sqltrack.commands._rows import fetch, lock_rows, to_number
from sqltrack.commands._sightings import Sight, look_at_runs, refuse_changes
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
    """The effects of renaming a metric.

    Attributes:
        name: its old name.
        new_name: its new name.
        experiment_id: id of the experiment to which the change is limited, None for all.
        column: "rename" to rename its column, "move" to move values to another column, None without a column.
        runs: ids of the runs with values of it.
        values: number of values in its column.
        extras: number of values in the column `extras`.
        running: number of RUNNING runs, which may log under the old name again.
        merges: whether a column of the new name exists already.
        left: number of values that keep the old name: those of runs that came or were logged in the meantime, and those
            in `both`.
        both: number of values in rows that have got values of both metrics in the meantime.
    """

    name: str
    new_name: str
    experiment_id: int | None
    column: str | None
    runs: tuple[int, ...]
    values: int
    extras: int
    running: int
    merges: bool = False
    left: int = 0
    both: int = 0


def plan_rename_metric(
    client: Client, name: str, new_name: str, *, experiment: str | None = None, merge: bool = False
) -> Renaming:
    """Plan to rename a metric.

    Args:
        client: client to use.
        name: name of the metric.
        new_name: its new name.
        experiment: name or id of an experiment, to move only the values of its runs to a metric `new_name`, which is
            created if missing. Default: the metric is renamed for all.
        merge: whether values may be moved to an existing metric.

    Raises:
        NotFoundError: the metric or experiment does not exist.
        ConflictError: (a ValueError) a metric of the new name exists, or rows have values of both.
        UnusableValueError: (a ValueError) a name is unusable for a metric.
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
    all_runs = tuple(sorted({*runs, *in_extras.runs}))
    return Renaming(
        name, new_name, experiment_id, column, all_runs, values, in_extras.old, running, new_name in columns
    )


def apply_rename_metric(client: Client, renaming: Renaming, progress: Progress | None = None) -> Renaming:
    """Rename a metric as planned by `plan_rename_metric`.

    With an experiment, this changes the runs of the plan that still belong to the experiment; otherwise all runs that
    have values now. Values in rows that have got a value of the new name in the meantime keep the old name.

    Args:
        client: client to use.
        renaming: the plan.
        progress: called now and then with the number of runs and rows of extras that are done.

    Returns:
        The outcome.

    Raises:
        ConflictError: (a ValueError) the other column would change a value; or columns were added, renamed or removed,
            or runs deleted or moved, since the plan.
        DatabaseLockedError: another transaction holds a lock on the table.
    """
    _refuse_changes(client, renaming)
    taken = _taken_rows(client, renaming)
    try:
        values = _change_columns(client, renaming, progress)
    except DatabaseError:
        # Others may have changed the columns a moment earlier.
        _refuse_changed_columns(client, renaming)
        raise
    move_pending(client)
    extras = _rename_keys(client, renaming, taken, progress)
    left = _count_left(client, renaming)
    client.metrics.invalidate()
    return renaming._replace(
        values=values, extras=extras.renamed, left=left.all + extras.left, both=left.both + extras.both
    )


def _refuse_changes(client: Client, renaming: Renaming) -> None:
    """Check that columns have not changed since the plan, and that runs still belong to the experiment."""
    _refuse_changed_columns(client, renaming)
    if renaming.experiment_id is None:
        return
    with read_only(client) as connection:
        after = look_at_runs(connection, renaming.runs, ("experiment id",))
    before: Sight = {("run", run_id): {"experiment id": renaming.experiment_id} for run_id in renaming.runs}
    refuse_changes(before, after, _LOOK_AGAIN)


def _refuse_changed_columns(client: Client, renaming: Renaming) -> None:
    with read_only(client) as connection:
        columns = metric_columns(client, connection)
    for name, was_there in ((renaming.name, renaming.column is not None), (renaming.new_name, renaming.merges)):
        # Moving values of another experiment may have created the new column.
        is_welcome = name == renaming.new_name and renaming.column != "rename"
        if was_there and name not in columns:
            raise ConflictError(
                f"the column of metric {name!r} has been renamed or removed in the meantime", _LOOK_AGAIN
            )
        if not was_there and name in columns and not is_welcome:
            raise ConflictError(f"metric {name!r} has got a column in the meantime", _LOOK_AGAIN)


_LOOK_AGAIN = "look again"


def _change_columns(client: Client, renaming: Renaming, progress: Progress | None) -> int:
    """Rename the column, or move its values, and return the number of values with the new name."""
    if renaming.column == "move":
        return _move_values(client, renaming, progress)
    if renaming.column == "rename":
        with administering(client) as admin:
            is_renamed = admin.rename_metric(renaming.name, renaming.new_name)
        if not is_renamed:
            raise DatabaseLockedError(
                f"metric {renaming.name!r} could not be renamed: another transaction holds a lock on the table metrics",
                "try again; sqltrack doctor shows the transaction",
            )
    return renaming.values


def _check_text(name: str) -> None:
    if not name or "\0" in name or not is_storable_text(name):
        raise UnusableValueError(f"the name of a metric must be text that is not empty, got {name!r}")


def _check_name(name: str) -> None:
    _check_text(name)
    if _is_taken(name):
        raise UnusableValueError(f"a metric cannot be renamed to {name!r}: the column of that name has another meaning")


def _is_taken(name: str) -> bool:
    """Return whether a column has the name, but is not a metric; a metric of that name is in `extras`."""
    return name in KEY or name == EXTRAS


def _check_column(client: Client, columns: Mapping[str, str], name: str, new_name: str, change: str) -> None:
    table = client.engine.metrics_table
    others = dict(columns)
    if change == "rename":
        # The new name may differ from the old one only in case.
        del others[name]
    if new_name not in columns and not table.can_be_column(new_name, others):
        raise UnusableValueError(
            f"{new_name!r} cannot be the name of a column here: it is too long, differs from another only in case, or "
            "the table is full"
        )


class _InExtras(NamedTuple):
    """What there is in `extras`: values of the metric, rows with values of both, whether there is any of each, and the
    runs with values of the metric.
    """

    old: int
    conflicts: int
    any_old: bool
    any_new: bool
    runs: set[int]


def _count_extras(client: Client, name: str, new_name: str, experiment_id: int | None) -> _InExtras:
    with read_only(client) as connection:
        columns = metric_columns(client, connection)
        has_extras = EXTRAS in client.engine.table_columns(connection, "metrics")
        runs = _run_ids(connection, experiment_id)
    pending = admin_of(client.engine).pending_table
    tables = ["metrics"] if has_extras else []
    tables += [pending] if pending is not None and has_pending(client) else []
    old, conflicts, any_old, any_new = 0, 0, False, False
    with_values: set[int] = set()
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
                with_values.update([row.key[0]] if name in row.values else [])
                conflicts += name in row.values and (new_name in row.values or row.key in has_new)
                conflicts += name not in row.values and new_name in row.values and row.key in has_old
    return _InExtras(old, conflicts, any_old, any_new, with_values)


def _rows_with(client: Client, rows: Sequence[ExtrasRow], name: str) -> set[tuple[int, int, float]]:
    """Return the keys of rows with a value in a column, between the first and the last of `rows`."""
    sql = f"""
        SELECT run_id, step, progress FROM metrics WHERE {column_sql(name)} IS NOT NULL
        AND (run_id, step, progress) >= (%s, %s, %s) AND (run_id, step, progress) <= (%s, %s, %s)
    """
    return {tuple(key) for key in client.execute(sql, (*rows[0].key, *rows[-1].key)).fetchall()}


def _count_values(
    client: Client, columns: Mapping[str, str], name: str, new_name: str, experiment_id: int | None, conflicts: int
) -> tuple[tuple[int, ...], int]:
    """Return the runs with values in the column of a metric, and the number of values.

    Raises:
        ConflictError: rows have values of both metrics, or values do not fit.
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
            "decide which value to keep, and set the other to NULL first",
        )
    return tuple(runs), number


# Counting all values of a metric can take a long time.
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
    """Move values from one column to the other, run by run, and return their number."""
    sql_type = _equalise(client, renaming)
    run_ids = _runs_to_move(client, renaming)
    if sql_type is not None:
        # Check all runs before moving the first, and each run again when it is moved.
        for run_id in run_ids:
            _check_values(client, renaming, sql_type, run_id)
    moved = 0
    for number, run_id in enumerate(run_ids, start=1):
        with transaction(client) as connection:
            if _still_belongs(client, connection, renaming, run_id):
                if sql_type is not None:
                    _check_values(client, renaming, sql_type, run_id)
                moved += _move_values_of(client, connection, renaming, run_id)
        if progress is not None:
            progress(number)
    if renaming.experiment_id is None:
        with administering(client) as admin:
            admin.drop_empty_metric(renaming.name)
    return moved


def _runs_to_move(client: Client, renaming: Renaming) -> Sequence[int]:
    """Return the runs of the plan, or all runs with values now if no experiment was named."""
    if renaming.experiment_id is not None:
        return renaming.runs
    sql = f"SELECT DISTINCT run_id FROM metrics WHERE {column_sql(renaming.name)} IS NOT NULL ORDER BY run_id LIMIT %s"
    with read_only(client, _SECONDS) as connection:
        return [row["run_id"] for row in fetch(connection, sql, (INT64[-1],))]


def _still_belongs(client: Client, connection: Any, renaming: Renaming, run_id: int) -> bool:
    """Return whether a run still belongs to the experiment, if one was named, and lock the run."""
    if renaming.experiment_id is None:
        return True
    lock_rows(client, connection, "runs", [run_id])
    place = look_at_runs(connection, [run_id], ("experiment id",))
    return place == {("run", run_id): {"experiment id": renaming.experiment_id}}


def _move_values_of(client: Client, connection: Any, renaming: Renaming, run_id: int) -> int:
    """Move the values of a run, except in rows that have a value of the other metric, and return their number."""
    columns = client.engine.table_columns(connection, "metrics")
    taken = _rows_with_extra(client, run_id, renaming.new_name) if EXTRAS in columns else []
    old, new = column_sql(renaming.name), column_sql(renaming.new_name)
    free = " AND NOT (step = %s AND progress = %s)" * len(taken)
    # SET takes names without the table.
    sql = f"""
        UPDATE metrics SET {new.partition(".")[2]} = {old}, {old.partition(".")[2]} = NULL
        WHERE run_id = %s AND {old} IS NOT NULL AND {new} IS NULL{free}
    """
    return int(client.execute(sql, (run_id, *(value for key in taken for value in key))).rowcount)


def _rows_with_extra(client: Client, run_id: int, name: str) -> list[tuple[int, float]]:
    """Return step and progress of a run's rows that have a metric in `extras`."""
    keys = []
    for rows in read_rows(client, condition="run_id = %s", parameters=(run_id,), guarded=False):
        keys += [row.key[1:] for row in rows if name in row.values]
    return keys


class _Left(NamedTuple):
    """The number of values that keep the old name, and of those in rows with values of both."""

    all: int
    both: int


def _count_left(client: Client, renaming: Renaming) -> _Left:
    """Count the values in the column of the old name."""
    with read_only(client, _SECONDS) as connection:
        columns = metric_columns(client, connection)
        if renaming.name not in columns:
            return _Left(0, 0)
        both = f"COUNT({column_sql(renaming.new_name)})" if renaming.new_name in columns else "0"
        where, parameters = _of_experiment(renaming.experiment_id)
        sql = f"""
            SELECT COUNT(*) AS number, {both} AS conflicts FROM metrics
            WHERE {column_sql(renaming.name)} IS NOT NULL AND {where}
        """
        (row,) = fetch(connection, sql, parameters)
    return _Left(row["number"], row["conflicts"])


def _equalise(client: Client, renaming: Renaming) -> str | None:
    """Ensure that a column of the new name exists that can hold the values of the old one.

    Returns:
        The SQL type of the new column, if it differs so that values have to be checked, otherwise None.

    Raises:
        DatabaseLockedError: another transaction holds a lock on the table.
    """
    table = client.engine.metrics_table
    _refuse_changed_columns(client, renaming)
    columns = table_columns(client, "metrics")
    old, new = columns.get(renaming.name, ""), columns.get(renaming.new_name)
    with administering(client) as admin:
        connection = admin.connection
        if new is None:
            table.grow(connection, {renaming.new_name: old}, {})
        # Use the wider one of the two types.
        elif new != old and table.wider_type(old, float) == new:
            table.grow(connection, {}, {renaming.name: new})
        elif new != old and table.wider_type(new, float) == old:
            table.grow(connection, {}, {renaming.new_name: old})
    columns = table_columns(client, "metrics")
    if renaming.new_name not in columns:
        raise DatabaseLockedError(
            f"column {renaming.new_name!r} could not be added: others hold a lock on the table metrics, or another "
            "user owns it",
            "try again",
        )
    return None if columns[renaming.new_name] == columns.get(renaming.name) else columns[renaming.new_name]


def _check_values(client: Client, renaming: Renaming, sql_type: str, run_id: int) -> None:
    """Check that a column of another type does not change the values of a run.

    Raises:
        ConflictError: it does.
    """
    table = client.engine.metrics_table
    old = column_sql(renaming.name)
    sql = f"SELECT DISTINCT {old} FROM metrics WHERE run_id = %s AND {old} IS NOT NULL"
    is_text = table_columns(client, "metrics").get(renaming.name, "").upper() == "TEXT"
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


class _InRows(NamedTuple):
    """Numbers of rows of `extras`: renamed, keeping the old name, and among these with values of both."""

    renamed: int
    left: int
    both: int


def _taken_rows(client: Client, renaming: Renaming) -> set[tuple[int, int, float]]:
    """Return the keys of rows that have the metric in `extras`, and a value in the column of the new name.

    Call it before moving values to that column. Those values may have an ignored namesake in `extras`, which gets the
    new name with them.
    """
    columns = table_columns(client, "metrics")
    if EXTRAS not in columns or renaming.new_name not in columns:
        return set()
    condition, parameters = _of_experiment(renaming.experiment_id)
    taken: set[tuple[int, int, float]] = set()
    for rows in read_rows(client, condition=condition, parameters=parameters, guarded=False):
        named = {row.key for row in rows if renaming.name in row.values}
        if named:
            taken |= named & _rows_with(client, rows, renaming.new_name)
    return taken


def _rename_keys(
    client: Client, renaming: Renaming, taken: Collection[tuple[int, int, float]], progress: Progress | None
) -> _InRows:
    """Rename a metric in `extras`, except in rows with a value of the other metric, such as those in `taken`."""
    columns = table_columns(client, "metrics")
    if EXTRAS not in columns:
        return _InRows(0, 0, 0)
    condition, parameters = _of_experiment(renaming.experiment_id)
    planned = None if renaming.experiment_id is None else set(renaming.runs)

    def edit(row: ExtrasRow, most: int) -> RowEdit | None:
        if _keeps_name(row, renaming, planned, taken) or renaming.name not in row.values:
            return None
        values = {renaming.new_name if name == renaming.name else name: value for name, value in row.values.items()}
        sql = f"""
            UPDATE metrics SET {EXTRAS} = %s
            WHERE run_id = %s AND step = %s AND progress = %s AND CAST(metrics.{EXTRAS} AS TEXT) = %s AND {condition}
            RETURNING run_id
        """
        return RowEdit(sql, (Jsonb(values), *row.key, row.text, *parameters), (renaming.name,))

    done = locked = left = both = 0
    for rows in read_rows(client, condition=condition, parameters=parameters, guarded=False):
        for outcomes in edit_rows(client, rows, edit):
            done += sum(outcome.edit is not None for outcome in outcomes)
            locked += sum(outcome.why is not None for outcome in outcomes)
            kept = [outcome.row for outcome in outcomes if outcome.edit is None and outcome.why is None]
            kept = [row for row in kept if renaming.name in row.values]
            left += len(kept)
            both += sum(renaming.new_name in row.values or row.key in taken for row in kept)
            if progress is not None:
                progress(len(renaming.runs) + done)
        named = {row.key for row in rows if renaming.new_name in row.values}
        if named and renaming.name in columns and not _is_taken(renaming.name):
            # In these rows, the column keeps its value.
            both += len(named & _rows_with(client, rows, renaming.name))
    if locked:
        raise DatabaseError(
            f"{renaming.name!r} is still in the extras of {pluralize(locked, 'row')}, which others have locked",
            "try again",
        )
    return _InRows(done, left, both)


def _keeps_name(
    row: ExtrasRow, renaming: Renaming, planned: Collection[int] | None, taken: Collection[tuple[int, int, float]]
) -> bool:
    """Return whether a row belongs to a run outside the plan, or has a value of the other metric already."""
    is_planned = planned is None or row.key[0] in planned
    return not is_planned or renaming.new_name in row.values or row.key in taken
