"""`sqltrack runs` lists runs."""

from __future__ import annotations

import importlib
import json
import math
import re
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.metrics import read_curves
from sqltrack.commands.runs import Argument, RunList, list_runs
from sqltrack.commands.show import describe_run
from sqltrack.engines.json import Jsonb
from sqltrack.errors import NotFoundError
from support.connections import on_one_connection
from support.extras import add_extras
from support.processes import Program, running

from .conftest import main_in_terminal

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Runs 1 to 4 of two experiments; higher ids are newer."""
    with on_one_connection(client):
        for run_id, name in enumerate(("first", "first", "second", "first"), start=1):
            run = sqltrack.Experiment(client, name=name).get_run(run_id)
            run.set_created(NOW + timedelta(hours=run_id))
            run.set_args({"lr": 0.1 * run_id, "model": "tiny", "note": "x" * 50 * run_id})
            run.add_metrics({"loss": math.nan, "acc%": 0.2}, step=0)
            run.add_metrics({"loss": 1.0 / run_id, "acc%": 0.5}, step=run_id)
            run.set_started(NOW).set_updated(NOW + timedelta(minutes=run_id))
            run.set_status("FAILED" if run_id == 2 else "COMPLETED")
        sqltrack.Experiment(client, name="first").set_comment("50% off")
    return client


def ids(listed: RunList) -> list[int]:
    return [run["id"] for run in listed.runs]


def test_runs_are_listed_newest_first(client: sqltrack.Client) -> None:
    runs, number, *_ = list_runs(client)
    assert ([run["id"] for run in runs], number) == ([4, 3, 2, 1], 4)
    assert {name: runs[2][name] for name in ("experiment", "status", "created", "started", "runtime", "step")} == {
        "experiment": "first",
        "status": "FAILED",
        "created": NOW + timedelta(hours=2),
        "started": NOW,
        "runtime": timedelta(minutes=2),
        "step": 2,
    }
    assert runs[0]["args"]["model"] == "tiny"


def test_an_experiment_is_chosen_by_name_or_id_and_a_name_goes_first(client: sqltrack.Client) -> None:
    assert ids(list_runs(client, "first")) == [4, 2, 1]
    assert ids(list_runs(client, "2")) == [3]
    sqltrack.Experiment(client, name="2").get_run(9)
    assert ids(list_runs(client, "2")) == [9]


def test_the_limit_cuts_and_the_number_does_not(client: sqltrack.Client) -> None:
    runs, number, *_ = list_runs(client, limit=2)
    assert ([run["id"] for run in runs], number) == ([4, 3], 4)
    runs, number, *_ = list_runs(client, "first", where="status <> 'X'", limit=3)
    assert (len(runs), number) == (3, 3)
    assert ids(list_runs(client, limit=0)) == [4, 3, 2, 1]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("status = 'FAILED'", [2]),
        ("args->>'model' = 'tiny' AND id < 3", [2, 1]),
        ("runs.status LIKE 'F%'", [2]),
        ("experiment = 'second'", [3]),
        ("experiment_comment = '50% off'", [4, 2, 1]),
        ("'%s' <> '%(x)s' AND id = 1", [1]),
        ("id = 1 -- and no more", [1]),
        ("id = 1 OR status = 'FAILED'", [2, 1]),
        ('id IN (SELECT run_id FROM metrics WHERE metrics."loss" < 0.3)', [4]),
        ("1 = 0", []),
    ],
)
def test_a_condition_sees_runs_and_their_experiments(client: sqltrack.Client, where: str, expected: list[int]) -> None:
    assert ids(list_runs(client, where=where)) == expected
    in_first = [run_id for run_id in expected if run_id != 3]
    assert ids(list_runs(client, "first", where=where)) == in_first
    assert list_runs(client, where=where, limit=1)[1] == len(expected)


@pytest.mark.parametrize(
    "where",
    [
        "nonsense = 1",
        "id = ",
        "1 = 1) OR (1 = 1; DELETE FROM runs; --",
        "1=1); DELETE FROM runs --",
        "id = 1) OR (1 = 1",
    ],
)
def test_a_wrong_condition_is_one_line_and_changes_nothing(
    client: sqltrack.Client, options: list[str], where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", "--where", where, *options]) == 1
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert client.execute("SELECT COUNT(*) FROM runs").fetchone() == (4,)


def test_the_best_value_comes_with_its_step(client: sqltrack.Client) -> None:
    runs, *_ = list_runs(client, best="loss", maximize=False)
    assert [(run["best"], run["best_step"]) for run in runs] == [(1 / n, n) for n in (4, 3, 2, 1)]
    runs, *_ = list_runs(client, best="acc%", limit=1)
    assert (runs[0]["best"], runs[0]["best_step"]) == (0.5, 4)
    sqltrack.Experiment(client, name="first").get_run(9)
    assert [run["best"] for run in list_runs(client, where="id = 9", best="loss")[0]] == [None]


def test_the_best_values_are_found_by_an_index(
    client: sqltrack.Client, engine_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program reads them as clients do, in the way that is fastest for the database."""
    name = {"sqlite": "_connection", "postgres": "_cursor"}[engine_name]
    module = importlib.import_module(f"sqltrack.engines.{engine_name}.{name}")
    adapt, taken = module.first_rows_sql, []
    monkeypatch.setattr(module, "first_rows_sql", lambda *given: taken.append(adapt(*given)) or taken[-1])
    before = list_runs(client, best="loss").runs
    client.execute("CREATE INDEX by_loss ON metrics (run_id, loss)")
    taken.clear()
    assert list_runs(client, best="loss").runs == before
    assert taken
    assert ("LATERAL" if engine_name == "postgres" else "MATERIALIZED") in taken[0]


