"""Write single rows of experiments and runs, and the links between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqltrack._creation import find_experiment
from sqltrack.engines.json import Jsonb
from sqltrack.engines.schema import CAPTURE
from sqltrack.errors import ConflictError, MissingExperimentError, MissingRunError

if TYPE_CHECKING:
    from sqltrack._sessions import Session

__all__ = ["RowWriter"]

_MISSING: Mapping[str, Callable[[int, str], Exception]] = {
    "experiments": MissingExperimentError,
    "runs": MissingRunError,
}

_NO_LIMITS: Mapping[str, Any] = MappingProxyType({})


class RowWriter:
    """Writes rows of the tables that describe experiments and runs.

    The methods take values that were checked already, and run as part of `Session.submit`.

    Args:
        session: runs the statements.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def set_columns(
        self, table: str, row_id: int, values: Mapping[str, Any], limits: Mapping[str, Any] = _NO_LIMITS
    ) -> None:
        """Set columns of a row with one statement.

        Args:
            table: the table.
            row_id: id of the row.
            values: the values to bind, by column.
            limits: those of `Session.call`.

        Raises:
            MissingExperimentError, MissingRunError: the row does not exist.
        """
        if table == "runs" and "extras" in values:
            with self._session.transaction():
                kept = self._with_capture(row_id, values)
                self._set(table, row_id, kept, limits)
        else:
            self._set(table, row_id, values, limits)

    def _set(self, table: str, row_id: int, values: Mapping[str, Any], limits: Mapping[str, Any]) -> None:
        assignments = ", ".join(f"{column} = %s" for column in values)
        self._update(table, row_id, assignments, list(values.values()), limits)

    def _with_capture(self, run_id: int, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return values for a run whose new extras keep the captured context, which a thread may be storing."""

        def read(connection: Any) -> Any:
            self._session.engine.lock_rows(connection, "runs", [run_id])
            return connection.execute("SELECT extras FROM runs WHERE id = %s", (run_id,)).fetchone()

        row = self._session.call(read)
        old = row[0] if row is not None else None
        if not isinstance(old, dict) or CAPTURE not in old:
            return values
        new = values["extras"]
        return {**values, "extras": Jsonb({CAPTURE: old[CAPTURE], **({} if new is None else new.obj)})}

    def set_name(self, table: str, experiment_id: int, name: str) -> None:
        """Rename an experiment.

        Args:
            table: the table of experiments.
            experiment_id: id of the experiment.
            name: its new name.

        Raises:
            ConflictError: another experiment has this name.
            MissingExperimentError: the experiment does not exist.
        """
        other = self._session.call(lambda connection: find_experiment(connection, name))
        if other is not None and other != experiment_id:
            raise ConflictError(f"experiment {other!r} is called {name!r} already")
        self.set_columns(table, experiment_id, {"name": name})

    def merge_json(
        self, table: str, row_id: int, column: str, items: Jsonb, limits: Mapping[str, Any] = _NO_LIMITS
    ) -> None:
        """Add keys to a JSON column of a row, or replace them; `limits` are those of `Session.call`."""
        self._update(table, row_id, f"{column} = {self._session.engine.merge_json_sql(column)}", [items], limits)

    def remove_keys(self, table: str, row_id: int, column: str, keys: Jsonb) -> None:
        """Remove keys from a JSON column of a row; keys that it does not have are ignored."""
        self._update(table, row_id, f"{column} = {self._session.engine.remove_keys_sql(column)}", [keys])

    def add_link(self, table: str, from_id: int, kind: str, to_id: int) -> None:
        """Add a link to a table of links; does nothing if the link exists.

        Raises:
            MissingExperimentError, MissingRunError: one end does not exist.
        """
        target = table.removesuffix("_links") + "s"
        sql = f"INSERT INTO {table} (from_id, kind, to_id) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"

        def insert(connection: Any) -> None:
            for row_id in (from_id, to_id):
                if not connection.execute(f"SELECT id FROM {target} WHERE id = %s", (row_id,)).fetchall():
                    raise _MISSING[target](row_id, "a link needs both of its ends")
            connection.execute(sql, (from_id, kind, to_id))

        self._session.call(insert)

    def remove_link(self, table: str, from_id: int, kind: str, to_id: int) -> None:
        """Remove a link from a table of links; does nothing if the link does not exist."""
        sql = f"DELETE FROM {table} WHERE from_id = %s AND kind = %s AND to_id = %s"
        self._session.call(lambda connection: connection.execute(sql, (from_id, kind, to_id)))

    def _update(
        self,
        table: str,
        row_id: int,
        assignments: str,
        parameters: Sequence[Any],
        limits: Mapping[str, Any] = _NO_LIMITS,
    ) -> None:
        sql = f"UPDATE {table} SET {assignments} WHERE id = %s"
        cursor = self._session.call(lambda connection: connection.execute(sql, (*parameters, row_id)), **limits)
        if cursor.rowcount == 0:
            raise _MISSING[table](row_id, "it may have been deleted")
