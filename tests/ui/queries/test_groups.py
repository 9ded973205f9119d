"""Mean, deviation and number of runs of groups, compared with SQL."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

import sqltrack
from sqltrack._student import student_quantile
from sqltrack.commands.rename_metric import apply_rename_metric, plan_rename_metric
from sqltrack.ui import queries
from sqltrack.ui.queries import QueryError
from support.connections import on_one_connection
from support.extras import add_extras

Rows = Mapping[int, float]
Case = Callable[[sqltrack.Client], None]
MODELS = ["args", "model"]


def log(client: sqltrack.Client, run_id: int, values: Rows, metric: str = "acc", **args: Any) -> sqltrack.Run:
    """Store a run with values by step."""
    run = sqltrack.Experiment(client, name="seeds").get_run(run_id)
    run.set_args({"model": "a", "seed": run_id, **args})
    run.add_metrics_many([{"step": step, metric: value} for step, value in values.items()])
    return run.set_status("COMPLETED")


def equal_lengths(client: sqltrack.Client) -> None:
    for run_id in (1, 2, 3):
        log(client, run_id, {step: run_id + step / 10 for step in range(5)})


def unequal_lengths(client: sqltrack.Client) -> None:
    for run_id in (1, 2, 3):
        log(client, run_id, {step: run_id * 0.1 + step for step in range(2 * run_id)})


def nan_and_infinity(client: sqltrack.Client) -> None:
    log(client, 1, {0: 1.0, 1: math.nan, 2: 3.0})
    log(client, 2, {0: math.inf, 1: 2.0, 2: 4.0})
    log(client, 3, {0: 5.0, 1: -math.inf, 2: math.nan})


def only_nan(client: sqltrack.Client) -> None:
    log(client, 1, {0: 1.0, 1: 2.0})
    log(client, 2, {0: math.nan, 1: math.nan})


def one_run(client: sqltrack.Client) -> None:
    log(client, 1, {0: 1.0, 1: 2.0})


def no_run(client: sqltrack.Client) -> None:
    sqltrack.Experiment(client, name="seeds").get_run(1).set_args({"model": "a"})


def without_the_metric(client: sqltrack.Client) -> None:
    log(client, 1, {0: 1.0, 1: 2.0})
    log(client, 2, {0: 3.0, 1: 4.0})
    log(client, 3, {0: 9.0}, metric="other")


def resumed(client: sqltrack.Client) -> None:
    log(client, 1, {step: 1.0 + step for step in range(4)})
    log(client, 2, {step: 2.0 + step for step in range(2, 6)}).add_link("resumes", 1)
    log(client, 3, {step: 4.0 + step for step in range(6)})


def renamed(client: sqltrack.Client) -> None:
    for run_id in (1, 2):
        log(client, run_id, {step: float(run_id * step) for step in range(3)}, metric="accuracy")
    apply_rename_metric(client, plan_rename_metric(client, "accuracy", "acc"))
    log(client, 3, dict.fromkeys(range(3), 7.0))


def in_extras(client: sqltrack.Client) -> None:
    log(client, 1, {0: 1.0, 1: 2.0})
    log(client, 2, {0: 3.0, 1: 4.0})
    log(client, 3, {0: 0.5, 1: 0.5}, metric="other")
    add_extras(client, 3, {0: {"acc": 8.0}, 1: {"acc": "NaN"}})


def two_groups(client: sqltrack.Client) -> None:
    for run_id in range(1, 7):
        log(client, run_id, {step: run_id**2 + step for step in range(3)}, model="ab"[run_id % 2])


def large_numbers(client: sqltrack.Client) -> None:
    # A sum of squares would lose all digits.
    for run_id in (1, 2, 3):
        log(client, run_id, dict.fromkeys(range(3), 1000000000.0 + run_id * 0.001))


CASES = [
    equal_lengths,
    unequal_lengths,
    nan_and_infinity,
    only_nan,
    one_run,
    no_run,
    without_the_metric,
    resumed,
    renamed,
    in_extras,
    two_groups,
    large_numbers,
]


# The points of each case in SQL, if they are not those of the column.
POINTS = {
    no_run: "SELECT 1 AS run_id, 0 AS step, 1.0 AS acc WHERE 1 = 0",
    in_extras: "SELECT run_id, step, acc FROM metrics UNION ALL SELECT 3, 0, 8.0",
}
JOINED = """
    SELECT 1 AS run_id, step, acc FROM metrics WHERE (run_id = 1 AND step < 2) OR run_id = 2
    UNION ALL SELECT run_id, step, acc FROM metrics WHERE run_id = 3
