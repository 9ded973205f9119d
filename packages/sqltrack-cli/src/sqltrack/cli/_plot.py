"""Draw learning curves with characters."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from rich.text import Text

from sqltrack.cli._axis import Axis, Tick, find_axis
from sqltrack.cli._output import can_encode, printable, stdout
from sqltrack.errors import UnusableValueError
from sqltrack.wording import pluralize

__all__ = ["Curve", "print_plot"]

# Curves differ in colour and marker. The numbers of both have no common factor, so pairs repeat late.
_COLORS = ("blue", "red", "green", "magenta", "cyan", "yellow")
_MARKERS = "*+ox#@%"
# Without colours, use as many markers as possible.
_MORE_MARKERS = f"{_MARKERS}&$=ABCDEFGHIJKLMNPQRSTUVWYZ"
# Columns between two markers of a curve that also has a colour.
_MARKER_DISTANCE = 12
_HEIGHT, _LEAST_HEIGHT = 20, 5
_LEAST_WIDTH = 10
# Rows above and below the curves: the name of the vertical axis, the horizontal one, its labels and the prompt.
_OTHER_ROWS = 4
# Columns and rows that a tick needs.
_TICK_COLUMNS, _TICK_ROWS = 12, 3
# Dots in a character of braille.
_ACROSS, _DOWN = 2, 4


class Curve(NamedTuple):
    """The values of a metric.

    Attributes:
        name: name of the curve.
        x: the places of the values.
        y: the values; None, NaN, infinities and texts leave gaps.
    """

    name: str
    x: Sequence[float]
    y: Sequence[Any]


class _Piece(NamedTuple):
    """A part of a curve between gaps."""

    xs: list[float]
    ys: list[float]


class _Look(NamedTuple):
    """How a curve is drawn: its color, its marker, and how often the marker appears."""

    color: str | None
    marker: str | None
    is_sparse: bool
    first: int


def print_plot(
    curves: Sequence[Curve], *, x_label: str, y_label: str = "value", whole: bool = False, log: bool = False
) -> None:
    """Print curves, as wide as the terminal, and a legend that counts the values that cannot be drawn.

    Args:
        curves: the curves.
        x_label: label of the horizontal axis.
        y_label: label of the vertical axis.
        whole: whether the horizontal axis has whole numbers.
        log: whether the vertical axis is logarithmic; then zero and negative numbers leave gaps.

    Raises:
        UnusableValueError: no value can be drawn.
    """
    console = stdout()
    # Without braille, all points between markers look alike.
    is_colored = console.is_terminal and console.color_system is not None and not console.no_color
    is_colored = is_colored and can_encode("\u28ff")
    quality = "positive" if log else "finite"
    drawn = [list(_pieces(curve, positive=log)) for curve in curves]
    pieces = [piece for parts in drawn for piece in parts]
    if not pieces:
        names = ", ".join(repr(curve.name) for curve in curves)
        raise UnusableValueError(f"nothing to draw: {names} holds no {quality} numbers")
    looks = [_look(number, len(curves), is_colored) for number in range(len(curves))]
    x_axis = find_axis([x for piece in pieces for x in piece.xs], whole=whole)
    y_axis = find_axis([y for piece in pieces for y in piece.ys], log=log)
    columns, rows = shutil.get_terminal_size((80, _HEIGHT + _OTHER_ROWS + len(curves)))
    height = max(min(rows - _OTHER_ROWS - len(curves), _HEIGHT), _LEAST_HEIGHT)
    y_ticks = y_axis.ticks(height // _TICK_ROWS)
    margin = max((len(tick.label) for tick in y_ticks), default=0)
    arrow = f"> ({x_label})"
    width = max(columns - margin - len(" | ") - len(arrow), _LEAST_WIDTH)
    canvas = _canvas(drawn, looks, (x_axis, y_axis), (width, height))
    print(" " * margin, f"^ ({printable(y_label)}{', log' if log else ''})")
    for row, label in enumerate(_row_labels(y_ticks, height)):
        print(f"{label:>{margin}} | {canvas[row]}")
    for line in _horizontal_axis(x_axis.ticks(width // _TICK_COLUMNS), width, arrow):
        print(f"{'':{margin}} {line}")
    for look, curve, parts in zip(looks, curves, drawn):
        left_out = len(curve.x) - sum(len(piece.xs) for piece in parts)
        note = f" ({pluralize(left_out, 'value is', 'values are')} not {quality})" if left_out else ""
        console.print(Text(f"{look.marker or '━'} ", style=look.color or "") + printable(f"{curve.name}{note}"))


def _pieces(curve: Curve, *, positive: bool) -> Iterator[_Piece]:
    """Return the parts of a curve between gaps."""
    piece = _Piece([], [])
    for x, y in zip(curve.x, curve.y):
        if _is_drawable(y, positive):
            piece.xs.append(float(x))
            piece.ys.append(float(y))
        elif piece.xs:
            yield piece
            piece = _Piece([], [])
    if piece.xs:
        yield piece


def _is_drawable(value: Any, positive: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value) and (value > 0 or not positive)
    except OverflowError:
        # An integer in extras may exceed the range of floats.
        return False


def _look(number: int, total: int, is_colored: bool) -> _Look:
    if not is_colored:
        return _Look(None, _MORE_MARKERS[number % len(_MORE_MARKERS)], is_sparse=False, first=0)
    marker = _MARKERS[number % len(_MARKERS)] if total > 1 else None
    # Shift the markers, so that identical curves do not hide each other.
    return _Look(_COLORS[number % len(_COLORS)], marker, is_sparse=True, first=number * 5 % _MARKER_DISTANCE)


def _canvas(
    drawn: Sequence[Sequence[_Piece]], looks: Sequence[_Look], axes: tuple[Axis, Axis], size: tuple[int, int]
) -> list[str]:
    """Return the lines of the plot inside its axes."""
    # Only plots need it.
    import plotille

    width, height = size
    # Its coordinates are in dots.
    canvas = plotille.Canvas(width, height, xmax=width * _ACROSS, ymax=height * _DOWN)
    x_axis, y_axis = axes
    for pieces, look in zip(drawn, looks):
        for piece in pieces:
            xs = [round(x_axis.place(x) * (width * _ACROSS - 1)) for x in piece.xs]
            ys = [round(y_axis.place(y) * (height * _DOWN - 1)) for y in piece.ys]
            _draw(canvas, list(_thinned(zip(xs, ys))), look)
    lines: list[str] = canvas.plot().splitlines()
    return lines


def _thinned(dots: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Return at most four dots of a curve in each column: first, lowest, highest and last."""
    column: list[tuple[int, int]] = []
    for dot in dots:
        if column and dot[0] != column[0][0]:
            yield from column
            column = []
        if len(column) < 4:
            column.append(dot)
            continue
        middle = sorted((*column[1:], dot), key=lambda item: item[1])
        column = [column[0], middle[0], middle[-1], dot]
    yield from column


