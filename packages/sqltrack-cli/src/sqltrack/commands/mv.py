"""Move runs into another experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqltrack.client import Client
from sqltrack.commands._edits import Change, check_runs, check_text, edit
from sqltrack.commands._records import batches, fetch, find_experiment
from sqltrack.errors import NotFoundError, UnusableValueError
from sqltrack.experiment import Experiment

__all__ = ["mv"]

_RUNS_SQL = """
    SELECT runs.id, runs.experiment_id, experiments.name
    FROM runs JOIN experiments ON experiments.id = runs.experiment_id
    WHERE runs.id
"""


def mv(
    client: Client,
    run_ids: Iterable[int],
    experiment: str,
    *,
    create: bool = False,
    dry_run: bool = False,
    agree: Callable[[Sequence[Change]], bool] | None = None,
) -> list[Change]:
    """Move runs into another experiment, all or none.

    Args:
        client: client to use.
        run_ids: ids of runs.
        experiment: name or id of the experiment to move them into.
        create: whether to create an experiment of that name if there is none.
        dry_run: whether to change nothing.
        agree: is asked whether to make the changes; default: nobody is.

    Returns:
        The changes, with names of experiments; see `sqltrack.commands._edits.edit`.

    Raises:
        NotFoundError: there is no such run, or no such experiment.
        UnusableValueError: (a ValueError) there are no runs, or the name cannot be that of an experiment.
    """
    ids = list(run_ids)
    if not ids:
        raise UnusableValueError("there are no runs to move")
    check_text(experiment, "the name of an experiment")

    def find(connection: Any) -> list[Change]:
        target, name = _find_target(connection, experiment, create)
        created = [] if target is not None else [Change("experiment", None, "name", None, name)]
        moved: list[Change] = []
        for batch in batches(check_runs(connection, ids)):
            rows = {row["id"]: row for row in fetch(connection, f"{_RUNS_SQL} IN ({_places(batch)})", batch)}
            moved += [
                Change("run", run_id, "experiment", rows[run_id]["name"], name)
                for run_id in batch
                if rows[run_id]["experiment_id"] != target
            ]
        return [*created, *moved]

    def apply(changes: Sequence[Change]) -> None:
        moved = [change for change in changes if change.kind == "run"]
        for batch in batches(moved):
            # It may have yet to be created.
            target = Experiment(client, name=batch[0].new)
            sql = f"UPDATE runs SET experiment_id = %s WHERE id IN ({_places(batch)})"
            client.execute(sql, (target.id, *(change.id for change in batch)))

    return edit(client, find, apply, dry_run=dry_run, agree=agree)


def _find_target(connection: Any, experiment: str, create: bool) -> tuple[int | None, str]:
    """Return id and name of the experiment, without an id if it has yet to be created."""
    try:
        target = find_experiment(connection, experiment)
    except NotFoundError as error:
        if create:
            return None, experiment
        raise NotFoundError(error.message, f"{error.advice} (--create makes it)") from None
    (row,) = fetch(connection, "SELECT name FROM experiments WHERE id = %s", (target,))
    return target, row["name"]


def _places(values: Sequence[Any]) -> str:
    return ", ".join(["%s"] * len(values))
