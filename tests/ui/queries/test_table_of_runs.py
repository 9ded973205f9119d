"""The table of runs: pages, filters, orders, and the SQL that gives the same."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

import sqltrack
from sqltrack.errors import StatementTimeoutError
from sqltrack.pandas import query_dataframe
from sqltrack.ui import queries
from sqltrack.ui.queries import QueryError
from support.connections import on_one_connection

pytestmark = pytest.mark.no_outbox

NAN = {"$number": "NaN"}
LOSS, LR, MODEL = ["metric", "min", "loss"], ["args", "lr"], ["args", "model", "name"]


def ids(source: queries.Database, **spec: Any) -> list[int]:
    """Return the ids of the first page, after checking that the SQL gives the same."""
    page = queries.runs(source, spec)
    json.dumps(page, allow_nan=False)
    found = [row["id"] for row in page["rows"]]
    assert [row[0] for row in source.client.execute(page["sql"]).fetchall()] == found
    return found


def by(column: list[str], descending: bool = False) -> list[dict[str, Any]]:
    return [{"column": column, "descending": descending}]


def values(source: queries.Database, column: list[str]) -> dict[int, Any]:
    page = queries.runs(source, {"columns": [column]})
    return {row["id"]: row["values"][0] for row in page["rows"]}


def test_runs_come_newest_first_and_in_pages(source: queries.Database) -> None:
    assert ids(source) == [6, 5, 4, 3, 2, 1]
    page = queries.runs(source, {"offset": 1, "limit": 2})
    assert (page["total"], page["offset"], [row["id"] for row in page["rows"]]) == (6, 1, [5, 4])
    assert page["rows"][1]["experiment"] == "first"
    assert queries.runs(source, {"offset": 100})["rows"] == []


def test_columns_of_every_kind_have_values(source: queries.Database) -> None:
    assert values(source, ["run", "id"])[3] == 3
    assert values(source, ["run", "duration"]) == {6: None, 5: 300.0, 4: 240.0, 3: 180.0, 2: 120.0, 1: 60.0}
    assert values(source, ["run", "time_ended"])[1] == "2026-03-01T12:01:00+00:00"
    assert values(source, ["run", "steps"]) == {6: None, 5: 3, 4: 3, 3: 3, 2: 3, 1: 3}
    assert sorted(values(source, ["run", "tags"])[1]) == ["50%", "baseline"]
    assert values(source, ["tag", "50%"]) == {6: False, 5: False, 4: False, 3: False, 2: False, 1: True}
    assert values(source, ["experiment", "name"])[3] == "second"
    assert values(source, LR) == {6: None, 5: NAN, 4: "auto", 3: 1, 2: 0.1, 1: 0.1}
    assert values(source, MODEL)[3] == "50% <b>'\"big\"'</b>"
    assert values(source, ["args", 'odd "name"; --']) == {6: None, 5: None, 4: "x", 3: None, 2: None, 1: None}
    assert values(source, ["args", "amp"])[1] is True


def test_a_metric_shows_its_best_last_or_mean_value_or_the_value_at_the_best_of_another(
    source: queries.Database,
) -> None:
    assert values(source, ["metric", "max", "acc%"]) == {6: None, 5: 7, 4: 6, 3: 5, 2: 4, 1: 3}
    assert values(source, ["metric", "last", "loss"]) == {6: None, 5: 1 / 8, 4: 1 / 7, 3: 1 / 6, 2: NAN, 1: 0.25}
    assert values(source, LOSS)[2] == 0.25
    assert values(source, ["metric", "mean", "acc%"])[1] == pytest.approx(1.75)
    # The smallest loss of run 2 is at step 2, because NaN does not count.
    assert values(source, ["metric", "at", "loss", "min", "acc%"]) == {6: None, 5: 5, 4: 4, 3: 3, 2: 4, 1: 1}
    assert values(source, ["metric", "max", "unknown"])[1] is None


def test_metrics_in_extras_are_metrics_like_others(source: queries.Database) -> None:
    assert values(source, ["metric", "max", "rare"]) == {6: None, 5: None, 4: None, 3: 7.5, 2: None, 1: None}
    assert values(source, ["metric", "last", "rare"])[3] == NAN
    assert ids(source, sort=by(["metric", "max", "rare"]))[0] == 3


def test_missing_values_come_last_in_both_directions_and_nan_after_numbers(source: queries.Database) -> None:
    assert ids(source, sort=by(LR)) == [2, 1, 3, 5, 4, 6]
    assert ids(source, sort=by(LR, descending=True)) == [3, 2, 1, 5, 4, 6]
    assert ids(source, sort=by(["metric", "last", "loss"])) == [5, 4, 3, 1, 2, 6]
    assert ids(source, sort=by(["metric", "last", "loss"], descending=True)) == [1, 3, 4, 5, 2, 6]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (["run", "id"], [1, 2, 3, 4, 5, 6]),
        (["run", "time_created"], [1, 2, 3, 4, 5, 6]),
        (["run", "time_started"], [5, 4, 3, 2, 1, 6]),
        (["run", "duration"], [1, 2, 3, 4, 5, 6]),
        (["run", "comment"], [1, 6, 5, 4, 3, 2]),
        (["experiment", "name"], [6, 5, 4, 2, 1, 3]),
        (["tag", "baseline"], [6, 5, 3, 2, 4, 1]),
        (MODEL, [3, 4, 2, 1, 6, 5]),
        (["metric", "mean", "acc%"], [1, 2, 3, 4, 5, 6]),
        (["metric", "at", "loss", "min", "acc%"], [1, 3, 4, 2, 5, 6]),
        (["metric", "max", "unknown"], [6, 5, 4, 3, 2, 1]),
    ],
)
def test_runs_are_sorted_by_any_column(source: queries.Database, column: list[str], expected: list[int]) -> None:
    found = ids(source, sort=by(column))
    if column == ["metric", "at", "loss", "min", "acc%"]:
        # Two runs have the same value; the newer one comes first.
        expected = [1, 3, 4, 2, 5, 6] if found[2] == 4 else [1, 3, 2, 4, 5, 6]
    assert found == expected


def test_several_columns_sort(source: queries.Database) -> None:
    assert ids(source, sort=[*by(["run", "status"]), *by(["run", "id"])]) == [1, 3, 4, 5, 6, 2]


@pytest.mark.parametrize(
    ("column", "chosen", "expected"),
    [
        (LR, [0.1], [2, 1]),
        (LR, ["auto", 1], [4, 3]),
        (LR, [NAN], [5]),
        (LR, [None], [6]),
        (["args", "amp"], [True], [2, 1]),
        (["args", "amp"], [None], [6, 5, 4]),
        (MODEL, ["50% <b>'\"big\"'</b>"], [3]),
        (["run", "status"], ["FAILED"], [2]),
        (["run", "id"], [1, 4], [4, 1]),
        (["run", "time_updated"], ["2026-03-01T12:03:00+00:00"], [3]),
        (["tag", "baseline"], [True], [4, 1]),
        (["experiment", "name"], ["second"], [3]),
        (["metric", "max", "acc%"], [5], [3]),
        (LR, [], []),
    ],
)
def test_chosen_values_filter(
    source: queries.Database, column: list[str], chosen: list[Any], expected: list[int]
) -> None:
    facet = {"column": column, "values": chosen}
    assert ids(source, filter={"facets": [facet]}) == expected
    others = [run_id for run_id in (6, 5, 4, 3, 2, 1) if run_id not in expected]
    assert ids(source, filter={"facets": [{**facet, "exclude": True}]}) == others


def test_a_condition_a_text_and_ids_filter(source: queries.Database) -> None:
    assert ids(source, filter={"where": "id % 2 = 0 AND experiment = 'first' -- even"}) == [6, 4, 2]
    assert ids(source, filter={"where": "comment LIKE '%FIRST%'"}) == [1]
    assert ids(source, filter={"search": "the first"}) == [1]
    assert ids(source, filter={"search": "50%"}) == [3, 1]
    assert ids(source, filter={"search": "TINY", "ids": [1, 2, 3, 99]}) == [2, 1]
    assert ids(source, filter={"ids": []}) == []


@pytest.mark.parametrize(
    "where", ["lr > 1", "id = ", "1 = 1) OR (1 = 1", "id = 1; DELETE FROM runs", 'nope("x")', "id = %s", "(SELECT 1"]
)
def test_a_wrong_condition_is_the_users_error(source: queries.Database, where: str) -> None:
    chosen = {"facets": [{"column": ["run", "status"], "values": ["COMPLETED"]}], "where": where}
    for query in (queries.runs, queries.facets):
        with pytest.raises(QueryError) as caught:
            query(source, {"filter": chosen})
        assert caught.value.kind == "where"
    assert len(queries.runs(source, {})["rows"]) == 6


def test_a_condition_may_not_take_longer_than_the_timeout(filled: sqltrack.Client) -> None:
    with queries.Database(filled, timeout=0.2) as source:
        numbers = "(SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5)"
        many = " CROSS JOIN ".join(f"{numbers} AS t{index}" for index in range(13))
        with pytest.raises(StatementTimeoutError):
            queries.runs(source, {"filter": {"where": f"(SELECT COUNT(*) FROM {many}) > 0"}})
        assert queries.runs(source, {})["total"] == 6


def test_the_default_columns_are_those_in_which_runs_differ(source: queries.Database) -> None:
    page = queries.runs(source, {})
    columns = [tuple(column["column"]) for column in page["columns"]]
    assert columns[:3] == [("experiment", "name"), ("run", "status"), ("metric", "min", "loss")]
    assert columns[-3:] == [("run", "tags"), ("run", "duration"), ("run", "comment")]
    assert {("args", "lr"), ("args", "model", "name"), ("args", "amp")} <= set(columns)
    assert {("metric", "min", "loss"), ("metric", "max", "acc%")} <= set(columns)
    assert len(columns) <= 12
    assert not any(column[0] == "env" for column in columns)
    same = queries.runs(source, {"filter": {"ids": [1, 2]}})
    assert [column["column"] for column in same["columns"] if column["column"][0] == "args"] == [["args", "seed"]]


def test_columns_tell_the_kind_of_their_values(source: queries.Database) -> None:
    columns = [
        LR,
        ["args", "amp"],
        LOSS,
        ["run", "time_created"],
        ["tag", "baseline"],
        ["args", "seed"],
        ["args", "no"],
    ]
    kinds = [column["kind"] for column in queries.runs(source, {"columns": columns})["columns"]]
    assert kinds == ["text", "bool", "number", "time", "bool", "number", "text"]


def test_the_python_gives_the_same_rows(source: queries.Database) -> None:
    page = queries.runs(source, {"columns": [LOSS, MODEL], "sort": by(LOSS), "filter": {"where": "id < 5"}})
    names: dict[str, Any] = {}
    exec(page["python"].replace("sqltrack.Client(", "connect("), {"connect": lambda **_: source.client}, names)  # noqa: S102 - it is ours
    assert list(names["frame"]["id"]) == [row["id"] for row in page["rows"]]
    assert list(names["frame"]["min loss"]) == [row["values"][0] for row in page["rows"]]
    assert query_dataframe(source.client, page["sql"]).equals(names["frame"])


def test_the_best_runs_are_found_without_those_that_lack_the_metric(source: queries.Database) -> None:
    assert queries.best(source, {"metric": "loss", "k": 2})["ids"] == [5, 4]
    assert queries.best(source, {"metric": "acc%", "how": "max"})["ids"] == [5, 4, 3]
    assert queries.best(source, {"metric": "rare"})["ids"] == [3]
    assert queries.best(source, {"metric": "unknown"})["ids"] == []
    # A smaller loss is better, whichever value of it counts.
    assert queries.best(source, {"column": ["metric", "last", "loss"]})["ids"] == [5, 4, 3]
    assert queries.best(source, {"column": ["metric", "at", "acc%", "min", "acc%"], "k": 1})["ids"] == [5]
    assert queries.best(source, {"column": ["metric", "max", "loss"], "k": 1})["ids"] == [1]
    with pytest.raises(QueryError, match="column must be that of a metric"):
        queries.best(source, {"column": ["args", "lr"]})


def test_all_rows_are_exported_in_order(source: queries.Database) -> None:
    heads, rows = queries.export_rows(source, {"columns": [LR, ["run", "status"]], "sort": by(["run", "id"])})
    assert heads == ["id", "experiment", "lr", "status"]
    assert list(rows)[2:5] == [
        [3, "second", 1, "COMPLETED"],
        [4, "first", "auto", "COMPLETED"],
        [5, "first", NAN, "COMPLETED"],
    ]


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ({"columns": [["args"]]}, "unknown"),
        ({"columns": [["run", "secret"]]}, "unknown"),
        ({"columns": "args"}, "request"),
        ({"columns": [[1]]}, "request"),
        ({"columns": [["args", "a\0b"]]}, "request"),
        ({"limit": "many"}, "request"),
        ({"offset": -1}, "request"),
        ({"filter": "all"}, "request"),
        ({"filter": {"where": "a\0b"}}, "request"),
        ({"filter": {"ids": ["1"]}}, "request"),
        ({"filter": {"ids": [2**70]}}, "request"),
        ({"filter": {"facets": [{"column": LR}]}}, "request"),
        ({"filter": {"facets": [{"column": ["run", "id"], "values": [[1]]}]}}, "request"),
        ({"filter": {"facets": [{"column": ["run", "id"], "values": ["x"]}]}}, "request"),
        ({"filter": {"facets": [{"column": ["run", "time_created"], "values": ["today"]}]}}, "request"),
        ({"sort": [LR]}, "request"),
    ],
)
def test_wrong_specifications_are_refused(source: queries.Database, spec: dict[str, Any], kind: str) -> None:
    with pytest.raises(QueryError) as caught:
        queries.runs(source, spec)
    assert caught.value.kind == kind


def test_odd_names_and_values_are_shown_sorted_and_filtered(client: sqltrack.Client) -> None:
    odd = [
        "'; DROP TABLE runs; --",
        '"quoted"',
        "%s %% %(x)s",
        "שלום",
        "x" * 5_000,
        "back\\slash",
        "$.a[0]",
        "tab\there",
        "new\n    line  ",
    ]
    with on_one_connection(client):
        for name in odd:
            run = sqltrack.Experiment(client, name=f"of {name}").get_run()
            run.set_args({name: name, "nested": {name: {name: 1}}}).add_tags(name).add_metrics({name: 0.5}, step=1)
    with queries.Database(client) as source:
        for index, name in enumerate(odd, start=1):
            facets = [
                {"column": path, "values": [value]} for path, value in ((["args", name], name), (["tag", name], True))
            ]
            facets += [{"column": ["args", "nested", name, name], "values": [1]}]
            assert ids(source, filter={"facets": facets}) == [index]
            assert ids(source, sort=by(["args", name]))[0] == index
            assert ids(source, sort=by(["metric", "max", name]))[0] == index
            assert values(source, ["metric", "last", name])[index] == 0.5
            assert values(source, ["args", name])[index] == name
            assert ids(source, filter={"search": name}) == [index]


def test_values_beyond_javascript_keep_their_digits(client: sqltrack.Client) -> None:
    run = sqltrack.Experiment(client, name="big").get_run()
    run.set_args({"big": 2**53 + 1, "huge": 10**400, "inf": math.inf}).add_metrics({"big": 2**53 + 1, "inf": -math.inf})
    with queries.Database(client) as source:
        columns = [
            ["args", "big"],
            ["args", "huge"],
            ["args", "inf"],
            ["metric", "max", "big"],
            ["metric", "max", "inf"],
        ]
        (row,) = queries.runs(source, {"columns": columns, "sort": by(["args", "huge"])})["rows"]
        big = {"$number": str(2**53 + 1)}
        assert row["values"] == [big, {"$number": str(10**400)}, {"$number": "Infinity"}, big, {"$number": "-Infinity"}]
        assert ids(source, filter={"facets": [{"column": ["args", "big"], "values": [big]}]}) == [1]
        assert (
            ids(source, filter={"facets": [{"column": ["args", "huge"], "values": [{"$number": str(10**400)}]}]}) == []
        )


def test_an_empty_database_has_no_runs(client: sqltrack.Client) -> None:
    with queries.Database(client) as source:
        page = queries.runs(source, {})
        assert (page["total"], page["rows"]) == (0, [])
        assert queries.facets(source, {})["facets"][0]["values"] == []