@pytest.mark.parametrize("name", ["new", "100%_!\"\\'", "RUN_ID"])
def test_the_best_value_may_be_among_the_extras(client: sqltrack.Client, name: str) -> None:
    """This holds for a metric without a column, or with values outside its column."""
    add_extras(client, 1, {1: {name: 0.25}, 2: {name: 0.75, "other": name}, 3: {name: "NaN"}, 4: {name: 0.75}})
    add_extras(client, 2, {5: {name: "text", "loss": 0.125}, 6: {name: [9]}, 7: {name: True}})
    add_extras(client, 3, {5: {"other": {name: 9}}, 6: {name: "Infinity"}, 7: {name: -1}})
    best = {run["id"]: (run["best"], run["best_step"]) for run in list_runs(client, best=name)[0]}
    assert best == {1: (0.75, 2), 2: (None, None), 3: (math.inf, 6), 4: (None, None)}
    best = {run["id"]: (run["best"], run["best_step"]) for run in list_runs(client, best=name, maximize=False)[0]}
    assert best == {1: (0.25, 1), 2: (None, None), 3: (-1, 7), 4: (None, None)}
    best = {run["id"]: (run["best"], run["best_step"]) for run in list_runs(client, best="loss", maximize=False)[0]}
    assert best == {1: (1.0, 1), 2: (0.125, 5), 3: (pytest.approx(1 / 3), 3), 4: (0.25, 4)}


def test_advice_knows_metrics_among_the_extras(client: sqltrack.Client) -> None:
    add_extras(client, 1, {1: {"perplexity": 0.25}})
    with pytest.raises(NotFoundError, match="did you mean 'perplexity'"):
        list_runs(client, best="perplexty")


@pytest.mark.engines("postgres", reason="only PostgreSQL has pending metrics")
def test_metrics_that_wait_in_another_table_are_found(client: sqltrack.Client) -> None:
    upsert = client.engine.metrics_table.upsert([], extras=True, pending=True)
    with client as connection:
        upsert.execute(connection, (1, 1, 0.0, Jsonb({"new": 0.5})))
        upsert.execute(connection, (1, 9, 0.0, Jsonb({"new": 0.75, "loss": 9.5})))
    (run,) = [run for run in list_runs(client, best="new")[0] if run["id"] == 1]
    assert (run["best"], run["best_step"]) == (0.75, 9)
    curves = read_curves(client, 1)
    assert [(point["step"], point["new"]) for point in curves.points if point["new"] is not None] == [
        (1, 0.5),
        (9, 0.75),
    ]
    assert curves.points[-1]["loss"] == 9.5
    summaries = {summary["metric"]: summary for summary in describe_run(client, 1)["metrics"]}
    assert (summaries["new"]["last"], summaries["loss"]["max"]) == (0.75, 9.5)


