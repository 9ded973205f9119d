"""Recipes answer what they say, on both engines: each is compared with the same computed in Python from the tables."""

from __future__ import annotations

import io
import itertools
import json
import math
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from statistics import correlation, mean, median, stdev
from typing import Any, NamedTuple

import pytest

import sqltrack
from sqltrack.cli._table import print_result
from sqltrack.commands import setup
from sqltrack.errors import DatabaseError
from sqltrack.pandas import query_dataframe
from support.pages import ROOT, Block, read_blocks

sys.path.insert(0, str(ROOT / "examples"))
from generate_experiment_data import generate

PAGE = ROOT / "docs" / "recipes.md"
# In the past, whatever the clock says.
NOW = datetime(2025, 3, 1, 18, tzinfo=timezone.utc)
RUNS, EPOCHS = 150, 10
BASELINES, SWEEP = "Image classification baselines", "Learning-rate sweep"
GRAD_NORMS = ((1, 0, 0.5), (1, 1, 0.25), (2, 0, math.nan))

Row = tuple[Any, ...]
Expectation = Callable[["Tables"], list[Row]]
expectations: dict[str, Expectation] = {}


class Recipe(NamedTuple):
    """A statement of the page.

    Attributes:
        title: the heading above it, with a number where there are several below one heading.
        sql: the statement.
        engines: the engines that it is for.
        sample: the begin of its result as the page shows it, None if it shows none.
    """

    title: str
    sql: str
    engines: tuple[str, ...]
    sample: str | None


def read_recipes() -> list[Recipe]:
    headings = [
        (number, line.removeprefix("### "))
        for number, line in enumerate(PAGE.read_text(encoding="utf-8").splitlines(), start=1)
        if line.startswith("### ")
    ]
    blocks = read_blocks(PAGE)
    seen: dict[str, int] = defaultdict(int)
    recipes = []
    for block, following in itertools.zip_longest(blocks, blocks[1:]):
        if block.language == "sql":
            title = [text for number, text in headings if number < block.line][-1]
            seen[title] += 1
            name = title if seen[title] == 1 else f"{title} {seen[title]}"
            # What another test is said to run is run here.
            recipes.append(Recipe(name, block.code.strip(), block.engines or ("sqlite", "postgres"), sample(following)))
    return recipes


def sample(block: Block | None) -> str | None:
    return block.code if block is not None and block.language == "text" else None


RECIPES = read_recipes()
READING = [recipe for recipe in RECIPES if recipe.sql.startswith(("SELECT", "WITH"))]
SHOWN = [recipe for recipe in READING if recipe.sample is not None]
CHANGES = {recipe.title: recipe for recipe in RECIPES if recipe.sql.startswith(("INSERT", "UPDATE", "DELETE", "ALTER"))}


def title(recipe: Recipe) -> str:
    return recipe.title


class Tables:
    """What is in the database, as plain Python.

    Attributes:
        experiments: the experiments by id.
        runs: the runs by id, in order.
        metrics: the rows of metrics by id of their run, in order.
        links: (from_id, kind, to_id) of the runs' links.
    """

    def __init__(self, client: sqltrack.Client) -> None:
        self.experiments = {row["id"]: row for row in records(client, "SELECT * FROM experiments ORDER BY id")}
        self.runs = {row["id"]: row for row in records(client, "SELECT * FROM runs ORDER BY id")}
        self.metrics: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in records(client, "SELECT * FROM metrics ORDER BY run_id, step, progress"):
            self.metrics[row["run_id"]].append(row)
        self.links = [tuple(row.values()) for row in records(client, "SELECT from_id, kind, to_id FROM run_links")]

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for run_id in sorted(self.metrics):
            for row in self.metrics[run_id]:
                yield run_id, row

    def numbers(self, run_id: int, name: str) -> list[dict[str, Any]]:
        """Return a run's rows in which a metric is a number."""
        return [row for row in self.metrics.get(run_id, ()) if is_number(row[name])]

    def best(self) -> dict[int, float]:
        """Return the best accuracy of all runs that have one."""
        found = {run_id: [row["val_top1"] for row in self.numbers(run_id, "val_top1")] for run_id in self.runs}
        return {run_id: max(values) for run_id, values in found.items() if values}

    def arg(self, run_id: int, name: str) -> Any:
        return self.runs[run_id]["args"].get(name)

    def of(self, experiment: str) -> list[int]:
        """Return the ids of an experiment's runs."""
        (wanted,) = [key for key, row in self.experiments.items() if row["name"] == experiment]
        return [run_id for run_id, run in self.runs.items() if run["experiment_id"] == wanted]

    def name(self, run_id: int) -> str:
        return str(self.experiments[self.runs[run_id]["experiment_id"]]["name"])


def records(client: sqltrack.Client, query: str) -> list[dict[str, Any]]:
    cursor = client.execute(query)
    names = [column[0] for column in cursor.description]
    return [{name: nan_if_text(value) for name, value in zip(names, row)} for row in cursor.fetchall()]


def nan_if_text(value: Any) -> Any:
    return math.nan if value == "NaN" else value


def is_number(value: Any) -> bool:
    return value is not None and value == value


