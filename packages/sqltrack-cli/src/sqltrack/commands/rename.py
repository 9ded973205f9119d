"""Rename an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqltrack.client import Client
from sqltrack.commands._lookup import check_text, find_experiment
from sqltrack.commands._rows import fetch
from sqltrack.commands.edits import Change, Edit, plan_edit
from sqltrack.errors import ConflictError
from sqltrack.experiment import experiment_set_name

__all__ = ["plan_rename"]


def plan_rename(
    client: Client,
    experiment: str,
    name: str,
) -> Edit:
    """Plan to rename an experiment.

    Args:
        client: client to use.
        experiment: name or id of the experiment.
        name: its new name.

    Returns:
        The change, for `sqltrack.commands.edits.apply_edit`.

    Raises:
        ConflictError: (a ValueError) another experiment has that name.
        NotFoundError: the experiment does not exist.
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

    def make(client: Client, changes: Sequence[Change]) -> None:
        for change in changes:
            assert change.id is not None
            experiment_set_name(client, change.id, name)

    return plan_edit(client, find, make)
