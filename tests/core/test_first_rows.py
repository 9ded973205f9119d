"""Best and last values are the same as with the portable text, whichever plan an engine uses."""

from __future__ import annotations

import copy
import importlib
import math
import pickle
import random
import sqlite3
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

import sqltrack
from sqltrack.engines.postgres import _first_rows
from sqltrack.engines.results import find_reader
from sqltrack.queries import Query, best_values, first_row, last_values
from sqltrack.util import quote_identifier

NUMBERS = ("score", "count", "mostly nan", "100%", "value")
OTHERS = ("label", "flag")
INDEXES = ("(run_id, {})", "(run_id, {} DESC)", "(run_id, {}, step)")

CURSORS = "sqltrack.engines.postgres._cursor"

Rows = list[tuple[Any, ...]]


def found(connection: Any, query: Query) -> Rows | str:
    """Return the rows as an engine finds them, or "error"."""
    return read(connection, query.sql, query.parameters)


def expected(connection: Any, query: Query) -> Rows | str:
    """Return the rows by the portable text."""
    return read(connection, str(query.sql), query.parameters)


def read(connection: Any, *query: Any) -> Rows | str:
    cursor = connection.cursor()
    try:
        # Without parameters, placeholders are not replaced.
        cursor.execute(*(query if query[-1] else query[:1]))
    except (sqlite3.Error, psycopg.Error):
        return "error"
    # NaN is not equal to itself.
    return [tuple("NaN" if value != value else value for value in row) for row in cursor]


@pytest.fixture
def connection(client: sqltrack.Client) -> Iterator[Any]:
    """One connection for many queries, each in its own transaction."""
    connection = client.engine.connect()
    client.engine.set_autocommit(connection, True)
    yield connection
    connection.close()


def queries(metric: str, ids: list[int]) -> Iterator[Query]:
    for run_ids in (None, [*ids[3:7], 10**9]):
        yield best_values(metric, ["count", metric, "step"], run_ids=run_ids)
        yield best_values(metric, maximize=False, run_ids=run_ids)
        yield last_values(metric, ["label"], run_ids=run_ids)


def random_row(rng: random.Random) -> dict[str, Any]:
    """Return metrics with many ties, NaN, infinities and missing values."""
    row = {
        "score": rng.choice([math.nan, None, math.inf, -math.inf, 0.0, 0.5, 0.5, 1.0, rng.random()]),
        "count": rng.choice([None, -1, 0, 1, 1, 2**53]),
        "mostly nan": rng.choice([math.nan] * 6 + [0.25, None]),
        "100%": rng.choice([None] * 6 + [1.5, 2.5]),
        "value": rng.choice([1.0, 2.0]),
        "label": rng.choice(["a", "NaN", "z", None]),
        "flag": rng.choice([True, False, None]),
    }
    return {name: value for name, value in row.items() if value is not None}


def fill(experiment: sqltrack.Experiment, seed: int) -> list[int]:
    """Log runs with random metrics over steps, over progress, and over both; return the ids."""
    rng = random.Random(seed)
    ids = []
    with experiment.client:
        for number in range(12):
            run = experiment.get_run()
            ids.append(run.id)
            steps, fractions = [(30, 1), (1, 30), (6, 5)][number % 3]
            keys = [(step, part / 8) for step in range(steps) for part in range(fractions)]
            rows = [
                {"step": step, "progress": progress, **random_row(rng)}
                for step, progress in rng.sample(keys, rng.randrange(len(keys)))
            ]
            # The first run has all columns, and one run has no rows.
            every = {"score": 0.5, "count": 1, "mostly nan": math.nan, "100%": 1.0, "value": 1.0, "label": "a"}
            run.add_metrics_many([*rows, {"step": 99, **every, "flag": True}] if number == 0 else rows)
    ids.append(experiment.get_run().id)
    return ids


