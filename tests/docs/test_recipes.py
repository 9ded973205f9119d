"""Recipes return the right result on both engines: each is compared with a result computed in Python."""

from __future__ import annotations

import io
import json
import math
import re
import shutil
import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli._table import print_result
from sqltrack.commands import setup
from sqltrack.errors import DatabaseError
from sqltrack.pandas import query_dataframe
from support.pages import ROOT
from support.recipes import expectations
from support.recipes.page import CHANGES, PAGE, READING, RECIPES, SHOWN, Recipe, title
from support.recipes.tables import GRAD_NORMS, SWEEP, Row, Tables, nan_if_text

sys.path.insert(0, str(ROOT / "examples"))
from generate_experiment_data import generate

# In the past, whatever the clock says.
NOW = datetime(2025, 3, 1, 18, tzinfo=timezone.utc)
RUNS, EPOCHS = 150, 10


# Databases


def fill(config: dict[str, Any]) -> None:
    client = sqltrack.Client(config)
    generate(client, runs=RUNS, epochs=EPOCHS, seed=0, now=NOW, first_id=1)
    # NaN in all compared metrics: up to the end, as in a diverged training, and once in some that recover.
    diverged = "train_top1 = 'NaN', val_top1 = 'NaN', test_top1 = 'NaN'"
    client.execute(
        f"UPDATE metrics SET {diverged} WHERE train_loss = 'NaN' OR (step = 5 AND run_id IN (9, 16, 82, 94, 98, 101))"
    )
    # A metric of this name goes to extras, so that this column is added.
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
    create_lasting_database: Callable[..., dict[str, Any]], postgres_template: str, postgres_server: Any
) -> dict[str, Any]:
    import psycopg

    config = create_lasting_database(postgres_template)
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        # The day of a time depends on it.
        connection.execute(f"ALTER DATABASE {config['dbname']} SET timezone = 'UTC'")
    fill(config)
    return config


@pytest.fixture(scope="session")
def recipes_tables() -> dict[str, Tables]:
    """The tables of each engine, read once."""
    return {}


@pytest.fixture
def recipes_client(engine_name: str, request: pytest.FixtureRequest) -> sqltrack.Client:
    """Client of a database with the same runs on each engine; tests must not change it."""
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
    """Client of a copy that tests may change."""
    if engine_name == "sqlite":
        shutil.copyfile(recipes_client.engine.path, tmp_path / "sqltrack.db")
        return sqltrack.Client(engine="sqlite", dbpath=str(tmp_path / "sqltrack.db"))
    config = request.getfixturevalue("recipes_postgres")
    made = request.getfixturevalue("create_database")(config["dbname"])
    return sqltrack.Client({**config, "dbname": made["dbname"]})


# Comparing


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
    """Compare rows, with numbers up to the error of days in floating point: a millisecond in SQLite."""
    assert len(found) == len(expected)
    for found_row, expected_row in zip(found, expected):
        assert len(found_row) == len(expected_row)
        for mine, theirs in zip(found_row, expected_row):
            if isinstance(theirs, float) and isinstance(mine, (int, float)):
                assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-9, nan_ok=True), (found_row, expected_row)
            else:
                assert mine == theirs, (found_row, expected_row)


