"""What the commands that show something have in common: they only read, and say what else one may have meant."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqltrack.client import Client
from sqltrack.engines.admin import admin_of
from sqltrack.engines.schema import EXTRAS, KEY
from sqltrack.errors import NotFoundError, NotSetUpError

__all__ = [
    "batches",
    "fetch",
    "find_experiment",
    "find_runs",
    "metric_columns",
    "near",
    "reading",
    "to_number",
]

T = TypeVar("T")

# Seconds that a statement of these commands may take.
READING_SECONDS = 60.0

# Values that a statement holds at most; SQLite before 3.32 takes 999.
_BATCH = 500

_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@contextmanager
def reading(client: Client, seconds: float = READING_SECONDS) -> Iterator[Any]:
    """Return a connection whose statements the database lets read and nothing else.

    Args:
        client: client to use.
        seconds: how long a statement may take.

    Raises:
        NotSetUpError: there is no database; it is not created.
        ReadOnlyDatabaseError: a statement would change something.
        StatementTimeoutError: a statement took too long.
        DatabaseError: the database refused a statement for another reason.
    """
    if not client.engine.exists():
        raise NotSetUpError(f"{client.engine.describe()} does not exist")
    with client as connection, admin_of(client.engine, connection).read_only(seconds):
        yield connection


def fetch(connection: Any, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """Return the rows of a query as dicts."""
    cursor = connection.execute(sql, tuple(parameters)) if parameters else connection.execute(sql)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row)) for row in cursor.fetchall()]


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Return parts of a sequence, each of which fits into a statement."""
    for begin in range(0, len(items), _BATCH):
        yield items[begin : begin + _BATCH]


def near(name: str, names: Iterable[str]) -> str:
    """Return advice that names what one may have meant, or what there is."""
    # Only mistakes need it.
    import difflib

    known = list(names)
    folded = {item.lower(): item for item in known}
    matches = [folded[item] for item in difflib.get_close_matches(name.lower(), folded, n=3)]
    if matches:
        return f"did you mean {' or '.join(map(repr, matches))}?"
    if not known:
        return "there is none yet"
    return f"there are {', '.join(map(repr, known[:5]))}{' and more' if len(known) > 5 else ''}"


def find_experiment(connection: Any, experiment: str) -> int:
    """Return the id of an experiment; a name that is a number goes before the id of that number.

    Raises:
        NotFoundError: there is none.
    """
    rows = fetch(connection, "SELECT id FROM experiments WHERE name = %s", (experiment,))
    if not rows and experiment.isascii() and experiment.isdigit() and len(experiment) < 19:
        rows = fetch(connection, "SELECT id FROM experiments WHERE id = %s", (int(experiment),))
    if rows:
        return int(rows[0]["id"])
    names = (row["name"] for row in fetch(connection, "SELECT name FROM experiments ORDER BY id DESC"))
    raise NotFoundError(f"there is no experiment {experiment!r}", near(experiment, names))


def find_runs(connection: Any, run_ids: Sequence[int]) -> None:
    """Make sure that runs exist.

    Raises:
        NotFoundError: one does not.
    """
    for run_id in run_ids:
        if not -(2**63) <= run_id < 2**63:
            raise NotFoundError(f"there is no run {run_id!r}", "ids of runs have at most 63 bits")
        if not fetch(connection, "SELECT id FROM runs WHERE id = %s", (run_id,)):
            sql = """
                SELECT
                    (SELECT MAX(id) FROM runs WHERE id < %s) AS before,
                    (SELECT MIN(id) FROM runs WHERE id > %s) AS after
            """
            neighbours = [id_ for id_ in fetch(connection, sql, (run_id, run_id))[0].values() if id_ is not None]
            advice = f"the nearest is {' and '.join(map(str, neighbours))}" if neighbours else "there is none yet"
            raise NotFoundError(f"there is no run {run_id!r}", advice)


def metric_columns(client: Client, connection: Any) -> dict[str, str]:
    """Return names and SQL types of the metrics that are columns."""
    columns = client.engine.table_columns(connection, "metrics")
    return {name: sql_type for name, sql_type in columns.items() if name not in KEY and name != EXTRAS}


def to_number(value: Any) -> Any:
    """Return the number that a text stands for, NaN or an infinity, where numbers are kept; else the value itself."""
    return _NUMBERS.get(value, value) if isinstance(value, str) else value
