"""Quantiles of Student's distribution, for confidence intervals of means."""

from __future__ import annotations

import math
from functools import lru_cache

__all__ = ["student_quantile"]

_CONFIDENCE = 0.95


@lru_cache(maxsize=4096)
def student_quantile(freedom: int) -> float:
    """Return the t that a variable of Student's distribution exceeds in absolute value in 5 % of all cases.

    Args:
        freedom: degrees of freedom, at least 1.
    """
    low, high = 0.0, math.pi / 2
    # The angle whose tangent is t / sqrt(freedom), by bisection to the last bit.
    while low < (angle := (low + high) / 2) < high:
        low, high = (angle, high) if _central_probability(angle, freedom) < _CONFIDENCE else (low, angle)
    return math.tan(high) * math.sqrt(freedom)


def _central_probability(angle: float, freedom: int) -> float:
    """Return the probability of an absolute value below tan(angle) * sqrt(freedom).

    The finite series in M. Abramowitz and I. Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    is_odd = freedom % 2 == 1
    square = math.cos(angle) ** 2
    term = math.cos(angle) if is_odd else 1.0
    total = term if freedom > 1 else 0.0
    for number in range(3 if is_odd else 2, freedom - 1, 2):
        term *= square * (number - 1) / number
        total += term
    return (2 / math.pi) * (angle + math.sin(angle) * total) if is_odd else math.sin(angle) * total
