"""Add or remove links between runs or experiments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqltrack.client import Client
from sqltrack.commands._lookup import check_text, find_experiment, find_runs, require_runs
from sqltrack.commands._rows import batches, fetch
from sqltrack.commands.edits import Change, Edit, plan_edit
from sqltrack.commands.run_ranges import RunRange, names_runs
from sqltrack.errors import NotFoundError, UnusableValueError
from sqltrack.experiment import experiment_add_link, experiment_remove_link
from sqltrack.run_functions import run_add_link, run_remove_link
from sqltrack.util import placeholders

__all__ = ["plan_link", "plan_links"]


def plan_link(
    client: Client,
    from_: int | str,
    kind: str,
    to: int | str,
    *,
    experiments: bool = False,
    remove: bool = False,
) -> Edit:
    """Plan to add a link between two runs or experiments, or to remove one.

    Args:
        client: client to use.
        from_: id of the run, or name or id of the experiment, where the link starts.
        kind: meaning of the link, such as "resumes".
        to: id of the run, or name or id of the experiment, where the link ends.
        experiments: whether to link experiments instead of runs.
        remove: whether to remove the link instead of adding it.

    Returns:
        The change of the run or experiment where the link starts, for `sqltrack.commands.edits.apply_edit`.

    Raises:
        NotFoundError: the run or experiment does not exist, or the link to remove.
        UnusableValueError: (a ValueError) the kind is empty, or both ends of the link are the same.
    """
    check_text(kind, "the kind of a link")
    what = "experiment" if experiments else "run"

    def find(connection: Any) -> list[Change]:
        from_id, to_id = (_find(connection, what, end) for end in (from_, to))
        text = f"{kind} {to_id}"
        exists = _exists(connection, what, from_id, kind, to_id)
        if remove:
            if not exists:
                raise _missing(connection, what, from_id, kind, to_id)
            return [Change(what, from_id, "link", text, None)]
        if from_id == to_id:
            raise UnusableValueError(f"{what} {from_id!r} cannot be linked with itself")
        return [] if exists else [Change(what, from_id, "link", None, text)]

    def make(client: Client, changes: Sequence[Change]) -> None:
        with client as connection:
            to_id = _find(connection, what, to)
        for change in changes:
            assert change.id is not None
            if experiments:
                (experiment_remove_link if remove else experiment_add_link)(client, change.id, kind, to_id)
            else:
                (run_remove_link if remove else run_add_link)(client, change.id, kind, to_id)

    return plan_edit(client, find, make)


def plan_links(client: Client, runs: Iterable[int | RunRange], kind: str, to: int, *, remove: bool = False) -> Edit:
    """Plan to add links from runs to one run, or to remove them; all or none.

    Args:
        client: client to use.
        runs: ids of the runs where the links start, and ranges of ids.
        kind: meaning of the links, such as "resumes".
        to: id of the run where they end.
        remove: whether to remove the links instead of adding them; runs without the link are not an error.

    Returns:
        The changes of the runs where the links start, for `sqltrack.commands.edits.apply_edit`.

    Raises:
        NotFoundError: a run does not exist.
        UnusableValueError: (a ValueError) no runs are given, the kind is empty, or a run would be linked with itself.
    """
    named = list(runs)
    if not named:
        raise UnusableValueError("there are no runs to link")
    check_text(kind, "the kind of a link")

    def find(connection: Any) -> list[Change]:
        chosen = find_runs(connection, named)
        require_runs(connection, [to])
        linked = set[int]()
        for batch in batches(chosen):
            among = placeholders(len(batch))
            sql = f"SELECT from_id FROM run_links WHERE kind = %s AND to_id = %s AND from_id IN ({among})"
            linked.update(row["from_id"] for row in fetch(connection, sql, (kind, to, *batch)))
        text = f"{kind} {to}"
        if remove:
            return [Change("run", id_, "link", text, None) for id_ in chosen if id_ in linked]
        if to in chosen:
            raise UnusableValueError(f"run {to!r} cannot be linked with itself")
        return [Change("run", id_, "link", None, text) for id_ in chosen if id_ not in linked]

    def make(client: Client, changes: Sequence[Change]) -> None:
        for change in changes:
            assert change.id is not None
            (run_remove_link if remove else run_add_link)(client, change.id, kind, to)

    return plan_edit(client, find, make)


def _find(connection: Any, what: str, end: int | str) -> int:
    if what == "experiment":
        return find_experiment(connection, str(end))
    try:
        run_id = int(end)
    except ValueError:
        if names_runs(str(end)):
            raise UnusableValueError(f"a link connects two runs, got {end!r}", "add a link for each") from None
        raise UnusableValueError(
            f"expected the id of a run, got {end!r} (use --experiments to link experiments)"
        ) from None
    require_runs(connection, [run_id])
    return run_id


def _exists(connection: Any, what: str, from_id: int, kind: str, to_id: int) -> bool:
    sql = f"SELECT kind FROM {what}_links WHERE from_id = %s AND kind = %s AND to_id = %s"
    return bool(fetch(connection, sql, (from_id, kind, to_id)))


def _missing(connection: Any, what: str, from_id: int, kind: str, to_id: int) -> NotFoundError:
    sql = f"SELECT kind, to_id FROM {what}_links WHERE from_id = %s ORDER BY to_id <> %s, to_id, kind LIMIT 3"
    links = [f"{row['kind']} {row['to_id']}" for row in fetch(connection, sql, (from_id, to_id))]
    others = f"there are {', '.join(map(repr, links))}" if links else "it has none"
    return NotFoundError(f"{what} {from_id!r} has no link {f'{kind} {to_id}'!r}", others)
