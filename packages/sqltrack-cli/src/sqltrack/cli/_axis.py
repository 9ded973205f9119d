"""Axes of plots: the places of values, and ticks at round numbers."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from typing import NamedTuple

__all__ = ["Axis", "Tick", "find_axis"]

# Enough for the difference of any two different floats.
_DIGITS = 700
# Numbers longer than this are written with an exponent, if that is shorter.
_LONGEST = 8
_MAX = sys.float_info.max


class Tick(NamedTuple):
    """A round number on an axis.

    Attributes:
        place: its place, from 0 at the start of the axis to 1 at its end.
        label: the number as text.
    """

    place: float
    label: str


class Axis:
    """A range of values, linear or logarithmic.

    Args:
        low: smallest value, positive if the axis is logarithmic.
        high: greatest value, greater than `low`.
        log: whether the axis is logarithmic, default False.
        whole: whether values and ticks are whole numbers, default False.
    """

    def __init__(self, low: float, high: float, *, log: bool = False, whole: bool = False) -> None:
        self._values = (low, high)
        self._log = log
        self._whole = whole
        # The difference of two floats may exceed the largest float.
        self._scale = 0.25 if math.isinf(high - low) else 1.0
        self._low, self._high = (self._position(value) for value in (low, high))

    def place(self, value: float) -> float:
        """Return the place of a value, from 0 at the start to 1 at the end."""
        return (self._position(value) - self._low) / (self._high - self._low)

    def ticks(self, number: int) -> list[Tick]:
        """Return at most `number` ticks, in order: multiples of 1, 2 or 5 times a power of ten."""
        low, high = map(Decimal, self._values)
        with localcontext() as context:
            context.prec = _DIGITS
            rounds = _powers(low, high, number) if self._log else []
            rounds = rounds or _multiples(low, high, number, Decimal(1 if self._whole else 0))
        labels = _labels(rounds)
        return [Tick(self.place(float(value)), label) for value, label in zip(rounds, labels)]

    def _position(self, value: float) -> float:
        return math.log10(value) if self._log else value * self._scale


def find_axis(values: Sequence[float], *, log: bool = False, whole: bool = False) -> Axis:
    """Return the axis that values fill. A single value is in the middle."""
    low, high = min(values), max(values)
    if low == high:
        # A margin on both sides, within the range of floats.
        size = abs(low) or 1.0
        # Half of the smallest float is 0, and one and a half times the largest is infinite.
        margin = size / 2 or size
        low, high = max(low - margin, -_MAX), min(high + margin, _MAX)
        if log and low <= 0:
            low = high / 2
    return Axis(low, high, log=log, whole=whole)


def _multiples(low: Decimal, high: Decimal, number: int, least: Decimal) -> list[Decimal]:
    """Return the multiples of a round number, at least `least`, with at most `number` of them in the range."""
    span = high - low
    exponent = span.adjusted() - len(str(number)) - 1
    while True:
        for digit in (1, 2, 5):
            step = Decimal(digit).scaleb(exponent)
            first = (low / step).to_integral_value(ROUND_CEILING)
            last = (high / step).to_integral_value(ROUND_FLOOR)
            if step >= least and last - first + 1 <= number:
                return [(first + index) * step for index in range(int(last - first) + 1)]
        exponent += 1


def _powers(low: Decimal, high: Decimal, number: int) -> list[Decimal]:
    """Return the powers of ten in a range, and 2 and 5 times each if there is room; none if they are too few."""
    first, last = low.adjusted(), high.adjusted()
    for digits in ((1, 2, 5), (1,)):
        found = [Decimal(digit).scaleb(power) for power in range(first, last + 1) for digit in digits]
        found = [value for value in found if low <= value <= high]
        if len(found) <= number:
            return found if len(found) > 1 else []
    stride = next(step for step in range(2, len(found) + 2) if len(found[::step]) <= number)
    return found[::stride]


def _labels(values: Sequence[Decimal]) -> list[str]:
    plain = [f"{value.normalize():f}" for value in values]
    if all(len(label) <= _LONGEST for label in plain):
        return [label if value else "0" for label, value in zip(plain, values)]
    short = [_with_exponent(value) for value in values]
    return short if max(map(len, short), default=0) < max(map(len, plain)) else plain


def _with_exponent(value: Decimal) -> str:
    if not value:
        return "0"
    sign, digits, exponent = value.normalize().as_tuple()
    first, rest = str(digits[0]), "".join(map(str, digits[1:]))
    return f"{'-' if sign else ''}{first}{'.' if rest else ''}{rest}e{int(exponent) + len(rest)}"