"""
IS_FINITE = "acc IS NOT NULL AND COALESCE(acc, 0.0) <> 'NaN' AND acc - acc = 0"


@pytest.fixture(params=CASES, ids=lambda case: case.__name__)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def source(case: Case, client: sqltrack.Client) -> Iterator[queries.Database]:
    """The database of a case."""
    with on_one_connection(client):
        case(client)
    with queries.Database(client) as database:
        yield database


def by_model(client: sqltrack.Client) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for run_id, args in client.execute("SELECT id, args FROM runs ORDER BY id").fetchall():
        found.setdefault(args["model"], []).append(run_id)
    return found


def points_of(case: Case) -> str:
    return POINTS.get(case, "SELECT run_id, step, acc FROM metrics")


def by_step(client: sqltrack.Client, points: str, ids: Sequence[int]) -> list[tuple[Any, ...]]:
    """Return step, number, mean, deviation, smallest and largest value by SQL."""
    among = ", ".join(map(str, ids))
    rows = client.execute(f"""
        SELECT step, COUNT(acc), AVG(acc), STDDEV_SAMP(acc), MIN(acc), MAX(acc) FROM ({points}) AS points
        WHERE run_id IN ({among}) AND {IS_FINITE} GROUP BY step ORDER BY step
    """)
    return list(map(as_floats, rows.fetchall()))


def as_floats(row: Sequence[Any]) -> tuple[float | None, ...]:
    """Return a row without decimals, which PostgreSQL returns for integers."""
    return tuple(None if value is None else float(value) for value in row)


def curves(source: queries.Database, **spec: Any) -> list[dict[str, Any]]:
    ids = [row[0] for row in source.client.execute("SELECT id FROM runs ORDER BY id").fetchall()]
    answer = queries.curves(source, {"runs": ids, "metrics": ["acc"], "group": MODELS, **spec})
    json.dumps(answer, allow_nan=False)
    return answer["groups"]  # type: ignore[no-any-return]


def near(values: Sequence[float]) -> Any:
    return pytest.approx(list(values), rel=1e-12, abs=1e-12)


# Student's t for 95 % and n numbers, from a printed table.
STUDENT = {1: 0.0, 2: 12.7062, 3: 4.30265}
FACTORS: dict[str, Callable[[int], float]] = {
    "std": lambda n: 1.0,
    "sem": lambda n: 1.0 / math.sqrt(n),
    "ci": lambda n: STUDENT[n] / math.sqrt(n),
}


def check(group: Mapping[str, Any], rows: Sequence[Sequence[Any]]) -> None:
    """Check that the curve of a group is what SQL says."""
    _, numbers, means, deviations, least, greatest = zip(*rows)
    assert group["x"] == [row[0] for row in rows]
    assert group["n"] == list(numbers)
    assert group["mean"] == near(means)
    if group["band"] == "minmax":
        assert (group["low"], group["high"]) == (near(least), near(greatest))
        return
    halves = [FACTORS[group["band"]](n) * (std or 0.0) for n, std in zip(numbers, deviations)]
    widths = [high - low for low, high in zip(group["low"], group["high"])]
    assert widths == pytest.approx([2 * half for half in halves], rel=1e-4, abs=1e-6)


def test_curves_of_groups_equal_sql(source: queries.Database, case: Case) -> None:
    models = by_model(source.client)
    expected = {model: by_step(source.client, points_of(case), ids) for model, ids in models.items()}
    for band in (*FACTORS, "minmax"):
        found = curves(source, band=band)
        assert [group["value"] for group in found] == sorted(model for model, rows in expected.items() if rows)
        for group in found:
            check(group, expected[group["value"]])


def test_rows_of_groups_equal_sql(source: queries.Database, case: Case) -> None:
    for how in ("MAX", "MIN", "AVG"):
        column = ["metric", "mean" if how == "AVG" else how.lower(), "acc"]
        answer = queries.group_rows(source, {"group": MODELS, "columns": [column]})
        json.dumps(answer, allow_nan=False)
        models = by_model(source.client)
        assert [(row["value"], row["runs"]) for row in answer["rows"]] == sorted(models.items())
        shown = {row[0]: row[1:] for row in source.client.execute(answer["sql"]).fetchall()}
        for row in answer["rows"]:
            (cell,) = row["cells"]
            expected = of_runs(source.client, points_of(case), how, row["runs"])
            for n, mean, std in (expected, as_floats(shown[row["value"]][1:])):
                assert (row["n"], cell["n"]) == (len(row["runs"]), n)
                assert cell.get("mean") == (None if mean is None else pytest.approx(mean, rel=1e-12))
                assert cell.get("std") == (None if std is None else pytest.approx(std, rel=1e-4))


def of_runs(client: sqltrack.Client, points: str, function: str, ids: Sequence[int]) -> tuple[Any, ...]:
    """Return number, mean and deviation of the runs' values by SQL."""
    row = client.execute(f"""
        SELECT COUNT(value), AVG(value), STDDEV_SAMP(value) FROM (
            SELECT {function}(acc) AS value FROM ({points}) AS points
            WHERE acc IS NOT NULL AND COALESCE(acc, 0.0) <> 'NaN' AND run_id IN ({", ".join(map(str, ids))})
            GROUP BY run_id
        ) AS of_runs WHERE value - value = 0
    """).fetchone()
    return as_floats(row)


