"""The arguments of a sweep: which differ between runs, and by which values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.commands._rows import to_number
from sqltrack.ui.queries._columns import Column
from sqltrack.ui.queries._groups import is_seed
from sqltrack.ui.queries._runs import Row, leaves
from sqltrack.ui.queries._values import as_key, is_number, kind_of

__all__ = ["Argument", "Setting", "differing_arguments", "settings_of"]


#: The arguments of a run by path.
Setting = Mapping[tuple[str, ...], Any]


class Argument(NamedTuple):
    """An argument, with its value in each run.

    Attributes:
        column: its column.
        values: its values in the order of the runs, None for a run without the argument.
        keys: the same as keys, see `as_key`.
        distinct: the different values in order, without None.
        kind: "number", "bool", or "text" for values of any other kind, or of several.
        is_seed: whether it is a random seed, judging by its name.
    """

    column: Column
    values: list[Any]
    keys: list[Any]
    distinct: list[Any]
    kind: str
    is_seed: bool

    @property
    def is_everywhere(self) -> bool:
        """Whether each run has the argument."""
        return all(value is not None for value in self.values)


def settings_of(rows: Iterable[Row]) -> list[Setting]:
    """Return the arguments of each run by path; texts for NaN and infinities become floats."""
    return [{path: to_number(value) for path, value in leaves(row.args)} for row in rows]


def differing_arguments(settings: Sequence[Setting]) -> list[Argument]:
    """Return the arguments in which runs differ, in the order in which runs name them, and the seeds last."""
    paths = dict.fromkeys(path for setting in settings for path in setting)
    found = []
    for path in paths:
        item = argument(path, [setting.get(path) for setting in settings])
        if len(set(item.keys)) > 1:
            found.append(item)
    return sorted(found, key=lambda item: item.is_seed)


def argument(path: tuple[str, ...], values: list[Any]) -> Argument:
    """Return an argument with its values."""
    keys = [as_key(value) for value in values]
    by_key = {key: value for key, value in zip(keys, values) if value is not None}
    # Numbers, NaN, booleans, texts, then others.
    distinct = sorted(by_key.values(), key=_order)
    kinds = {kind_of(value) for value in distinct}
    kind = kinds.pop() if len(kinds) == 1 else None
    kind = kind if kind in ("number", "bool") else "text"
    return Argument(Column(("args", *path)), values, keys, distinct, kind, is_seed(path))


def _order(value: Any) -> tuple[Any, ...]:
    if is_number(value):
        return (1, 0.0, "") if value != value else (0, value, "")
    if isinstance(value, bool):
        return 2, int(value), ""
    if isinstance(value, str):
        return 3, 0, value
    return 4, 0, json.dumps(value, sort_keys=True, default=str)
