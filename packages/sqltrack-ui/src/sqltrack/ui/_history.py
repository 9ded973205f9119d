"""The queries that the user has run in the page, in the user's own file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from sqltrack._masking import masked_text
from sqltrack.client import Client
from sqltrack.ui._errors import RequestError
from sqltrack.ui._state_files import TABLE, StateFile, digest, user_name

__all__ = ["History"]

_PAGE = "history of queries"
_SHOWN, _KEPT = 200, 1_000
_LONGEST = 200_000
_UPSERT = f"""
INSERT INTO {TABLE} (id, page, name, owner, state, time_updated) VALUES (%s, %s, NULL, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, time_updated = excluded.time_updated
"""
_PRUNE = f"""
DELETE FROM {TABLE} WHERE page = %s AND id NOT IN (
    SELECT id FROM {TABLE} WHERE page = %s ORDER BY time_updated DESC LIMIT {_KEPT}
)
"""
_LIST = f"SELECT id, state, time_updated FROM {TABLE} WHERE page = %s ORDER BY time_updated DESC LIMIT {_SHOWN}"


class History:
    """The queries that the user has run on one database, each once.

    Queries that contain a password are not kept.

    Args:
        client: the database.
    """

    def __init__(self, client: Client) -> None:
        self._file = StateFile(client)

    def queries(self) -> list[dict[str, Any]]:
        """Return the last 200 queries, the newest first: dicts with id, sql, rows, seconds, failed and time."""
        return [{"id": id_, **json.loads(state), "time": time} for id_, state, time in self._file.read(_LIST, (_PAGE,))]

    def add(self, entry: Mapping[str, Any]) -> None:
        """Remember a query.

        Args:
            entry: sql, the query; and the outcome of its last run, if known: rows, seconds and failed.
        """
        sql = entry.get("sql")
        if not isinstance(sql, str) or not sql.strip() or len(sql) > _LONGEST:
            raise RequestError(f"sql must be a text of 1 to {_LONGEST:,} characters")
        text = sql.strip()
        if masked_text(text) != text:
            return
        state = {"sql": text, **{name: entry.get(name) for name in ("rows", "seconds", "failed")}}
        with self._file.writing() as client, client:
            row = (f"h_{digest(text)}", _PAGE, user_name(), json.dumps(state), datetime.now(timezone.utc))
            client.execute(_UPSERT, row)
            client.execute(_PRUNE, (_PAGE, _PAGE))

    def forget(self, id_: str | None = None) -> None:
        """Forget a query, or all."""
        if not self._file.exists():
            return
        condition, parameters = ("", ()) if id_ is None else (" AND id = %s", (id_,))
        with self._file.writing() as client:
            client.execute(f"DELETE FROM {TABLE} WHERE page = %s{condition}", (_PAGE, *parameters))
