"""Move runs to another experiment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqltrack.client import Client
from sqltrack.commands._lookup import check_text, find_experiment, find_runs
from sqltrack.commands._rows import batches, fetch
from sqltrack.commands._sightings import Sight
from sqltrack.commands.edits import Change, Edit, plan_edit
from sqltrack.commands.run_ranges import RunRange
from sqltrack.errors import NotFoundError, UnusableValueError
from sqltrack.experiment import Experiment
from sqltrack.util import placeholders

__all__ = ["plan_mv"]

_RUNS_SQL = """
    SELECT runs.id, runs.experiment_id, experiments.name
    FROM runs JOIN experiments ON experiments.id = runs.experiment_id
    WHERE runs.id
"""


def plan_mv(
    client: Client,
    runs: Iterable[int | RunRange],
    experiment: str,
    *,
    create: bool = False,
) -> Edit:
    """Plan to move runs to another experiment, all or none.

    Args:
        client: client to use.
        runs: ids of runs, and ranges of ids.
        experiment: name or id of the experiment to move them to.
        create: whether to create the experiment if it does not exist.

    Returns:
        The changes, with names of experiments, for `sqltrack.commands.edits.apply_edit`.

    Raises:
        NotFoundError: the run or the experiment does not exist.
        UnusableValueError: (a ValueError) no runs are given, or the name is unusable for an experiment.
    """
    named = list(runs)
    if not named:
        raise UnusableValueError("there are no runs to move")
    check_text(experiment, "the name of an experiment")

    def find(connection: Any) -> list[Change]:
        target, name = _find_target(connection, experiment, create)
        created = [] if target is not None else [Change("experiment", None, "name", None, name)]
        moved: list[Change] = []
        for batch in batches(find_runs(connection, named)):
            rows = {row["id"]: row for row in fetch(connection, f"{_RUNS_SQL} IN ({placeholders(len(batch))})", batch)}
            moved += [
                Change("run", run_id, "experiment", rows[run_id]["name"], name)
                for run_id in batch
                if rows[run_id]["experiment_id"] != target
            ]
        return [*created, *moved]

    def make(client: Client, changes: Sequence[Change]) -> None:
        moved = [change for change in changes if change.kind == "run"]
        for batch in batches(moved):
            # This creates it if missing.
            target = Experiment(client, name=batch[0].new)
            sql = f"UPDATE runs SET experiment_id = %s WHERE id IN ({placeholders(len(batch))})"
            client.execute(sql, (target.id, *(change.id for change in batch)))

    def look(connection: Any) -> Sight:
        # Another experiment may have taken the name.
        return {("experiment", experiment): {"id": _find_target(connection, experiment, create)[0]}}

    return plan_edit(client, find, make, look)


def _find_target(connection: Any, experiment: str, create: bool) -> tuple[int | None, str]:
    """Return id and name of the experiment, with None as the id if it does not exist yet."""
    try:
        target = find_experiment(connection, experiment)
    except NotFoundError as error:
        if create:
            return None, experiment
        raise NotFoundError(error.message, f"{error.advice} (--create creates it)") from None
    (row,) = fetch(connection, "SELECT name FROM experiments WHERE id = %s", (target,))
    return target, row["name"]
