"""The first example for new users, run as they run it.

Tests of arguments and databases run in this process, which imports scikit-learn only once.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import matplotlib.font_manager
import psycopg
import pytest

from support.processes import running

pytestmark = pytest.mark.guides

SCRIPT = Path(__file__).parents[2] / "examples" / "digits.py"
# Importing the font manager fills this in seconds, and not every start should repeat that.
MATPLOTLIB_CACHE = matplotlib.get_cachedir()
EPOCHS = 3
SETTINGS = 6
BEST = re.compile(
    r"^Best is run (\d+): learning rate (\S+), (\d+) hidden units, (\S+)% accuracy at epoch (\d+)\.$", re.M
)


def environment(folder: Path, **variables: Any) -> dict[str, str]:
    """Return an environment in which only `variables` configures SQLTrack and libpq."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SQLTRACK", "PG"))}
    # On Windows a home folder has other names.
    homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "APPDATA", "USERPROFILE"), str(folder))
    fixed = {"PYTHONUTF8": "1", "COLUMNS": "80", "MPLCONFIGDIR": MATPLOTLIB_CACHE}
    return {**kept, **homes, **fixed, **{name: str(value) for name, value in variables.items()}}


def run_digits(folder: Path, *options: str, epochs: int = EPOCHS, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Run the example in `folder`, by default with SQLite."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--epochs", str(epochs), *options],
        cwd=folder,
        env=environment(folder, **{"SQLTRACK_DSN_ENGINE": "sqlite", **variables}),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


RunHere = Callable[..., subprocess.CompletedProcess[str]]


