"""Warn of metrics that are not stored as expected, once for each name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqltrack._logging import get_logger, has_ended
from sqltrack._metric_columns import MetricColumns
from sqltrack.engines._spelling import quote
from sqltrack.engines.schema import EXTRAS
from sqltrack.errors import SQLTrackError

__all__ = ["MetricWarnings"]

# Number of names in a warning.
_MAX_NAMED = 3

# A call with more new metrics is not checked for misspelled names: these are a family, or use a schema of their own.
_MAX_SLIPS = 10


class MetricWarnings:
    """Logs warnings about a client's metrics, and remembers them.

    Args:
        columns: the columns of the metrics table.
        told: gets the names of metrics that this client has warned of, default None; see `share`.

    Attributes:
        is_silent: whether warnings are not logged, default False.
    """

    def __init__(self, columns: MetricColumns, told: set[str] | None = None) -> None:
        self.is_silent: bool = False
        self._columns = columns
        self._warned: set[str] = set()
        self._told = told
        self._has_warned_of_pending = False

    def warn(self, names: Iterable[str], why: str) -> None:
        """Warn of metrics that stay in extras, once for each name."""
        new = [name for name in names if name not in self._warned]
        self._warned.update(new)
        if self._told is not None:
            self._told.update(new)
        if not new or self.is_silent:
            return
        named = ", ".join(map(quote, new[:_MAX_NAMED]))
        if len(new) > _MAX_NAMED:
            named = f"{named} and {len(new) - _MAX_NAMED:,} more"
        subject = f"metrics {named} are" if len(new) > 1 else f"metric {named} is"
        get_logger("metrics").warning("%s stored in the column metrics.extras: %s", subject, why)

    def share(self, told: set[str]) -> None:
        """Do not warn of metrics that other clients have warned of."""
        self._warned = told

    def warn_of_pending(self, error: SQLTrackError, where: str) -> None:
        """Warn once of pending metrics that could not be moved."""
        if not (self._has_warned_of_pending or self.is_silent):
            self._has_warned_of_pending = True
            get_logger("metrics").warning("metrics wait %s: %s", where, error)

    def find_reasons(
        self, types: Mapping[str, type], later: Collection[str], misfits: Collection[str]
    ) -> list[tuple[Sequence[str], str]]:
        """Return the metrics to warn of, with the reasons why they stay in extras.

        Args:
            types: types of the values of the metrics that go to extras, by name.
            later: metrics that can have columns, once these can be added.
            misfits: metrics with values that do not fit their columns.
        """
        if has_ended():
            return []
        from sqltrack._extras_reasons import reason_for_extras

        columns = self._columns
        names_by_reason: dict[str, list[str]] = {}
        for name, typ in types.items():
            if name not in later and name not in self._warned:
                reason = reason_for_extras(
                    name,
                    typ,
                    columns=columns.known,
                    table=columns.table,
                    map_type=columns.map_type,
                    is_misfit=name in misfits,
                )
                names_by_reason.setdefault(reason, []).append(name)
        reasons: list[tuple[Sequence[str], str]] = [(names, reason) for reason, names in names_by_reason.items()]
        if not columns.may_grow:
            denied = [name for name in types if name in later]
            reasons.append((denied, "this user may not add columns (sqltrack tidy, executed by the owner, does)"))
        return reasons

    def warn_of_slips(self, added: Iterable[str], others: Sequence[str]) -> None:
        """Warn of new columns whose names look like misspellings of metrics that are not logged with them.

        Args:
            added: metrics for which columns were to be added.
            others: metrics that already had columns, and are not logged with these.
        """
        new = [name for name in added if name in self._columns.known and name != EXTRAS]
        if self.is_silent or not new or not others or len(new) > _MAX_SLIPS or has_ended():
            return
        from sqltrack._similar_names import similar_name

        for name in new:
            meant = similar_name(name, others)
            if meant is not None:
                import shlex

                get_logger("metrics").warning(
                    "new metric %s, similar to %s; if it is a typo: sqltrack rename-metric %s %s --merge",
                    *(quote(name), quote(meant), shlex.quote(name), shlex.quote(meant)),
                )
