"""`sqltrack seeds` shows means over seeds, in formats for people, papers and programs."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest

import sqltrack
from sqltrack.cli import main
from support.connections import on_one_connection

from .conftest import main_in_terminal

Capture = pytest.CaptureFixture[str]

CONSTANT = "2 arguments are the same in all groups, --wide shows them\n"


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Runs 1 to 6 of three learning rates, two seeds each; one of the last has diverged, and 7 has failed."""
    with on_one_connection(client):
        experiment = sqltrack.Experiment(client, name="experiment")
        for number, (lr, accuracy) in enumerate(
            [(0.1, 0.701), (0.1, 0.699), (0.01, 0.9), (0.01, 0.8), (1e-3, 0.5), (1e-3, math.nan)]
        ):
            run = experiment.get_run(number + 1).set_status("COMPLETED")
            run.set_args({"lr": lr, "seed": number % 2, "model": "cnn_1", "opt": {"name": "sgd"}})
            run.add_metrics({"accuracy": accuracy, "loss": 1 - accuracy}, step=number)
        experiment.get_run(7).set_status("FAILED").set_args({"lr": 5}).add_metrics({"accuracy": 0.1})
    return client


def test_the_table_has_the_best_mean_first_and_says_what_is_left_out(
    client: sqltrack.Client, options: list[str], capsys: Capture
) -> None:
    assert main(["seeds", "accuracy", *options]) == 0
    output = capsys.readouterr()
    assert [line.split() for line in output.out.splitlines() if "─" not in line] == [
        ["lr", "n", "mean", "stddev", "not", "finite"],
        ["0.01", "2", "0.85", "0.070711", "0"],
        ["0.1", "2", "0.7", "0.0014142", "0"],
        ["0.001", "1", "0.5", "--", "1"],
    ]
    assert output.err == (
        f"{CONSTANT}1 run with other statuses left out (1 FAILED), --any-status counts all\n"
        "1 run left out, with NaN or an infinite value: 6\n"
    )


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        (["loss", "--min"], ["0.01", "2", "0.15", "0.070711", "0"]),
        (["accuracy", "--min", "--status", "COMPLETED,FAILED"], ["5", "--", "--", "1", "0.1", "--", "0"]),
        (["accuracy", "--over", "seed", "--over", "lr"], ["5", "0.72", "0.14833", "1"]),
        (["accuracy", "--last", "--wide"], ["0.01", "cnn_1", "sgd", "2", "0.85", "0.070711", "0"]),
    ],
)
def test_options_choose_runs_values_and_groups(
    client: sqltrack.Client, options: list[str], arguments: list[str], first: list[str], capsys: Capture
) -> None:
    assert main(["seeds", *arguments, "--experiment", "experiment", *options]) == 0
    assert capsys.readouterr().out.splitlines()[2].split() == first


