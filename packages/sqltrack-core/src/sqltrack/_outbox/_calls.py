"""The calls that can wait in an outbox: what they are called, what they are about, and how they are done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqltrack._metric_values import Row
from sqltrack._row_writer import RowWriter
from sqltrack._sessions import detached
from sqltrack.errors import MissingRunError
from sqltrack.metrics import MetricsWriter

if TYPE_CHECKING:
    from sqltrack.client import Client

__all__ = ["ADD_METRICS", "arguments_of", "metrics_of", "name_of", "owner_of", "perform"]

#: The calls that store rows of metrics.
ADD_METRICS = frozenset({"add_metrics", "add_metrics_many"})

_NAMES: dict[Callable[..., Any], str] = {
    **{getattr(RowWriter, name): name for name in ("set_columns", "merge_json", "remove_keys", "add_link")},
    RowWriter.remove_link: "remove_link",
    MetricsWriter._add: "add_metrics",
    MetricsWriter._add_many: "add_metrics_many",
}

# How many of the arguments are stored; those behind say how to do it at once.
_STORED = {"set_columns": 3, "add_metrics": 2}


def name_of(work: Callable[..., Any]) -> str | None:
    """Return the name of a piece of work that can wait, None for all others."""
    return _NAMES.get(getattr(work, "__func__", work))


def arguments_of(name: str, arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Return what is stored of the arguments of a call, with containers of its own.

    Raises:
        UnusableValueError: something in it cannot be stored, of which nobody could hear later.
    """
    kept = arguments[: _STORED.get(name, len(arguments))]
    return tuple(detached(argument) for argument in kept)


def owner_of(name: str, arguments: Sequence[Any]) -> str:
    """Return what a call is about, such as "runs 7"."""
    if name == "add_metrics":
        return f"runs {arguments[0].key[0]}"
    if name == "add_metrics_many":
        return f"runs {arguments[0]}"
    table, row_id = arguments[:2]
    return f"{table.removesuffix('_links').removesuffix('s')}s {row_id}"


def metrics_of(name: str, arguments: Sequence[Any]) -> tuple[list[Row], datetime | None]:
    """Return the rows of a call that stores metrics, and what to set the run's `time_updated` to."""
    if name == "add_metrics":
        row, updated = arguments
        return [row], updated
    _, rows, updated = arguments
    return rows, updated


def perform(client: Client, name: str, arguments: Sequence[Any]) -> None:
    """Do what a call does, in the course of other work of the client.

    Raises:
        MissingRunError, MissingExperimentError: what it is about does not exist.
    """
    if name not in ADD_METRICS:
        getattr(client._rows, name)(*arguments)
        return
    rows, updated = metrics_of(name, arguments)
    if rows:
        run_id = rows[0].key[0]
        if not client.metrics._exists(run_id):
            raise MissingRunError(run_id, "it may have been deleted")
        client.metrics.store(run_id, rows, updated)
