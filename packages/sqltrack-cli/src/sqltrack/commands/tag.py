"""Add or remove tags of runs or of an experiment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqltrack.client import Client
from sqltrack.commands._lookup import check_text, find_experiment, find_runs
from sqltrack.commands._rows import batches, fetch
from sqltrack.commands.edits import Change, Edit, plan_edit
from sqltrack.commands.run_ranges import RunRange
from sqltrack.engines.json import Jsonb, escape_text
from sqltrack.errors import UnusableValueError
from sqltrack.experiment import experiment_add_tags, experiment_remove_tags
from sqltrack.util import placeholders

__all__ = ["plan_tag"]


def plan_tag(
    client: Client,
    runs: Iterable[int | RunRange] = (),
    *,
    experiment: str | None = None,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
) -> Edit:
    """Plan to add and remove tags of runs or of an experiment; everything or nothing.

    Args:
        client: client to use.
        runs: ids of runs, and ranges of ids.
        experiment: name or id of an experiment to tag, instead of runs.
        add: tags to add; existing tags are not an error.
        remove: tags to remove; missing tags are not an error.

    Returns:
        The changes, with sorted lists of tags, for `sqltrack.commands.edits.apply_edit`.

    Raises:
        NotFoundError: the run or experiment does not exist.
        UnusableValueError: (a ValueError) no tag is given, or a tag is given to be both added and removed.
    """
    named = list(runs)
    _check(named, experiment, add, remove)

    def find(connection: Any) -> list[Change]:
        kind = "run" if experiment is None else "experiment"
        chosen = find_runs(connection, named) if experiment is None else [find_experiment(connection, experiment)]
        rows = _tags(connection, f"{kind}s", chosen)
        return [change for id_ in chosen if (change := _change(kind, id_, rows[id_], add, remove)) is not None]

    def make(client: Client, changes: Sequence[Change]) -> None:
        if experiment is None:
            _tag_runs(client, [change.id for change in changes], add, remove)
            return
        for change in changes:
            assert change.id is not None
            if remove:
                experiment_remove_tags(client, change.id, *remove)
            if add:
                experiment_add_tags(client, change.id, *add)

    return plan_edit(client, find, make)


def _check(runs: Sequence[object], experiment: str | None, add: Sequence[str], remove: Sequence[str]) -> None:
    if bool(runs) == (experiment is not None):
        raise UnusableValueError("tags belong to runs or to an experiment", "name one of them")
    if not add and not remove:
        raise UnusableValueError("expected tags to add or remove")
    for name in (*add, *remove):
        check_text(name, "a tag")
    both = [name for name in add if name in remove]
    if both:
        raise UnusableValueError(f"tag {both[0]!r} cannot be both added and removed")


def _tag_runs(client: Client, ids: Sequence[int | None], add: Sequence[str], remove: Sequence[str]) -> None:
    """Add and remove tags with one statement for many runs."""
    engine = client.engine
    added, removed = Jsonb(dict.fromkeys(add, True)), Jsonb([escape_text(name) for name in remove])
    changes = [(engine.remove_keys_sql("tags"), removed)] if remove else []
    changes += [(engine.merge_json_sql("tags"), added)] if add else []
    for batch in batches(ids):
        for expression, value in changes:
            sql = f"UPDATE runs SET tags = {expression} WHERE id IN ({placeholders(len(batch))})"
            client.execute(sql, (value, *batch))


def _tags(connection: Any, table: str, ids: Sequence[int]) -> dict[int, Any]:
    tags: dict[int, Any] = {}
    for batch in batches(ids):
        sql = f"SELECT id, tags FROM {table} WHERE id IN ({placeholders(len(batch))})"
        tags.update((row["id"], row["tags"]) for row in fetch(connection, sql, batch))
    return tags


def _change(kind: str, id_: int, tags: Any, add: Sequence[str], remove: Sequence[str]) -> Change | None:
    old = set(tags or {})
    new = (old - set(remove)) | set(add)
    # A script may have given a tag of the same name another value.
    same = old == new and all(tags[name] is True for name in add)
    return None if same else Change(kind, id_, "tags", sorted(old), sorted(new))
