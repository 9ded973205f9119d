"""In notebooks runs of a database are compared by their ids, and means over seeds are data frames."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sqltrack
from sqltrack.errors import NotFoundError, UnusableValueError
from sqltrack.notebook import compare_runs, format_percentage, seed_statistics
from support.connections import on_one_connection
from support.extras import add_extras

MARK = '<span class="sqltrack-differs">'


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Runs 3, 5 and 20 of an experiment; 20 has logged nothing, and 5 has a metric in extras."""
    with on_one_connection(client):
        experiment = sqltrack.Experiment(client, name="experiment")
        for run_id, lr in ((3, 0.1), (5, 0.2), (20, None)):
            run = experiment.get_run(run_id).set_status("COMPLETED")
            args: dict[str, Any] = {"model": "cnn", "opt": {"lr": lr, "name": "sgd"}}
            run.set_args(args if lr else None).set_env({"USER": "alice", "JOB": str(run_id)}).set_comment("<b>")
            if lr:
                run.add_metrics_many(
                    [{"loss": lr, "step": 0}, {"loss": math.nan, "step": 1}, {"loss": 3 * lr, "step": 2}]
                )
                run.add_metrics({"note": "fine", "done": True}, step=2)
        add_extras(client, 5, {2: {"long name": 1.5, "loss": "Infinity"}, 4: {"loss": "NaN", "step": 7}})
    return client


def cells(table: pd.DataFrame, name: str) -> list[str]:
    """Return the texts in a row, without HTML and the keys by which tables sort."""
    assert list(table.index).count(name) == 1
    return [re.sub(r"<[^>]*>|&#820\d;", "", str(cell)).strip() for cell in table.loc[name]]


def differing(table: pd.DataFrame) -> set[str]:
    return {name for name in table.index if MARK in str(table.loc[name].iloc[0])}


def test_runs_are_columns_in_the_order_given(client: sqltrack.Client) -> None:
    table = compare_runs(client, 20, np.int64(3), 5, 3, env=False)
    assert list(table.columns) == [20, 3, 5]
    assert cells(table, "experiment") == ["experiment"] * 3
    assert cells(table, "comment") == ["&lt;b&gt;"] * 3


def test_differences_come_first_and_are_marked(client: sqltrack.Client) -> None:
    table = compare_runs(client, 3, 5)
    marked = differing(table)
    assert marked >= {"args.opt.lr", "loss (last)", "loss (min)", "loss (max)", "long name (last)", "env.JOB"}
    assert not marked & {"status", "args.model", "args.opt.name", "env.USER", "note (last)", "done (last)"}
    assert set(table.index[: len(marked)]) == marked
    assert cells(table, "args.opt.lr") == ["0.1", "0.2"]
    assert "env.JOB" not in compare_runs(client, 3, 5, env=False).index


def test_metrics_are_summarized_by_their_numbers(client: sqltrack.Client) -> None:
    """NaN is neither the smallest nor the greatest value; texts and truth values only have a last value."""
    table = compare_runs(client, 3, 20)
    assert cells(table, "loss (min)") == ["0.1", "--"]
    assert cells(table, "loss (max)")[0].startswith("0.3")
    assert cells(table, "loss (last)")[0].startswith("0.3")
    assert {"note (max)", "done (max)"}.isdisjoint(table.index)
    assert cells(table, "note (last)") == ["fine", "--"]


def test_metrics_in_extras_are_found(client: sqltrack.Client) -> None:
    """The column of a metric has priority over extras of the same row, and a metric may have the name of a column."""
    sqltrack.Run(client, run_id=3).add_metrics({"loss": 0.5}, step=3)
    table = compare_runs(client, 3, 5)
    assert cells(table, "long name (max)") == ["--", "1.5"]
    assert cells(table, "metrics.step (last)") == ["--", "7"]
    assert cells(table, "loss (max)")[1].startswith("0.6")


def test_functions_format_rows_by_name(client: sqltrack.Client) -> None:
    table = compare_runs(client, 3, 5, formatting={"args.opt.lr": format_percentage}, na_rep="none")
    assert [cell.split("%")[0] for cell in cells(table, "args.opt.lr")] == ["10.0", "20.0"]
    assert cells(table, "started") == ["none", "none"]


def test_unknown_runs_are_refused(client: sqltrack.Client) -> None:
    with pytest.raises(NotFoundError, match="there is no run 4"):
        compare_runs(client, 3, 4)
    with pytest.raises(UnusableValueError, match="got none"):
        compare_runs(client)
    with pytest.raises(TypeError):
        compare_runs(client, "3-5")  # type: ignore[arg-type]


def log(client: sqltrack.Client, values: list[float], args: dict[str, Any]) -> int:
    """Create a run for each value, and return the id of the first."""
    runs = [sqltrack.Experiment(client, name="seeds").get_run().set_status("COMPLETED") for _ in values]
    for seed, (run, value) in enumerate(zip(runs, values)):
        run.set_args({**args, "seed": seed}).add_metrics({"accuracy": value})
    return runs[0].id


def test_means_over_seeds_have_arguments_as_columns(client: sqltrack.Client) -> None:
    first = log(client, [0.5, 0.7], {"lr": 0.1, "n": 1, "opt": {"name": "sgd"}, "model": "cnn"})
    log(client, [0.9], {"lr": 1, "n": 2, "opt": {"name": "adam"}, "model": "cnn", "new": True})
    log(client, [math.nan], {"lr": 1, "n": 3, "model": "cnn"})
    frame = seed_statistics(client, "accuracy")
    statistics = ["n", "mean", "stddev", "min", "max", "run_ids", "not_finite"]
    assert list(frame.columns) == ["experiment", "lr", "args.n", "opt.name", "new", *statistics]
    assert list(frame["lr"]) == [1.0, 0.1, 1.0]
    assert list(frame["n"]) == [1, 2, 0]
    assert list(frame["not_finite"]) == [0, 0, 1]
    assert frame["run_ids"][1] == [first, first + 1]
    assert (frame["mean"][1], frame["stddev"][1]) == (pytest.approx(0.6), pytest.approx(0.02**0.5))
    assert frame["stddev"].isna().tolist() == [True, False, True]
    assert frame["opt.name"].isna().tolist() == [False, False, True]
    assert [str(frame[name].dtype) for name in ("lr", "args.n", "n", "mean")] == [
        *("float64", "int64"),
        *("int64", "float64"),
    ]
    assert set(seed_statistics(client, "accuracy", constant=True)["model"]) == {"cnn"}


def test_means_over_other_arguments_and_last_values(client: sqltrack.Client) -> None:
    log(client, [0.5, 0.7], {"fold": 1})
    log(client, [0.9, 0.3], {"fold": 2})
    frame = seed_statistics(client, "accuracy", ["seed", "fold"], experiment="seeds", value="last", maximize=False)
    assert frame[["n", "min", "max"]].to_numpy().tolist() == [[4.0, 0.3, 0.9]]
    assert seed_statistics(client, "accuracy", "fold", statuses=("FAILED",)).empty