@pytest.fixture
def fill(client: sqltrack.Client) -> Iterator[Callable[..., queries.Database]]:
    """A function that stores a case and returns the database."""
    with queries.Database(client) as database:

        def store(case: Case) -> queries.Database:
            with on_one_connection(client):
                case(client)
            return database

        yield store


def test_curves_say_which_runs_count_and_where_they_end(fill: Callable[..., queries.Database]) -> None:
    (group,) = curves(fill(unequal_lengths))
    assert (group["members"], group["without"], group["ends"]) == ([1, 2, 3], [], [1, 5])
    assert (group["n_runs"], group["n"]) == (3, [3, 3, 2, 2, 1, 1])


def test_nan_and_missing_metrics_are_counted_and_left_out(fill: Callable[..., queries.Database]) -> None:
    source = fill(nan_and_infinity)
    assert [(group["left_out"], group["n"]) for group in curves(source)] == [(4, [2, 1, 2])]
    log(source.client, 4, {0: math.nan})
    log(source.client, 5, {0: 1.0}, metric="other")
    (group,) = curves(source)
    assert (group["members"], group["without"], group["left_out"]) == ([1, 2, 3], [4, 5], 5)
    (row,) = queries.group_rows(source, {"group": MODELS, "columns": [["metric", "last", "acc"]]})["rows"]
    assert (row["n"], row["cells"][0]["n"], row["cells"][0]["left_out"]) == (5, 2, 2)


def test_a_run_and_those_that_it_resumes_are_one_if_joined(fill: Callable[..., queries.Database]) -> None:
    source = fill(resumed)
    (joined,) = curves(source, join=True)
    check(joined, by_step(source.client, JOINED, [1, 2, 3]))
    assert (joined["n_runs"], joined["joined"], joined["resumed"]) == (2, 1, [])
    (apart,) = curves(source)
    assert (apart["n_runs"], apart["joined"], apart["resumed"]) == (3, 0, [2])


def test_a_group_of_one_run_has_no_deviation(fill: Callable[..., queries.Database]) -> None:
    source = fill(one_run)
    for band in FACTORS:
        (group,) = curves(source, band=band)
        assert group["low"] == group["mean"] == group["high"] == [1.0, 2.0]
    (row,) = queries.group_rows(source, {"group": MODELS, "columns": [["metric", "max", "acc"]]})["rows"]
    (cell,) = row["cells"]
    assert (cell["n"], cell["mean"], cell["std"], cell["sem"], cell["ci"]) == (1, 2.0, None, None, None)


def test_a_zoom_shows_all_steps_of_a_long_group(client: sqltrack.Client) -> None:
    with on_one_connection(client):
        for run_id in (1, 2):
            log(client, run_id, {step: float(step % 7) for step in range(2_000)})
    with queries.Database(client) as source:
        (whole,) = curves(source, pixels=50)
        assert len(whole["x"]) <= 200
        (zoomed,) = curves(source, pixels=50, range=[500, 600])
        assert zoomed["x"] == list(range(499, 602))


