"""Which value of a metric stands for a run: the best, the last, the mean, or that where another metric is best."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqltrack.commands._points import Chunk
from sqltrack.ui.queries._columns import Column, best_column, parse_column
from sqltrack.ui.queries._errors import QueryError
from sqltrack.ui.queries._values import is_number

__all__ = ["Kind", "means", "parse_kind", "values_at"]


class Kind(NamedTuple):
    """A kind of value.

    Attributes:
        how: "best" (max or min, as the name of the metric suggests), "max", "min", "last", "mean" or "at".
        by: for "at", the metric whose best step counts.
        direction: for "at", "max" or "min".
    """

    how: str
    by: str = ""
    direction: str = ""

    def column(self, metric: str) -> Column:
        """Return the column that shows a metric by this kind of value."""
        if self.how == "best":
            return best_column(metric)
        if self.how == "at":
            return Column(("metric", "at", self.by, self.direction, metric))
        return Column(("metric", self.how, metric))


def parse_kind(value: Any) -> Kind:
    """Return the kind for its JSON: a text, or `["at", METRIC, "max"]` (or "min"); None stands for "best".

    Raises:
        QueryError: it is not a kind.
    """
    if value is None or value == "best":
        return Kind("best")
    parts = value if isinstance(value, list) and value[:1] == ["at"] else [value]
    try:
        _, *path = parse_column(["metric", *parts, "x"]).path[:-1]
    except QueryError:
        raise QueryError(
            f"value must be 'best', 'max', 'min', 'last', 'mean' or ['at', METRIC, 'max' or 'min'], got {value!r}"
        ) from None
    return Kind(*path)


def means(chunks: Iterable[Chunk]) -> dict[str, float]:
    """Return the mean of each metric with numbers; NaN does not count."""
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for chunk in chunks:
        for name, values in chunk.values.items():
            numbers = [float(value) for value in values if is_number(value) and value == value]
            if numbers:
                sums[name] = sums.get(name, 0.0) + sum(numbers)
                counts[name] = counts.get(name, 0) + len(numbers)
    return {name: sums[name] / counts[name] for name in sums}


def values_at(chunks: Iterable[Chunk], kind: Kind) -> dict[str, Any]:
    """Return the values of all metrics in the first row where the metric of a kind "at" is best, empty without one."""
    sign = 1.0 if kind.direction == "max" else -1.0
    best: float | None = None
    found: dict[str, Any] = {}
    for chunk in chunks:
        for index, value in enumerate(chunk.values.get(kind.by, ())):
            if is_number(value) and value == value and (best is None or sign * float(value) > best):
                best = sign * float(value)
                found = {name: values[index] for name, values in chunk.values.items()}
    return {name: value for name, value in found.items() if value is not None}