@pytest.mark.parametrize("seed", range(2))
def test_every_way_finds_the_rows_that_sorting_all_finds(
    experiment: sqltrack.Experiment, connection: Any, seed: int, engine_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ties, NaN, infinities, missing values and rows, texts, any name, some runs; with and without an index."""
    ids = fill(experiment, seed)
    monkeypatch.setattr(_first_rows, "_MANY_ROWS", 1)
    asked = [query for name in (*NUMBERS, *OTHERS) for query in queries(name, ids)]
    answers = [expected(connection, query) for query in asked]
    assert [found(connection, query) for query in asked] == answers
    # Now PostgreSQL knows how many values are missing.
    connection.execute("ANALYZE")
    assert [found(connection, query) for query in asked] == answers
    for index in INDEXES[seed::2]:
        for number, name in enumerate((*NUMBERS, *OTHERS)):
            connection.execute(f"CREATE INDEX by_{number} ON metrics {index.format(quote_identifier(name))}")
        assert [found(connection, query) for query in asked] == answers
        for number in range(len((*NUMBERS, *OTHERS))):
            connection.execute(f"DROP INDEX by_{number}")
    assert answers.count("error") == (8 if engine_name == "postgres" else 0)
    assert sum(map(bool, answers)) > len(answers) / 2


@pytest.mark.engines("sqlite", reason="PostgreSQL keeps no text among numbers")
def test_texts_among_numbers_stay_greater_than_numbers(run: sqltrack.Run, connection: Any) -> None:
    """Other programs may put texts into a column of SQLite."""
    run.add_metrics_many([{"step": step, "score": step / 2} for step in range(4)])
    connection.execute("UPDATE metrics SET score = 'NaN' WHERE step = 3")
    for text in ("abc", "zzz"):
        connection.execute("UPDATE metrics SET score = ? WHERE step = 2", (text,))
        for _ in range(2):
            assert found(connection, best_values("score")) == [(run.id, 2, 0.0, text)]
            connection.execute("CREATE INDEX IF NOT EXISTS by_score ON metrics (run_id, score)")
        connection.execute("DROP INDEX by_score")


def plan(client: sqltrack.Client, query: Query, engine_name: str) -> str:
    """Return how an engine executes its own text of a query."""
    explain = "EXPLAIN QUERY PLAN" if engine_name == "sqlite" else "EXPLAIN"
    with client as connection:
        text = query.sql.text_for(connection.cursor())  # type: ignore[attr-defined]
        return "\n".join(str(row) for row in client.execute(f"{explain} {text}", query.parameters))


@pytest.fixture
def many_rows(client: sqltrack.Client, experiment: sqltrack.Experiment) -> None:
    """100 runs with 200 rows each, many of them NaN; one in 50 has a value of `rare`."""
    for name in ("score", "rare"):
        client.execute(f"ALTER TABLE metrics ADD COLUMN {name} DOUBLE PRECISION")
    numbers = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {})"
    insert = "INSERT INTO runs (id, experiment_id) " + numbers.format(99)
    client.execute(f"{insert} SELECT 1000 + i, {experiment.id} FROM n")
    insert = "INSERT INTO metrics (run_id, step, score, rare) " + numbers.format(199)
    score = "CASE WHEN i > 20 THEN 'NaN' ELSE 0.5 * i END"
    if client.engine.name == "postgres":
        score = "CASE WHEN i > 20 THEN 'NaN'::float8 ELSE 0.5 * i END"
    client.execute(f"{insert} SELECT id, i, {score}, CASE WHEN i % 50 = 0 THEN 1.0 END FROM runs CROSS JOIN n")
    client.execute("ANALYZE")


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.usefixtures("many_rows")
def test_an_index_on_run_and_metric_is_searched_for_each_run(
    client: sqltrack.Client, connection: Any, engine_name: str, index: str
) -> None:
    """In either sort order, for any best value, and not with an index of another metric."""
    connection.execute("CREATE INDEX by_rare ON metrics (run_id, rare)")
    connection.execute(f"CREATE INDEX by_score ON metrics {index.format('score')}")
    for maximize in (True, False):
        query = best_values("score", maximize=maximize)
        found_plan = plan(client, query, engine_name)
        assert "by_score" in found_plan
        assert "by_rare" not in found_plan
        assert "Seq Scan on metrics" not in found_plan
        if engine_name == "postgres":
            # NaN is not read.
            assert "(score < 'NaN'::double precision)" in found_plan.split("Index Cond")[1]
        rows = [(run_id, 20 * maximize, 0.0, 10.0 * maximize) for run_id in range(1000, 1100)]
        assert found(connection, query) == rows


@pytest.mark.usefixtures("many_rows")
def test_other_indexes_do_not_count(client: sqltrack.Client, engine_name: str) -> None:
    """An index for a part of the rows, in another order or on other columns does not lead to each run's best row."""
    without = plan(client, best_values("score"), engine_name)
    client.execute("CREATE INDEX by_part ON metrics (run_id, score) WHERE step > 100")
    client.execute("CREATE INDEX by_rare ON metrics (run_id, rare)")
    client.execute("CREATE INDEX by_score ON metrics (score, run_id)")
    if engine_name == "postgres":
        client.execute("CREATE INDEX by_last ON metrics (run_id, score DESC NULLS LAST)")
        client.execute("CREATE INDEX by_half ON metrics (run_id) INCLUDE (score)")
        client.execute("CREATE INDEX by_block ON metrics USING brin (run_id, score)")
    lines = [line.split("(cost")[0] for line in without.splitlines()]
    assert [line.split("(cost")[0] for line in plan(client, best_values("score"), engine_name).splitlines()] == lines


@pytest.mark.usefixtures("many_rows")
def test_last_values_are_found_by_the_key(client: sqltrack.Client, connection: Any, engine_name: str) -> None:
    found_plan = plan(client, last_values("score"), engine_name)
    assert ("metrics_pkey" if engine_name == "postgres" else "USING PRIMARY KEY (run_id=?") in found_plan
    assert "WindowAgg" not in found_plan
    assert found_plan.count("USE TEMP B-TREE") <= 1
    last = found(connection, last_values("rare"))
    assert last == [(run_id, 150, 0.0, 1.0) for run_id in range(1000, 1100)]


@pytest.mark.engines("postgres", reason="SQLite has no statistics of columns")
@pytest.mark.usefixtures("many_rows")
def test_statistics_choose_the_way_without_an_index(client: sqltrack.Client) -> None:
    """Dense metrics are joined with their best values, rare ones are filtered first."""
    assert "WindowAgg" not in plan(client, best_values("score"), "postgres")
    assert "WindowAgg" in plan(client, best_values("rare"), "postgres")
    assert "WindowAgg" not in plan(client, last_values("score"), "postgres")
    assert "WindowAgg" in plan(client, last_values("rare"), "postgres")


@pytest.mark.parametrize("run_ids", [None, [1000, 1001]])
@pytest.mark.usefixtures("many_rows")
def test_clients_cursors_and_data_frames_take_the_quick_way(
    client: sqltrack.Client,
    connection: Any,
    engine_name: str,
    monkeypatch: pytest.MonkeyPatch,
    run_ids: list[int] | None,
) -> None:
    """Each of them executes the engine's own text, not the portable one."""
    taken = []
    module = importlib.import_module({"sqlite": "sqltrack.engines.sqlite._connection"}.get(engine_name, CURSORS))
    adapt = module.first_rows_sql
    monkeypatch.setattr(module, "first_rows_sql", lambda *given: taken.append(given) or adapt(*given))
    query = best_values("score", run_ids=run_ids)
    rows = client.execute(*query).fetchall()
    assert len(taken) == 1
    with client.cursor() as cursor:
        assert first_row(cursor, *query) == rows[0]
    assert len(taken) == 2
    with find_reader(connection.cursor()).read(connection.cursor(), *query, 1000) as reading:
        assert [row for chunk in reading.chunks for row in chunk] == rows
    assert len(taken) >= 3


@pytest.mark.parametrize("name", ["val/acc%", "a%s", "%(b)s", "%%"])
def test_names_may_hold_what_looks_like_placeholders(run: sqltrack.Run, name: str) -> None:
    """This holds for each way in which a query without parameters gets to a cursor."""
    run.add_metrics({name: 0.5}, step=3)
    expected = [(run.id, 3, 0.0, 0.5)]
    for query in (best_values(name), last_values(name), best_values(name, run_ids=[run.id])):
        assert run.client.execute(*query).fetchall() == expected
        with run.client.cursor() as cursor:
            assert cursor.execute(*query).fetchall() == expected
        with run.client as connection:
            assert connection.execute(*query).fetchall() == expected
            assert connection.cursor().execute(query.sql, query.parameters).fetchall() == expected


def test_copies_of_a_query_are_equal(client: sqltrack.Client, run: sqltrack.Run) -> None:
    run.add_metrics({"score": 0.5})
    query = best_values("score", run_ids=[run.id])
    for other in (copy.deepcopy(query), pickle.loads(pickle.dumps(query))):  # noqa: S301
        assert other == query
        assert client.execute(*other).fetchall() == [(run.id, 0, 0.0, 0.5)]


@pytest.mark.engines("postgres", reason="SQLite has no failed transactions")
def test_a_failed_transaction_stays_the_error(client: sqltrack.Client, run: sqltrack.Run) -> None:
    run.add_metrics({"score": 0.5})
    with pytest.raises(sqltrack.SQLTrackError, match="aborted"), client:
        with pytest.raises(sqltrack.SQLTrackError):
            client.execute("SELECT 1 / 0")
        client.execute(*best_values("score"))
