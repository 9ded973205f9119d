"""The rows of runs are the same, whether the database puts them together or they are read one by one."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

import sqltrack
from sqltrack.engines.admin import RunRows
from sqltrack.ui import queries
from sqltrack.ui.queries import _rows
from support.connections import on_one_connection
from support.extras import add_extras

pytestmark = pytest.mark.no_outbox

# A missing value is stored with these bits while the database packs a column.
MARK = 0x7FF4000000000001
ODD = 'odd "50%" name'
METRICS = ("loss", "count", ODD)


def store(client: sqltrack.Client, run_id: int, rows: list[dict[str, Any]]) -> None:
    run = sqltrack.Experiment(client, name="rows").get_run(run_id)
    for row in rows:
        run.add_metrics(**row)


def row(step: int, progress: float = 0.0, **metrics: Any) -> dict[str, Any]:
    return {"metrics": metrics, "step": step, "progress": progress}


@pytest.fixture
def stored(client: sqltrack.Client) -> sqltrack.Client:
    """Client of a database with runs of many kinds, each stored in an order of its own."""
    numbers = random.Random(3)
    with on_one_connection(client):
        store(client, 1, [row(step, loss=numbers.random(), count=step) for step in range(50)])
        shuffled = numbers.sample(range(-20, 60), 60)
        store(client, 2, [row(step, loss=numbers.gauss(0, 1), **{ODD: float(step)}) for step in shuffled])
        places = [(step, part / 4) for step in range(8) for part in range(4)]
        numbers.shuffle(places)
        store(client, 3, [row(step, part, loss=step + part) for step, part in places])
        store(client, 4, [row(step, loss=value) for step, value in enumerate((math.nan, math.inf, -math.inf, -0.0))])
        sparse = [row(step, **({"count": -step} if step % 3 else {ODD: 1e300})) for step in range(12)]
        store(client, 5, sparse)
        store(client, 6, [row(0, other=1.0)])
        store(client, 7, [row(0, count=MARK), row(1, loss=1.0)])
        store(client, 8, [row(0, loss=1.0), row(1, loss=2.0)])
        add_extras(client, 8, {1: {"rare": 1.5}})
    return client


def read(source: queries.Database, *names: str) -> dict[int, list[tuple[Any, ...]]]:
    """Return step, progress and values of the rows of each run."""
    places = source.places()
    counts = _rows.count_rows(source, dict.fromkeys(range(1, 10), "now"))
    found = _rows.read_rows_of_runs(source, counts, places, names, with_progress=True)
    return {run_id: _as_tuples(rows, names) for run_id, rows in found if len(rows.steps)}


def _as_tuples(rows: RunRows, names: tuple[str, ...]) -> list[tuple[Any, ...]]:
    columns = [rows.values.get(name) or [None] * len(rows.steps) for name in names]
    return [tuple(map(repr, cells)) for cells in zip(rows.steps, rows.progress, *columns)]


def test_rows_are_the_same_however_they_are_read(stored: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with queries.Database(stored) as source:
        for names in (METRICS, ("loss",), (ODD, "count"), ("loss", "missing"), ("other", "rare")):
            found = read(source, *names)
            with monkeypatch.context() as patch:
                patch.setattr(_rows, "_MOST_PACKED", -1)
                assert found == read(source, *names)
    assert found == {6: [("0", "0.0", "1.0", "None")], 8: [("1", "0.0", "None", "1.5")]}


def test_a_server_puts_rows_of_numbers_together(stored: sqltrack.Client, engine_name: str) -> None:
    ids = list(range(1, 10))
    with queries.Database(stored) as source, source.reading() as connection:
        admin = source.admin(connection)
        types = {name: source.places().columns[name] for name in METRICS}
        found = admin.read_runs(ids, types, has_extras=True)
        if engine_name == "sqlite":
            assert found == {}
            return
        # Run 7 has a value that looks like a missing one, and run 8 has extras.
        assert list(found) == [1, 2, 3, 4, 5, 6, 9]
        assert not found[6].steps
        assert not found[9].steps
        assert list(found[5].values["count"]) == [None if step % 3 == 0 else -step for step in range(12)]
        assert list(found[3].progress[:5]) == [0.0, 0.25, 0.5, 0.75, 0.0]
        assert (
            admin.read_runs([1], {"loss": "double precision", "time": "timestamp with time zone"}, has_extras=True)
            == {}
        )


def test_rows_that_wait_for_columns_are_among_the_others(stored: sqltrack.Client, engine_name: str) -> None:
    if engine_name == "postgres":
        with stored as connection:
            connection.execute(
                "INSERT INTO metrics_pending (run_id, step, progress, extras) VALUES (1, 3, 0, '{\"late\": 4.5}')"
            )
    else:
        add_extras(stored, 1, {3: {"late": 4.5}})
    with queries.Database(stored) as source:
        (curve,) = queries.curves(source, {"runs": [1], "metrics": ["late"]})["curves"]
        assert (curve["x"], curve["y"]) == ([3], [4.5])
        (curve,) = queries.curves(source, {"runs": [1], "metrics": ["count"]})["curves"]
        assert curve["y"] == list(range(50))


def test_a_server_may_take_backslashes_in_texts_literally(stored: sqltrack.Client, engine_name: str) -> None:
    if engine_name == "postgres":
        (name,) = stored.execute("SELECT current_database()").fetchone()
        with stored as connection:
            connection.execute(f'ALTER DATABASE "{name}" SET standard_conforming_strings = off')
    with queries.Database(stored) as source:
        assert len(read(source, "count", ODD)[5]) == 12


def test_a_thousand_metrics_are_read(client: sqltrack.Client) -> None:
    names = [f"m{number}" for number in range(900)]
    run = sqltrack.Experiment(client, name="wide").get_run(1)
    run.add_metrics({name: float(number) for number, name in enumerate(names)})
    with queries.Database(client) as source:
        found = queries.curves(source, {"runs": [1], "metrics": names})["curves"]
        assert [curve["y"] for curve in found] == [[float(number)] for number in range(900)]


def test_large_runs_are_read_row_by_row(stored: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with queries.Database(stored) as source:
        expected = read(source, *METRICS)
        monkeypatch.setattr(_rows, "_MOST_PACKED", 20)
        monkeypatch.setattr(_rows, "_ROWS", 3)
        monkeypatch.setattr(_rows, "_PACKED_ROWS", 30)
        assert read(source, *METRICS) == expected
