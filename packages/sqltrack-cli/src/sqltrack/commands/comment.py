"""Set the comment of runs or of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqltrack.client import Client
from sqltrack.commands._edits import Change, check_runs, check_text, edit
from sqltrack.commands._records import batches, fetch, find_experiment
from sqltrack.errors import UnusableValueError
from sqltrack.experiment import experiment_set_comment
from sqltrack.run_functions import run_set_comment

__all__ = ["comment"]


def comment(
    client: Client,
    run_ids: Iterable[int] = (),
    text: str = "",
    *,
    experiment: str | None = None,
    dry_run: bool = False,
    agree: Callable[[Sequence[Change]], bool] | None = None,
) -> list[Change]:
    """Set the comment of runs, or of an experiment, of all or none.

    Args:
        client: client to use.
        run_ids: ids of runs.
        text: the comment; an empty one (default) removes what there is.
        experiment: name or id of an experiment whose own comment is meant; then there are no runs.
        dry_run: whether to change nothing.
        agree: is asked whether to make the changes; default: nobody is.

    Returns:
        The changes; see `sqltrack.commands._edits.edit`.

    Raises:
        NotFoundError: there is no such run or experiment.
        UnusableValueError: (a ValueError) the text cannot be stored.
    """
    ids = list(run_ids)
    if bool(ids) == (experiment is not None):
        raise UnusableValueError("a comment belongs to runs or to an experiment", "name either")
    new = check_text(text, "a comment", may_be_empty=True) or None

    def find(connection: Any) -> list[Change]:
        kind = "run" if experiment is None else "experiment"
        chosen = check_runs(connection, ids) if experiment is None else [find_experiment(connection, experiment)]
        old = _comments(connection, f"{kind}s", chosen)
        return [Change(kind, id_, "comment", old[id_], new) for id_ in chosen if old[id_] != new]

    def apply(changes: Sequence[Change]) -> None:
        for change in changes:
            assert change.id is not None
            set_comment = run_set_comment if change.kind == "run" else experiment_set_comment
            set_comment(client, change.id, new)

    return edit(client, find, apply, dry_run=dry_run, agree=agree)


def _comments(connection: Any, table: str, ids: Sequence[int]) -> dict[int, Any]:
    comments: dict[int, Any] = {}
    for batch in batches(ids):
        sql = f"SELECT id, comment FROM {table} WHERE id IN ({', '.join(['%s'] * len(batch))})"
        comments.update((row["id"], row["comment"]) for row in fetch(connection, sql, batch))
    return comments
