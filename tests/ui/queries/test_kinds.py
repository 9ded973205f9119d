"""Which value of a metric stands for a run, in the table and in a comparison."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

import sqltrack
from sqltrack.ui import queries
from sqltrack.ui.queries import QueryError
from support.connections import on_one_connection
from support.extras import add_extras

LOSSES = [3.0, 1.0, math.nan, 1.0, 2.0]
ACCURACIES = [0.1, 0.4, 0.9, 0.8, 0.2]
KINDS: dict[str, Any] = {
    "best": 0.9,
    "max": 0.9,
    "min": 0.1,
    "last": 0.2,
    "mean": sum(ACCURACIES) / 5,
    "at the lowest loss": 0.4,
    "at the highest loss": 0.1,
}


def spec_of(name: str) -> Any:
    return {"at the lowest loss": ["at", "loss", "min"], "at the highest loss": ["at", "loss", "max"]}.get(name, name)


@pytest.fixture
def source(client: sqltrack.Client) -> Iterator[queries.Database]:
    with on_one_connection(client):
        for run_id in (1, 2):
            run = sqltrack.Experiment(client, name="e").get_run(run_id)
            for step, (loss, acc) in enumerate(zip(LOSSES, ACCURACIES)):
                run.add_metrics({"loss": loss, "acc": acc * run_id, "note": f"step {step}"}, step=step)
            run.set_status("COMPLETED")
    with queries.Database(client) as database:
        yield database


def measured(source: queries.Database, **spec: Any) -> dict[str, Any]:
    answer = queries.compare(source, {"runs": [1, 2], "all": True, **spec})
    json.dumps(answer, allow_nan=False)
    return {row["path"][0]: row for row in answer["rows"] if row["section"] == "metrics"}


@pytest.mark.parametrize("name", KINDS)
def test_a_comparison_shows_the_chosen_value(source: queries.Database, name: str) -> None:
    kind = spec_of(name)
    row = measured(source, value=kind)["acc"]
    assert row["values"] == [pytest.approx(KINDS[name]), pytest.approx(2 * KINDS[name])]
    assert row["path"][1:] == (kind if isinstance(kind, list) else ["max" if kind == "best" else kind])


@pytest.mark.parametrize("name", list(KINDS)[1:])
def test_the_table_and_its_export_show_the_same_value(source: queries.Database, name: str) -> None:
    kind = spec_of(name)
    column = ["metric", *(kind if isinstance(kind, list) else [kind]), "acc"]
    spec = {"columns": [column], "sort": [{"column": ["run", "id"], "descending": False}]}
    values = [row["values"][0] for row in queries.runs(source, spec)["rows"]]
    assert values == measured(source, value=kind)["acc"]["values"]
    heads, rows = queries.export_rows(source, spec)
    assert [row[heads.index(queries.runs(source, spec)["columns"][0]["label"])] for row in rows] == values


def test_the_sql_of_a_comparison_gives_its_values(source: queries.Database) -> None:
    for name in KINDS:
        answer = queries.compare(source, {"runs": [1, 2], "all": True, "value": spec_of(name)})
        metrics = [row for row in answer["rows"] if row["section"] == "metrics"]
        rows = source.client.execute(answer["sql"]).fetchall()
        for index, metric in enumerate(metrics):
            assert [row[index - len(metrics)] for row in rows] == [pytest.approx(it) for it in metric["values"]], name


def test_a_comparison_tells_which_value_is_better(source: queries.Database) -> None:
    assert {name: row["better"] for name, row in measured(source).items()} == {
        "loss": "min",
        "acc": "max",
        "note": None,
    }
    assert measured(source, value="max")["loss"]["better"] == "min"


def test_metrics_without_numbers_show_their_last_value_or_that_of_the_step(source: queries.Database) -> None:
    assert measured(source)["note"]["path"] == ["note", "last"]
    assert measured(source)["note"]["values"] == ["step 4", "step 4"]
    assert "note" not in measured(source, value="mean")
    at = measured(source, value=["at", "acc", "max"])
    assert at["note"]["values"] == ["step 2", "step 2"]
    # The loss of this step is NaN, not that of a step with a number.
    assert at["loss"]["values"] == [{"$number": "NaN"}] * 2
    assert at["acc"]["label"] == "acc at max acc"


def test_metrics_that_wait_for_a_column_count(source: queries.Database) -> None:
    add_extras(source.client, 1, {1: {"rare": 7.5}, 2: {"rare": 1.5}})
    assert measured(source, value="mean")["rare"]["values"] == [4.5, {"$missing": True}]
    assert measured(source, value=["at", "loss", "min"])["rare"]["values"] == [7.5, {"$missing": True}]
    assert measured(source, value=["at", "rare", "max"])["acc"]["values"] == [0.4, {"$missing": True}]


def test_a_change_of_a_running_run_appears(source: queries.Database) -> None:
    run = sqltrack.Run(source.client, run_id=1).set_status("RUNNING")
    assert measured(source, value="mean")["acc"]["values"][0] == pytest.approx(KINDS["mean"])
    run.add_metrics({"acc": 0.6}, step=5)
    assert measured(source, value="mean")["acc"]["values"][0] == pytest.approx((sum(ACCURACIES) + 0.6) / 6)


@pytest.mark.parametrize("value", ["median", ["at", "loss"], ["at", "loss", "median"], ["max"], 1, {}])
def test_other_kinds_are_refused(source: queries.Database, value: Any) -> None:
    with pytest.raises(QueryError, match=r"value must be 'best', 'max'"):
        queries.compare(source, {"runs": [1], "value": value})


def test_only_best_values_can_be_asked_for(source: queries.Database) -> None:
    found = queries.columns(source, {"kinds": ["best"]})["columns"]
    assert [item["column"] for item in found] == [["metric", "min", "loss"], ["metric", "max", "acc"]]