def test_many_runs_are_more_than_a_statement_holds(client: sqltrack.Client) -> None:
    experiment = sqltrack.Experiment(client, name="many")
    insert = "INSERT INTO runs (id, experiment_id) VALUES (%s, %s)"
    client.executemany(insert, [(run_id, experiment.id) for run_id in range(100, 1300)])
    client.execute("INSERT INTO metrics (run_id, step, loss) VALUES (1299, 3, 0.5)")
    runs, number, *_ = list_runs(client, "many", best="loss", limit=0)
    assert (len(runs), number) == (1200, 1200)
    assert (runs[0]["id"], runs[0]["step"], runs[0]["best"]) == (1299, 3, 0.5)
    assert [run["id"] for run in runs[1:3]] == [1298, 1297]


def summary(client: sqltrack.Client, **options: Any) -> list[tuple[str, bool]]:
    return [(argument.name, argument.differs) for argument in list_runs(client, with_args=True, **options).args]


def test_arguments_that_differ_come_first_and_those_that_only_some_runs_have_differ(client: sqltrack.Client) -> None:
    assert summary(client) == [("lr", True), ("note", True), ("model", False)]
    sqltrack.Run(client, run_id=1).add_args({"more": None})
    assert summary(client) == [("lr", True), ("note", True), ("more", True), ("model", False)]
    assert summary(client, where="id = 1") == [(name, False) for name in ("lr", "model", "more", "note")]
    assert list_runs(client).args == []


@pytest.mark.parametrize("choice", [{}, {"experiment": "first"}, {"where": "'%' = '%' AND id <> 3"}])
def test_all_chosen_runs_decide_about_the_arguments_whatever_the_limit(
    client: sqltrack.Client, choice: dict[str, Any]
) -> None:
    """Runs 1 to 3 have the same model, and the newest run another."""
    sqltrack.Run(client, run_id=4).add_args({"model": "big"})
    for limit in (0, 1, 2):
        assert dict(summary(client, limit=limit, **choice)) == {"lr": True, "model": True, "note": True}
        assert summary(client, limit=limit, experiment="second")[0] == ("lr", False)


def test_the_longest_values_are_known_and_numbers_do_not_count(client: sqltrack.Client) -> None:
    for run_id in (1, 2):
        args = {
            "lr": 1.2345678901234567e-05 * run_id,
            "deep": {"a": [run_id]},
            "flag": run_id == 1,
            "text": "äöü" * run_id,
        }
        sqltrack.Run(client, run_id=run_id).set_args({**args, "same": run_id / run_id if run_id > 1 else 1})
    found = {argument.name: argument for argument in list_runs(client, where="id < 3", with_args=True).args}
    assert {name: argument.longest for name, argument in found.items()} == {
        "lr": 0,
        "deep": len('{"a": [1]}'),
        "flag": 0,
        "text": 6,
        "same": 0,
    }
    assert found["lr"] == Argument("lr", differs=True, longest=0, width=10)
    assert not found["same"].differs


def test_a_value_that_is_not_a_dict_has_no_arguments(client: sqltrack.Client, options: list[str], capsys: Any) -> None:
    client.execute("UPDATE runs SET args = '[1, 2]' WHERE id = 1")
    client.execute("UPDATE runs SET args = NULL WHERE id = 2")
    client.execute("UPDATE runs SET args = '{}' WHERE id = 3")
    assert summary(client) == [("lr", True), ("model", True), ("note", True)]
    assert main(["runs", *options]) == 0
    assert capsys.readouterr().out.splitlines()[-1].rstrip().endswith("--")


def table(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], list[str], str]:
    """Return the headings of the columns, the lines below, and the notes."""
    output = capsys.readouterr()
    head, _, *lines = output.out.splitlines()
    return re.split("  +", head.strip()), lines, output.err


