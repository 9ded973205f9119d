"""Learning curves as characters."""

from __future__ import annotations

import functools
import math
import shutil
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from rich.text import Text

from sqltrack.cli._output import can_encode, printable, stdout
from sqltrack.errors import UnusableValueError

__all__ = ["Curve", "print_plot"]

# In colour curves are told apart by that; without, each has a character of its own at its points.
_COLORS = ("blue", "red", "green", "magenta", "cyan", "yellow", "white")
_MARKERS = "*+ox#@%"
_HEIGHT = 20
# What the frame and its labels take beside the curves, without the name of the horizontal axis, and below them.
_BESIDE, _BELOW = 20, 4


class Curve(NamedTuple):
    """The values of a metric.

    Attributes:
        name: name of the metric.
        x: where the values are.
        y: the values; None and what is no finite number leave a gap.
    """

    name: str
    x: Sequence[float]
    y: Sequence[Any]


def print_plot(curves: Sequence[Curve], *, x_label: str, log: bool = False) -> None:
    """Print curves, as wide as the terminal.

    Args:
        curves: the curves.
        x_label: what the horizontal axis is.
        log: whether the vertical axis is logarithmic, which leaves gaps for what is not positive.

    Raises:
        UnusableValueError: there is nothing to draw.
    """
    console = stdout()
    # Without braille the points between markers are all alike.
    is_colored = console.is_terminal and not console.no_color and can_encode("\u28ff")
    drawn = [(curve, list(_pieces(curve, positive=log))) for curve in curves]
    if not any(pieces for _, pieces in drawn):
        kind = "positive numbers" if log else "finite numbers"
        raise UnusableValueError(f"nothing to draw: {', '.join(repr(curve.name) for curve in curves)} holds no {kind}")
    # Only this needs it.
    import plotille

    figure = plotille.Figure()
    width, height = shutil.get_terminal_size((80, _HEIGHT + _BELOW + len(curves)))
    figure.width = max(width - _BESIDE - len(x_label), 10)
    figure.height = max(min(height - _BELOW - len(curves), _HEIGHT), 5)
    figure.origin = False
    figure.with_colors = is_colored
    figure.register_label_formatter(float, functools.partial(_show_label, log=log))
    for number, (_, pieces) in enumerate(drawn):
        _draw(figure, pieces, number, is_colored, log)
    _frame(figure, [piece for _, pieces in drawn for piece in pieces], log)
    figure.x_label, figure.y_label = x_label, "log" if log else "value"
    print(figure.show())
    for number, curve in enumerate(curves):
        console.print(Text(f"{_marker(number, is_colored) or '━'} ", style=_color(number)) + printable(curve.name))


def _pieces(curve: Curve, *, positive: bool) -> Iterator[tuple[list[float], list[float]]]:
    """Return the parts of a curve between gaps."""
    xs: list[float] = []
    ys: list[float] = []
    for x, y in zip(curve.x, curve.y):
        if _is_drawable(y, positive):
            xs.append(x)
            ys.append(float(y))
        elif xs:
            yield xs, ys
            xs, ys = [], []
    if xs:
        yield xs, ys


def _is_drawable(value: Any, positive: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) and (value > 0 or not positive)


def _draw(figure: Any, pieces: Sequence[Any], number: int, is_colored: bool, log: bool) -> None:
    color = _color(number) if is_colored else None
    for xs, ys in pieces:
        figure.plot(xs, _scaled(ys, log), lc=color, marker=_marker(number, is_colored))


def _color(number: int) -> str:
    return _COLORS[number % len(_COLORS)]


def _marker(number: int, is_colored: bool) -> str | None:
    return None if is_colored else _MARKERS[number % len(_MARKERS)]


def _frame(figure: Any, pieces: Sequence[Any], log: bool) -> None:
    """Let the curves fill the plot, which has a margin by default."""
    xs = [x for piece in pieces for x in piece[0]]
    ys = [y for piece in pieces for y in _scaled(piece[1], log)]
    for limit, values in ((figure.set_x_limits, xs), (figure.set_y_limits, ys)):
        low, high = min(values), max(values)
        margin = 0.0 if low < high else 0.5
        limit(min_=low - margin, max_=high + margin)


def _scaled(ys: Sequence[float], log: bool) -> list[float]:
    return [math.log10(y) for y in ys] if log else list(ys)


def _show_label(value: float, chars: int, delta: float, left: bool = False, *, log: bool) -> str:
    """Return the label of a tick; those below the plot begin at their ticks, those beside it end there."""
    if left:
        return f"{value:.4g}".ljust(chars)
    return f"{10**value if log else value:.4g}".rjust(chars)
