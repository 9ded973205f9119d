"""The program `sqltrack import`: output, exit status, and what kills and simultaneous imports leave behind."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from support.imports import DATA
from support.processes import Program, run_together, running
from support.program import PROGRAM

Capture = pytest.CaptureFixture[str]


def test_the_output_counts_runs_and_values_and_compares_both_sides(options: list[str], capsys: Capture) -> None:
    source = str(DATA / "tensorboard")
    assert main(["import", "tensorboard", source, "--dry-run", *options]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2 new runs, 0 continued, 0 unchanged",
        "would be added: 21 values of 6 metrics",
        "not imported: texts: 1 (note/text_summary)",
    ]
    assert main(["import", source, *options]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2 new runs, 0 continued, 0 unchanged",
        "added: 21 values of 6 metrics",
        "source and database agree: numbers of values, first and last steps",
        "not imported: texts: 1 (note/text_summary)",
    ]
    assert main(["import", source, *options]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "0 new runs, 0 continued, 2 unchanged"


def test_a_broken_run_is_named_on_stderr_and_the_status_is_1(
    options: list[str], capsys: Capture, tmp_path: Path
) -> None:
    folder = shutil.copytree(DATA / "sacred", tmp_path / "runs")
    (folder / "1" / "config.json").write_text("{")
    for more in ([], ["--dry-run"]):
        assert main(["import", str(folder), *options, *more]) == 1
        output = capsys.readouterr()
        assert "1 skipped" in output.out
        assert output.err.startswith(f"sqltrack: skipped 'digits/1': {str(folder / '1' / 'config.json')!r}, offset 1")
        assert output.err.count("\n") == 1


def test_json_has_both_sides_of_each_metric(options: list[str], capsys: Capture) -> None:
    assert main(["import", str(DATA / "sacred"), "--json", "--experiment", "moved", *options]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["kind"], report["dry_run"], report["skipped"]) == ("sacred", False, [])
    run = report["runs"][0]
    assert (run["experiment"], run["outcome"], run["values"], run["added"]) == ("moved", "new", 10, 10)
    assert run["metrics"] == run["stored"]
    assert {"name": "odd", "values": 2, "first_step": 1, "last_step": 2} in run["metrics"]
    assert run["left_out"] == [{"what": "artifacts", "count": 1, "where": [str(DATA / "sacred" / "1")]}]


@pytest.mark.engines("sqlite", reason="no database is used")
def test_wrong_command_lines_and_sources_say_what_to_do(
    options: list[str], one_line_error: Callable[[list[str]], tuple[int, str]]
) -> None:
    status, message = one_line_error(["import", "a", "b", "c", *options])
    assert (status, "expected KIND and SOURCE, got 'a b c'" in message) == (2, True)
    status, message = one_line_error(["import", "wandb", *options])
    assert (status, message) == (1, "sqltrack: no source is given; use: sqltrack import KIND SOURCE\n")
    status, message = one_line_error(["import", "missing", *options])
    assert (status, message) == (1, "sqltrack: 'missing' does not exist\n")


@pytest.mark.engines("sqlite", reason="the packages are missing on any engine")
def test_a_missing_package_is_named_with_its_installation(
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    one_line_error: Callable[[list[str]], tuple[int, str]],
) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    for module, source, package in (
        ("yaml", DATA / "mlruns", "'sqltrack-import[mlruns]'"),
        ("pyarrow", tmp_path / "a.parquet", "'sqltrack-import[parquet]'"),
    ):
        monkeypatch.setitem(__import__("sys").modules, module, None)
        status, message = one_line_error(["import", str(source), *options])
        assert status == 1
        assert f"pip install {package}" in message


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A folder with four tables, of several transactions each."""
    folder = tmp_path / "tables"
    folder.mkdir()
    for number in range(4):
        rows = "".join(f"{step},{step / (number + 3)!r},{step}\n" for step in range(12_000))
        (folder / f"{number}.csv").write_text(f"step,loss,count\n{rows}")
    return folder


def check_tables(client: sqltrack.Client) -> None:
    """Check that each table was imported completely and once."""
    rows = client.execute("""
        SELECT runs.comment, runs.status, COUNT(*), COUNT(loss), SUM(count), MAX(step)
        FROM runs JOIN metrics ON metrics.run_id = runs.id GROUP BY runs.id, runs.comment, runs.status
        ORDER BY runs.comment
    """)
    total = sum(range(12_000))
    expected = [(str(number), "COMPLETED", 12_000, 12_000, total, 11_999) for number in range(4)]
    assert [tuple(row) for row in rows] == expected
    assert client.execute("SELECT COUNT(*) FROM runs").fetchone() == (4,)


def kill_imports(options: list[str], tables: Path, moments: int) -> None:
    """Kill imports at random moments."""
    command = [str(PROGRAM), "import", str(tables), *options]
    for _ in range(moments):
        pipes = dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
        with running(command, **pipes) as process:
            try:
                process.wait(random.uniform(0.1, 1.5))
            except subprocess.TimeoutExpired:
                process.kill()


def test_an_import_that_is_killed_is_completed_by_the_next(
    client: sqltrack.Client, options: list[str], tables: Path, program: Program
) -> None:
    kill_imports(options, tables, moments=2)
    done = program("import", str(tables), *options)
    assert (done.returncode, done.stderr) == (0, "")
    check_tables(client)


@pytest.mark.faults
def test_imports_that_are_killed_at_many_moments_are_completed_by_the_next(
    client: sqltrack.Client, options: list[str], tables: Path, program: Program
) -> None:
    for _ in range(10):
        kill_imports(options, tables, moments=5)
        done = program("import", str(tables), *options)
        assert (done.returncode, done.stderr) == (0, "")
        check_tables(client)
        client.execute("DELETE FROM metrics")
        client.execute("DELETE FROM runs")


def test_imports_at_the_same_time_store_each_run_once(
    client: sqltrack.Client, options: list[str], tables: Path
) -> None:
    command = [str(PROGRAM), "import", str(tables), *options]
    processes: Any = run_together([command] * 2)
    assert [process.returncode for process in processes] == [0, 0], processes
    check_tables(client)


@pytest.mark.engines("sqlite", reason="no database is used")
def test_without_the_distribution_the_program_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, options: list[str], one_line_error: Callable[[list[str]], tuple[int, str]]
) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: ())
    status, message = one_line_error(["import", "runs", *options])
    assert status == 1
    assert "sqltrack import requires 'sqltrack-import'; install it with: pip install sqltrack-import" in message
