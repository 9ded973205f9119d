"""Rename an experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqltrack.client import Client
from sqltrack.commands._edits import Change, check_text, edit
from sqltrack.commands._records import fetch, find_experiment
from sqltrack.errors import ConflictError
from sqltrack.experiment import experiment_set_name

__all__ = ["rename"]


def rename(
    client: Client,
    experiment: str,
    name: str,
    *,
    dry_run: bool = False,
    agree: Callable[[Sequence[Change]], bool] | None = None,
) -> list[Change]:
    """Rename an experiment.

    Args:
        client: client to use.
        experiment: name or id of the experiment.
        name: its new name.
        dry_run: whether to change nothing.
        agree: is asked whether to make the change; default: nobody is.

    Returns:
        The change; see `sqltrack.commands._edits.edit`.

    Raises:
        ConflictError: (a ValueError) another experiment has that name.
        NotFoundError: there is no such experiment.
        UnusableValueError: (a ValueError) the name is empty, or cannot be stored.
    """
    check_text(name, "the name of an experiment")

    def find(connection: Any) -> list[Change]:
        id_ = find_experiment(connection, experiment)
        (row,) = fetch(connection, "SELECT name FROM experiments WHERE id = %s", (id_,))
        others = fetch(connection, "SELECT id FROM experiments WHERE name = %s AND id <> %s", (name, id_))
        if others:
            raise ConflictError(
                f"experiment {others[0]['id']!r} is called {name!r} already", "sqltrack mv moves runs into another one"
            )
        return [] if row["name"] == name else [Change("experiment", id_, "name", row["name"], name)]

    def apply(changes: Sequence[Change]) -> None:
        for change in changes:
            assert change.id is not None
            experiment_set_name(client, change.id, name)

    return edit(client, find, apply, dry_run=dry_run, agree=agree)
