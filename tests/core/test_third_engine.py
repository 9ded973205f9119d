"""A third database stores its first loss with few methods, by an engine that only the tests have."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import sqltrack
from sqltrack import Experiment, Run, seeds
from sqltrack.commands import setup
from sqltrack.engines import Engine
from sqltrack.engines.admin import admin_of
from sqltrack.engines.metrics_table import MetricsTable, Upsert
from sqltrack.errors import DatabaseError, DatabaseUnavailableError
from sqltrack.queries import best_values, differing_args, seed_statistics
from support import engine_methods

pytestmark = [
    pytest.mark.also_on("duckdb"),
    pytest.mark.engines("duckdb", reason="the tests of the other engines cover the rest"),
    pytest.mark.skipif(importlib.util.find_spec("duckdb") is None, reason="duckdb is missing, it needs Python 3.11"),
]

# More methods would deter users from writing an engine.
MOST_METHODS = 24

FOLDER = Path(__file__).parents[1] / "support" / "duckdb_engine"


@pytest.fixture
def third(engine_name: str) -> ModuleType:
    """The module of that engine."""
    return importlib.import_module("support.duckdb_engine._engine")


# Its methods


def test_few_methods_must_be_overridden_and_few_are(third: ModuleType) -> None:
    required: set[tuple[type, str]] = set()
    overridden: set[tuple[type, str]] = set()
    for base, cls in (
        (Engine, third.DuckDBEngine),
        (MetricsTable, third.DuckDBMetricsTable),
        (Upsert, third.DuckDBUpsert),
    ):
        required |= {(base, name) for name in engine_methods.required(base)}
        overridden |= {(base, name) for name in engine_methods.overridden(cls)}
    assert required <= overridden
    assert len(overridden) <= MOST_METHODS


def test_it_adds_no_methods_to_those_that_are_offered(third: ModuleType) -> None:
    for cls in (third.DuckDBEngine, third.DuckDBMetricsTable, third.DuckDBUpsert):
        assert engine_methods.offered(cls) - {"__init__"} == engine_methods.overridden(cls)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_it_imports_public_names_alone_and_none_of_another_engine(path: Path, engine_name: str) -> None:
    imports = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
    names = [f"{node.module}.{alias.name}" for node in imports for alias in node.names]
    foreign = ("sqltrack.engines.sqlite", "sqltrack.engines.postgres")
    assert not [name for name in names if name.startswith(foreign)]
    assert not [name for name in names if name.startswith("sqltrack") and "._" in name]


# Its database


def test_a_loss_is_in_the_file_when_the_program_has_ended(empty_config: dict[str, Any], tmp_path: Path) -> None:
    import duckdb

    path = str(tmp_path / "runs.duckdb")
    client = sqltrack.Client({**empty_config, "dbpath": path})
    setup(client)
    with Experiment(client, name="experiment").get_run().track() as run:
        run.add_metrics({"loss": 0.5}, step=1)
    with duckdb.connect(path, read_only=True) as connection:
        assert connection.execute("SELECT step, loss FROM metrics").fetchall() == [(1, 0.5)]
        assert connection.execute("SELECT status FROM runs").fetchall() == [("COMPLETED",)]


def test_queries_that_read_json_work(client: sqltrack.Client, experiment: Experiment) -> None:
    runs = [experiment.get_run().set_args({"lr": lr, "seed": seed, "data": "a"}) for lr, seed in ((0.1, 1), (0.1, 2))]
    for run, loss in zip(runs, (1.0, 3.0)):
        run.add_metrics({"loss": loss}).stop()
    ids = [run.id for run in runs]
    assert client.execute(*differing_args(client, ids)).fetchall() == [("seed", ids[0], "1"), ("seed", ids[1], "2")]
    assert client.execute(*best_values("loss", maximize=False)).fetchall() == [
        (ids[0], 0, 0.0, 1.0),
        (ids[1], 0, 0.0, 3.0),
    ]
    (group,) = seeds.seed_statistics(client, "loss").groups
    assert (group.args, group.run_ids) == ({"lr": 0.1, "data": "a"}, ids)
    (row,) = client.execute(*seed_statistics(client, "loss")).fetchall()
    assert row[1:4] == ('{"lr":0.1,"data":"a"}', 2, 2.0)


def test_floats_of_32_bits_are_widened_without_loss(run: Run) -> None:
    run.client.execute("ALTER TABLE metrics ADD COLUMN loss FLOAT")
    run.client.execute("INSERT INTO metrics (run_id, loss) VALUES (%s, 0.5)", (run.id,))
    run.add_metrics({"loss": 0.1}, step=1)
    assert run.client.execute("SELECT loss FROM metrics ORDER BY step").fetchall() == [(0.5,), (0.1,)]


def test_errors_name_the_database(empty_config: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailableError, match=r"cannot open DuckDB database '.*nowhere.runs\.duckdb'"):
        setup(sqltrack.Client({**empty_config, "dbpath": str(tmp_path / "nowhere" / "runs.duckdb")}))
    with pytest.raises(DatabaseError, match=r"DuckDB database '.*sqltrack\.duckdb': .*does not exist"):
        sqltrack.Client(empty_config).execute("SELECT * FROM runs")


def test_it_has_no_commands_of_operators(client: sqltrack.Client) -> None:
    with pytest.raises(NotImplementedError, match="DuckDBEngine names no admin_class"):
        admin_of(client.engine)
