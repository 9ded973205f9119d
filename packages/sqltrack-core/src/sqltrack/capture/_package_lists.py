"""Store lists of packages once for all runs of an environment, and read them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqltrack._arguments import as_client, as_row_id
from sqltrack.engines.json import Jsonb
from sqltrack.errors import MissingRunError, SQLTrackError

if TYPE_CHECKING:
    from sqltrack.client import Client
    from sqltrack.engines.engine import Engine

__all__ = ["TABLE", "known_hash", "packages_of_run", "packages_with_hash", "share_packages"]

#: The table of the lists.
TABLE = "captured_packages"

# Lists that this process has stored, or found, by database and hash.
_known: set[tuple[str, str]] = set()


def share_packages(client: Client, packages: Mapping[str, str], limits: Mapping[str, Any]) -> str | None:
    """Store a list of packages unless the database has it, and return its hash.

    Args:
        client: client to use, outside of a `with` block.
        packages: versions by name.
        limits: those of `Session.call`.

    Returns:
        None if the list cannot be stored, because this user may not create the table, for example.
    """
    key = _key(client, packages)
    if key not in _known:
        if not _store(client, key[1], packages, limits):
            return None
        _known.add(key)
    return key[1]


def known_hash(client: Client, packages: Mapping[str, str]) -> str | None:
    """Return the hash of a list of packages if this process knows that the database has it, otherwise None."""
    key = _key(client, packages)
    return key[1] if key in _known else None


def _key(client: Client, packages: Mapping[str, str]) -> tuple[str, str]:
    text = json.dumps(dict(packages), sort_keys=True, separators=(",", ":"))
    return client.engine.describe(), hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def _store(client: Client, digest: str, packages: Mapping[str, str], limits: Mapping[str, Any]) -> bool:
    session = client._session
    sql = f"INSERT INTO {TABLE} (hash, packages) VALUES (%s, %s) ON CONFLICT (hash) DO NOTHING"
    parameters = (digest, Jsonb(dict(packages)))

    def insert() -> None:
        session.call(lambda connection: connection.execute(sql, parameters), **limits)

    if not session.ask(lambda connection: bool(client.engine.table_columns(connection, TABLE))):
        from sqltrack.commands.setup import create_table_once

        try:
            create_table_once(client, TABLE)
        except SQLTrackError:
            return False
    try:
        session.perform(insert)
    except SQLTrackError:
        return False
    return True


def packages_of_run(client: Client, run_id: int) -> dict[str, str] | None:
    """Do the work of `sqltrack.capture.read_packages`."""
    run_id = as_row_id(run_id, "run_id")
    sql = "SELECT extras FROM runs WHERE id = %s"
    rows = as_client(client)._session.ask(lambda connection: connection.execute(sql, (run_id,)).fetchall())
    if not rows:
        raise MissingRunError(run_id)
    extras = rows[0][0]
    captured = extras.get("capture") if isinstance(extras, dict) else None
    found = captured.get("packages") if isinstance(captured, dict) else None
    if not isinstance(found, str):
        return found if isinstance(found, dict) else None
    return client._session.ask(lambda connection: packages_with_hash(client.engine, connection, found))


def packages_with_hash(engine: Engine, connection: Any, digest: str) -> dict[str, str] | None:
    """Return the list of packages with a hash, None if the database does not have it.

    Args:
        engine: engine of the connection.
        connection: the connection.
        digest: the hash.
    """
    if not engine.table_columns(connection, TABLE):
        return None
    rows = connection.execute(f"SELECT packages FROM {TABLE} WHERE hash = %s", (digest,)).fetchall()
    found = rows[0][0] if rows else None
    return found if isinstance(found, dict) else None
