"""Sweeps: correlations, the best configuration as a command line, and the cells of a grid that have no run."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import pytest

import sqltrack
from sqltrack.ui import queries
from sqltrack.ui.queries import QueryError
from sqltrack.ui.queries._command_lines import as_options, command_line
from sqltrack.ui.queries._ranks import rank_correlation
from support.connections import on_one_connection

pytestmark = pytest.mark.no_outbox

NAN = {"$number": "NaN"}
LR, SEED, MODEL, WIDTH = ["args", "lr"], ["args", "seed"], ["args", "model", "name"], ["args", "model", "width"]
ACC = ["metric", "max", "val_acc"]
FINAL = ["metric", "at", "val_loss", "min", "val_acc"]

# Model, learning rate and seed of the runs 1 to 10, the status, and val_acc at steps 0, 1 and 2. Two cells have no run.
RUNS: list[tuple[str, float, int, str, Sequence[float]]] = [
    ("small", 0.001, 0, "COMPLETED", (0.1, 0.3, 0.4)),
    ("small", 0.001, 1, "COMPLETED", (0.1, 0.3, 0.5)),
    ("small", 0.01, 0, "COMPLETED", (0.2, 0.6, 0.7)),
    ("small", 0.01, 1, "FAILED", (0.2, 0.95, math.nan)),
    ("small", 0.1, 0, "COMPLETED", (0.3, 0.7, 0.6)),
    ("big one", 0.001, 0, "COMPLETED", (0.2, 0.4, 0.5)),
    ("big one", 0.01, 0, "COMPLETED", (0.3, 0.8, 0.9)),
    ("big one", 0.01, 1, "COMPLETED", (0.3, 0.8, 0.7)),
    ("big one", 0.1, 0, "TIMEOUT", ()),
    ("big one", 0.1, 1, "RUNNING", (math.nan,)),
]
ARGV = ["python", "train.py", "--lr=0.01", "my data/$HOME", "it's"]


def fill(client: sqltrack.Client) -> None:
    """Store the runs of `RUNS` in one experiment."""
    with on_one_connection(client):
        experiment = sqltrack.Experiment(client, name="grid # of 'models'\nand more")
        for run_id, (model, lr, seed, status, values) in enumerate(RUNS, 1):
            run = experiment.get_run(run_id)
            width = {"small": 64, "big one": 512}[model]
            run.set_args(
                {
                    "lr": lr,
                    "model": {"name": model, "width": width},
                    "seed": seed,
                    "steps": 3,
                    "x": [1, None],
                    "none": None,
                }
            )
            run.set_status(status)
            for step, value in enumerate(values):
                # The loss is smallest at step 1.
                run.add_metrics({"val_acc": value, "val_loss": abs(step - 1) + 0.5, "time": 1.0}, step=step)
        sqltrack.Run(client, run_id=7).set_extras({"capture": {"command": {"argv": ARGV, "cwd": "/home/me/my code"}}})


@pytest.fixture
def trained(client: sqltrack.Client) -> Iterator[queries.Database]:
    """A database with the runs of `fill`."""
    fill(client)
    with queries.Database(client) as source:
        yield source


def sweep(source: queries.Database, **spec: Any) -> dict[str, Any]:
    answer = queries.sweep(source, spec)
    json.dumps(answer, allow_nan=False)
    return answer


def grid(source: queries.Database, **spec: Any) -> dict[str, Any]:
    answer = queries.grid(source, spec)
    json.dumps(answer, allow_nan=False)
    return answer


def run_python(source: queries.Database, text: str) -> dict[str, Any]:
    """Run an exported program with the client of the test, and return its names."""
    names: dict[str, Any] = {"connect": lambda **_: source.client}
    exec(text.replace("sqltrack.Client(", "connect("), names)  # noqa: S102 - it is ours
    return names


@pytest.mark.parametrize(
    ("xs", "ys", "rho"),
    [
        # The IQ of people and their hours of television, the example of Wikipedia's page on the coefficient.
        (
            [86, 97, 99, 100, 101, 103, 106, 110, 112, 113],
            [2, 20, 28, 27, 50, 29, 7, 17, 6, 12],
            -29 / 165,
        ),
        ([1, 2, 3, 4], [10, 100, 1000, 10**9], 1.0),
        ([1, 2, 3], [3.0, 2.0, -math.pi], -1.0),
        # Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4.
        ([1, 2, 2, 3], [1, 2, 3, 4], 4.5 / math.sqrt(4.5 * 5)),
        ([False, True, True, False], [1, 2, 2, 1], 1.0),
    ],
)
def test_rank_correlations_are_those_of_textbooks(xs: list[Any], ys: list[Any], rho: float) -> None:
    found = rank_correlation(zip(xs, ys))
    assert found.rho == pytest.approx(rho)
    assert found.n == len(xs)
    assert pd.DataFrame({"x": xs, "y": ys}).astype(float).corr(method="spearman").iloc[0, 1] == pytest.approx(rho)


@pytest.mark.parametrize(
    ("pairs", "n"),
    [
        ([], 0),
        ([(1, 1), (2, 2)], 2),
        ([(1, 1), (1, 2), (1, 3)], 3),
        ([(1, 5), (2, 5), (3, 5)], 3),
        ([(1, math.nan), (2, math.inf), (3, None), ("4", 4), (10**400, 5), ([1], 6)], 0),
    ],
)
def test_there_is_no_rank_correlation_of_few_or_equal_values(pairs: list[tuple[Any, Any]], n: int) -> None:
    found = rank_correlation(pairs)
    assert (found.rho, found.n, found.is_clear) == (None, n, False)


def test_a_correlation_is_clear_if_chance_seldom_gives_it() -> None:
    assert not rank_correlation((value, value) for value in range(4)).is_clear
    assert rank_correlation((value, value) for value in range(5)).is_clear
    assert not rank_correlation(zip([1, 2, 3, 4, 5, 6], [1, 4, 2, 6, 3, 5])).is_clear


def test_a_sweep_shows_the_arguments_in_which_runs_differ_and_the_best_value(trained: queries.Database) -> None:
    answer = sweep(trained)
    assert answer["metric"] == {"column": ACC, "label": "max val_acc", "better": "max"}
    assert (answer["total"], answer["shown"], answer["experiments"]) == (10, 10, 1)
    rate, model, width, seed = answer["arguments"]
    assert [item["column"] for item in answer["arguments"]] == [LR, MODEL, WIDTH, SEED]
    assert (rate["kind"], rate["distinct"], rate["values"], rate["is_log"]) == ("number", 3, None, True)
    assert (model["kind"], model["values"]) == ("text", ["big one", "small"])
    assert (width["is_seed"], seed["is_seed"]) == (False, True)
    assert answer["axes"] == [LR, MODEL, WIDTH]
    first = answer["runs"][-1]
    assert (first["id"], first["status"], first["value"]) == (1, "COMPLETED", 0.4)
    assert first["values"] == [0.001, "small", 64, 0]
    assert answer["runs"][0]["value"] is None


def test_correlations_are_those_of_the_exported_python(trained: queries.Database, capsys: Any) -> None:
    answer = sweep(trained)
    names = run_python(trained, answer["python"])
    expected = names["numbers"].corr(method="spearman").iloc[1:, 0].to_dict()
    found = {item["label"]: item for item in answer["arguments"]}
    assert {label: found[label]["rho"] for label in expected} == pytest.approx(expected)
    # Runs 9 and 10 have no number.
    assert found["lr"]["n"] == found["seed"]["n"] == 8
    assert (found["model.name"]["rho"], found["model.name"]["n"]) == (None, 0)
    assert "max val_acc" in capsys.readouterr().out


def test_the_sql_gives_the_same_runs(trained: queries.Database) -> None:
    for call in (sweep, grid):
        rows = trained.client.execute(call(trained, filter={"where": "id > 4"})["sql"]).fetchall()
        assert [row[0] for row in rows] == [10, 9, 8, 7, 6, 5]


def test_a_sweep_takes_any_value_of_a_metric(trained: queries.Database) -> None:
    answer = sweep(trained, metric=FINAL, filter={"ids": [3, 4, 5]})
    assert answer["metric"]["better"] == "max"
    assert {run["id"]: run["value"] for run in answer["runs"]} == {3: 0.6, 4: 0.95, 5: 0.7}
    assert sweep(trained, metric=["metric", "last", "val_loss"])["metric"]["better"] == "min"
    assert sweep(trained, metric=["metric", "mean", "val_acc"], filter={"ids": [5]})["runs"][0]["value"] == (
        pytest.approx(1.6 / 3)
    )
    missing = sweep(trained, metric=["metric", "max", "nothing"])
    assert missing["best"] == []
    assert {item["n"] for item in missing["arguments"]} == {0}


def test_the_best_run_and_the_best_mean_over_seeds_are_told(trained: queries.Database) -> None:
    run, seeds = sweep(trained)["best"]
    assert (run["of"], run["run"], run["value"], run["args"]["lr"]) == ("run", 4, 0.95, 0.01)
    assert (seeds["of"], seeds["run"], seeds["value"], seeds["runs"]) == ("seeds", 7, 0.9, [7, 8])
    assert (seeds["mean"], seeds["stddev"], seeds["n"]) == (pytest.approx(0.85), pytest.approx(0.0707107), 2)
    (smallest,) = sweep(trained, metric=["metric", "min", "val_acc"], filter={"ids": [1, 3, 5]})["best"]
    assert (smallest["of"], smallest["run"]) == ("run", 1)


def test_the_best_configuration_is_a_command_line(trained: queries.Database) -> None:
    run, seeds = sweep(trained)["best"]
    assert run["command"]["source"] == "arguments"
    assert sorted(shlex.split(run["command"]["text"])) == [
        *(
            "--lr=0.01",
            "--model.name=small",
            "--model.width=64",
            "--none=null",
            "--seed=1",
            "--steps=3",
            "--x=[1, null]",
        )
    ]
    assert seeds["command"] == {
        "text": f"cd '/home/me/my code' && {shlex.join(ARGV)}",
        "source": "captured",
        "masked": False,
    }


def test_commands_that_are_cut_masked_or_odd_are_handled() -> None:
    args = {"a": True, "b": None, "c": "x; rm -rf ~", "d": {"e": math.nan, "f": "NaN"}, "g": {}}
    options = ["--a=true", "--b=null", "--c=x; rm -rf ~", "--d.e=nan", "--d.f=nan", "--g={}"]
    assert shlex.split(as_options(args)) == options
    for command in (None, "train", {}, {"argv": []}, {"argv": "x"}, {"argv": ["x"], "argv_cut": True}):
        assert command_line(command, {"lr": 1}) == {"text": "--lr=1", "source": "arguments", "masked": False}
    masked = command_line({"argv": ["train", "--token=***"]}, None)
    assert masked == {"text": "train '--token=***'", "source": "captured", "masked": True}
    assert command_line(None, None)["text"] == ""


def test_the_cells_of_a_grid_are_counted(trained: queries.Database) -> None:
    answer = grid(trained)
    assert [axis["column"] for axis in answer["axes"]] == [LR, MODEL, SEED]
    assert [item["column"] for item in answer["followers"]] == [WIDTH]
    assert answer["left_out"] == []
    assert answer["cells"] == 3 * 2 * 2
    assert answer["counts"] == {"done": 7, "open": 1, "failed": 2, "missing": 2}
    listed = {(tuple(cell["values"]), cell["state"]): cell["runs"] for cell in answer["listed"]}
    assert listed == {
        ((0.001, "big one", 1), "missing"): [],
        ((0.1, "small", 1), "missing"): [],
        ((0.01, "small", 1), "failed"): [{"id": 4, "status": "FAILED"}],
        ((0.1, "big one", 0), "failed"): [{"id": 9, "status": "TIMEOUT"}],
    }
    assert {cell["state"] for cell in grid(trained, states=["missing"])["listed"]} == {"missing"}


def test_the_python_of_a_grid_plans_its_missing_cells(trained: queries.Database) -> None:
    run_python(trained, grid(trained)["plan"])
    planned = trained.client.execute(
        "SELECT args, status, experiment_id FROM runs WHERE id > 10 ORDER BY id"
    ).fetchall()
    assert {(status, experiment) for _, status, experiment in planned} == {("PLANNED", 1)}
    found = {(args["lr"], args["model"]["name"], args["model"]["width"], args["seed"]) for args, _, _ in planned}
    assert found == {
        *((0.001, "big one", 512, 1), (0.1, "small", 64, 1), (0.01, "small", 64, 1), (0.1, "big one", 512, 0))
    }
    assert all((args["steps"], args["x"], args["none"]) == (3, [1, None], None) for args, _, _ in planned)
    after = grid(trained)
    assert after["counts"] == {"done": 7, "open": 5, "failed": 0, "missing": 0}
    assert after["plan"] is None


def test_axes_of_a_grid_are_chosen(trained: queries.Database) -> None:
    answer = grid(trained, axes=[MODEL, ["args", "steps"], ["args", "unknown"]])
    assert [axis["values"] for axis in answer["axes"]] == [["big one", "small"], [3]]
    assert answer["counts"] == {"done": 2, "open": 0, "failed": 0, "missing": 0}
    assert [item["column"] for item in answer["left_out"]] == [LR, SEED]
    with pytest.raises(QueryError, match="must be arguments"):
        grid(trained, axes=[ACC])
    with pytest.raises(QueryError, match="states must be"):
        grid(trained, states=["gone"])


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def store(client: sqltrack.Client, all_args: Sequence[dict[str, Any]], experiment: str = "e") -> None:
    with on_one_connection(client):
        for args in all_args:
            sqltrack.Experiment(client, name=experiment).get_run().set_args(args).set_status("COMPLETED")


def test_a_random_search_is_no_grid(client: sqltrack.Client) -> None:
    store(client, [{"lr": 0.1 / number, "seed": number, "size": number % 2} for number in range(1, 21)])
    with queries.Database(client) as source:
        answer = grid(source)
        assert [(axis["label"], axis["values"]) for axis in answer["axes"]] == [("size", [0, 1])]
        assert [item["label"] for item in answer["left_out"]] == ["lr", "seed"]
        assert answer["plan"] is None
        assert answer["cells"] == answer["counts"]["done"] == 2
        axes = [["args", name] for name in ("lr", "seed", "size")]
        assert grid(source, axes=axes)["cells"] == 800


def test_a_grid_that_would_be_too_large_is_refused(client: sqltrack.Client) -> None:
    store(client, [dict.fromkeys("abcd", number) for number in range(20)])
    with queries.Database(client) as source:
        assert [axis["label"] for axis in grid(source)["axes"]] == ["a"]
        with pytest.raises(QueryError, match="160,000 cells"):
            grid(source, axes=[["args", name] for name in "abcd"])


def test_missing_and_odd_values_are_values_of_a_grid(client: sqltrack.Client) -> None:
    odd = "a \"'\\\n</script>"
    store(client, [{"opt": odd, "m": math.nan}, {"opt": "adam"}, {"opt": odd, "m": 0.9}, {"opt": "adam"}])
    with queries.Database(client) as source:
        assert [axis["label"] for axis in grid(source)["axes"]] == ["opt"]
        answer = grid(source, axes=[["args", "opt"], ["args", "m"]])
        assert answer["axes"][1]["values"] == [0.9, NAN, None]
        assert answer["counts"] == {"done": 3, "open": 0, "failed": 0, "missing": 3}
        run_python(source, answer["plan"])
        planned = [row[0] for row in client.execute("SELECT args FROM runs WHERE status = 'PLANNED'").fetchall()]
        expected = [{"opt": odd}, {"opt": "adam", "m": "NaN"}, {"opt": "adam", "m": 0.9}]
        assert sorted(planned, key=canonical) == sorted(expected, key=canonical)


def test_several_experiments_have_no_grid_but_a_sweep(client: sqltrack.Client) -> None:
    store(client, [{"a": 1}, {"a": 2}])
    store(client, [{"b": {}}, {"a": 1}], "other")
    with queries.Database(client) as source:
        answer = grid(source)
        assert (answer["experiments"], answer["experiment"], answer["cells"], answer["plan"]) == (2, None, 0, None)
        found = sweep(source)
        assert (found["experiments"], found["metric"], found["best"]) == (2, None, [])
        assert [item["label"] for item in found["arguments"]] == ["a", "b"]
        assert "corr" not in found["python"]
        run_python(source, found["python"])


def test_no_runs_have_no_sweep(client: sqltrack.Client) -> None:
    with queries.Database(client) as source:
        answer = sweep(source)
        assert (answer["runs"], answer["arguments"], answer["metric"], answer["total"]) == ([], [], None, 0)
        assert grid(source)["counts"] == {"done": 0, "open": 0, "failed": 0, "missing": 0}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"metric": LR}, "must be the column of a metric"),
        ({"metric": ["metric", "best", "x"]}, "no column"),
        ({"limit": 0}, "limit must be"),
        ({"filter": {"where": "nonsense ="}}, "syntax"),
    ],
)
def test_wrong_specs_are_errors(source: queries.Database, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        queries.sweep(source, spec)


def test_a_limit_takes_the_newest_runs(trained: queries.Database) -> None:
    answer = sweep(trained, limit=3)
    assert ([run["id"] for run in answer["runs"]], answer["total"], answer["shown"]) == ([10, 9, 8], 10, 3)


def test_values_that_differ_only_in_their_type_are_told_apart(client: sqltrack.Client) -> None:
    store(client, [{"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": True}, {"a": [1]}, {"a": {"b": 1}}])
    with queries.Database(client) as source:
        nested, mixed = sweep(source)["arguments"]
        assert (mixed["kind"], mixed["values"]) == ("text", [1, True, "1", [1]])
        assert nested["label"] == "a.b"
