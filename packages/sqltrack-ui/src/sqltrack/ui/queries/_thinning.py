"""Thin curves to the pixels of a chart without losing an extreme value, and smooth them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import islice, pairwise
from operator import le

__all__ = ["bounds", "is_ascending", "smoothed", "thinned", "window"]


def smoothed(values: Sequence[float], weight: float) -> list[float]:
    """Return the exponential moving average of values, debiased (Kingma and Ba, 2015, section 3).

    Args:
        values: finite values.
        weight: weight of the past, at least 0 and less than 1.
    """
    average, bias, result = 0.0, 1.0, []
    for value in values:
        average = weight * average + (1.0 - weight) * value
        bias *= weight
        result.append(average / (1.0 - bias))
    return result


def is_ascending(values: Sequence[float]) -> bool:
    """Return whether no value is smaller than the one before."""
    return all(map(le, values, islice(values, 1, None)))


def window(xs: Sequence[float], low: float, high: float) -> range:
    """Return the indices of ascending values in an interval, and one neighbor on each side, if any."""
    first, last = bisect_left(xs, low), bisect_left(xs, math.nextafter(high, math.inf))
    return range(max(first - 1, 0), min(last + 1, len(xs)))


def bounds(xs: Sequence[float], chosen: range, pixels: int, *, log: bool, is_sorted: bool = False) -> list[int]:
    """Return the indices at which the points of a new pixel begin, with the end.

    Args:
        xs: x of each point.
        chosen: indices of the points to draw.
        pixels: number of pixels.
        log: whether the axis is logarithmic; points at 0 and below are in the first pixel.
        is_sorted: whether x is known to ascend, default: to be found out.
    """
    first, last = xs[chosen[0]], xs[chosen[-1]]
    if first == last or not (is_sorted or is_ascending(xs[chosen.start : chosen.stop])):
        size = max(math.ceil(len(chosen) / pixels), 1)
        return [*range(chosen.start, chosen.stop, size), chosen.stop]
    if log and last > 0:
        smallest = xs[min(bisect_left(xs, math.ulp(0.0), chosen.start, chosen.stop), chosen.stop - 1)]
        factor = math.log(last / smallest) / pixels
        edges = [smallest * math.exp(factor * pixel) for pixel in range(1, pixels)]
    else:
        width = last / pixels - first / pixels
        edges = [first + width * pixel for pixel in range(1, pixels)]
    begins = dict.fromkeys([chosen.start])
    begins.update((bisect_left(xs, edge, chosen.start, chosen.stop), None) for edge in edges)
    return sorted({*begins, chosen.stop})


def thinned(ys: Sequence[float], begins: Sequence[int]) -> list[int]:
    """Return the indices of the first, smallest, greatest and last value of each pixel, in order (M4).

    U. Jugel et al., M4: a visualization-oriented time series data aggregation, VLDB 2014.

    Args:
        ys: finite values.
        begins: the indices at which pixels begin, with the end, see `bounds`.
    """
    # An array makes an object of each value that is looked at, each time.
    values = list(ys)
    result: list[int] = []
    for begin, end in pairwise(begins):
        if end - begin <= 4:
            result += range(begin, end)
            continue
        part = values[begin:end]
        result += sorted({begin, begin + part.index(min(part)), begin + part.index(max(part)), end - 1})
    return result
