"""Correlate ranks: how far one value grows with another, whatever the scale of both."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqltrack.ui.queries._values import is_number

__all__ = ["Correlation", "as_finite", "average_ranks", "rank_correlation"]

# Fewer pairs always lie on a line.
_FEWEST = 3
# Standard deviations that 95 % of the correlations of unrelated values stay within.
_CHANCE = 1.96


class Correlation(NamedTuple):
    """Spearman's rank correlation.

    Attributes:
        rho: the coefficient, from -1 to 1; None for fewer than three pairs, and if all values of a side are equal.
        n: number of pairs of finite numbers.
    """

    rho: float | None
    n: int

    @property
    def is_clear(self) -> bool:
        """Whether unrelated values would give such a coefficient in less than about 5 % of the cases."""
        return self.rho is not None and abs(self.rho) * math.sqrt(self.n - 1) > _CHANCE


def rank_correlation(pairs: Iterable[tuple[Any, Any]]) -> Correlation:
    """Return Spearman's rank correlation of pairs; true counts as 1, and only pairs of finite numbers count."""
    found = ((as_finite(x), as_finite(y)) for x, y in pairs)
    known = [(x, y) for x, y in found if x is not None and y is not None]
    if len(known) < _FEWEST:
        return Correlation(None, len(known))
    ranks = [average_ranks(side) for side in zip(*known)]
    if any(len(set(side)) == 1 for side in ranks):
        return Correlation(None, len(known))
    rho = statistics.correlation(*ranks)
    return Correlation(max(-1.0, min(1.0, rho)), len(known))


def average_ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, from 0; equal values share the mean of their ranks."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    for _, tied in itertools.groupby(enumerate(order), key=lambda item: values[item[1]]):
        places, indexes = zip(*tied)
        for index in indexes:
            ranks[index] = (places[0] + places[-1]) / 2
    return ranks


def as_finite(value: Any) -> float | None:
    """Return a finite number as a float, None for any other value."""
    if not isinstance(value, bool) and not is_number(value):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
