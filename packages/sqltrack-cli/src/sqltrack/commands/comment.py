"""Set the comment of runs or of an experiment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqltrack.client import Client
from sqltrack.commands._lookup import check_text, find_experiment, find_runs
from sqltrack.commands._rows import batches, fetch
from sqltrack.commands.edits import Change, Edit, plan_edit
from sqltrack.commands.run_ranges import RunRange
from sqltrack.errors import UnusableValueError
from sqltrack.experiment import experiment_set_comment
from sqltrack.run_functions import run_set_comment
from sqltrack.util import placeholders

__all__ = ["plan_comment"]


def plan_comment(
    client: Client,
    runs: Iterable[int | RunRange] = (),
    text: str = "",
    *,
    experiment: str | None = None,
) -> Edit:
    """Plan to set the comment of runs or of an experiment, of all or none.

    Args:
        client: client to use.
        runs: ids of runs, and ranges of ids.
        text: the comment; an empty text (default) removes it.
        experiment: name or id of an experiment to comment on, instead of runs.

    Returns:
        The changes, for `sqltrack.commands.edits.apply_edit`.

    Raises:
        NotFoundError: the run or experiment does not exist.
        UnusableValueError: (a ValueError) the text cannot be stored.
    """
    named = list(runs)
    if bool(named) == (experiment is not None):
        raise UnusableValueError("a comment belongs to runs or to an experiment", "name one of them")
    new = check_text(text, "a comment", may_be_empty=True) or None

    def find(connection: Any) -> list[Change]:
        kind = "run" if experiment is None else "experiment"
        chosen = find_runs(connection, named) if experiment is None else [find_experiment(connection, experiment)]
        old = _comments(connection, f"{kind}s", chosen)
        return [Change(kind, id_, "comment", old[id_], new) for id_ in chosen if old[id_] != new]

    def make(client: Client, changes: Sequence[Change]) -> None:
        for change in changes:
            assert change.id is not None
            set_comment = run_set_comment if change.kind == "run" else experiment_set_comment
            set_comment(client, change.id, new)

    return plan_edit(client, find, make)


def _comments(connection: Any, table: str, ids: Sequence[int]) -> dict[int, Any]:
    comments: dict[int, Any] = {}
    for batch in batches(ids):
        sql = f"SELECT id, comment FROM {table} WHERE id IN ({placeholders(len(batch))})"
        comments.update((row["id"], row["comment"]) for row in fetch(connection, sql, batch))
    return comments