def grouped(items: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    groups = defaultdict(list)
    for key, value in items:
        groups[key].append(value)
    return dict(groups)


def deviation(values: list[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def hours(run: dict[str, Any], begin: str = "time_started", end: str = "time_updated") -> float:
    return (run[end] - run[begin]).total_seconds() / 3600


# -- databases --------------------------------------------------------------------------------------------------------


def fill(config: dict[str, Any]) -> None:
    client = sqltrack.Client(config)
    generate(client, runs=RUNS, epochs=EPOCHS, seed=0, now=NOW)
    # NaN in all that is compared: to the end as in a training that has diverged, and once in some that go on.
    diverged = "train_top1 = 'NaN', val_top1 = 'NaN', test_top1 = 'NaN'"
    client.execute(
        f"UPDATE metrics SET {diverged} WHERE train_loss = 'NaN' OR (step = 5 AND run_id IN (9, 16, 82, 94, 98, 101))"
    )
    # A metric of this name goes into extras, and lets them be added.
    sqltrack.run_add_metrics_many(client, 1, [{"run_id": 1.0, "step": 0, "progress": 1 / EPOCHS}], updated=None)
    for run_id, step, value in GRAD_NORMS:
        extras = json.dumps({"layer1/grad_norm": "NaN" if math.isnan(value) else value})
        query = "UPDATE metrics SET extras = %s WHERE run_id = %s AND step = %s"
        client.execute(query, (extras, run_id, step))
    for recipe in RECIPES:
        if recipe.sql.startswith("CREATE FUNCTION") and client.engine.name in recipe.engines:
            client.execute(recipe.sql)


@pytest.fixture(scope="session")
def recipes_sqlite(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    config = {"engine": "sqlite", "dbpath": str(tmp_path_factory.mktemp("recipes") / "sqltrack.db")}
    setup(sqltrack.Client(config))
    fill(config)
    return config


@pytest.fixture(scope="session")
def recipes_postgres(
    create_database: Callable[..., dict[str, Any]], postgres_template: str, postgres_server: Any
) -> dict[str, Any]:
    import psycopg

    config = create_database(postgres_template)
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        # The day of a moment depends on it.
        connection.execute(f"ALTER DATABASE {config['dbname']} SET timezone = 'UTC'")
    fill(config)
    return config


@pytest.fixture(scope="session")
def recipes_tables() -> dict[str, Tables]:
    """The tables of each engine, once they have been read."""
    return {}


@pytest.fixture
def recipes_client(engine_name: str, request: pytest.FixtureRequest) -> sqltrack.Client:
    """Client of a database with the same runs on each engine, not to be changed."""
    return sqltrack.Client(request.getfixturevalue(f"recipes_{engine_name}"))


@pytest.fixture
def tables(engine_name: str, recipes_client: sqltrack.Client, recipes_tables: dict[str, Tables]) -> Tables:
    if engine_name not in recipes_tables:
        recipes_tables[engine_name] = Tables(recipes_client)
    return recipes_tables[engine_name]


@pytest.fixture
def copy(
    engine_name: str, recipes_client: sqltrack.Client, request: pytest.FixtureRequest, tmp_path: Path
) -> sqltrack.Client:
    """Client of a copy, to be changed."""
    if engine_name == "sqlite":
        shutil.copyfile(recipes_client.engine.path, tmp_path / "sqltrack.db")
        return sqltrack.Client(engine="sqlite", dbpath=str(tmp_path / "sqltrack.db"))
    config = request.getfixturevalue("recipes_postgres")
    made = request.getfixturevalue("create_database")(config["dbname"])
    return sqltrack.Client({**config, "dbname": made["dbname"]})


# -- comparing --------------------------------------------------------------------------------------------------------


def result(client: sqltrack.Client, sql: str) -> list[Row]:
    return [tuple(comparable(value) for value in row) for row in client.execute(sql).fetchall()]


def comparable(value: Any) -> Any:
    """Return a value in the form that it has on both engines."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    return nan_if_text(value)


def assert_same(found: list[Row], expected: list[Row]) -> None:
    """Compare rows, numbers up to what days in floating point cost: a millisecond in SQLite."""
    assert len(found) == len(expected)
    for found_row, expected_row in zip(found, expected):
        assert len(found_row) == len(expected_row)
        for mine, theirs in zip(found_row, expected_row):
            if isinstance(theirs, float) and isinstance(mine, (int, float)):
                assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-9, nan_ok=True), (found_row, expected_row)
            else:
                assert mine == theirs, (found_row, expected_row)


@pytest.mark.parametrize("recipe", READING, ids=title)
def test_a_recipe_answers_what_it_says(
    recipe: Recipe, engine_name: str, recipes_client: sqltrack.Client, tables: Tables
) -> None:
    if engine_name in recipe.engines and recipe.title in expectations:
        expected = expectations[recipe.title](tables)
        assert expected, "nothing is expected, so anything would do"
        assert_same(result(recipes_client, recipe.sql), expected)


@pytest.mark.parametrize("recipe", READING, ids=title)
def test_a_data_frame_holds_the_same(recipe: Recipe, engine_name: str, recipes_client: sqltrack.Client) -> None:
    if engine_name in recipe.engines:
        frame = query_dataframe(recipes_client, recipe.sql)
        rows = result(recipes_client, recipe.sql)
        assert len(frame) == len(rows)
        for (name, column), values in zip(frame.items(), zip(*rows)):
            for mine, theirs in zip(column, values):
                if theirs is None:
                    assert mine is None or mine != mine, name
                elif isinstance(theirs, float):
                    assert mine == pytest.approx(theirs, rel=1e-4, nan_ok=True), name
                else:
                    assert comparable(mine) == theirs, name


@pytest.mark.parametrize("recipe", [recipe for recipe in READING if len(recipe.engines) == 2], ids=title)
def test_both_databases_give_the_same_rows(
    recipe: Recipe, recipes_sqlite: dict[str, Any], recipes_postgres: dict[str, Any]
) -> None:
    sqlite, postgres = (result(sqltrack.Client(config), recipe.sql) for config in (recipes_sqlite, recipes_postgres))
    assert_same(sqlite, postgres)


@pytest.mark.parametrize("recipe", SHOWN, ids=title)
def test_a_result_is_what_the_page_shows(recipe: Recipe, engine_name: str, recipes_client: sqltrack.Client) -> None:
    if engine_name in recipe.engines:
        *_, last = expected = str(recipe.sample).splitlines()
        rows = expected[2:-1] if last == "…" else expected[2:]
        lines, number = shown(recipes_client, recipe.sql, len(rows))
        assert [*lines, "…"] == expected if last == "…" else lines == expected
        assert number > len(rows) if last == "…" else number == len(rows)


def shown(client: sqltrack.Client, sql: str, count: int) -> tuple[list[str], int]:
    """Return the first rows of a result as the program shows them in a terminal, and the number of all rows."""
    cursor = client.execute(sql)
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, map(comparable, row))) for row in cursor.fetchall()]
    text = io.StringIO()
    print_result(rows[:count], names, headers={name: name for name in names}, file=text)
    return text.getvalue().splitlines(), len(rows)


def test_there_are_recipes_for_everything_and_nearly_all_are_computed_again() -> None:
    names = {recipe.title for recipe in READING if len(recipe.engines) == 2}
    assert len(names | set(CHANGES)) >= 36
    assert set(expectations) <= {recipe.title for recipe in READING}
    assert names - set(expectations) == {"Runs that only look as if they were running"}


# -- which run is best ------------------------------------------------------------------------------------------------


def expects(name: str) -> Callable[[Expectation], Expectation]:
    def note(function: Expectation) -> Expectation:
        expectations[name] = function
        return function

    return note


@expects("The best run")
def _(tables: Tables) -> list[Row]:
    rows = [(run_id, row["step"], row["val_top1"]) for run_id, row in tables.rows() if is_number(row["val_top1"])]
    rows.sort(key=lambda row: (-row[2], *row))
    return [(*row, tables.arg(row[0], "model"), tables.arg(row[0], "lr")) for row in rows[:3]]


@expects("The best epoch of each run, with its test score")
def _(tables: Tables) -> list[Row]:
    expected = []
    for run_id in tables.runs:
        rows = tables.numbers(run_id, "val_loss")
        if rows:
            row = min(rows, key=lambda row: (row["val_loss"], row["step"]))
            tests = [row["test_top1"] for row in tables.numbers(run_id, "test_top1")]
            expected.append((run_id, row["step"], row["val_loss"], row["val_top1"], tests[-1] if tests else None))
    return expected


@expects("The last value of each run")
def _(tables: Tables) -> list[Row]:
    values = grouped((run_id, row) for run_id, row in tables.rows() if row["val_top1"] is not None)
    return [(run_id, rows[-1]["step"], rows[-1]["val_top1"]) for run_id, rows in values.items()]


@expects("A leaderboard with ties")
def _(tables: Tables) -> list[Row]:
    percents = {
        run_id: float(Decimal(f"{100 * top1:.15g}").quantize(Decimal("0.1"), ROUND_HALF_UP))
        for run_id, top1 in tables.best().items()
        if tables.runs[run_id]["status"] == "COMPLETED"
    }
    rows = [
        (1 + sum(other > percent for other in percents.values()), run_id, percent, tables.name(run_id))
        for run_id, percent in percents.items()
    ]
    assert len({row[0] for row in rows}) < len(rows)
    return sorted(rows)[:10]


@expects("The best two runs of each model")
def _(tables: Tables) -> list[Row]:
    groups = grouped((tables.arg(run_id, "model"), (-top1, run_id)) for run_id, top1 in tables.best().items())
    return [
        (model, place, run_id, -top1)
        for model in sorted(groups)
        for place, (top1, run_id) in enumerate(sorted(groups[model])[:2], start=1)
    ]


@expects("Mean and standard deviation over seeds")
def _(tables: Tables) -> list[Row]:
    best = tables.best()
    completed = [run_id for run_id in tables.of(SWEEP) if tables.runs[run_id]["status"] == "COMPLETED"]
    groups = grouped(((tables.arg(key, "model"), tables.arg(key, "lr")), best[key]) for key in completed if key in best)
    rows = [(*key, len(values), mean(values), deviation(values)) for key, values in groups.items()]
    return sorted(rows, key=lambda row: -row[3])


@expects("Median and percentiles")
def _(tables: Tables) -> list[Row]:
    groups = grouped(
        (tables.arg(run_id, "model"), top1)
        for run_id, top1 in tables.best().items()
        if tables.runs[run_id]["status"] == "COMPLETED"
    )
    return [(model, len(values), median(values), percentile(values, 90)) for model, values in sorted(groups.items())]


def percentile(values: list[float], percent: int) -> float:
    return next(
        value for value in sorted(values) if sum(other <= value for other in values) * 100 >= percent * len(values)
    )


@expects("The mean of the best three")
def _(tables: Tables) -> list[Row]:
    groups = grouped(
        ((tables.arg(run_id, "model"), tables.arg(run_id, "schedule")), top1) for run_id, top1 in tables.best().items()
    )
    rows = [(*key, mean(sorted(values)[-3:])) for key, values in groups.items() if len(values) >= 3]
    return sorted(rows, key=lambda row: -row[2])


@expects("A column for each seed")
def _(tables: Tables) -> list[Row]:
    best = tables.best()
    chosen = [
        run_id for run_id in tables.of(BASELINES) if run_id in best and tables.arg(run_id, "schedule") == "cosine"
    ]
    scores = grouped(((tables.arg(run_id, "model"), tables.arg(run_id, "seed")), best[run_id]) for run_id in chosen)
    models = sorted({model for model, _ in scores})
    return [(model, *(max(scores.get((model, seed), [None])) for seed in range(3))) for model in models]


@expects("Two experiments side by side")
def _(tables: Tables) -> list[Row]:
    best = tables.best()

    def means(experiment: str) -> dict[Any, float]:
        chosen = [run_id for run_id in tables.of(experiment) if run_id in best]
        groups = grouped(((tables.arg(key, "model"), float(tables.arg(key, "lr"))), best[key]) for key in chosen)
        return {key: mean(values) for key, values in groups.items()}

    baseline, sweep = means(BASELINES), means(SWEEP)
    both = sorted(baseline.keys() & sweep.keys())
    return [(*key, baseline[key], sweep[key], sweep[key] - baseline[key]) for key in both]


@expects("Accuracy against memory: the Pareto front")
def _(tables: Tables) -> list[Row]:
    best = tables.best()
    # By memory: each run on the front is better than all that need less or as much.
    front: list[Row] = []
    extras = {run_id: tables.runs[run_id]["extras"] or {} for run_id in best}
    candidates = [(extras[run_id]["peak_memory_mb"], -top1, run_id) for run_id, top1 in best.items() if extras[run_id]]
    for memory, top1, run_id in sorted(candidates):
        if not front or -top1 > front[-1][3]:
            front.append((run_id, tables.arg(run_id, "model"), float(memory), -top1))
    return front


@expects("Does an argument matter?")
def _(tables: Tables) -> list[Row]:
    best = tables.best()
    groups = grouped(
        (tables.arg(run_id, "model"), (tables.arg(run_id, "lr"), best[run_id]))
        for run_id in tables.of(SWEEP)
        if run_id in best
    )
    rows = []
    for model, points in sorted(groups.items()):
        ranks = [[1 + sum(other < value for other in values) for value in values] for values in zip(*points)]
        rows.append((model, len(points), correlation(*ranks)))
    return rows


# -- curves -----------------------------------------------------------------------------------------------------------


@expects("Learning curves of runs that were resumed")
def _(tables: Tables) -> list[Row]:
    earlier = {from_id: to_id for from_id, kind, to_id in tables.links if kind == "resumes"}
    points: dict[tuple[int, int], Row] = {}
    for run_id in tables.runs:
        first = run_id
        while first in earlier:
            first = earlier[first]
        for row in tables.numbers(run_id, "train_loss"):
            points[first, row["step"]] = (first, row["step"], run_id, row["train_loss"])
    rows = sorted(points.values())
    assert any(row[0] != row[2] for row in rows)
    return rows


@expects("A moving average")
def _(tables: Tables) -> list[Row]:
    rows = []
    for run_id in tables.runs:
        losses = [row for row in tables.numbers(run_id, "train_loss") if math.isfinite(row["train_loss"])]
        for number, row in enumerate(losses):
            window = [other["train_loss"] for other in losses[max(0, number - 2) : number + 1]]
            rows.append((run_id, row["step"], row["train_loss"], mean(window)))
    return rows


@expects("Exponential smoothing, as TensorBoard's slider does it")
def _(tables: Tables) -> list[Row]:
    rows = []
    for run_id in (1, 2):
        smooth = None
        for row in tables.numbers(run_id, "train_loss"):
            loss = row["train_loss"]
            smooth = loss if smooth is None else 0.6 * smooth + 0.4 * loss
            rows.append((run_id, row["step"], loss, smooth))
    return rows


@expects("The best so far")
def _(tables: Tables) -> list[Row]:
    rows = []
    for run_id in tables.runs:
        numbers = tables.numbers(run_id, "val_top1")
        best = itertools.accumulate((row["val_top1"] for row in numbers), max)
        rows += [(run_id, row["step"], row["val_top1"], so_far) for row, so_far in zip(numbers, best)]
    return rows


@expects("Mean curve over seeds")
def _(tables: Tables) -> list[Row]:
    groups = grouped(
        ((tables.arg(run_id, "model"), row["step"]), row["val_top1"])
        for run_id in tables.of(SWEEP)
        if tables.arg(run_id, "lr") == 0.1
        for row in tables.numbers(run_id, "val_top1")
    )
    return [(*key, len(values), mean(values), deviation(values)) for key, values in sorted(groups.items())]


@expects("A curve of few points")
def _(tables: Tables) -> list[Row]:
    rows = []
    for run_id in tables.runs:
        points = [row for row in tables.metrics.get(run_id, ()) if row["val_loss"] is not None]
        # The first point that reaches each fifth, or all if there are fewer.
        chosen = {math.ceil(fifth * len(points) / 5) for fifth in range(1, 6)} - {0}
        rows += [(run_id, points[number - 1]["step"], points[number - 1]["val_loss"]) for number in sorted(chosen)]
    return rows


@expects("When a target was reached first")
def _(tables: Tables) -> list[Row]:
    steps = grouped((run_id, row["step"]) for run_id, row in tables.rows() if (row["val_top1"] or 0) >= 0.7)
    return sorted(((run_id, min(reached)) for run_id, reached in steps.items()), key=lambda row: row[::-1])


@expects("What early stopping would have cost")
def _(tables: Tables) -> list[Row]:
    expected = []
    for run_id in tables.runs:
        stop = stop_step(tables.numbers(run_id, "val_loss"))
        rows = tables.numbers(run_id, "val_top1")
        if stop is not None and rows:
            before = [row["val_top1"] for row in rows if row["step"] <= stop]
            saved = 1 - len(before) / len(rows)
            expected.append((run_id, stop, max(before), max(row["val_top1"] for row in rows), saved))
    return expected


def stop_step(rows: list[dict[str, Any]], patience: int = 2) -> int | None:
    best, best_number = math.inf, -1
    for number, row in enumerate(rows):
        if best_number < 0 or row["val_loss"] < best:
            best, best_number = row["val_loss"], number
        if number - best_number >= patience:
            return int(row["step"])
    return None


@expects("Area under the curve")
def _(tables: Tables) -> list[Row]:
    expected = []
    for run_id in tables.runs:
        points = [(row["progress"], row["val_top1"]) for row in tables.numbers(run_id, "val_top1")]
        area = sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in itertools.pairwise(points))
        if len(points) > 1:
            expected.append((run_id, area / (points[-1][0] - points[0][0])))
    return sorted(expected, key=lambda row: (-row[1], row[0]))


@expects("How much runs overfit")
def _(tables: Tables) -> list[Row]:
    gaps = {}
    for run_id, row in tables.rows():
        if is_number(row["train_top1"]) and is_number(row["val_top1"]):
            gaps[run_id] = (run_id, row["step"], row["train_top1"] - row["val_top1"])
    return sorted(gaps.values(), key=lambda row: (-row[2], row[0]))


@expects("Metrics that are no columns")
def _(tables: Tables) -> list[Row]:
    return [row for row in GRAD_NORMS if is_number(row[2])]


# -- arguments, tags, links -------------------------------------------------------------------------------------------


@expects("Runs with given arguments")
def _(tables: Tables) -> list[Row]:
    return [
        (run_id, run["args"]["model"], run["args"]["augmentation"].get("flip", {}).get("p"))
        for run_id, run in tables.runs.items()
        if run["args"]["optimizer"] == "sgd"
        and 0.03 <= run["args"]["lr"] <= 0.3
        and run["args"]["amp"] is True
        and "randaugment" not in run["args"]["augmentation"]
        and "pretrained" not in run["args"]
    ]


@expects("Which arguments were varied?")
def _(tables: Tables) -> list[Row]:
    names = ("model", "lr", "optimizer", "schedule", "seed", "augmentation", "weight_decay")
    values = grouped(
        ((tables.name(run_id), name), json.dumps(run["args"][name], sort_keys=True))
        for run_id, run in tables.runs.items()
        for name in names
    )
    return sorted((*key, len(set(found))) for key, found in values.items() if len(set(found)) > 1)


def all_varied(tables: Tables) -> list[Row]:
    values = grouped(
        (name, json.dumps(value, sort_keys=True)) for run in tables.runs.values() for name, value in run["args"].items()
    )
    return sorted((name, len(set(found))) for name, found in values.items() if len(set(found)) > 1)


expectations["Which arguments were varied? 2"] = all_varied
expectations["Which arguments were varied? 3"] = all_varied


@expects("Which cells of a grid are missing?")
def _(tables: Tables) -> list[Row]:
    return [("convnext_tiny", 0.3), ("vit_small", 0.01)]


@expects("Which seeds are still missing?")
def _(tables: Tables) -> list[Row]:
    statuses = grouped(
        ((tables.arg(run_id, "model"), tables.arg(run_id, "lr")), tables.runs[run_id]["status"])
        for run_id in tables.of(SWEEP)
    )
    missing = {key: 3 - found.count("COMPLETED") for key, found in statuses.items()}
    return [(*key, count) for key, count in sorted(missing.items()) if count > 0]


@expects("Runs that are duplicates")
def _(tables: Tables) -> list[Row]:
    groups = grouped(
        ((run["experiment_id"], json.dumps(run["args"], sort_keys=True)), run_id) for run_id, run in tables.runs.items()
    )
    rows = [(key[0], len(ids), min(ids), max(ids)) for key, ids in groups.items() if len(ids) > 1]
    return sorted(rows, key=lambda row: row[2])


@expects("Runs with a tag")
def _(tables: Tables) -> list[Row]:
    return [
        (run_id, tables.name(run_id))
        for run_id, run in tables.runs.items()
        if "paper" in (run["tags"] or ()) and "paper" in (tables.experiments[run["experiment_id"]]["tags"] or ())
    ]


@expects("Parents and children")
def _(tables: Tables) -> list[Row]:
    best = tables.best()
    return sorted(
        (to_id, from_id, best[to_id], best[from_id])
        for from_id, kind, to_id in tables.links
        if kind == "fine_tunes" and {from_id, to_id} <= best.keys()
    )


@expects("Where a run comes from, over all generations")
def _(tables: Tables) -> list[Row]:
    targets = grouped((from_id, to_id) for from_id, _, to_id in tables.links)
    rows = set()
    for run_id in tables.runs:
        generation = {run_id}
        for depth in itertools.count(1):
            generation = {to_id for from_id in generation for to_id in targets.get(from_id, ())}
            if not generation:
                break
            rows |= {(run_id, ancestor, depth) for ancestor in generation}
    assert max(depth for *_, depth in rows) >= 2
    return sorted(rows, key=lambda row: (row[0], row[2], row[1]))


@expects("Results by commit")
def _(tables: Tables) -> list[Row]:
    best = tables.best()
    groups = grouped(
        (tables.runs[run_id]["env"]["GIT_COMMIT"][:8], run_id) for run_id in best if tables.runs[run_id]["env"]
    )
    return [
        (revision, len(ids), mean(best[key] for key in ids), max(best[key] for key in ids), first_day(tables, ids))
        for revision, ids in sorted(groups.items())
    ]


def first_day(tables: Tables, run_ids: list[int]) -> str:
    return min(day(tables.runs[run_id]["time_started"]) for run_id in run_ids)


def day(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).date().isoformat()


# -- time and cost ----------------------------------------------------------------------------------------------------


def ended(tables: Tables) -> dict[int, dict[str, Any]]:
    """Return the runs that have begun and logged something since."""
    return {key: run for key, run in tables.runs.items() if run["time_started"] and run["time_updated"]}


@expects("The slowest runs")
def _(tables: Tables) -> list[Row]:
    rows = [(key, run["status"], run["args"]["model"], round(60 * hours(run), 2)) for key, run in ended(tables).items()]
    return sorted(rows, key=lambda row: (-row[3], row[0]))[:10]


@expects("Throughput")
def _(tables: Tables) -> list[Row]:
    rates = grouped(
        (tables.arg(run_id, "model"), 50000 / (row["train_end"] - row["train_start"]).total_seconds())
        for run_id, row in tables.rows()
        if row["train_end"] is not None
    )
    rows = [(model, len(values), mean(values)) for model, values in rates.items()]
    return sorted(rows, key=lambda row: -row[2])


@expects("Throughput 2")
def _(tables: Tables) -> list[Row]:
    return [
        (run_id, len(tables.metrics[run_id]) / (3600 * hours(run)))
        for run_id, run in ended(tables).items()
        if tables.metrics.get(run_id)
    ]


def gpu_hours(run: dict[str, Any]) -> float:
    return hours(run) * float(run["env"].get("SLURM_GPUS_ON_NODE", 1))


@expects("GPU hours by experiment")
def _(tables: Tables) -> list[Row]:
    groups = grouped((tables.name(run_id), gpu_hours(run)) for run_id, run in ended(tables).items())
    rows = [(name, len(values), sum(values)) for name, values in groups.items()]
    return sorted(rows, key=lambda row: -row[2])


@expects("GPU hours by user and week")
def _(tables: Tables) -> list[Row]:
    groups = grouped(
        ((run["time_started"].isocalendar()[:2], run["env"]["USER"]), run) for run in ended(tables).values()
    )
    return sorted(
        (min(day(run["time_started"]) for run in runs), user, sum(map(gpu_hours, runs)))
        for (_, user), runs in groups.items()
    )


@expects("Time to accuracy")
def _(tables: Tables) -> list[Row]:
    rows = []
    for run_id, run in tables.runs.items():
        reached = [row["val_end"] for row in tables.metrics.get(run_id, ()) if (row["val_top1"] or 0) >= 0.7]
        if reached:
            minutes = (min(reached) - run["time_started"]).total_seconds() / 60
            rows.append((run_id, run["args"]["model"], round(minutes, 2)))
    return sorted(rows, key=lambda row: (row[2], row[0]))


@expects("How long runs waited in the queue")
def _(tables: Tables) -> list[Row]:
    groups = grouped(
        (run["env"].get("SLURM_JOB_PARTITION", "(no job)"), 60 * hours(run, "time_created", "time_started"))
        for run in tables.runs.values()
        if run["time_started"]
    )
    rows = [(name, len(waits), mean(waits), max(waits)) for name, waits in groups.items()]
    return sorted(rows, key=lambda row: -row[3])


@expects("How many runs at once?")
def _(tables: Tables) -> list[Row]:
    runs = ended(tables).values()
    moments = [moment for run in runs for moment in (run["time_started"], run["time_updated"])]
    counts = grouped(
        (day(moment), sum(run["time_started"] <= moment < run["time_updated"] for run in runs)) for moment in moments
    )
    rows = [(name, max(found)) for name, found in counts.items()]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


@expects("When will it be done?")
def _(tables: Tables) -> list[Row]:
    rows = []
    for run_id, run in tables.runs.items():
        if run["status"] == "RUNNING" and tables.metrics.get(run_id):
            progress = tables.metrics[run_id][-1]["progress"]
            rows.append((run_id, progress, round(hours(run) / progress - hours(run), 3)))
    return sorted(rows, key=lambda row: (row[2], row[0]))


@expects("Runs by day")
def _(tables: Tables) -> list[Row]:
    begin = datetime(2025, 2, 10, tzinfo=timezone.utc)
    groups = grouped(
        (day(run["time_created"]), run["status"]) for run in tables.runs.values() if run["time_created"] >= begin
    )
    return [(name, len(found), found.count("COMPLETED")) for name, found in sorted(groups.items())]


# -- what went wrong --------------------------------------------------------------------------------------------------


@expects("Runs that diverged, and when")
def _(tables: Tables) -> list[Row]:
    steps = grouped(
        (run_id, row["step"])
        for run_id, row in tables.rows()
        if row["train_loss"] is not None and not math.isfinite(row["train_loss"])
    )
    return [
        (run_id, min(found), tables.arg(run_id, "model"), float(tables.arg(run_id, "lr")))
        for run_id, found in steps.items()
    ]


@expects("Runs by status")
def _(tables: Tables) -> list[Row]:
    groups = grouped((run["status"], run_id) for run_id, run in tables.runs.items())
    rows = [(status, len(ids), 100 * len(ids) / len(tables.runs)) for status, ids in groups.items()]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


@expects("Which nodes fail?")
def _(tables: Tables) -> list[Row]:
    groups = grouped((run["env"]["HOSTNAME"], run["status"]) for run in tables.runs.values() if run["env"])
    failures = {"FAILED", "NODE_FAIL", "OUT_OF_MEMORY"}
    counts = {node: (len(found), sum(status in failures for status in found)) for node, found in groups.items()}
    rows = [(node, runs, failed, 100 * failed / runs) for node, (runs, failed) in counts.items() if runs >= 5]
    return sorted(rows, key=lambda row: (-row[3], row[0]))


@expects("Runs without metrics")
def _(tables: Tables) -> list[Row]:
    return [
        (run_id, run["status"], run["comment"])
        for run_id, run in tables.runs.items()
        if run["status"] != "PLANNED" and not tables.metrics.get(run_id)
    ]


@expects("How big is it, how fast does it grow?")
def _(tables: Tables) -> list[Row]:
    months = grouped((day(tables.runs[run_id]["time_started"])[:7], 1) for run_id, _ in tables.rows())
    counts = [(month, len(found)) for month, found in sorted(months.items())]
    return [
        (month, count, total)
        for (month, count), total in zip(counts, itertools.accumulate(count for _, count in counts))
    ]


# -- what depends on the clock or on the database ---------------------------------------------------------------------


def test_a_run_that_has_just_logged_something_does_not_look_dead(copy: sqltrack.Client) -> None:
    (recipe,) = (recipe for recipe in READING if recipe.title == "Runs that only look as if they were running")
    running = [row[0] for row in result(copy, "SELECT id FROM runs WHERE status = 'RUNNING' ORDER BY id")]
    now = datetime.now(timezone.utc)
    ages = dict(zip(running, (timedelta(0), timedelta(hours=23), timedelta(hours=25), timedelta(days=30))))
    for run_id, age in ages.items():
        copy.execute("UPDATE runs SET time_updated = %s WHERE id = %s", (now - age, run_id))
    found = dict(result(copy, recipe.sql))
    assert list(found) == running[2:]
    assert [round(found[run_id]) for run_id in running[2:4]] == [25, 720]
    assert result(copy, recent("id", "time_updated")) == [(run_id,) for run_id in running[:3]]


def recent(columns: str, moment: str) -> str:
    """Return a query for what happened in the last seven days, as the page says it."""
    (condition,) = set(re.findall(r"`julianday\(time_created\) > (julianday\('now'\) - 7)`", PAGE.read_text("utf-8")))
    return f"SELECT {columns} FROM runs WHERE julianday({moment}) > {condition} ORDER BY id"


@pytest.mark.engines("postgres")
def test_the_sizes_of_the_tables_are_shown(recipes_client: sqltrack.Client) -> None:
    (recipe,) = (recipe for recipe in READING if recipe.title == "How big is it, how fast does it grow? 2")
    sizes = result(recipes_client, recipe.sql)
    assert {name for name, _ in sizes} == {"experiments", "runs", "run_links", "metrics"}
    assert all(size > 0 for _, size in sizes)


@pytest.mark.engines("sqlite")
def test_the_size_of_the_file_is_shown(copy: sqltrack.Client) -> None:
    (recipe,) = (recipe for recipe in READING if recipe.title == "How big is it, how fast does it grow? 3")
    copy.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert result(copy, recipe.sql) == [(Path(copy.engine.path).stat().st_size,)]


# -- how to read these recipes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "is_met"),
    [
        ("args ->> 'model' = 'resnet50'", lambda args: args["model"] == "resnet50"),
        ("CAST(args ->> 'lr' AS DOUBLE PRECISION) < 0.1", lambda args: args["lr"] < 0.1),
        ("CAST(args -> 'amp' AS TEXT) = 'true'", lambda args: args["amp"]),
        ("args -> 'augmentation' -> 'crop' ->> 'size' IS NOT NULL", lambda args: "crop" in args["augmentation"]),
        ("args ->> 'pretrained' IS NOT NULL", lambda args: "pretrained" in args),
    ],
)
def test_conditions_on_arguments_choose_the_runs_that_meet_them(
    condition: str, is_met: Callable[[dict[str, Any]], Any], recipes_client: sqltrack.Client, tables: Tables
) -> None:
    assert condition.removesuffix(" IS NOT NULL") in PAGE.read_text(encoding="utf-8")
    expected = [(run_id,) for run_id, run in tables.runs.items() if is_met(run["args"])]
    assert 0 < len(expected) < len(tables.runs)
    assert result(recipes_client, f"SELECT id FROM runs WHERE {condition} ORDER BY id") == expected


@pytest.mark.engines("sqlite")
def test_traps_of_sqlite_are_as_the_page_says(recipes_client: sqltrack.Client) -> None:
    def value(expression: str) -> Any:
        return recipes_client.execute(f"SELECT {expression}").fetchone()[0]

    assert recipes_client.execute("SELECT id FROM runs WHERE args ->> 'seed' = '0'").fetchall() == []
    assert value("CAST('auto' AS DOUBLE PRECISION)") == value("CAST('NaN' AS DOUBLE PRECISION)") == 0
    assert value("""'{"a": true}' ->> 'a'""") == value("""'{"a": 1}' ->> 'a'""") == 1
    assert value("""'{"optim.lr": 1}' ->> '$."optim.lr"'""") == 1
    assert value("json_extract('{\"lr\": 0.5}', '$.lr')") == 0.5
    assert value("CAST(2.7 AS INTEGER)") == 2
    taken_for_zero = "SELECT AVG(train_loss) - SUM(COALESCE(NULLIF(train_loss, 'NaN'), 0)) / COUNT(*) FROM metrics"
    assert recipes_client.execute(f"{taken_for_zero} WHERE run_id = 57").fetchone()[0] == pytest.approx(0)
    assert recipes_client.execute("SELECT COUNT(*) FROM metrics WHERE run_id = 57 AND train_loss = 'NaN'").fetchone()[0]
    assert isinstance(recipes_client.execute("SELECT MAX(time_updated) FROM runs").fetchone()[0], str)
    nulls = "SELECT time_started IS NULL FROM runs ORDER BY time_started DESC"
    assert recipes_client.execute(nulls).fetchone() == (0,)


@pytest.mark.engines("postgres")
def test_traps_of_postgres_are_as_the_page_says(recipes_client: sqltrack.Client) -> None:
    def value(expression: str) -> Any:
        return recipes_client.execute(f"SELECT {expression}").fetchone()[0]

    for mistake in ("args ->> 'seed' = 0", "CAST('auto' AS DOUBLE PRECISION) > 0", "100 * args ->> 'lr' > 1"):
        with pytest.raises(DatabaseError):
            recipes_client.execute(f"SELECT id FROM runs WHERE {mistake}")
    with pytest.raises(DatabaseError):
        recipes_client.execute("SELECT step FROM metrics WHERE step <> 'NaN'")
    assert value("""CAST('{"optim.lr": 1}' AS JSONB) ->> 'optim.lr'""") == "1"
    assert value("CAST(2.7 AS INTEGER)") == 3
    query = "SELECT id FROM runs WHERE args @> '{\"optimizer\": \"sgd\"}' EXCEPT SELECT id FROM runs WHERE {} = 'sgd'"
    assert recipes_client.execute(query.replace("{}", "args ->> 'optimizer'")).fetchall() == []
    assert recipes_client.execute("SELECT id FROM runs WHERE tags ? 'paper'").fetchall()
    nulls = "SELECT time_started IS NULL FROM runs ORDER BY time_started DESC"
    assert recipes_client.execute(nulls).fetchone() == (True,)
    interval = "SELECT EXTRACT(EPOCH FROM time_updated - time_started) / 3600 FROM runs WHERE id = 1"
    days = "SELECT 24 * (julianday(time_updated) - julianday(time_started)) FROM runs WHERE id = 1"
    assert float(recipes_client.execute(interval).fetchone()[0]) == pytest.approx(
        recipes_client.execute(days).fetchone()[0], rel=1e-4
    )


def test_nan_is_greater_than_all_numbers_and_found_by_its_name(recipes_client: sqltrack.Client, tables: Tables) -> None:
    diverged = [run_id for run_id, row in tables.rows() if row["train_loss"] != row["train_loss"]]
    query = "SELECT run_id FROM metrics WHERE train_loss = 'NaN' ORDER BY run_id"
    assert result(recipes_client, query) == [(run_id,) for run_id in diverged]
    (greatest,) = result(recipes_client, "SELECT MAX(train_loss) FROM metrics")[0]
    assert math.isnan(greatest)
    finite = "SELECT COUNT(*) FROM metrics WHERE train_loss < 1e308"
    losses = [row["train_loss"] for _, row in tables.rows()]
    assert result(recipes_client, finite) == [(sum(math.isfinite(loss) for loss in losses),)]


# -- changing data ----------------------------------------------------------------------------------------------------


def change(title: str, client: sqltrack.Client) -> Any:
    recipe = CHANGES[title]
    assert client.engine.name in recipe.engines
    return client.execute(recipe.sql)


def test_tags_are_added_to_many_runs_and_others_are_kept(copy: sqltrack.Client) -> None:
    query = "SELECT id, tags FROM runs WHERE args ->> 'model' = 'vit_small'"
    before = dict(copy.execute(query).fetchall())
    assert {None} < {str(tags) if tags else None for tags in before.values()}
    change("Tags for many runs" if copy.engine.name == "sqlite" else "Tags for many runs 2", copy)
    after = dict(copy.execute(query).fetchall())
    assert after == {run_id: {**(tags or {}), "paper": True} for run_id, tags in before.items()}
    others = "SELECT COUNT(*) FROM runs WHERE tags ->> 'paper' IS NOT NULL AND args ->> 'model' <> 'vit_small'"
    assert copy.execute(others).fetchone()[0] < len(before)


def test_a_run_is_planned_with_the_arguments_of_another(copy: sqltrack.Client) -> None:
    (new_id,) = change("Plan a run with the arguments of another", copy).fetchone()
    query = "SELECT experiment_id, args FROM runs WHERE id = %s"
    assert copy.execute(query, (new_id,)).fetchone() == copy.execute(query, (1,)).fetchone()
    assert copy.execute("SELECT status FROM runs WHERE id = %s", (new_id,)).fetchone() == ("PLANNED",)


def test_what_was_logged_after_a_checkpoint_is_deleted(copy: sqltrack.Client) -> None:
    (others,) = result(copy, "SELECT COUNT(*) FROM metrics WHERE run_id <> 1")[0]
    assert change("Delete what was logged after a checkpoint", copy).rowcount == EPOCHS - 4
    assert result(copy, "SELECT step FROM metrics WHERE run_id = 1 ORDER BY step") == [(0,), (1,), (2,), (3,)]
    assert result(copy, "SELECT COUNT(*) FROM metrics WHERE run_id <> 1") == [(others,)]


def test_only_failed_runs_without_metrics_are_deleted(copy: sqltrack.Client) -> None:
    experiment = sqltrack.Experiment(copy, name=SWEEP)
    empty = experiment.get_run().set_status("FAILED").add_link("repeats", 1)
    before = {run_id for (run_id,) in result(copy, "SELECT id FROM runs")}
    change("Delete runs that failed before they logged anything", copy)
    assert before - {run_id for (run_id,) in result(copy, "SELECT id FROM runs")} == {empty.id}
    assert result(copy, f"SELECT kind FROM run_links WHERE from_id = {empty.id}") == []
    assert result(copy, "SELECT COUNT(*) FROM runs WHERE status = 'FAILED'")[0][0] > 0


def test_a_metric_gets_another_name(copy: sqltrack.Client) -> None:
    before = result(copy, 'SELECT run_id, step, "gpu util %" FROM metrics ORDER BY run_id, step')
    change("Rename a metric", copy)
    assert result(copy, "SELECT run_id, step, gpu_util FROM metrics ORDER BY run_id, step") == before
