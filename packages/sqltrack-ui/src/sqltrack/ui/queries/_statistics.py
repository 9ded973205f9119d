"""Mean and spread of a few numbers, such as the results of runs with different seeds."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import NamedTuple

from sqltrack._student import student_quantile

__all__ = ["BANDS", "Spread", "spread_of"]

#: The kinds of bands: standard deviation, standard error, 95 % confidence interval of the mean, extremes.
BANDS = ("std", "sem", "ci", "minmax")

# The squares of larger numbers may overflow.
_LARGE = 1e150


class Spread(NamedTuple):
    """Mean and spread of finite numbers.

    Attributes:
        n: how many.
        mean: their mean.
        std: standard deviation of the sample, None for a single number.
        min: the smallest.
        max: the largest.
    """

    n: int
    mean: float
    std: float | None
    min: float
    max: float

    @property
    def sem(self) -> float | None:
        """Standard error of the mean, None for a single number."""
        return None if self.std is None else self.std / math.sqrt(self.n)

    @property
    def ci(self) -> float | None:
        """Half the width of the 95 % confidence interval of the mean by Student's t, None for a single number."""
        return None if self.sem is None else student_quantile(self.n - 1) * self.sem

    def edges(self, band: str) -> tuple[float, float]:
        """Return the ends of a band, which is as narrow as the mean for a single number."""
        if band == "minmax":
            return self.min, self.max
        half = {"std": self.std, "sem": self.sem, "ci": self.ci}[band] or 0.0
        return _clamped(self.mean - half), _clamped(self.mean + half)


def spread_of(values: Sequence[float]) -> Spread:
    """Return mean and spread of at least one finite number."""
    n, low, high = len(values), min(values), max(values)
    largest = max(-low, high)
    if largest > _LARGE:
        small = spread_of([value / largest for value in values])
        std = None if small.std is None else _clamped(small.std * largest)
        return Spread(n, small.mean * largest, std, low, high)
    mean = math.fsum(values) / n
    std = None if n < 2 else math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return Spread(n, mean, std, low, high)


def _clamped(value: float) -> float:
    """Return the largest float instead of an infinity, which JSON does not have."""
    return min(max(value, -sys.float_info.max), sys.float_info.max)
