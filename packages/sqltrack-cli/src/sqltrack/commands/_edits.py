"""What the commands have in common that mend the history: say what would change, ask, and do all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._records import batches, find_runs, reading
from sqltrack.engines.admin import admin_of
from sqltrack.engines.json import is_storable_text
from sqltrack.errors import ConflictError, NotSetUpError, UnusableValueError

__all__ = ["Change", "changing", "check_runs", "check_text", "edit", "lock_rows"]


class Change(NamedTuple):
    """A change of one thing.

    Attributes:
        kind: "run" or "experiment".
        id: its id, None if it has yet to be created.
        field: what of it changes.
        old: what that is, None if there is nothing.
        new: what it becomes, None if nothing remains.
    """

    kind: str
    id: int | None
    field: str
    old: Any
    new: Any


def edit(
    client: Client,
    find: Callable[[Any], list[Change]],
    apply: Callable[[Sequence[Change]], None],
    *,
    dry_run: bool,
    agree: Callable[[Sequence[Change]], bool] | None,
) -> list[Change]:
    """Make changes in one transaction, if there are any, and whoever is asked agrees.

    Nothing is locked while somebody is thinking. If something else than what was agreed to would have to be changed
    afterwards, because others have changed it in the meantime, nothing is.

    Args:
        client: client to use.
        find: returns what has to be changed, as a connection shows it.
        apply: makes changes, in the open transaction.
        dry_run: whether to change nothing.
        agree: is asked whether to make the changes; default: nobody is.

    Returns:
        The changes made, or that would be made if this were no dry run; none if there was no agreement.

    Raises:
        ConflictError: somebody else has changed the same in the meantime.
    """
    with reading(client) as connection:
        changes = find(connection)
    if dry_run or not changes:
        return changes
    if agree is not None and not agree(changes):
        return []
    with changing(client) as connection:
        for kind in ("experiment", "run"):
            lock_rows(client, connection, f"{kind}s", [item.id for item in changes if item.kind == kind and item.id])
        agreed, changes = changes, find(connection)
        if changes != agreed and agree is not None:
            raise ConflictError("somebody else has changed the same in the meantime", "nothing was changed, look again")
        apply(changes)
    return changes


@contextmanager
def changing(client: Client) -> Iterator[Any]:
    """Return a connection for one transaction, which Ctrl-C ends without a trace.

    Raises:
        NotSetUpError: there is no database; it is not created.
        DatabaseError: the database refused a statement.
    """
    if not client.engine.exists():
        raise NotSetUpError(f"{client.engine.describe()} does not exist")
    try:
        with client as connection, admin_of(client.engine, connection).interruptible():
            yield connection
    except client.engine.driver_error as error:
        raise client.engine.translate_error(error) from error


def lock_rows(
    client: Client, connection: Any, table: str, ids: Iterable[int | None], *, for_deletion: bool = False
) -> None:
    """Keep others from changing rows until the end of the transaction."""
    found = sorted({id_ for id_ in ids if id_ is not None})
    client.engine.lock_rows(connection, table, found, for_deletion=for_deletion)


def check_runs(connection: Any, run_ids: Iterable[int]) -> list[int]:
    """Return ids of runs, each once, after making sure that the runs exist.

    Raises:
        NotFoundError: one does not.
    """
    ids = list(dict.fromkeys(run_ids))
    for batch in batches(ids):
        storable = [run_id for run_id in batch if -(2**63) <= run_id < 2**63]
        places = ", ".join(["%s"] * len(storable)) or "NULL"
        sql = f"SELECT id FROM runs WHERE id IN ({places})"
        rows = connection.execute(sql, tuple(storable)).fetchall() if storable else []
        known = {row[0] for row in rows}
        # One that is missing is named, with the nearest.
        find_runs(connection, [run_id for run_id in batch if run_id not in known][:1])
    return ids


def check_text(text: str, what: str, *, may_be_empty: bool = False) -> str:
    """Return a text, after making sure that it can be stored.

    Raises:
        UnusableValueError: (a ValueError) it is empty, or holds what the databases cannot store.
    """
    if not (text.strip() or may_be_empty):
        raise UnusableValueError(f"{what} must not be empty, got {text!r}")
    if "\0" in text or not is_storable_text(text):
        raise UnusableValueError(f"{what} must be text without NUL and lone surrogates, got {text!r}")
    return text
