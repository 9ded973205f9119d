"""Find experiments, runs and metrics by name, and suggest similar names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqltrack.client import Client
from sqltrack.commands._rows import batches, fetch
from sqltrack.commands.run_ranges import RunRange
from sqltrack.engines.admin import Question
from sqltrack.engines.json import escape_text, is_storable_text
from sqltrack.engines.schema import EXTRAS, INT64, KEY, fits_int64
from sqltrack.errors import NotFoundError, UnusableValueError
from sqltrack.util import placeholders

__all__ = [
    "check_text",
    "experiment_question",
    "find_experiment",
    "find_runs",
    "metric_columns",
    "near",
    "require_runs",
]


def near(name: str, names: Iterable[str]) -> str:
    """Return advice that names similar names, or existing ones."""
    # Needed only after mistakes.
    import difflib

    known = list(names)
    folded = {item.lower(): item for item in known}
    matches = [folded[item] for item in difflib.get_close_matches(name.lower(), folded, n=3)]
    if matches:
        return f"did you mean {' or '.join(map(repr, matches))}?"
    if not known:
        return "there is none yet"
    return f"there are {', '.join(map(repr, known[:5]))}{' and more' if len(known) > 5 else ''}"


def experiment_question(experiment: str) -> Question:
    """Return the query for the id of an experiment, by its name or otherwise its id; NULL if it does not exist."""
    name = escape_text(experiment)
    number = int(name) if name.isascii() and name.isdigit() and len(name) < 19 else None
    by_name, by_id = ("SELECT id FROM experiments WHERE name = %s", "SELECT id FROM experiments WHERE id = %s")
    return Question(f"SELECT COALESCE(({by_name}), ({by_id})) AS id", (name, number))


def find_experiment(connection: Any, experiment: str) -> int:
    """Return the id of an experiment; a name that is a number comes before an id.

    Raises:
        NotFoundError: the experiment does not exist.
    """
    (row,) = fetch(connection, *experiment_question(experiment))
    if row["id"] is not None:
        return int(row["id"])
    experiment = escape_text(experiment)
    names = (row["name"] for row in fetch(connection, "SELECT name FROM experiments ORDER BY id DESC"))
    raise NotFoundError(f"there is no experiment {experiment!r}", near(experiment, names))


def find_runs(connection: Any, runs: Iterable[int | RunRange]) -> list[int]:
    """Return the ids of runs that are named by ids or ranges, each once. In a range only existing runs count.

    Raises:
        NotFoundError: a run does not exist, or a range has no runs.
    """
    found: dict[int, None] = {}
    named: list[int] = []
    for item in runs:
        first, last = (item, item) if isinstance(item, int) else item
        if first == last:
            named.append(first)
            found[first] = None
            continue
        bounds = (min(max(first, INT64[0]), INT64[-1]), min(last, INT64[-1]))
        rows = fetch(connection, "SELECT id FROM runs WHERE id BETWEEN %s AND %s ORDER BY id", bounds)
        if not rows:
            raise NotFoundError(f"there are no runs from {first} to {last}")
        found.update((row["id"], None) for row in rows)
    require_runs(connection, named)
    return list(found)


def require_runs(connection: Any, run_ids: Sequence[int]) -> None:
    """Check that runs exist.

    Raises:
        NotFoundError: a run does not exist.
    """
    for batch in batches(run_ids):
        storable = [run_id for run_id in batch if fits_int64(run_id)]
        sql = f"SELECT id FROM runs WHERE id IN ({placeholders(len(storable))})"
        known = {row["id"] for row in fetch(connection, sql, storable)}
        for run_id in batch:
            if run_id not in known:
                raise _no_run(connection, run_id)


def _no_run(connection: Any, run_id: int) -> NotFoundError:
    if not fits_int64(run_id):
        return NotFoundError(f"there is no run {run_id!r}", "ids of runs have at most 63 bits")
    sql = """
        SELECT (SELECT MAX(id) FROM runs WHERE id < %s) AS before, (SELECT MIN(id) FROM runs WHERE id > %s) AS after
    """
    neighbours = [id_ for id_ in fetch(connection, sql, (run_id, run_id))[0].values() if id_ is not None]
    advice = f"the nearest is {' and '.join(map(str, neighbours))}" if neighbours else "there is none yet"
    return NotFoundError(f"there is no run {run_id!r}", advice)


def metric_columns(client: Client, connection: Any) -> dict[str, str]:
    """Return names and SQL types of the metrics that are columns."""
    columns = client.engine.table_columns(connection, "metrics")
    return {name: sql_type for name, sql_type in columns.items() if name not in KEY and name != EXTRAS}


def check_text(text: str, what: str, *, may_be_empty: bool = False) -> str:
    """Return a text after checking that it can be stored.

    Raises:
        UnusableValueError: (a ValueError) it is empty, or holds characters that the databases cannot store.
    """
    if not (text.strip() or may_be_empty):
        raise UnusableValueError(f"{what} must not be empty, got {text!r}")
    if "\0" in text or not is_storable_text(text):
        raise UnusableValueError(f"{what} must be text without NUL and lone surrogates, got {text!r}")
    return text
