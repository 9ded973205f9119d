"""The calls that can wait in an outbox: their names, their subjects, and how to run them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqltrack._creation import send_experiment, send_run
from sqltrack._metric_values import Row
from sqltrack._row_writer import RowWriter
from sqltrack._sessions import detached
from sqltrack.engines.schema import COLUMNS
from sqltrack.errors import MissingRunError, OutboxError
from sqltrack.metrics import MetricsWriter

if TYPE_CHECKING:
    from sqltrack.client import Client

__all__ = [
    "ADD_METRICS",
    "BEGIN_RUN",
    "arguments_of",
    "begin_experiment",
    "metrics_of",
    "name_of",
    "owner_of",
    "perform",
    "with_real_ids",
]

#: The calls that store rows of metrics.
ADD_METRICS = frozenset({"add_metrics", "add_metrics_many"})

#: The call that creates a run.
BEGIN_RUN = "begin_run"

_NAMES: dict[Callable[..., Any], str] = {
    **{getattr(RowWriter, name): name for name in ("set_columns", "merge_json", "remove_keys", "add_link")},
    **{getattr(RowWriter, name): name for name in ("remove_link", "set_name")},
    MetricsWriter._add: "add_metrics",
    MetricsWriter._add_many: "add_metrics_many",
}

# Number of arguments that are stored; further ones only matter for an immediate call.
_STORED = {"set_columns": 3, "merge_json": 4, "add_metrics": 2}


def name_of(work: Callable[..., Any]) -> str | None:
    """Return the name of a method whose calls can wait, None for other methods."""
    return _NAMES.get(getattr(work, "__func__", work))


def arguments_of(name: str, arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Return the arguments of a call that are stored, with their own copies of dicts and lists.

    Raises:
        UnusableValueError: a name in it cannot be stored; later, the caller could not be told.
    """
    kept = arguments[: _STORED.get(name, len(arguments))]
    return tuple(detached(argument) for argument in kept)


def owner_of(name: str, arguments: Sequence[Any]) -> str:
    """Return the subject of a call, such as "runs 7"."""
    if name == "begin_database":
        return "database"
    if name == "begin_experiment":
        return f"experiments {arguments[0]}"
    if name in (BEGIN_RUN, "add_metrics_many"):
        return f"runs {arguments[0]}"
    if name == "add_metrics":
        return f"runs {arguments[0].key[0]}"
    table, row_id = arguments[:2]
    return f"{table.removesuffix('_links').removesuffix('s')}s {row_id}"


def with_real_ids(name: str, arguments: Sequence[Any], ids: Mapping[int, int]) -> tuple[Any, ...]:
    """Return the arguments of a call with the ids that experiments have in the database.

    Args:
        name: name of the call.
        arguments: its arguments.
        ids: the ids in the database, by the ids that experiments got during an outage.
    """
    places: tuple[int, ...] = (1,) if name == BEGIN_RUN else ()
    if arguments and arguments[0] == "experiments":
        places = (1,)
    elif arguments and arguments[0] == "experiment_links":
        places = (1, 3)
    return tuple(
        ids.get(argument, argument) if index in places else argument for index, argument in enumerate(arguments)
    )


def metrics_of(name: str, arguments: Sequence[Any]) -> tuple[list[Row], datetime | None]:
    """Return the rows of a call that stores metrics, and the value for the run's `time_updated`."""
    if name == "add_metrics":
        row, updated = arguments
        return [row], updated
    _, rows, updated = arguments
    return rows, updated


def perform(client: Client, name: str, arguments: Sequence[Any]) -> None:
    """Run a call as part of other work of the client.

    Raises:
        MissingRunError, MissingExperimentError: its subject does not exist.
        ConflictError: it creates a run that belongs to another experiment.
    """
    if name == BEGIN_RUN:
        run_id, experiment_id, description, created = arguments
        client._session.call(
            lambda connection: send_run(client.engine, connection, experiment_id, run_id, description, created)
        )
    elif name == "begin_experiment":
        begin_experiment(client, arguments)
    elif name in ADD_METRICS:
        rows, updated = metrics_of(name, arguments)
        if rows:
            run_id = rows[0].key[0]
            if not client.metrics._exists(run_id):
                raise MissingRunError(run_id, "it may have been deleted")
            client.metrics.store(run_id, rows, updated)
    elif name != "begin_database":
        _check_names(name, arguments)
        getattr(client._rows, name)(*arguments)


def begin_experiment(client: Client, arguments: Sequence[Any]) -> int:
    """Return the id of an experiment in the database; create it if it is missing.

    Raises:
        ConflictError, MissingExperimentError: it cannot be created.
    """
    new_id, known_id, name = arguments
    return client._session.call(lambda connection: send_experiment(client.engine, connection, known_id, new_id, name))


def _check_names(name: str, arguments: Sequence[Any]) -> None:
    """Check that a call and its table and columns exist, because these become SQL text.

    Raises:
        OutboxError: they do not.
    """
    if name not in _NAMES.values():
        # From a later version, or damaged.
        raise OutboxError(f"unknown call {name!r}")
    table = arguments[0]
    columns: Iterable[str] = ()
    if name == "set_columns":
        columns = arguments[2]
    elif name in ("merge_json", "remove_keys"):
        columns = arguments[2:3]
    if not set(columns) <= set(COLUMNS.get(table, ())) or table not in COLUMNS:
        raise OutboxError(f"call {name!r} names a table or column that does not exist")
