"""Tell in which arguments runs differ, by one query over all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._rows import to_number
from sqltrack.engines.admin import Question
from sqltrack.engines.results import find_reader

__all__ = [
    "ALL_RUNS",
    "Argument",
    "ChosenRuns",
    "args_question",
    "argument_question",
    "argument_value",
    "read_args",
    "summarize_args",
]


# Rows that are read at once.
_CHUNK = 1_000
# As many values of an argument are told apart.
_MANY = 100
# Floats have five digits in tables, with sign and exponent as many characters.
_FLOAT_WIDTH = 10
_NOTHING = object()


class ChosenRuns(NamedTuple):
    """Runs that meet some conditions.

    Attributes:
        sql: an item of a FROM clause, for a statement with parameters.
        parameters: the values for its placeholders; there is one at least if these are not all runs.
        are_all: whether these are all runs that there are.
    """

    sql: str
    parameters: Sequence[Any]
    are_all: bool

    def among(self, column: str) -> str:
        """Return a condition: the run whose id is in a column is one of these."""
        return "TRUE" if self.are_all else f"{column} IN (SELECT id FROM {self.sql})"

    @property
    def among_parameters(self) -> Sequence[Any]:
        """The values for the placeholders of `among`."""
        return () if self.are_all else self.parameters


ALL_RUNS = ChosenRuns("runs", (), True)


class Argument(NamedTuple):
    """An argument of runs.

    Attributes:
        name: its name.
        differs: whether the runs have different values of it, or some do not have it.
        longest: length of the longest value that is a text, or of a list or dict as JSON; 0 if there is none.
        width: how wide its values are in a table, at most.
    """

    name: str
    differs: bool
    longest: int
    width: int


def args_question(chosen: ChosenRuns) -> Question:
    """Return the query for the arguments of runs, a row for each run."""
    return Question(f"SELECT args FROM {chosen.sql}", chosen.parameters)


def read_args(connection: Any, chosen: ChosenRuns) -> Iterator[Any]:
    """Yield the arguments of each run; to compare them here takes a tenth of the time that databases need."""
    sql, parameters = args_question(chosen)
    with find_reader(connection.cursor()).read(connection.cursor(), sql, parameters or None, _CHUNK) as rows:
        for chunk in rows.chunks:
            for (args,) in chunk:
                yield args


def summarize_args(args_of_runs: Iterable[Any]) -> list[Argument]:
    """Return the arguments of runs: first those in which they differ, and of these those that most runs have.

    Args:
        args_of_runs: the arguments of each run.
    """
    uses: dict[str, _Use] = {}
    number = 0
    for args in args_of_runs:
        number += 1
        for name, value in args.items() if isinstance(args, dict) else ():
            use = uses.get(name)
            if use is None:
                use = uses[name] = _Use()
            use.add(value)
    found = sorted(uses.items(), key=lambda item: (-item[1].runs, len(item[1].variants), item[0]))
    arguments = [use.as_argument(name, number) for name, use in found]
    return sorted(arguments, key=lambda argument: not argument.differs)


class _Use:
    """Counts the values of an argument, while runs are being read."""

    __slots__ = ("_last", "_width", "longest", "runs", "variants")

    def __init__(self) -> None:
        self.runs = 0
        self.variants: set[tuple[str, Any]] = set()
        self.longest = 0
        self._width = len("--")
        self._last: Any = _NOTHING

    def add(self, value: Any) -> None:
        """Take account of a value."""
        self.runs += 1
        # Most arguments are the same in most runs.
        if type(value) is type(self._last) and value == self._last:
            return
        self._last = value
        kind = type(value)
        if kind in (str, dict, list):
            text = value if kind is str else json.dumps(value, ensure_ascii=False, sort_keys=True)
            self.longest = max(self.longest, len(text))
            self._add_variant(kind, text, len(text))
        elif len(self.variants) < _MANY:
            # 1 and 1.0 are the same number.
            self._add_variant(float if kind is int else kind, value, _FLOAT_WIDTH if kind is float else len(str(value)))

    def _add_variant(self, kind: type, value: Any, width: int) -> None:
        if len(self.variants) < _MANY:
            self.variants.add((kind.__name__, value))
            self._width = max(self._width, width)

    def as_argument(self, name: str, number: int) -> Argument:
        """Return the summary, given the number of all runs."""
        differs = len(self.variants) > 1 or self.runs < number
        return Argument(name, differs, self.longest, max(self._width, self.longest))


def argument_question(client: Client, chosen: ChosenRuns, name: str) -> Question:
    """Return the query for the values of an argument, as JSON text, by the ids of the runs that have it."""
    items = client.engine.json_items_sql("runs.args")
    sql = f"""
        SELECT run_id AS id, CAST(value AS TEXT) AS value
        FROM ({items} WHERE {chosen.among("runs.id")}) AS item
        WHERE name = %s
    """
    return Question(sql, (*chosen.among_parameters, name))


def argument_value(text: str) -> Any:
    """Return the value of an argument from its JSON text."""
    return to_number(json.loads(text))