def test_any_status_counts_all_runs(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    assert main(["seeds", "accuracy", "--any-status", "--json", *options]) == 0
    assert sum(group["n"] for group in json.loads(capsys.readouterr().out)) == 6


def test_markdown_and_latex_have_mean_and_deviation_in_one_column(
    client: sqltrack.Client, options: list[str], capsys: Capture
) -> None:
    """The deviation has two digits, and the mean as many decimals."""
    assert main(["seeds", "accuracy", "--format", "markdown", *options]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "|    lr |   n |        accuracy |",
        "| ----: | --: | --------------: |",
        "|  0.01 |   2 |   0.850 ± 0.071 |",
        "|   0.1 |   2 | 0.7000 ± 0.0014 |",
        "| 0.001 |   1 |             0.5 |",
    ]
    assert main(["seeds", "accuracy", "--format", "latex", "--wide", *options]) == 0
    assert capsys.readouterr().out.splitlines() == [
        r"% needs \usepackage{booktabs}",
        r"\begin{tabular}{rllrr}",
        r"\toprule",
        r"lr & model & opt.name & n & accuracy \\",
        r"\midrule",
        r"0.01 & cnn\_1 & sgd & 2 & 0.850 $\pm$ 0.071 \\",
        r"0.1 & cnn\_1 & sgd & 2 & 0.7000 $\pm$ 0.0014 \\",
        r"0.001 & cnn\_1 & sgd & 1 & 0.5 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_csv_and_json_are_exact(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    assert main(["seeds", "accuracy", "--format", "csv", *options]) == 0
    first, _, last = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert list(first) == ["lr", "n", "mean", "stddev", "min", "max"]
    assert float(first["stddev"]) == pytest.approx(math.sqrt(0.005))
    assert (last["lr"], last["n"], last["stddev"]) == ("0.001", "1", "")
    assert main(["seeds", "accuracy", "--json", *options]) == 0
    groups = json.loads(capsys.readouterr().out)
    assert groups[2] == {
        "experiment_id": 1,
        "experiment": "experiment",
        "args": {"lr": 0.001, "model": "cnn_1", "opt": {"name": "sgd"}},
        "n": 1,
        "run_ids": [5],
        "mean": 0.5,
        "stddev": None,
        "min": 0.5,
        "max": 0.5,
        "not_finite": [6],
        "repeated": [],
    }


def test_arguments_may_be_called_like_columns(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    """And null differs from a missing argument."""
    with client:
        client.execute("DELETE FROM runs WHERE id < 10")
    experiment = sqltrack.Experiment(client, name="experiment")
    for number, args in enumerate([{"n": 5, "mean": None}, {"n": 6}], start=10):
        experiment.get_run(number).set_status("COMPLETED").set_args(args).add_metrics({"accuracy": 1.0})
    assert main(["seeds", "accuracy", "--format", "csv", *options]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "args.n,args.mean,n,mean,stddev,min,max"
    assert main(["seeds", "accuracy", *options]) == 0
    output = capsys.readouterr()
    assert [line.split() for line in output.out.splitlines()][2:] == [
        ["5", "null", "1", "1", "--"],
        ["6", "--", "1", "1", "--"],
    ]
    assert "no run has an argument 'seed'; there are 'n', 'mean'\n" in output.err
    assert "each group has only one run: they also differ in n, mean; add --over " in output.err


def test_groups_of_several_experiments_are_named(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    run = sqltrack.Experiment(client, name="other").get_run(20).set_status("COMPLETED")
    run.set_args({"lr": 0.1, "seed": 0, "model": "cnn_1", "opt": {"name": "sgd"}}).add_metrics({"accuracy": 0.99})
    assert main(["seeds", "accuracy", *options]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[:3] == ["other", "0.1", "1"]
    assert main(["seeds", "accuracy", "--experiment", "other", *options]) == 0
    assert capsys.readouterr().out.splitlines()[2].split() == ["1", "0.99", "--"]


def test_repeated_seeds_and_runs_without_a_value_are_noted(
    client: sqltrack.Client, options: list[str], capsys: Capture
) -> None:
    experiment = sqltrack.Experiment(client, name="experiment")
    again = experiment.get_run(20).set_status("COMPLETED").add_metrics({"accuracy": 0.7})
    again.set_args({"lr": 0.1, "seed": 1, "model": "cnn_1", "opt": {"name": "sgd"}})
    experiment.get_run(21).set_status("COMPLETED")
    assert main(["seeds", "accuracy", *options]) == 0
    notes = capsys.readouterr().err.splitlines()
    assert "1 run has no value of 'accuracy'" in notes
    assert "1 run with the same seed as another: 20" in notes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["accurcy"], "there is no metric 'accurcy'; did you mean 'accuracy'?"),
        (["accuracy", "--experiment", "xperiment"], "there is no experiment 'xperiment'; did you mean 'experiment'?"),
    ],
)
def test_unknown_names_are_answered_with_near_ones(
    client: sqltrack.Client, options: list[str], arguments: list[str], message: str, capsys: Capture
) -> None:
    assert main(["seeds", *arguments, *options]) == 1
    assert capsys.readouterr() == ("", f"sqltrack: {message}\n")


def test_if_no_run_counts_it_says_so(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    assert main(["seeds", "accuracy", "--status", "RUNNING", *options]) == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines()[0] == "no run with the status RUNNING has a value of 'accuracy'"
    assert main(["seeds", "accuracy", "--status", "RUNNING", "--json", *options]) == 0
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_table_fits_the_terminal(client: sqltrack.Client, options: list[str], width: int) -> None:
    lines = main_in_terminal("seeds", "accuracy", "--wide", *options, COLUMNS=str(width))
    table = [line for line in lines if "0.85" in line or "mean" in line]
    assert len(table) == 2
    assert all(len(line.rstrip()) <= width for line in table)