@functools.cache
def load_digits() -> Any:
    """Import the example as a module."""
    spec = importlib.util.spec_from_file_location("digits", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunHere:
    """A function that runs the example in the test's folder, or another one, in this process, as `run_digits` does."""

    def run(*options: str, epochs: int = EPOCHS, folder: Path = tmp_path, **variables: Any) -> Any:
        arguments = [str(SCRIPT), "--epochs", str(epochs), *options]
        with monkeypatch.context() as patch:
            for name, value in {"SQLTRACK_DSN_ENGINE": "sqlite", "COLUMNS": "80", **variables}.items():
                patch.setenv(name, str(value))
            patch.chdir(folder)
            patch.setattr(sys, "argv", arguments)
            status: Any = 0
            try:
                load_digits().main()
            except SystemExit as error:
                status = error.code
        output = capsys.readouterr()
        if isinstance(status, str):
            return subprocess.CompletedProcess(arguments, 1, output.out, f"{output.err}{status}\n")
        return subprocess.CompletedProcess(arguments, status, output.out, output.err)

    return run


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """Query the database by Python's sqlite3, without SQLTrack."""
    with closing(sqlite3.connect(folder / "sqltrack.db")) as connection:
        return connection.execute(sql).fetchall()


def losses_of_first_epoch(folder: Path) -> list[float]:
    return [loss for (loss,) in query(folder, "SELECT val_loss FROM metrics WHERE step = 1 ORDER BY run_id")]


def postgres_variables(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a configuration as environment variables for SQLTrack, and as parameters for psycopg."""
    parameters = {name: value for name, value in config.items() if name != "engine"}
    variables = {f"SQLTRACK_DSN_{name.upper()}": value for name, value in parameters.items()}
    return {**variables, "SQLTRACK_DSN_ENGINE": "postgres"}, parameters


def best_of(rows: list[tuple[int, int, float, float]]) -> tuple[int, int, float]:
    """Return run, epoch and accuracy of the best row: highest accuracy, then lower loss in a run, then the first."""
    per_run: dict[int, tuple[float, float, int]] = {}
    for run_id, step, accuracy, loss in rows:
        candidate = (-accuracy, loss, step)
        per_run[run_id] = min(per_run.get(run_id, candidate), candidate)
    run_id = min(per_run, key=lambda run_id: (per_run[run_id][0], run_id))
    return run_id, per_run[run_id][2], -per_run[run_id][0]


def assert_one_error(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Assert that the program ended with status 1 and a reason in one line."""
    assert result.returncode == 1, result
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("error: ")
    for word in words:
        assert word in result.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Run the example once with SQLite; return its folder and result. Tests must not change either."""
    folder = tmp_path_factory.mktemp("digits")
    return folder, run_digits(folder)


def test_a_run_with_sqlite_succeeds_and_names_its_runs_on_stderr(finished):
    _, result = finished
    assert result.returncode == 0, result.stderr
    lines = result.stderr.splitlines()
    assert [line.split(" of ")[0] for line in lines] == [f"sqltrack: run {number}" for number in range(1, 7)]
    assert ["created just now" in line for line in lines] == [True] + [False] * 5


def test_the_best_setting_is_the_one_that_plain_python_finds(finished):
    folder, result = finished
    rows = query(folder, "SELECT run_id, step, val_accuracy, val_loss FROM metrics")
    run_id, epoch, accuracy = best_of(rows)
    [(args,)] = query(folder, f"SELECT args FROM runs WHERE id = {run_id}")
    args = json.loads(args)
    expected = (str(run_id), str(args["learning_rate"]), str(args["hidden_units"]), f"{accuracy * 100:.2f}", str(epoch))
    assert BEST.findall(result.stdout) == [expected]


def test_the_table_shows_all_runs_and_fits_80_columns(finished):
    _, result = finished
    rows = [line.split() for line in result.stdout.splitlines() if "COMPLETED" in line]
    assert sorted(row[0] for row in rows) == ["1", "2", "3", "4", "5", "6"]
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


def test_the_picture_is_a_png_of_a_sensible_size(finished):
    folder, _ = finished
    picture = (folder / "digits.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    assert 800 <= width <= 4000
    assert 500 <= height <= 3000
    # Axes without curves would be much smaller.
    assert len(picture) > 30_000


def test_all_runs_are_completed_with_their_arguments(finished):
    folder, _ = finished
    runs = query(folder, "SELECT status, args FROM runs")
    assert [status for status, _ in runs] == ["COMPLETED"] * SETTINGS
    settings = [json.loads(args) for _, args in runs]
    assert {(args["learning_rate"], args["hidden_units"]) for args in settings} == {
        (learning_rate, hidden_units) for learning_rate in (0.003, 0.03, 0.3) for hidden_units in (16, 64)
    }
    assert {(args["epochs"], args["seed"]) for args in settings} == {(EPOCHS, 0)}


def test_every_epoch_has_all_four_metrics(finished):
    folder, _ = finished
    rows = query(folder, "SELECT run_id, step, train_loss, train_accuracy, val_loss, val_accuracy FROM metrics")
    assert sorted(row[:2] for row in rows) == [
        (run_id, epoch) for run_id in range(1, SETTINGS + 1) for epoch in range(1, EPOCHS + 1)
    ]
    assert all(isinstance(value, float) for row in rows for value in row[2:])
    assert all(0 <= accuracy <= 1 for row in rows for accuracy in (row[3], row[5]))


@pytest.fixture
def copied(finished, tmp_path):
    """A folder in which the example has run once, to run it again."""
    folder, _ = finished
    return Path(shutil.copytree(folder, tmp_path / "copied"))


def test_a_second_start_adds_runs_to_the_same_experiment(finished, copied):
    _, first = finished
    second = run_digits(copied, epochs=1)
    assert second.returncode == 0, second.stderr
    assert query(copied, "SELECT count(*) FROM experiments") == [(1,)]
    assert query(copied, "SELECT count(*), count(DISTINCT experiment_id) FROM runs") == [(2 * SETTINGS, 1)]
    # The best of this start is one of its own runs; the best of all is still from the longer training.
    [(winner, *_)] = BEST.findall(second.stdout)
    assert int(winner) > SETTINGS
    [praise_of_first] = re.findall(r"^Best is (.*)$", first.stdout, re.M)
    assert f"Best of all {2 * SETTINGS} runs so far is {praise_of_first}\n" in second.stdout


def test_neither_nan_nor_null_wins_over_earlier_runs(copied, run_here):
    with closing(sqlite3.connect(copied / "sqltrack.db")) as connection, connection:
        connection.execute("UPDATE metrics SET val_accuracy = 'NaN' WHERE run_id = 1")
        connection.execute("UPDATE metrics SET val_accuracy = NULL WHERE run_id = 2")
        connection.execute("UPDATE metrics SET val_accuracy = 0.999 WHERE run_id = 3")
    result = run_here(epochs=1, folder=copied)
    assert result.returncode == 0, result.stderr
    assert "runs so far is run 3: " in result.stdout
    assert "99.90% accuracy" in result.stdout


def test_the_seed_decides_about_the_results(finished, run_here, tmp_path):
    folder, _ = finished
    for seed in ("0", "8"):
        assert run_here("--seed", seed, epochs=1).returncode == 0
    losses = losses_of_first_epoch(tmp_path)
    assert losses[:SETTINGS] == pytest.approx(losses_of_first_epoch(folder))
    assert losses[SETTINGS:] != pytest.approx(losses[:SETTINGS])


def test_the_config_file_chooses_the_database(tmp_path):
    tmp_path.joinpath("sqltrack.conf").write_text("engine = sqlite\ndbpath = mine.db\n", encoding="utf-8")
    env = environment(tmp_path)
    command = [sys.executable, str(SCRIPT), "--epochs", "1", "--picture", "curves.svg"]
    subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True, timeout=120)
    assert (tmp_path / "mine.db").stat().st_size > 0
    assert "<svg" in (tmp_path / "curves.svg").read_text(encoding="utf-8")


def test_postgresql_holds_the_same_and_names_the_best_setting(tmp_path, postgres_config):
    variables, parameters = postgres_variables(postgres_config)
    result = run_digits(tmp_path, **variables)
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "sqltrack.db").exists()
    with psycopg.connect(**parameters) as connection:
        runs = connection.execute("SELECT id, status, args FROM runs ORDER BY id").fetchall()
        rows = connection.execute("SELECT run_id, step, val_accuracy, val_loss FROM metrics").fetchall()
    assert [status for _, status, _ in runs] == ["COMPLETED"] * SETTINGS
    assert len(rows) == SETTINGS * EPOCHS
    run_id, epoch, accuracy = best_of(rows)
    args = {run: args for run, _, args in runs}[run_id]
    expected = (str(run_id), str(args["learning_rate"]), str(args["hidden_units"]), f"{accuracy * 100:.2f}", str(epoch))
    assert BEST.findall(result.stdout) == [expected]


def test_neither_nan_nor_null_wins_on_postgresql(run_here, postgres_config):
    variables, parameters = postgres_variables(postgres_config)
    run_here(epochs=1, **variables)
    with psycopg.connect(**parameters) as connection:
        connection.execute("UPDATE metrics SET val_accuracy = 'NaN' WHERE run_id = 1")
        connection.execute("UPDATE metrics SET val_accuracy = NULL WHERE run_id = 2")
        connection.execute("UPDATE metrics SET val_accuracy = 0.999 WHERE run_id = 3")
    result = run_here(epochs=1, **variables)
    assert result.returncode == 0, result.stderr
    assert "runs so far is run 3: " in result.stdout


def test_a_config_path_that_does_not_exist_is_an_error(run_here):
    result = run_here(SQLTRACK_CONFIG_PATH="missing.conf")
    assert_one_error(result, "missing.conf", "does not exist")


def test_an_unknown_engine_is_an_error(run_here):
    assert_one_error(run_here(SQLTRACK_DSN_ENGINE="oracle"), "oracle", "sqlite", "postgres")


def test_a_file_that_is_no_database_is_an_error_and_is_left_alone(run_here, tmp_path):
    notes = tmp_path / "notes.txt"
    text = "these are my notes\n" * 100
    notes.write_text(text, encoding="utf-8")
    assert_one_error(run_here(SQLTRACK_DSN_DBPATH=notes), "notes.txt", "not a SQLite database")
    assert notes.read_text(encoding="utf-8") == text


def test_a_server_that_is_not_there_is_an_error(run_here):
    server = {"SQLTRACK_DSN_ENGINE": "postgres", "SQLTRACK_DSN_HOST": "127.0.0.1", "SQLTRACK_DSN_PORT": "1"}
    # With an outbox the training continues, and waits for the server at its end.
    server["SQLTRACK_DSN_OUTBOX"] = "off"
    assert_one_error(run_here(**server), "127.0.0.1", "cannot connect")


def test_a_missing_driver_is_an_error_that_says_what_to_install(tmp_path):
    # A module that fails to import hides the installed one.
    (tmp_path / "psycopg.py").write_text("raise ImportError('hidden by the test')\n", encoding="utf-8")
    result = run_digits(tmp_path, SQLTRACK_DSN_ENGINE="postgres", PYTHONPATH=tmp_path)
    assert_one_error(result, "psycopg", "pip install")


@pytest.mark.parametrize("picture", ["missing/digits.png", "digits.xyz", "folder.png"])
def test_a_picture_that_cannot_be_written_is_an_error_before_the_training(run_here, tmp_path, picture):
    (tmp_path / "folder.png").mkdir()
    assert_one_error(run_here("--picture", picture), picture)
    assert not (tmp_path / "sqltrack.db").exists()


def test_an_error_leaves_no_empty_picture(run_here, tmp_path):
    run_here(SQLTRACK_DSN_ENGINE="oracle")
    assert not (tmp_path / "digits.png").exists()


@pytest.mark.parametrize("options", [("--epochs", "0"), ("--epochs", "many"), ("--seed", "-1")])
def test_an_unusable_option_is_refused(run_here, options):
    result = run_here(*options)
    assert result.returncode == 2
    assert options[0] in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send Ctrl-C to a single other one")
def test_ctrl_c_leaves_a_cancelled_run_and_ends_with_status_130(tmp_path):
    with endless_training(tmp_path) as process:
        wait_for_metrics(tmp_path)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    *_, line = stderr.splitlines()
    assert line.startswith("interrupted"), stderr
    assert "Traceback" not in stderr
    assert query(tmp_path, "SELECT status FROM runs") == [("CANCELLED",)]
    assert not (tmp_path / "digits.png").exists()


def endless_training(folder: Path) -> AbstractContextManager[subprocess.Popen[str]]:
    return running(
        [sys.executable, str(SCRIPT), "--epochs", "1000000"],
        cwd=folder,
        env=environment(folder, SQLTRACK_DSN_ENGINE="sqlite"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def wait_for_metrics(folder: Path) -> None:
    """Wait until the run in the database has metrics."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        # Until the script has set up the database, the file, the table or the column is missing.
        if (folder / "sqltrack.db").exists() and has_metrics(folder):
            return
        time.sleep(0.05)
    raise AssertionError("no metrics within a minute")


def has_metrics(folder: Path) -> bool:
    try:
        return query(folder, "SELECT count(*) > 2 FROM metrics") == [(1,)]
    except sqlite3.OperationalError:
        return False
