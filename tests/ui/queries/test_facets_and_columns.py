"""Facets with counts, the columns to choose from, and the metrics of runs."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

import sqltrack
from sqltrack.ui import queries
from sqltrack.ui.queries import _index
from support.connections import on_one_connection

pytestmark = pytest.mark.no_outbox

LR, AMP = ["args", "lr"], ["args", "amp"]


def counts(source: queries.Database, column: list[str], **spec: Any) -> dict[Any, int]:
    """Return the counts of the values of a column."""
    (facet,) = queries.facets(source, {"columns": [column], **spec})["facets"]
    return {str(item["value"]): item["count"] for item in facet["values"]}


def test_values_are_counted(source: queries.Database) -> None:
    assert counts(source, ["experiment", "name"]) == {"first": 5, "second": 1}
    assert counts(source, ["run", "status"]) == {"COMPLETED": 5, "FAILED": 1}
    assert counts(source, ["tag", "baseline"]) == {"False": 4, "True": 2}
    assert counts(source, LR) == {"0.1": 2, "1": 1, "auto": 1, "{'$number': 'NaN'}": 1, "None": 1}
    (facet,) = queries.facets(source, {"columns": [["metric", "max", "acc%"]]})["facets"]
    assert {item["value"]: item["count"] for item in facet["values"]} == {None: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1}
    assert counts(source, ["extras", "nothing"]) == {"None": 6}


def test_the_sql_gives_the_same_counts(source: queries.Database) -> None:
    sql = queries.facets(source, {"columns": [["run", "status"]], "filter": {"where": "id > 1"}})["sql"]
    assert [tuple(row) for row in source.client.execute(sql).fetchall()] == [("COMPLETED", 4), ("FAILED", 1)]


def test_counts_of_a_column_ignore_its_own_selection(source: queries.Database) -> None:
    chosen = {"facets": [{"column": LR, "values": [0.1]}]}
    answer = queries.facets(source, {"filter": chosen, "columns": [LR, AMP, ["run", "status"]]})
    lr, amp, status = answer["facets"]
    assert {str(item["value"]): item["selected"] for item in lr["values"]}["0.1"]
    assert sum(item["count"] for item in lr["values"]) == 6
    assert [(item["value"], item["count"]) for item in amp["values"]] == [(True, 2)]
    assert [(item["value"], item["count"]) for item in status["values"]] == [("COMPLETED", 1), ("FAILED", 1)]


def test_conditions_and_texts_count(source: queries.Database) -> None:
    assert counts(source, LR, filter={"where": "id <= 3"}) == {"0.1": 2, "1": 1}
    assert counts(source, LR, filter={"search": "second"}) == {"1": 1}
    excluded = {"facets": [{"column": ["run", "status"], "values": ["FAILED"], "exclude": True}]}
    assert counts(source, LR, filter=excluded)["0.1"] == 1


def test_selected_values_stay_even_if_no_run_has_them(source: queries.Database) -> None:
    chosen = {"facets": [{"column": LR, "values": [42]}]}
    (facet,) = queries.facets(source, {"filter": chosen, "columns": [LR], "limit": 1})["facets"]
    assert [(item["value"], item["count"], item["selected"]) for item in facet["values"]] == [
        (0.1, 2, False),
        (42, 0, True),
    ]
    assert facet["others"] == 4


def test_by_default_experiments_statuses_tags_and_arguments_with_few_values(source: queries.Database) -> None:
    columns = [tuple(facet["column"]) for facet in queries.facets(source, {})["facets"]]
    assert columns[:2] == [("experiment", "name"), ("run", "status")]
    assert {("tag", "baseline"), ("tag", "50%"), ("args", "lr"), ("args", "model", "name")} <= set(columns)


def test_lists_are_values_like_others(client: sqltrack.Client) -> None:
    with on_one_connection(client):
        for sizes in ([64, 64], [128, 0.00001], [64, 64]):
            sqltrack.Experiment(client, name="lists").get_run().set_args({"sizes": sizes})
    with queries.Database(client) as source:
        facet = next(item for item in queries.facets(source, {})["facets"] if item["column"] == ["args", "sizes"])
        assert [(item["value"], item["count"]) for item in facet["values"]] == [([64, 64], 2), ([128, 0.00001], 1)]
        for value, expected in (([64, 64], [3, 1]), ([128, 0.00001], [2])):
            chosen = {"facets": [{"column": ["args", "sizes"], "values": [value]}]}
            page = queries.runs(source, {"filter": chosen})
            assert [row["id"] for row in page["rows"]] == expected
            assert [row[0] for row in client.execute(page["sql"]).fetchall()] == expected
            assert counts(source, ["experiment", "name"], filter=chosen) == {"lists": len(expected)}


def test_arguments_with_many_values_are_no_default_facet_but_can_be_asked_for(client: sqltrack.Client) -> None:
    with on_one_connection(client):
        for number in range(250):
            sqltrack.Experiment(client, name="many").get_run().set_args({"number": number, "few": number % 2})
    with queries.Database(client) as source:
        columns = [facet["column"] for facet in queries.facets(source, {})["facets"]]
        assert ["args", "few"] in columns
        assert ["args", "number"] not in columns
        found = counts(source, ["args", "number"], limit=1_000)
        assert len(found) == 250


def test_columns_to_choose_from_are_searched_and_paged(source: queries.Database) -> None:
    answer = queries.columns(source, {"search": "MODEL name"})
    assert [(item["column"], item["kind"], item["count"]) for item in answer["columns"]] == [
        (["args", "model", "name"], "text", 4)
    ]
    everything = queries.columns(source, {"limit": 1_000})
    columns = [tuple(item["column"]) for item in everything["columns"]]
    assert {("run", "id"), ("experiment", "name"), ("tag", "50%"), ("args", "amp")} <= set(columns)
    assert {("metric", "min", "loss"), ("metric", "last", "loss"), ("metric", "max", "rare")} <= set(columns)
    assert everything["total"] == len(columns) == len(set(columns))
    page = queries.columns(source, {"limit": 3, "offset": 2})
    assert [tuple(item["column"]) for item in page["columns"]] == columns[2:5]
    metrics = queries.columns(source, {"kinds": ["metric"]})
    assert {item["column"][0] for item in metrics["columns"]} == {"metric"}


def test_columns_that_no_filtered_run_has_are_left_out(source: queries.Database) -> None:
    answer = queries.columns(source, {"kinds": ["args", "tag"], "filter": {"ids": [4, 5]}})
    assert {item["label"]: item["count"] for item in answer["columns"]} == {
        "lr": 2,
        "seed": 2,
        "model.name": 1,
        'odd "name"; --': 1,
        "#baseline": 1,
    }


def test_new_names_appear_while_runs_are_logged(changing: queries.Database) -> None:
    before = queries.changes(changing, {"runs": [1]})
    assert queries.columns(changing, {"search": "brand_new"})["total"] == 0
    run = sqltrack.Run(changing.client, run_id=1)
    run.add_metrics({"brand_new": 1.0}, step=0).add_args({"brand_new_too": 1}).add_env({"BRAND_NEW": "1"})
    after = queries.changes(changing, {"runs": [1]})
    assert after["version"] != before["version"]
    assert after["columns"] != before["columns"]
    assert queries.columns(changing, {"search": "brand_new"})["total"] == 4


def test_thousands_of_metrics_and_arguments_can_be_chosen(client: sqltrack.Client) -> None:
    run = sqltrack.Experiment(client, name="wide").get_run()
    run.set_args({f"arg_{number}": number for number in range(5_000)})
    run.add_metrics({f"metric_{number}": float(number) for number in range(2_261)}, step=1)
    with queries.Database(client) as source:
        assert queries.columns(source, {"kinds": ["args"]})["total"] == 5_000
        assert queries.columns(source, {"search": "metric_2260"})["total"] == 2
        assert len(queries.metrics(source, {"runs": [run.id]})["metrics"]) == 2_261
        columns = [["metric", "max", f"metric_{number}"] for number in range(0, 2_261, 50)]
        (row,) = queries.runs(source, {"columns": columns})["rows"]
        assert row["values"] == [float(number) for number in range(0, 2_261, 50)]
        assert len(queries.runs(source, {})["columns"]) <= 12


def test_metrics_of_runs_come_with_the_number_of_runs(source: queries.Database) -> None:
    found = queries.metrics(source, {"runs": [1, 3, 6]})["metrics"]
    assert [(metric["name"], metric["runs"]) for metric in found] == [("loss", 2), ("acc%", 2), ("rare", 1)]
    assert {metric["kind"] for metric in found} == {"number"}
    assert queries.metrics(source, {"runs": []})["metrics"] == []


@pytest.mark.engines("postgres", reason="SQLite lets no rows wait")
def test_metrics_that_wait_for_a_column_are_those_of_a_run_without_rows(client: sqltrack.Client) -> None:
    run = sqltrack.Experiment(client, name="a").get_run()
    sql = "INSERT INTO metrics_pending (run_id, step, progress, extras) VALUES (%s, 1, 0, '{\"late\": 1}')"
    client.execute(sql, (run.id,))
    with queries.Database(client) as source:
        assert [metric["name"] for metric in queries.metrics(source, {"runs": [run.id]})["metrics"]] == ["late"]


def test_a_renamed_metric_leaves_its_old_column_empty(changing: queries.Database) -> None:
    column = ["metric", "max", "acc%"]
    assert queries.runs(changing, {"columns": [column]})["rows"][-1]["values"] == [3]
    changing.client.execute('ALTER TABLE metrics RENAME COLUMN "acc%" TO "accuracy"')
    assert queries.runs(changing, {"columns": [column]})["rows"][-1]["values"] == [None]
    assert queries.runs(changing, {"columns": [["metric", "max", "accuracy"]]})["rows"][-1]["values"] == [3]


def test_an_index_that_is_refreshed_equals_one_that_is_built_anew(
    changing: queries.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def everything(source: queries.Database) -> Any:
        answers = [queries.columns(source, {"kinds": ["args", "tag"]})["columns"]]
        answers += queries.facets(source, {"columns": [LR, AMP, ["args", "new"], ["tag", "fresh"], ["run", "status"]]})[
            "facets"
        ]
        # In the order of the columns' first values, and of equal counts, they may differ.
        return sorted(map(str, answers[0])), [sorted(map(str, facet["values"])) for facet in answers[1:]]

    monkeypatch.setattr(_index, "_SLOW", -1.0)
    client = changing.client
    everything(changing)
    run = sqltrack.Experiment(client, name="first").get_run(7).set_args({"new": 1, "lr": 0.5}).add_tags("fresh")
    sqltrack.Run(client, run_id=1).set_args({"lr": 7, "nested": {"deep": True}}).set_updated(datetime.now(timezone.utc))
    sqltrack.Run(client, run_id=2).set_status("CANCELLED").remove_tags("baseline")
    built = changing.cache.latest(("index",)).built
    refreshed = everything(changing)
    assert changing.cache.latest(("index",)).built == built
    with queries.Database(client) as other:
        assert refreshed == everything(other)
    client.execute("DELETE FROM runs WHERE id = %s", (run.id,))
    without = everything(changing)
    assert changing.cache.latest(("index",)).built > built
    with queries.Database(client) as other:
        assert without == everything(other)