def test_runs_logged_at_other_steps_share_bins_whatever_the_width_of_the_chart(client: sqltrack.Client) -> None:
    with on_one_connection(client):
        for run_id in (1, 2, 3):
            log(client, run_id, {10 * step + run_id: float(run_id) for step in range(10)})
    with queries.Database(client) as source:
        (group,) = curves(source, pixels=800)
        assert group["bin"] == pytest.approx(9.2)
        assert set(group["mean"]) == {2.0}
        assert curves(source, pixels=5)[0]["bin"] == group["bin"]
        assert curves(source, x="progress")[0]["bin"] is None


GROUPS: list[tuple[Any, list[Any]]] = [
    (["args", "lr"], [0.1, 0.2, None]),
    (
        [["args", "lr"], ["args", "model"]],
        [{"lr": 0.1, "model": "a"}, {"lr": 0.2, "model": "a"}, {"lr": None, "model": "b"}],
    ),
    ("all_but_seed", [{"lr": 0.1, "model": "a"}, {"lr": 0.2, "model": "a"}, {"model": "b"}]),
    ({"all_but": [["seed"], ["lr"]]}, [{"model": "a"}, {"model": "b"}]),
    ({"all_but": [["seed"], ["lr"], ["model"]]}, [{}]),
    (["tag", "good"], [False, True]),
]


def test_groups_are_formed_by_columns_or_by_all_other_arguments(client: sqltrack.Client) -> None:
    with on_one_connection(client):
        log(client, 1, {0: 1.0}, lr=0.2)
        log(client, 2, {0: 2.0}, lr=0.1).add_tags("good")
        log(client, 3, {0: 3.0}, lr=0.1)
        log(client, 4, {0: 4.0}, model="b")
    with queries.Database(client) as source:
        for group, values in GROUPS:
            assert [found["value"] for found in curves(source, group=group)] == values
            answer = queries.group_rows(source, {"group": group, "columns": [["metric", "max", "acc"]]})
            assert [row["value"] for row in answer["rows"]] == values
            shown = client.execute(answer["sql"]).fetchall()
            assert sorted(row[-4] for row in shown) == sorted(row["n"] for row in answer["rows"])


def test_null_differs_from_a_missing_argument_as_in_the_seeds_command(client: sqltrack.Client) -> None:
    with on_one_connection(client):
        log(client, 1, {0: 1.0}, dropout=None)
        log(client, 2, {0: 2.0})
        log(client, 3, {0: 2.0}, dropout="1")
        log(client, 4, {0: 2.0}, dropout=1)
        log(client, 5, {0: 2.0}, dropout=1.0)
    with queries.Database(client) as source:
        found = {group["members"][0]: group["members"] for group in curves(source, group="all_but_seed")}
        assert found == {1: [1], 2: [2], 3: [3], 4: [4, 5]}


def test_arguments_in_which_runs_differ_can_be_grouped_by(client: sqltrack.Client) -> None:
    with on_one_connection(client):
        log(client, 1, {0: 1.0}, opt={"lr": 0.1, "name": "sgd"})
        log(client, 2, {0: 2.0}, opt={"lr": 0.2, "name": "sgd"}, data_seed=7)
    with queries.Database(client) as source:
        answer = queries.group_choices(source, {"filter": {"ids": [1, 2]}})
        found = {item["label"]: (item["path"], item["values"], item["seed"]) for item in answer["arguments"]}
        assert found == {
            "seed": (["seed"], 2, True),
            "opt.lr": (["opt", "lr"], 2, False),
            "data_seed": (["data_seed"], 2, True),
        }


def test_rows_of_groups_are_sorted_and_paged(fill: Callable[..., queries.Database]) -> None:
    source = fill(two_groups)
    log(source.client, 7, {}, model="c")
    best = ["metric", "max", "acc"]

    def values(*sort: tuple[list[str], bool], **spec: Any) -> list[Any]:
        items = [{"column": column, "descending": descending} for column, descending in sort]
        answer = queries.group_rows(source, {"group": MODELS, "columns": [best], "sort": items, **spec})
        assert (answer["total"], answer["runs"], answer["truncated"]) == (3, 7, 0)
        return [row["value"] for row in answer["rows"]]

    assert values() == ["a", "b", "c"]
    assert values((["group", "value"], True)) == ["c", "b", "a"]
    # Groups without a value come last.
    assert values((best, True)) == ["a", "b", "c"]
    assert values((best, False)) == ["b", "a", "c"]
    assert values((["group", "n"], False)) == ["c", "a", "b"]
    assert values(offset=1, limit=1) == ["b"]


