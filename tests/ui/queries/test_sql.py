"""SQL of the user: results, limits, and where an error is; the names that it can use; and what a view lacks."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.errors import StatementTimeoutError
from sqltrack.ui import queries
from sqltrack.ui.queries import _sql
from sqltrack.ui.queries._schema import EXAMPLES
from support.extras import add_extras

pytestmark = pytest.mark.no_outbox

CARD = Path(__file__).parents[3] / "docs/schema-card.md"
MANY = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i FROM n"


def run(source: queries.Database, sql: str, **spec: Any) -> dict[str, Any]:
    answer = queries.sql(source, {"sql": sql, **spec})
    json.dumps(answer, allow_nan=False)
    return answer


def values(source: queries.Database, sql: str) -> list[list[Any]]:
    rows: list[list[Any]] = run(source, sql)["rows"]
    return rows


# Results


def test_a_query_returns_columns_with_kinds_and_rows(source: queries.Database) -> None:
    answer = run(
        source, "SELECT id, status, id / 2.0 AS half, status, NULL AS missing FROM runs WHERE id < 3 ORDER BY 1;"
    )
    assert [column["name"] for column in answer["columns"]] == ["id", "status", "half", "status", "missing"]
    assert [column["kind"] for column in answer["columns"]] == ["number", "text", "number", "text", "text"]
    assert answer["rows"] == [[1, "COMPLETED", 0.5, "COMPLETED", None], [2, "FAILED", 1.0, "FAILED", None]]
    assert (answer["cut"], answer["limit"], answer["timeout"]) == (None, 10_000, 30.0)


def test_special_numbers_times_and_objects_are_json(source: queries.Database) -> None:
    assert values(source, "SELECT loss FROM metrics WHERE run_id = 2 AND step = 3") == [[{"$number": "NaN"}]]
    assert values(source, "SELECT 9007199254740993") == [[{"$number": "9007199254740993"}]]
    answer = run(source, "SELECT time_started, args, tags FROM runs WHERE id = 1")
    (row,) = answer["rows"]
    assert row[0] == "2026-03-01T12:00:00+00:00"
    assert row[1]["model"] == {"name": "tiny"}
    assert [column["kind"] for column in answer["columns"]] == ["time", "json", "json"]


def test_a_percent_sign_and_a_placeholder_are_plain_text(source: queries.Database) -> None:
    assert values(source, """SELECT 'a%s', "acc%" FROM metrics WHERE run_id = 1 AND step = 0""") == [["a%s", 1]]


def test_rows_beyond_the_limit_are_left_out_and_that_is_said(source: queries.Database) -> None:
    assert run(source, MANY.format(10_000))["cut"] is None
    answer = run(source, MANY.format(20_000))
    assert (len(answer["rows"]), answer["cut"]) == (10_000, "rows")
    answer = run(source, MANY.format(20), limit=20)
    assert (len(answer["rows"]), answer["cut"]) == (20, None)
    answer = run(source, MANY.format(20), limit=7)
    assert ([row[0] for row in answer["rows"]], answer["cut"]) == ([*range(1, 8)], "rows")


def test_a_result_that_is_too_large_is_cut(source: queries.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sql, "_MOST_TEXT", 1_000)
    answer = run(
        source,
        "SELECT 'abcdefghijklmnopqrstuvwxyz' || a.id FROM runs AS a CROSS JOIN runs AS b CROSS JOIN metrics",
    )
    assert answer["cut"] == "size"
    assert 1 < len(answer["rows"]) < 40


@pytest.mark.parametrize(
    "sql",
    ["EXPLAIN SELECT 1", "VALUES (1), (2)", "-- why\nSELECT 1 -- end", "WITH a AS (SELECT 1 AS b) SELECT b FROM a"],
)
def test_any_query_is_accepted(source: queries.Database, sql: str) -> None:
    assert run(source, sql)["rows"]


def test_a_slow_query_is_stopped(filled: sqltrack.Client) -> None:
    with queries.Database(filled, timeout=0.3) as source, pytest.raises(StatementTimeoutError):
        run(source, MANY.format(10**9).replace("SELECT i FROM n", "SELECT COUNT(*) FROM n"))


def test_a_query_is_stopped_by_another_thread_and_the_connection_stays_usable(source: queries.Database) -> None:
    stop = queries.Stop()
    timer = threading.Timer(0.3, stop)
    timer.start()
    began = time.monotonic()
    endless = MANY.format(10**9).replace("SELECT i FROM n", "SELECT COUNT(*) FROM n")
    with pytest.raises(queries.QueryError, match="was stopped"):
        queries.sql(source, {"sql": endless}, stop)
    assert time.monotonic() - began < 10
    timer.join()
    # After its query, it stops nothing.
    stop()
    assert values(source, "SELECT COUNT(*) FROM runs") == [[6]]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM runs",
        "UPDATE runs SET status = 'x'",
        "DROP TABLE runs",
        "INSERT INTO experiments (name) VALUES ('x') RETURNING id",
        "SELECT 1; DELETE FROM runs",
        "CREATE TABLE x (a int)",
        "PRAGMA query_only = OFF",
        "BEGIN",
        "COMMIT; DELETE FROM runs",
        "ATTACH 'x.db' AS x",
    ],
)
def test_nothing_can_be_changed(source: queries.Database, sql: str) -> None:
    with pytest.raises(queries.StatementError):
        run(source, sql)
    assert values(source, "SELECT COUNT(*) FROM runs") == [[6]]


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"sql": " \n"},
        {"sql": 5},
        {"sql": "a\0b"},
        {"sql": "SELECT 1", "limit": 0},
        {"sql": "SELECT 1" + " " * 200_000},
    ],
)
def test_a_wrong_specification_is_refused(source: queries.Database, spec: dict[str, Any]) -> None:
    with pytest.raises(queries.QueryError) as caught:
        queries.sql(source, spec)
    assert caught.value.kind == "request"


# Errors


# The wrong part of each query is marked.
ERRORS = [
    "SELECT id FORM «runs» WHERE id = 1",
    "SELECT id FROM runs WHERE (id = 1 AND «)»",
    "SELECT step,\n  «lose» FROM metrics",
    "SELECT 1\nFROM «nowhere» -- a comment: nowhere",
    "SELECT id, 'é€😀' FROM runs\nWHERE «statuss» = 'x' AND id = 1",
    "SELECT «nofunction»(1)",
    "SELECT id FROM runs WHERE status = 'a' «WHERE» id = 1",
    "SELECT id FROM runs ORDER BY runs.«missing»",
    "«SELEC» 1",
]


@pytest.mark.parametrize("marked", ERRORS)
def test_an_error_has_a_place(source: queries.Database, marked: str) -> None:
    sql = re.sub("[«»]", "", marked)
    with pytest.raises(queries.StatementError) as caught:
        run(source, sql)
    details = caught.value.details
    begin, end = marked.index("«"), marked.index("»") - 1
    # PostgreSQL may mark the whole of a qualified name.
    assert begin - len("runs.") <= details["offset"] <= end
    lines = sql[: details["offset"]].split("\n")
    assert (details["line"], details["column"]) == (len(lines), len(lines[-1]) + 1)
    assert caught.value.kind == "where"


def test_an_incomplete_query_has_an_error_at_its_end(source: queries.Database) -> None:
    sql = "SELECT id FROM runs WHERE"
    with pytest.raises(queries.StatementError) as caught:
        run(source, sql)
    assert caught.value.details["offset"] >= sql.index("WHERE")


def test_an_error_while_rows_are_read_is_told(source: queries.Database) -> None:
    sql = (
        "SELECT CAST(status AS INTEGER) FROM runs"
        if source.client.engine.name == "postgres"
        else "SELECT abs(-9223372036854775808)"
    )
    with pytest.raises(queries.StatementError) as caught:
        run(source, sql)
    assert "integer" in str(caught.value)
    assert not str(caught.value).startswith(source.client.engine.describe())


# Names


def test_the_schema_lists_tables_metrics_and_arguments_that_queries_can_use(source: queries.Database) -> None:
    found = queries.schema(source)
    json.dumps(found, allow_nan=False)
    names = [table["name"] for table in found["tables"]]
    assert names[:5] == ["experiments", "experiment_links", "runs", "run_links", "metrics"]
    assert all(table["is_own"] == (index < 5) for index, table in enumerate(found["tables"]))
    by_name = {table["name"]: table for table in found["tables"]}
    assert [column["name"] for column in by_name["metrics"]["columns"]][:3] == ["run_id", "step", "progress"]
    assert {item["name"]: item["sql"] for item in found["metrics"]}.keys() == {"loss", "acc%", "rare"}
    for table in found["tables"]:
        listed = ", ".join(column["sql"] for column in table["columns"])
        run(source, f"SELECT {listed} FROM {table['sql']} LIMIT 1")
    for metric in found["metrics"]:
        assert values(source, f"SELECT COUNT({metric['sql']}) FROM metrics")[0][0] > 0
    assert {"seed", "lr", "model.name", 'odd "name"; --'} <= {item["name"] for item in found["args"]}
    for item in found["args"]:
        assert values(source, f"SELECT COUNT({item['sql']}) FROM runs")[0][0] == item["runs"]


def test_tables_and_views_of_the_user_are_listed(filled: sqltrack.Client) -> None:
    filled.execute('CREATE TABLE "My notes" (run_id INTEGER, "select" TEXT)')
    filled.execute("CREATE VIEW best AS SELECT run_id, MIN(loss) AS loss FROM metrics GROUP BY run_id")
    with queries.Database(filled) as source:
        tables = {table["name"]: table for table in queries.schema(source)["tables"]}
    assert tables["My notes"]["sql"] == '"My notes"'
    assert [column["sql"] for column in tables["My notes"]["columns"]] == ["run_id", '"select"']
    assert [column["name"] for column in tables["best"]["columns"]] == ["run_id", "loss"]
    assert not tables["best"]["is_own"]


def test_examples_are_those_of_the_schema_card() -> None:
    (block,) = re.findall(r"```sql\n(.*?)```", CARD.read_text(encoding="utf-8"), re.DOTALL)
    written = [part.partition("\n") for part in block.removeprefix("-- ").split("\n-- ")]
    assert [(title, sql.strip().removesuffix(";")) for title, _, sql in written] == [
        tuple(example) for example in EXAMPLES
    ]


def test_examples_name_metrics_and_arguments_of_the_database_and_run(source: queries.Database) -> None:
    examples = queries.schema(source)["examples"]
    assert len(examples) == len(EXAMPLES)
    assert 'SELECT step, "acc%", loss FROM metrics WHERE run_id = 5 ORDER BY step' in [item["sql"] for item in examples]
    for example in examples:
        run(source, example["sql"])


def test_an_empty_database_has_a_schema(client: sqltrack.Client) -> None:
    with queries.Database(client) as source:
        found = queries.schema(source)
    assert (found["metrics"], found["args"]) == ([], [])
    assert [item["sql"] for item in found["examples"]] == [example.sql for example in EXAMPLES]


# What is gone

STATE: dict[str, Any] = {
    "selected": [1, 99, 2],
    "filter": {
        "ids": [3, 98],
        "facets": [
            {"column": ["experiment", "name"], "values": ["first", "lost"]},
            {"column": ["args", "gone"], "values": ["x"]},
            {"column": ["tag", "50%"], "values": [True]},
        ],
        "where": None,
        "search": None,
    },
    "metrics": ["loss", "losss", "rare"],
    "columns": [
        ["run", "id"],
        ["metric", "at", "accuracy", "max", "loss"],
        ["args", "model", "name"],
        ["args", "model", "size"],
    ],
    "sort": [{"column": ["metric", "max", "acc%"], "descending": True}],
    "x": ["metric", "nothing like it"],
    "sweep": {"colour": ["args", 'odd "name"; --'], "axes": [["env", "HOME"], ["args", "lr"]]},
}


def test_what_a_view_lacks_is_told(source: queries.Database) -> None:
    found = queries.gone(source, {"state": STATE})
    json.dumps(found, allow_nan=False)
    assert found["runs"] == [99, 98]
    assert found["experiments"] == ["lost"]
    assert {item["name"]: item["similar"] for item in found["metrics"]} == {
        "losss": "loss",
        "accuracy": None,
        "nothing like it": None,
    }
    assert [item["column"] for item in found["columns"]] == [
        ["args", "gone"],
        ["args", "model", "size"],
        ["env", "HOME"],
    ]
    assert found["where"] is None


def test_a_view_whose_names_exist_lacks_nothing(source: queries.Database) -> None:
    state = {"selected": [1], "metrics": ["loss", "acc%", "rare"], "columns": [["tag", "baseline"], ["args", "seed"]]}
    found = queries.gone(
        source, {"state": {**state, "filter": {"where": "status = 'COMPLETED'"}, "sql": "SELECT gone"}}
    )
    assert {name: value for name, value in found.items() if value and name != "version"} == {}
    assert queries.gone(source, {"state": {}})["metrics"] == []


def test_a_condition_that_no_longer_works_is_told(changing: queries.Database) -> None:
    state = {"filter": {"where": "id IN (SELECT run_id FROM metrics WHERE loss < 5)"}, "metrics": ["loss"]}
    assert queries.gone(changing, {"state": state})["where"] is None
    changing.client.execute("ALTER TABLE metrics RENAME COLUMN loss TO train_loss")
    found = queries.gone(changing, {"state": state})
    assert found["metrics"] == [{"name": "loss", "similar": "train_loss"}]
    assert "loss" in found["where"]


def test_a_metric_that_is_only_in_extras_is_not_gone(changing: queries.Database) -> None:
    add_extras(changing.client, 4, {3: {"late": 1.0}})
    assert queries.gone(changing, {"state": {"metrics": ["late"]}})["metrics"] == []


def test_a_state_must_be_an_object(source: queries.Database) -> None:
    for state in (None, [], "x"):
        with pytest.raises(queries.QueryError):
            queries.gone(source, {"state": state})