def test_arguments_that_differ_and_are_short_become_columns_and_the_others_are_counted(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["runs", *options])
    columns = ["id", "experiment", "status", "started", "runtime", "step"]
    note = "1 argument is the same in all runs\n"
    assert table(capsys)[::2] == ([*columns, "lr"], f"1 more argument, --wide; {note}")
    main(["runs", "--wide", *options])
    assert table(capsys)[::2] == ([*columns, "lr", "note"], note)
    main(["runs", "--where", "id = 1", *options])
    assert table(capsys)[::2] == (columns, "3 arguments, sqltrack show 1 shows all\n")


def test_a_learning_rate_with_many_digits_is_a_column(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    sqltrack.Run(client, run_id=1).add_args({"lr": 1.2345678901234567e-05})
    main(["runs", *options])
    heads, lines, _ = table(capsys)
    assert (heads[-1], lines[-1].split()[-1]) == ("lr", "1.2346e-05")


def test_a_terminal_shows_the_same_columns_whatever_the_limit(
    client: sqltrack.Client, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Only the oldest run has a long name, a comment and wide values."""
    with on_one_connection(client):
        for run_id in range(1, 5):
            values = {f"arg{number}": f"{run_id}" * (18 if run_id == 1 else 1) for number in range(6)}
            sqltrack.Run(client, run_id=run_id).add_args(values)
        sqltrack.Run(client, run_id=1).set_comment("a comment of some length").set_tags("paper")
        run = sqltrack.Experiment(client, name="a name that needs much room").get_run(0)
        run.set_created(NOW).set_status("A_LONG_STATUS").set_args({"arg0": "x"})
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    for width in (40, 60, 80, 100, 120, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        for best in ([], ["--best", "loss"]):
            heads = set()
            for limit in ("0", "1", "3"):
                main(["runs", "--limit", limit, *best, *options])
                lines = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
                assert max(map(len, lines)) <= width
                # Cut headings end in an ellipsis.
                heads.add(tuple(word.rstrip("…")[:1] for word in lines[0].split()))
            assert len(heads) == 1, (width, best, [" ".join(head) for head in heads])


def test_columns_of_the_same_name_have_different_heads(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The heading of an argument or metric with the name of a column says which it is."""
    for run_id in (1, 2):
        run = sqltrack.Run(client, run_id=run_id)
        run.set_args({"status": f"mine{run_id}", "loss": run_id, "lr": run_id, "args.lr": -run_id})
        add_extras(client, run_id, {9: {"step": 100 * run_id, "at step": 0.5}})
    main(["runs", "--where", "id < 3", "--best", "loss", *options])
    heads, lines, _ = table(capsys)
    assert heads[:8] == ["id", "experiment", "status", "started", "runtime", "step", "loss", "at step"]
    assert sorted(heads[8:]) == ["args.loss", "args.lr", "args.status", "lr"]
    assert "✖ FAILED" in lines[1] or "✖ FAILED" in lines[0]
    for name in ("step", "metrics.step"):
        main(["runs", "--where", "id < 3", "--best", name, *options])
        heads, lines, _ = table(capsys)
        assert heads[5:8] == ["step", "metrics.step", "at step"]
        assert [line.split()[0] for line in lines] == ["2", "1"]
        assert "200" in lines[0]
    main(["runs", "--best", "at step", *options])
    assert table(capsys)[0][6:8] == ["metrics.at step", "at step"]


def test_hidden_runs_are_counted_on_stderr(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", "--limit", "1", *options]) == 0
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 3
    assert output.err.splitlines()[1:] == ["3 more runs, --limit 0 shows all"]
    assert main(["runs", "--where", "1 = 0", *options]) == 0
    assert capsys.readouterr() == ("", "there are no such runs\n")


def test_a_table_fits_its_terminal(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    sqltrack.Experiment(client, name="first").get_run(4).set_comment("as long as it gets " * 20)
    for width in (60, 80, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        main(["runs", "--best", "loss", *options])
        lines = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
        assert len(lines) == 6
        assert max(map(len, lines)) <= width


def test_json_holds_all_arguments(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["runs", "first", "--best", "loss", "--min", "--json", *options])
    runs = json.loads(capsys.readouterr().out)
    assert [run["id"] for run in runs] == [4, 2, 1]
    assert runs[2]["args"]["note"] == "x" * 50
    assert (runs[2]["best"], runs[2]["best_step"], runs[2]["runtime"]) == (1.0, 1, 60.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frist"], "there is no experiment 'frist'; did you mean 'first'?"),
        (["4711"], "there is no experiment '4711'; there are 'second', 'first'"),
        (["9" * 30], f"there is no experiment '{'9' * 30}'; there are 'second', 'first'"),
        (["--best", "Loss"], "there is no metric 'Loss'; did you mean 'loss'?"),
        (["--best", "step"], "there is no metric 'step'; there are 'loss', 'acc%'"),
        (["--sort", "run time"], "there is no column 'run time' to sort by; did you mean 'runtime'?"),
        (["--sort", "at step"], "there is no column 'at step' to sort by; it is the step of --best METRIC"),
        (["--sort", "modle"], "there is no column 'modle' to sort by; did you mean 'model'?"),
        (["--sort", "los", "--best", "loss"], "there is no column 'los' to sort by; did you mean 'loss'?"),
        (
            ["--sort", "loss"],
            "there is no column 'loss' to sort by; to sort by the best value of the metric: --best loss",
        ),
        (["--sort", "args.modle"], "there is no column 'args.modle' to sort by; did you mean 'model'?"),
    ],
)
def test_unknown_names_are_answered_with_near_ones(
    client: sqltrack.Client,
    options: list[str],
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["runs", *arguments, *options]) == 1
    assert capsys.readouterr() == ("", f"sqltrack: {message}\n")


def test_a_closed_pipe_ends_the_program_quietly(generated: list[int], options: list[str]) -> None:
    command = [str(Path(sys.executable).with_name("sqltrack")), "runs", "--limit", "0", *options]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert "Traceback" not in process.communicate(timeout=60)[1]


def test_a_negative_limit_is_a_wrong_command_line(options: list[str], program: Program) -> None:
    done = program("runs", "--limit", "-1", *options)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_chosen_experiment_needs_no_column(client: sqltrack.Client, options: list[str], capsys: Any) -> None:
    assert main(["runs", "first", *options]) == 0
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["id", "status", "started"]
    assert [line.split()[0] for line in lines] == ["4", "2", "1"]


@pytest.mark.parametrize("width", [20, 40, 60])
def test_a_narrow_terminal_gets_a_line_for_each_run(client: sqltrack.Client, options: list[str], width: int) -> None:
    shown = main_in_terminal("runs", "--best", "loss", *options, COLUMNS=str(width))
    lines, notes = shown[:6], shown[6:]
    assert all(len(line) <= width for line in lines)
    assert lines[-1].split()[0] == "4"
    assert len(notes) == 1
    assert notes[0].startswith("2 more arguments, --wide")


@pytest.mark.engines("postgres", reason="SQLite has no superusers, and no functions that change settings")
def test_a_condition_has_the_rights_of_a_reader(client: sqltrack.Client, options: list[str], capsys: Any) -> None:
    with client as connection:
        if connection.info.server_version < 140000:
            pytest.skip("PostgreSQL before 14 has no role that only reads")
    conditions = {
        "set_config('role', 'none', true) = ''": "PARALLEL SAFE",
        "pg_read_file('postgresql.conf') IS NULL": "permission denied",
        "true); COPY (SELECT 1) TO PROGRAM 'true'; --": "closes a parenthesis",
    }
    for condition, reason in conditions.items():
        assert main(["runs", "--where", condition, *options]) == 1
        assert reason in capsys.readouterr().err
    assert main(["runs", "--where", "pg_read_file('postgresql.conf') <> ''", "--as-superuser", *options]) == 0


def test_a_wide_table_has_no_limit_in_a_terminal(client: sqltrack.Client, options: list[str]) -> None:
    shown = main_in_terminal("runs", "--wide", *options, COLUMNS="60")
    assert shown[0].split()[-2:] == ["lr", "note"]
    assert shown[2].endswith("x" * 200)
    assert main_in_terminal("runs", *options, COLUMNS="60")[0].split()[-1] != "note"


@pytest.mark.parametrize("option", ["--min", "--max"])
def test_a_direction_without_a_metric_says_what_to_add(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["runs", option])
    expected = f"sqltrack: {option} needs --best METRIC; see: sqltrack runs --help\n"
    assert (ended.value.code, capsys.readouterr()) == (2, ("", expected))
