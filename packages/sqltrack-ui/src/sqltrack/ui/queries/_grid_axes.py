"""Choose the axes of a grid: arguments that vary independently of each other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqltrack.ui.queries._arguments import Argument, Setting, argument, differing_arguments
from sqltrack.ui.queries._columns import parse_column
from sqltrack.ui.queries._errors import QueryError

__all__ = ["Layout", "lay_out", "places"]

# Cells of a grid, at most.
_CELLS = 50_000
# A grid that is chosen has at most this many cells for each run: otherwise the runs are a random search.
_SPARSE = 4


class Layout(NamedTuple):
    """How the arguments in which runs differ make a grid.

    Attributes:
        axes: arguments whose values are combined.
        followers: arguments whose value follows from that of an axis, each with this axis.
        left_out: the other arguments.
    """

    axes: list[Argument]
    followers: list[tuple[Argument, Argument]]
    left_out: list[Argument]


def lay_out(columns: Any, settings: Sequence[Setting]) -> Layout:
    """Return the layout of the grid of some runs.

    Args:
        columns: the columns of the axes, a list as in JSON, None for the server's choice.
        settings: the arguments of each run by path.

    Raises:
        QueryError: the columns are not arguments, or the grid would be too large.
    """
    differing = differing_arguments(settings)
    axes = _chosen_axes(differing, len(settings)) if columns is None else _named_axes(columns, settings)
    known = {axis.column for axis in axes}
    others = [item for item in differing if item.column not in known]
    followers = list(_followers(others, axes))
    known |= {item.column for item, _ in followers}
    return Layout(axes, followers, [item for item in others if item.column not in known])


def _named_axes(columns: Any, settings: Sequence[Setting]) -> list[Argument]:
    if not isinstance(columns, list) or len(columns) > 20:
        raise QueryError("axes must be a list of at most 20 columns of arguments")
    paths = dict.fromkeys(parse_column(column).path for column in columns)
    if any(path[0] != "args" for path in paths):
        raise QueryError("axes must be arguments, such as ['args', 'lr']")
    found = [argument(path[1:], [setting.get(path[1:]) for setting in settings]) for path in paths]
    axes = [axis for axis in found if axis.distinct]
    size = _size(axes)
    if size > _CELLS:
        raise QueryError(f"the grid would have {size:,} cells, at most {_CELLS:,} are possible; choose fewer arguments")
    return axes


def _chosen_axes(differing: Sequence[Argument], runs: int) -> list[Argument]:
    """Return the arguments that make a grid: an argument of a random search has a new value in each run."""
    followers = {item.column for item, _ in _followers(differing, differing)}
    axes = [item for item in differing if item.is_everywhere and item.column not in followers]
    while axes and (_size(axes) > min(_SPARSE * runs, _CELLS) or _has_new_values(axes, runs)):
        # The last one of those with most values; seeds are last.
        axes.remove(max(reversed(axes), key=lambda item: len(item.distinct)))
    return axes


def _has_new_values(axes: Sequence[Argument], runs: int) -> bool:
    """Return whether an axis among several has another value in each run, so that nothing is combined."""
    return len(axes) > 1 and any(len(axis.distinct) == runs for axis in axes)


def _followers(items: Iterable[Argument], others: Sequence[Argument]) -> Iterator[tuple[Argument, Argument]]:
    """Yield arguments that always have the same value for a value of another one, such as a width for each model."""
    order = {item.column: (-len(item.distinct), index) for index, item in enumerate(others)}
    for item in items:
        for other in others:
            # Of two arguments that determine each other, the first one leads.
            may_lead = other.is_everywhere and not other.is_seed and other.column != item.column
            if may_lead and order[other.column] <= order.get(item.column, (0, 0)) and _determines(other, item):
                yield item, other
                break


def _determines(leader: Argument, item: Argument) -> bool:
    """Return whether each value of an argument goes with one value of another one, in two runs at least."""
    values: dict[Any, Any] = {}
    if 2 * len(leader.distinct) > len(leader.keys) or min(Counter(leader.keys).values()) < 2:
        return False
    return all(values.setdefault(value, other) == other for value, other in zip(leader.keys, item.keys))


def _size(axes: Sequence[Argument]) -> int:
    return math.prod(len(places(axis)) for axis in axes)


def places(axis: Argument) -> list[Any]:
    """Return the values of an axis, None last if some runs lack the argument."""
    return axis.distinct if axis.is_everywhere else [*axis.distinct, None]
