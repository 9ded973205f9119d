"""Find experiments and runs in the database, or create them, with as few statements as possible."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqltrack._times import utc_now
from sqltrack.engines.json import Jsonb
from sqltrack.errors import ConflictError, MissingExperimentError, MissingRunError, UnusableValueError

if TYPE_CHECKING:
    from sqltrack.engines.engine import Engine

__all__ = [
    "FoundRun",
    "NewId",
    "create_run",
    "find_experiment",
    "get_or_create_experiment",
    "get_or_create_run",
    "send_experiment",
    "send_run",
]


class FoundRun(NamedTuple):
    """A run in the database.

    Attributes:
        id: its id.
        experiment_id: id of its experiment, 0 if unknown because the database is away.
        status: its status when it was found, if any.
        times: when it had last been started and updated, where known.
    """

    id: int
    experiment_id: int
    status: str | None
    times: tuple[datetime | None, ...] = ()


class NewId:
    """The id of a run that is being created, so that creating it can be retried after its answer was lost.

    Attributes:
        value: the id, None until the database has assigned one.
    """

    def __init__(self) -> None:
        self.value: int | None = None


def get_or_create_experiment(engine: Engine, connection: Any, experiment_id: int | None, name: str | None) -> int:
    """Return the id of an experiment, which is created if no experiment has this name.

    Args:
        engine: engine of the connection.
        connection: the connection.
        experiment_id: id of the experiment; may be None if there is a name.
        name: name of the experiment; may be None if there is an id.

    Raises:
        ConflictError: id and name belong to different experiments.
        MissingExperimentError: no experiment has this id, and no name is given to create it with.
    """
    if name is None:
        assert experiment_id is not None
        if _name_of(connection, experiment_id) is None:
            raise MissingExperimentError(experiment_id)
        return experiment_id
    found = find_experiment(connection, name)
    if found is None:
        found = _insert_experiment(engine, connection, experiment_id, name)
    if experiment_id is not None and found != experiment_id:
        taken_by = _name_of(connection, experiment_id)
        raise ConflictError(
            f"experiment {experiment_id!r} is called {taken_by!r}, not {name!r}"
            if taken_by is not None
            else f"experiment {name!r} has id {found!r}, not {experiment_id!r}"
        )
    assert found is not None
    return found


def _insert_experiment(engine: Engine, connection: Any, experiment_id: int | None, name: str) -> int | None:
    """Insert an experiment unless its id or name is in use; safe if several processes do this at once.

    Returns:
        The id of the experiment with this name; None if there is none, because another experiment has the id.
    """
    value = engine.new_id_sql("experiments") if experiment_id is None else "%s"
    parameters = (name,) if experiment_id is None else (experiment_id, name)
    sql = f"INSERT INTO experiments (id, name) VALUES ({value}, %s) ON CONFLICT DO NOTHING RETURNING id"
    while True:
        rows = connection.execute(sql, parameters).fetchall()
        found: int | None = rows[0][0] if rows else find_experiment(connection, name)
        # Another transaction may be inserting the generated id as an explicit one: then try the next id.
        if found is not None or experiment_id is not None:
            return found


def find_experiment(connection: Any, name: str) -> int | None:
    """Return the id of the experiment with this name, or None."""
    rows = connection.execute("SELECT id FROM experiments WHERE name = %s", (name,)).fetchall()
    return rows[0][0] if rows else None


def _name_of(connection: Any, experiment_id: int) -> str | None:
    rows = connection.execute("SELECT name FROM experiments WHERE id = %s", (experiment_id,)).fetchall()
    return rows[0][0] if rows else None


def get_or_create_run(
    engine: Engine,
    connection: Any,
    experiment_id: int | None,
    run_id: int | None,
    description: Mapping[str, Any],
    new_id: NewId | None = None,
) -> FoundRun:
    """Return a run, which is created if it does not exist.

    Args:
        engine: engine of the connection.
        connection: the connection.
        experiment_id: id of the experiment; may be None if the run exists.
        run_id: id of the run, None for a new one.
        description: columns that describe the run, with their values, see `sqltrack._descriptions.describe`. In JSON
            columns, keys that are not given are kept.
        new_id: remembers the id of a new run; None if creating it is not repeated.

    Raises:
        ConflictError: the run belongs to another experiment.
        MissingExperimentError, MissingRunError: the experiment or run does not exist.
    """
    if run_id is None:
        if experiment_id is None:
            raise UnusableValueError("a new run needs an experiment, got neither experiment_id nor run_id")
        found_id = _insert_new_run(engine, connection, experiment_id, description, new_id)
        return FoundRun(found_id, experiment_id, None)
    found = _find_run(connection, run_id)
    if found is None and experiment_id is not None:
        if _insert_run(engine, connection, experiment_id, run_id, description) is not None:
            return FoundRun(run_id, experiment_id, None)
        _require_experiment(connection, experiment_id)
        found = _find_run(connection, run_id)
    if found is None:
        raise MissingRunError(run_id)
    owner, status, *times = found
    if experiment_id is not None and owner != experiment_id:
        raise ConflictError(f"run {run_id!r} belongs to experiment {owner!r}, not {experiment_id!r}")
    if description:
        _describe_run(engine, connection, run_id, description)
    return FoundRun(run_id, owner, status, tuple(times))


def create_run(
    engine: Engine,
    connection: Any,
    experiment_id: int | None,
    name: str | None,
    description: Mapping[str, Any],
    new_id: NewId | None = None,
) -> FoundRun | None:
    """Return a new run of an existing experiment, None if the experiment does not exist.

    Args:
        engine: engine of the connection.
        connection: the connection.
        experiment_id: id of the experiment; may be None if there is a name.
        name: name of the experiment, used if there is no id.
        description: as in `get_or_create_run`.
        new_id: as in `get_or_create_run`.
    """
    if experiment_id is None and name is not None:
        experiment_id = find_experiment(connection, name)
    if experiment_id is None:
        return None
    run_id = _insert_with_new_id(engine, connection, experiment_id, description, new_id)
    return None if run_id is None else FoundRun(run_id, experiment_id, None)


def _insert_new_run(
    engine: Engine, connection: Any, experiment_id: int, description: Mapping[str, Any], new_id: NewId | None
) -> int:
    while True:
        found = _insert_with_new_id(engine, connection, experiment_id, description, new_id)
        if found is not None:
            return found
        _require_experiment(connection, experiment_id)
        # Another transaction is inserting the generated id as an explicit one: try the next id.


def _insert_with_new_id(
    engine: Engine, connection: Any, experiment_id: int, description: Mapping[str, Any], new_id: NewId | None
) -> int | None:
    """Insert a run with an id from the database, and return the id; None as in `_insert_run`."""
    if new_id is None:
        return _insert_run(engine, connection, experiment_id, None, description)
    was_known = new_id.value is not None
    if new_id.value is None:
        new_id.value = engine.next_id(connection, "runs")
    run_id = _insert_run(engine, connection, experiment_id, new_id.value, description)
    if run_id is None and was_known and _find_run(connection, new_id.value or 0) is not None:
        # An earlier attempt has inserted it, and only the answer was lost.
        return new_id.value
    if run_id is None:
        new_id.value = None
    return run_id


def send_run(
    engine: Engine,
    connection: Any,
    experiment_id: int | None,
    run_id: int,
    description: Mapping[str, Any],
    created: datetime,
) -> None:
    """Create a run that began in an outage, or describe it if it exists.

    Args:
        engine: engine of the connection.
        connection: the connection.
        experiment_id: id of the experiment; may be None if the run exists.
        run_id: id of the run.
        description: as in `get_or_create_run`.
        created: when it began.

    Raises:
        ConflictError: the run belongs to another experiment.
        MissingExperimentError, MissingRunError: the experiment or run does not exist.
    """
    if experiment_id is not None:
        _insert_run(engine, connection, experiment_id, run_id, {"time_created": created, **description})
    get_or_create_run(engine, connection, experiment_id, run_id, description)


def send_experiment(engine: Engine, connection: Any, known_id: int | None, new_id: int, name: str | None) -> int:
    """Return the id of an experiment that was used in an outage, and create it if it is missing.

    Args:
        engine: engine of the connection.
        connection: the connection.
        known_id: its id; may be None if there is a name.
        new_id: its id in case it is created.
        name: its name; may be None if there is an id.

    Raises:
        ConflictError, MissingExperimentError: as in `get_or_create_experiment`.
    """
    if known_id is not None or name is None:
        return get_or_create_experiment(engine, connection, known_id, name)
    found = find_experiment(connection, name)
    if found is None:
        found = _insert_experiment(engine, connection, new_id, name)
    return new_id if found is None else found


def _insert_run(
    engine: Engine, connection: Any, experiment_id: int, run_id: int | None, description: Mapping[str, Any]
) -> int | None:
    """Insert a run and return its id; None if the id is in use or the experiment does not exist."""
    columns = {"time_created": utc_now(), **description}
    values = ["%s"] * len(columns)
    parameters = [*columns.values(), experiment_id]
    names = [*columns, "experiment_id"]
    new_id = engine.new_id_sql("runs") if run_id is None else "%s"
    if run_id is not None:
        parameters.insert(0, run_id)
    # An INSERT … SELECT can use a column's default only by leaving the column out.
    if new_id != "DEFAULT":
        names.insert(0, "id")
        values.insert(0, new_id)
    sql = f"""
        INSERT INTO runs ({", ".join(names)}) SELECT {", ".join(values)}, id FROM experiments WHERE id = %s
        ON CONFLICT (id) DO NOTHING RETURNING id
    """
    rows = connection.execute(sql, parameters).fetchall()
    return int(rows[0][0]) if rows else None


def _describe_run(engine: Engine, connection: Any, run_id: int, description: Mapping[str, Any]) -> None:
    """Add a description to an existing run."""
    assignments = [
        f"{column} = {engine.merge_json_sql(column) if isinstance(value, Jsonb) else '%s'}"
        for column, value in description.items()
    ]
    sql = f"UPDATE runs SET {', '.join(assignments)} WHERE id = %s"
    connection.execute(sql, (*description.values(), run_id))


def _require_experiment(connection: Any, experiment_id: int) -> None:
    if not connection.execute("SELECT id FROM experiments WHERE id = %s", (experiment_id,)).fetchall():
        raise MissingExperimentError(experiment_id, "create it with Experiment(client, name=…)")


def _find_run(connection: Any, run_id: int) -> tuple[Any, ...] | None:
    """Return the experiment, status and last times of a run, None if the run does not exist."""
    sql = "SELECT experiment_id, status, time_started, time_updated FROM runs WHERE id = %s"
    rows: list[tuple[Any, ...]] = connection.execute(sql, (run_id,)).fetchall()
    return rows[0] if rows else None