def _draw(canvas: Any, dots: Sequence[tuple[int, int]], look: _Look) -> None:
    for (x, y), (next_x, next_y) in itertools.pairwise(dots):
        canvas.line(x, y, next_x, next_y, color=look.color)
    marked_from = look.first
    for x, y in dots:
        column = x // _ACROSS
        is_marked = not look.is_sparse or column >= marked_from
        canvas.point(x, y, color=look.color, marker=look.marker if is_marked else None)
        if is_marked:
            marked_from = column + _MARKER_DISTANCE


def _row_labels(ticks: Sequence[Tick], height: int) -> list[str]:
    """Return the labels of the rows, from top to bottom."""
    labels = [""] * height
    for tick in ticks:
        labels[height - 1 - _cell(tick, height, _DOWN)] = tick.label
    return labels


def _horizontal_axis(ticks: Sequence[Tick], width: int, arrow: str) -> list[str]:
    """Return the line of the axis, and the line of the labels that have room."""
    line, labels = ["-"] * width, ""
    for tick in ticks:
        column = _cell(tick, width, _ACROSS)
        begin = max(column - len(tick.label) // 2, 0)
        if labels and begin <= len(labels):
            continue
        line[column] = "+"
        labels = labels.ljust(begin) + tick.label
    return [f"+-{''.join(line)}{arrow}", f"  {labels}"]


def _cell(tick: Tick, cells: int, dots: int) -> int:
    return min(max(round(tick.place * (cells * dots - 1)), 0), cells * dots - 1) // dots
