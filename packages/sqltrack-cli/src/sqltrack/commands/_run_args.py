"""Find the arguments in which runs differ, with one query over all runs."""

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


# Number of rows to read at once.
_CHUNK = 1_000
# Maximum number of different values of an argument to count.
_MANY = 100
# Maximum width of a float in a table: five digits, a sign and an exponent.
_FLOAT_WIDTH = 10
_NOTHING = object()


class ChosenRuns(NamedTuple):
    """Runs that meet some conditions.

    Attributes:
        sql: an item of a FROM clause, for a statement with parameters.
        parameters: the values for its placeholders, at least one if these are not all runs.
        are_all: whether these are all runs of the database.
    """

    sql: str
    parameters: Sequence[Any]
    are_all: bool

    def among(self, column: str) -> str:
        """Return the condition that a column holds the id of one of these runs."""
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
        differs: whether its values differ, or some runs lack it.
        longest: length of the longest text, or list or dict as JSON; 0 without any.
        width: maximum width of its values in a table.
    """

    name: str
    differs: bool
    longest: int
    width: int


def args_question(chosen: ChosenRuns) -> Question:
    """Return the query for the arguments of runs, a row for each run."""
    return Question(f"SELECT args FROM {chosen.sql}", chosen.parameters)


def read_args(connection: Any, chosen: ChosenRuns) -> Iterator[Any]:
    """Yield the arguments of each run. Comparing them here takes a tenth of the time that databases need."""
    sql, parameters = args_question(chosen)
    with find_reader(connection.cursor()).read(connection.cursor(), sql, parameters or None, _CHUNK) as rows:
        for chunk in rows.chunks:
            for (args,) in chunk:
                yield args


def summarize_args(args_of_runs: Iterable[Any]) -> list[Argument]:
    """Return the arguments of runs: first those that differ, and among these first those that most runs have.

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
    """Counts the values of an argument while runs are read."""

    __slots__ = ("_last", "_width", "longest", "runs", "variants")

    def __init__(self) -> None:
        self.runs = 0
        self.variants: set[tuple[str, Any]] = set()
        self.longest = 0
        self._width = len("--")
        self._last: Any = _NOTHING

    def add(self, value: Any) -> None:
        """Count a value."""
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
    """Return the query for the values of an argument as JSON text, by the ids of the runs that have it."""
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
