"""The examples on the page about other tools work, for tools that need no network."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from statistics import median
from typing import Any

import pytest

import sqltrack
from sqltrack.commands.export import export
from sqltrack.commands.grant import grant_sql
from sqltrack.engines.schema import EXTRAS, KEY
from sqltrack.pandas import query_dataframe
from support.pages import ROOT, read_blocks

PAGE = ROOT / "docs" / "tools.md"
GRAFANA = ROOT / "examples" / "grafana"
DASHBOARD = json.loads((GRAFANA / "experiments.json").read_text(encoding="utf-8"))
SOURCE = {"type": "grafana-postgresql-datasource", "uid": "${DS_SQLTRACK}"}
TARGETS = [(panel["title"], target) for panel in DASHBOARD["panels"] for target in panel["targets"]]
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
READER = "grafana_reader"


def needs(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing and os.environ.get("CI") and sys.version_info >= (3, 11):
        pytest.fail(f"not tested without {', '.join(missing)}")
    if missing:
        pytest.skip(f"not tested without {', '.join(missing)}")


def block_with(text: str, language: str) -> str:
    (block,) = (block for block in read_blocks(PAGE, language) if text in block.code)
    return block.code


# Grafana


def without_macros(sql: str, variables: dict[str, Any], begin: datetime, end: datetime) -> str:
    """Return a query as Grafana sends it (https://grafana.com/docs/grafana/latest/datasources/postgres/)."""
    for name, value in variables.items():
        sql = sql.replace(f"${{{name}:raw}}", str(value)).replace(f"${name}", str(value))
    limits = [f"'{moment.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}'" for moment in (begin, end)]
    sql = re.sub(r"\$__timeFilter\((.+?)\)", rf"\1 BETWEEN {limits[0]} AND {limits[1]}", sql)
    return re.sub(r"\$__timeGroup\((.+?),\s*'1d'\)", r"floor(extract(epoch from \1)/86400)*86400", sql)


@pytest.fixture
def generated(create_database: Callable[..., dict[str, Any]], generated_postgres: str) -> dict[str, Any]:
    """Configuration of a PostgreSQL database with made-up experiments."""
    return create_database(generated_postgres)


@pytest.fixture
def reader(generated: dict[str, Any], postgres_server: Any) -> Iterator[AsUser]:
    """A read-only user, as `sqltrack grant --read` creates it."""
    import psycopg

    owner = sqltrack.Client(generated)
    name = f"{READER}_{os.getpid()}"
    (owner_name,) = owner.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'runs'").fetchone()
    with psycopg.connect(postgres_server.dsn, autocommit=True) as server:
        server.execute(f"CREATE ROLE {name} LOGIN")
        try:
            for statement in grant_sql(name, dbname=generated["dbname"], owner=owner_name):
                owner.execute(statement)
            # A metric that is added later.
            run = sqltrack.Experiment(owner, name="later").get_run()
            run.add_metrics({"later": 0.5}, step=1)
            yield AsUser(owner, name)
        finally:
            owner.execute(f"DROP OWNED BY {name}")
            server.execute(f"DROP ROLE {name}")


class AsUser:
    """Executes queries as another user, however that user would log in.

    Args:
        client: client of a user who may become the other user.
        name: name of the user.
    """

    def __init__(self, client: sqltrack.Client, name: str) -> None:
        self.client = client
        self._name = name

    def query(self, sql: str) -> tuple[list[str], list[Any]]:
        with self.client:
            self.client.execute(f"SET LOCAL ROLE {self._name}")
            cursor = self.client.execute(sql)
            return [column[0] for column in cursor.description], cursor.fetchall()


@pytest.fixture
def ask(reader: AsUser) -> Callable[[str], tuple[list[str], list[Any]]]:
    """Return Grafana's result of a query, for the experiment that has running runs."""
    query = "SELECT experiment_id FROM runs WHERE status = 'RUNNING' GROUP BY 1 ORDER BY COUNT(*) DESC LIMIT 1"
    (experiment_id,) = reader.client.execute(query).fetchone()
    now = datetime.now(timezone.utc)
    variables = {"experiment": experiment_id, "metric": "val_loss"}
    return lambda sql: reader.query(without_macros(sql, variables, now - timedelta(days=90), now + timedelta(hours=1)))


@pytest.mark.parametrize(("title", "target"), TARGETS, ids=[title for title, _ in TARGETS])
def test_a_query_of_the_dashboard_runs_for_a_read_only_user(title: str, target: dict[str, Any], ask: Any) -> None:
    names, rows = ask(target["rawSql"])
    assert rows
    if target["format"] == "time_series":
        assert names[:2] == ["time", "metric"]
        assert all(None not in row for row in rows)
        assert [row[0] for row in rows] == sorted(row[0] for row in rows)


def test_curves_of_the_dashboard_end_when_the_run_was_heard_of_last(ask: Any, reader: AsUser) -> None:
    _, rows = ask(dict(TARGETS)["Running runs: $metric"]["rawSql"])
    ends = {name: moment for moment, name, _ in rows}
    updated = dict(reader.client.execute("SELECT id, time_updated FROM runs WHERE status = 'RUNNING'").fetchall())
    assert ends
    for name, moment in ends.items():
        # The loss of its last epoch may be missing.
        assert moment <= updated[int(name.removeprefix("run "))]
    counts = Counter(name for _, name, _ in rows)
    query = "SELECT COUNT(*) FROM metrics WHERE run_id = %s AND val_loss < 1e308"
    for name, count in counts.items():
        assert reader.client.execute(query, (int(name.removeprefix("run ")),)).fetchone() == (count,)


def test_the_dashboard_tells_which_runs_have_fallen_silent(ask: Any, reader: AsUser) -> None:
    sql = dict(TARGETS)["RUNNING, but not updated for an hour"]["rawSql"]
    (before,) = ask(sql)[1][0]
    query = """
        UPDATE runs SET time_updated = now() - INTERVAL '2 hours'
        WHERE id = (SELECT MAX(id) FROM runs WHERE status = 'RUNNING')
    """
    reader.client.execute(query)
    assert ask(sql)[1] == [(before + 1,)]
    assert sql.strip() == block_with("SELECT COUNT(*) AS runs FROM runs", "sql").strip()


def test_the_metrics_of_the_dashboard_are_those_that_are_numbers(ask: Any) -> None:
    names = [name for (name,) in ask(VARIABLES["metric"]["query"])[1]]
    assert {"val_loss", "later"} <= set(names)
    assert not {"train_start", EXTRAS, *KEY} & set(names)


def test_the_experiments_of_the_dashboard_have_names_and_ids(ask: Any) -> None:
    names, rows = ask(VARIABLES["experiment"]["query"])
    assert names == ["__text", "__value"]
    assert ("later", max(value for _, value in rows)) in rows


def test_the_query_of_the_page_runs_as_well(ask: Any) -> None:
    names, rows = ask(block_with("$__timeFilter", "sql"))
    assert names == ["time", "metric", "value"]
    assert rows


def test_who_can_only_read_cannot_write(reader: AsUser) -> None:
    with pytest.raises(sqltrack.SQLTrackError, match="permission denied"):
        reader.query("DELETE FROM runs RETURNING id")


def test_the_dashboard_asks_for_one_source_and_has_room_for_its_panels() -> None:
    panels = DASHBOARD["panels"]
    (asked,) = DASHBOARD["__inputs"]
    assert (asked["pluginId"], f"${{{asked['name']}}}") == (SOURCE["type"], SOURCE["uid"])
    assert all(part["datasource"] == SOURCE for part in [*panels, *VARIABLES.values(), *(t for _, t in TARGETS)])
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = Counter(
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )
    assert max(x for x, _ in cells) < 24
    assert set(cells.values()) == {1}
    assert f"type: {SOURCE['type']}" in (GRAFANA / "datasource.yaml").read_text(encoding="utf-8")


# DuckDB, marimo, R


def test_duckdb_reads_exported_files(generated_config: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    needs("duckdb", "pyarrow")
    import duckdb

    client = sqltrack.Client(generated_config)
    export(client, "exported", format="parquet")
    names: dict[str, Any] = {}
    exec(block_with("import duckdb", "python"), names)  # noqa: S102 - the page is ours
    rows = duckdb.sql(names["query"]).fetchall()
    query = """
        SELECT args ->> 'model', MAX(val_top1) FROM metrics JOIN runs ON id = run_id
        WHERE status = 'COMPLETED' AND val_top1 <> 'NaN' GROUP BY run_id, args ->> 'model'
    """
    best: dict[str, list[float]] = {}
    for model, top1 in client.execute(query):
        best.setdefault(model, []).append(top1)
    assert {model: middle for model, middle, _ in rows} == pytest.approx({key: median(v) for key, v in best.items()})
    assert all(middle <= percentile <= max(best[model]) for model, middle, percentile in rows)
    assert "resnet18" in capsys.readouterr().out


def test_duckdb_finds_nan_and_times_in_exported_files(generated_config: dict[str, Any]) -> None:
    needs("duckdb", "pyarrow")
    import duckdb

    client = sqltrack.Client(generated_config)
    export(client, "exported", format="parquet")
    (number,) = client.execute("SELECT COUNT(*) FROM metrics WHERE train_loss = 'NaN'").fetchone()
    assert number > 0
    assert duckdb.sql("SELECT COUNT(*) FROM 'exported/metrics.parquet' WHERE isnan(train_loss)").fetchall() == [
        (number,)
    ]
    (column, *_), *_ = duckdb.sql("SELECT typeof(time_started) FROM 'exported/runs.parquet' LIMIT 1").fetchall()
    assert column == "TIMESTAMP WITH TIME ZONE"


def test_a_sql_cell_of_marimo_counts_rows_of_a_data_frame(generated_config: dict[str, Any]) -> None:
    needs("duckdb")
    import duckdb

    client = sqltrack.Client(generated_config)
    asked: list[str] = []

    class Cells:
        """Records marimo's queries to DuckDB, which finds the data frame by its name."""

        @staticmethod
        def sql(query: str) -> None:
            asked.append(query)

    names = {"client": client, "query_dataframe": query_dataframe, "mo": Cells}
    exec(block_with("mo.sql", "python"), names)  # noqa: S102 - the page is ours
    connection = duckdb.connect()
    connection.register("runs", names["runs"])
    counts = Counter(model for (model,) in client.execute("SELECT args ->> 'model' FROM runs"))
    assert connection.sql(asked[0]).fetchall() == sorted(counts.items())


@pytest.mark.engines("sqlite")
def test_nullif_makes_missing_values_of_nan(generated_config: dict[str, Any]) -> None:
    client = sqltrack.Client(generated_config)
    query = "SELECT typeof(NULLIF(train_loss, 'NaN')), COUNT(*) FROM metrics GROUP BY 1"
    kinds = dict(client.execute(query).fetchall())
    assert set(kinds) == {"real", "null"}
    assert client.execute("SELECT COUNT(*) FROM metrics WHERE train_loss = 'NaN'").fetchone() == (kinds["null"],)