@pytest.mark.parametrize("recipe", READING, ids=title)
def test_a_recipe_returns_the_right_answer(
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
    assert names - set(expectations) == {"Which runs are probably dead?"}


# Recipes that depend on the clock or on the database


def test_a_run_that_has_just_logged_something_does_not_look_dead(copy: sqltrack.Client) -> None:
    (recipe,) = (recipe for recipe in READING if recipe.title == "Which runs are probably dead?")
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
    """Return a query for the last seven days, as the page shows it."""
    (condition,) = set(re.findall(r"`julianday\(time_created\) > (julianday\('now'\) - 7)`", PAGE.read_text("utf-8")))
    return f"SELECT {columns} FROM runs WHERE julianday({moment}) > {condition} ORDER BY id"


@pytest.mark.engines("postgres")
def test_the_sizes_of_the_tables_are_shown(recipes_client: sqltrack.Client) -> None:
    (recipe,) = (
        recipe for recipe in READING if recipe.title == "How large is the database, and how fast does it grow? 2"
    )
    sizes = result(recipes_client, recipe.sql)
    assert {name for name, _ in sizes} == {"experiments", "runs", "run_links", "metrics"}
    assert all(size > 0 for _, size in sizes)


@pytest.mark.engines("sqlite")
def test_the_size_of_the_file_is_shown(copy: sqltrack.Client) -> None:
    (recipe,) = (
        recipe for recipe in READING if recipe.title == "How large is the database, and how fast does it grow? 3"
    )
    copy.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert result(copy, recipe.sql) == [(Path(copy.engine.path).stat().st_size,)]


# How to read these recipes


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


# Changing data


def change(title: str, client: sqltrack.Client) -> Any:
    recipe = CHANGES[title]
    assert client.engine.name in recipe.engines
    return client.execute(recipe.sql)


def test_tags_are_added_to_many_runs_and_others_are_kept(copy: sqltrack.Client) -> None:
    query = "SELECT id, tags FROM runs WHERE args ->> 'model' = 'vit_small'"
    before = dict(copy.execute(query).fetchall())
    assert {None} < {str(tags) if tags else None for tags in before.values()}
    change("Tag many runs" if copy.engine.name == "sqlite" else "Tag many runs 2", copy)
    after = dict(copy.execute(query).fetchall())
    assert after == {run_id: {**(tags or {}), "paper": True} for run_id, tags in before.items()}
    others = "SELECT COUNT(*) FROM runs WHERE tags ->> 'paper' IS NOT NULL AND args ->> 'model' <> 'vit_small'"
    assert copy.execute(others).fetchone()[0] < len(before)


def test_a_run_is_planned_with_the_arguments_of_another(copy: sqltrack.Client) -> None:
    (new_id,) = change("Plan a run with the arguments of another", copy).fetchone()
    query = "SELECT experiment_id, args FROM runs WHERE id = %s"
    assert copy.execute(query, (new_id,)).fetchone() == copy.execute(query, (1,)).fetchone()
    assert copy.execute("SELECT status FROM runs WHERE id = %s", (new_id,)).fetchone() == ("PLANNED",)


def test_rows_after_a_checkpoint_are_deleted(copy: sqltrack.Client) -> None:
    (others,) = result(copy, "SELECT COUNT(*) FROM metrics WHERE run_id <> 1")[0]
    assert change("Delete the rows after a checkpoint", copy).rowcount == EPOCHS - 4
    assert result(copy, "SELECT step FROM metrics WHERE run_id = 1 ORDER BY step") == [(0,), (1,), (2,), (3,)]
    assert result(copy, "SELECT COUNT(*) FROM metrics WHERE run_id <> 1") == [(others,)]


def test_only_failed_runs_without_metrics_are_deleted(copy: sqltrack.Client) -> None:
    experiment = sqltrack.Experiment(copy, name=SWEEP)
    empty = experiment.get_run().set_status("FAILED").add_link("repeats", 1)
    before = {run_id for (run_id,) in result(copy, "SELECT id FROM runs")}
    change("Delete failed runs without metrics", copy)
    assert before - {run_id for (run_id,) in result(copy, "SELECT id FROM runs")} == {empty.id}
    assert result(copy, f"SELECT kind FROM run_links WHERE from_id = {empty.id}") == []
    assert result(copy, "SELECT COUNT(*) FROM runs WHERE status = 'FAILED'")[0][0] > 0


def test_a_metric_gets_another_name(copy: sqltrack.Client) -> None:
    before = result(copy, 'SELECT run_id, step, "gpu util %" FROM metrics ORDER BY run_id, step')
    change("Rename a metric", copy)
    assert result(copy, "SELECT run_id, step, gpu_util FROM metrics ORDER BY run_id, step") == before