def test_other_columns_show_their_values_with_counts(fill: Callable[..., queries.Database]) -> None:
    source = fill(two_groups)
    sqltrack.Run(source.client, run_id=1).set_status("FAILED")
    answer = queries.group_rows(
        source, {"group": MODELS, "columns": [["run", "status"], ["args", "seed"], ["args", "model"]]}
    )
    assert [column["column"] for column in answer["columns"]] == [["run", "status"], ["args", "seed"]]
    status, seed = answer["rows"][1]["cells"]
    assert (status["n"], status["values"]) == (
        3,
        [{"value": "COMPLETED", "count": 2}, {"value": "FAILED", "count": 1}],
    )
    assert (seed["n"], seed["mean"], seed["min"], seed["max"], seed["distinct"]) == (3, 3.0, 1.0, 5.0, 3)


def test_all_groups_are_exported_with_their_statistics(fill: Callable[..., queries.Database]) -> None:
    source = fill(two_groups)
    spec = {
        "columns": [["metric", "max", "acc"], ["run", "status"]],
        "sort": [{"column": ["group", "value"], "descending": True}],
    }
    heads, rows = queries.export_groups(source, {**spec, "group": MODELS})
    assert heads == [
        "model",
        "n",
        *(f"{name} of max acc" for name in ("n", "mean", "std", "sem", "ci", "min", "max")),
        "status",
    ]
    exported = list(rows)
    shown = queries.group_rows(source, {**spec, "group": MODELS})["rows"]
    assert [row[:2] for row in exported] == [["b", 3], ["a", 3]]
    assert [row[3] for row in exported] == [row["cells"][0]["mean"] for row in shown]
    assert [row[-1] for row in exported] == ["COMPLETED", "COMPLETED"]
    heads, rows = queries.export_groups(source, {**spec, "group": "all_but_seed"})
    assert (heads[0], sorted(row[0] for row in rows)) == ("model", ["a", "b"])
    heads, rows = queries.export_groups(source, {**spec, "group": {"all_but": [["model"], ["seed"]]}})
    assert (heads[0], [row[0] for row in rows]) == ("n", [6])


def test_a_filter_decides_which_runs_are_grouped(fill: Callable[..., queries.Database]) -> None:
    source = fill(two_groups)
    filters = {"where": "id > 2", "facets": [{"column": ["args", "model"], "values": ["a"]}]}
    answer = queries.group_rows(source, {"group": MODELS, "columns": [["metric", "max", "acc"]], "filter": filters})
    assert [(row["value"], row["runs"]) for row in answer["rows"]] == [("a", [4, 6])]
    assert [(row[0], row[1]) for row in source.client.execute(answer["sql"]).fetchall()] == [("a", 2)]


def test_wrong_groups_are_refused(fill: Callable[..., queries.Database]) -> None:
    source = fill(one_run)
    wrong = [None, 1, "all", [], ["args"], [["args"]], {"all_but": "seed"}, {"all_but": [[]]}, [["args", "a"]] * 21]
    for group in wrong:
        with pytest.raises(QueryError):
            queries.group_rows(source, {"group": group})
    with pytest.raises(QueryError):
        queries.group_rows(source, {"group": MODELS, "sort": [{"column": ["group", "size"]}]})


def test_huge_numbers_do_not_overflow(client: sqltrack.Client) -> None:
    with on_one_connection(client):
        for run_id in (1, 2):
            log(client, run_id, {0: 1.5e308 * (-1) ** run_id, 1: 1.5e308})
    with queries.Database(client) as source:
        for band in (*FACTORS, "minmax"):
            (group,) = curves(source, band=band)
            assert group["mean"] == [0.0, 1.5e308]


def test_student_quantiles_equal_those_of_tables() -> None:
    for freedom, expected in {1: 12.7062, 2: 4.30265, 9: 2.26216, 30: 2.04227, 100: 1.98397}.items():
        assert student_quantile(freedom) == pytest.approx(expected, rel=1e-5)
