"""`sqltrack show` shows everything about a run."""

from __future__ import annotations

import csv
import io
import json
import math
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.metrics import read_curves_of_runs
from sqltrack.commands.show import describe_run
from support.connections import on_one_connection

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)

# Longer than the name of a column in PostgreSQL, where it is stored in extras.
LONG_NAME = "loss of " + "x" * 60


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Run 5 with values of all kinds, linked with runs 4 and 6."""
    with on_one_connection(client):
        experiment = sqltrack.Experiment(client, name="experiment")
        run = experiment.get_run(5).set_args({"lr": 0.1, "nothing": None, "layers": [1, 2]}).set_env({"USER": "alice"})
        run.set_comment("a\ncomment").set_tags("paper").set_extras({"gpu": "A100"}).set_status("TIMEOUT")
        run.set_created(NOW).set_started(NOW)
        experiment.get_run(4).add_link("resumes", 5)
        experiment.get_run(6)
        run.add_link("repeats", 6)
        values = [math.nan, 3.0, 1.0, 3.0, None, math.inf, 2.0]
        for step, value in enumerate(values):
            run.add_metrics({"loss": value, LONG_NAME: 10 - step, "note": f"step {step}"}, step=step)
        run.add_metrics({"broken": math.nan}, step=6)
        run.set_updated(NOW + timedelta(hours=2))
    return client


def test_a_run_is_described_as_a_whole(client: sqltrack.Client) -> None:
    run = describe_run(client, 5)
    assert (run["id"], run["status"], run["experiment"], run["comment"]) == (5, "TIMEOUT", "experiment", "a\ncomment")
    assert (run["created"], run["started"], run["runtime"]) == (NOW, NOW, timedelta(hours=2))
    assert (run["args"], run["env"]) == ({"lr": 0.1, "nothing": None, "layers": [1, 2]}, {"USER": "alice"})
    assert (run["tags"], run["extras"]) == ({"paper": True}, {"gpu": "A100"})
    assert run["links"] == [
        {"from_id": 4, "kind": "resumes", "to_id": 5},
        {"from_id": 5, "kind": "repeats", "to_id": 6},
    ]


def test_metrics_are_summarized(client: sqltrack.Client) -> None:
    metrics = {summary["metric"]: summary for summary in describe_run(client, 5)["metrics"]}
    assert metrics["loss"] == {
        "metric": "loss",
        "last": 2.0,
        "last_step": 6,
        "min": 1.0,
        "min_step": 2,
        "max": math.inf,
        "max_step": 5,
        "values": 6,
        "nan": 1,
    }
    assert {name: metrics[LONG_NAME][name] for name in ("last", "min", "max", "max_step", "values")} == {
        "last": 4,
        "min": 4,
        "max": 10,
        "max_step": 0,
        "values": 7,
    }
    assert {name: metrics["note"][name] for name in ("last", "min", "max")} == {
        "last": "step 6",
        "min": None,
        "max": None,
    }
    broken = metrics["broken"]
    assert math.isnan(broken["last"])
    assert (broken["min"], broken["max"], broken["values"], broken["nan"]) == (None, None, 1, 1)


def test_a_run_without_anything_can_be_described(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "6", *options]) == 0
    output = capsys.readouterr().out
    assert "metrics     none" in output
    assert "env         0 variables" in output
    assert "link        5 repeats this" in output


def test_the_screen_shows_all_of_it(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "5", *options]) == 0
    output = capsys.readouterr().out
    for line in (
        "run         5",
        "experiment  experiment (id 1)",
        "status      ▲ TIMEOUT",
        "runtime     2 h",
        r"comment     a\ncomment",
        "link        4 resumes this",
        "link        this repeats 6",
        "  nothing  --",
        "  layers   [1, 2]",
        "env         1 variable, --env shows them",
    ):
        assert line in [shown.rstrip() for shown in output.splitlines()]
    assert "created     2026-03-01 12:00:00 UTC, " in output
    assert "alice" not in output
    main(["show", "5", "--env", *options])
    assert "alice" in capsys.readouterr().out


def test_json_holds_the_same(client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["show", "5", "--json", *options])
    run: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (run["runtime"], run["env_number"], "env" in run) == (7200.0, 1, False)
    assert run["metrics"][0]["max"] == "Infinity"
    main(["show", "5", "--json", "--env", *options])
    assert json.loads(capsys.readouterr().out)["env"] == {"USER": "alice"}


@pytest.mark.parametrize(
    ("run_id", "message"),
    [
        ("3", "there is no run 3; the nearest is 4"),
        ("9", "there is no run 9; the nearest is 6"),
        ("-1", "there is no run -1; the nearest is 4"),
        ("9" * 30, f"there is no run {'9' * 30}; ids of runs have at most 63 bits"),
    ],
)
def test_an_unknown_run_is_answered_with_the_nearest(
    client: sqltrack.Client, options: list[str], run_id: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, "show", run_id]) == 1
    assert capsys.readouterr() == ("", f"sqltrack: {message}\n")


def test_an_invalid_id_is_a_wrong_command_line(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["show", "last", *options])
    assert caught.value.code == 2
    assert "'last'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--env"]])
def test_other_formats_have_a_row_for_each_value(
    client: sqltrack.Client, options: list[str], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = sqltrack.Experiment(client, name="formats").get_run(77)
    run.set_args({"a|b": 0.125, "list": [1, 2]}).set_env({"HOME": "/h"}).add_metrics({"loss": 0.5}, step=3)
    assert main(["show", "77", "--format", "csv", *arguments, *options]) == 0
    rows = {(row["section"], row["name"]): row["value"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert rows["args", "a|b"] == "0.125"
    assert rows["args", "list"] == "[1, 2]"
    assert rows["metrics", "loss (last)"] == "0.5"
    assert rows["run", "experiment"] == "formats"
    assert (("env", "HOME") in rows) is bool(arguments)
    main(["show", "77", "--format", "markdown", *options])
    assert r"a\|b" in capsys.readouterr().out


def test_many_values_are_read_in_another_way_with_the_same_result(
    client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a run with many missing values, only the columns with a value are read."""
    others = sqltrack.Experiment(client, name="others").get_run()
    others.add_metrics({"loss": 1.5, "other": 1, f"other {LONG_NAME}": 2, "note": "text"}, step=1)
    expected = describe_run(client, 5), describe_run(client, others.id)
    curves = read_curves_of_runs(client, [5, 4, others.id])
    assert [summary["metric"] for summary in expected[0]["metrics"]] == curves[5].names
    assert "other" not in curves[5].names
    monkeypatch.setattr("sqltrack.commands._points._FEW", 0)
    monkeypatch.setattr("sqltrack.commands._points._COUNTED", 2)
    assert same(describe_run(client, 5), expected[0])
    assert same(describe_run(client, others.id), expected[1])
    assert same(read_curves_of_runs(client, [5, 4, others.id]), curves)


def same(one: Any, other: Any) -> bool:
    """Return whether two results are the same; NaN equals NaN."""
    return repr(one) == repr(other)


@pytest.mark.parametrize("name", ["x", LONG_NAME])
def test_a_metric_that_is_missing_everywhere_was_logged_if_it_is_among_the_extras(
    client: sqltrack.Client, name: str
) -> None:
    run = sqltrack.Experiment(client, name="missing").get_run()
    run.add_metrics({name: None, "loss": 1.0}, step=1)
    with client as connection:
        is_column = name in client.engine.table_columns(connection, "metrics")
    names = [summary["metric"] for summary in describe_run(client, run.id)["metrics"]]
    assert names == (["loss"] if is_column else ["loss", name])
    assert read_curves_of_runs(client, [run.id])[run.id].names == names
