"""Each benchmark measures something on both engines, and its figures have the form that the tables need."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from support.modules import load_module
from support.pages import ROOT

from .conftest import Load

# Scripts that are executed by themselves, and fill no table.
ALONE = {"capture", "checkpoints", "importing", "install_sizes"}

# The others have their own tests.
SCRIPTS = ["add_metrics", "best_values", "growth", "many_rows", "new_columns", "outbox", "reading", "short_jobs"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_measures_each_thing_once(
    name: str, engine: Any, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = load(name)
    if name == "growth":
        # One size, because the commands take long.
        monkeypatch.setattr(script, "QUICK_SIZES", script.QUICK_SIZES[:1])
    rows = list(script.measure_engine(engine, True))
    for row in rows:
        if name != "growth" or row["question"] == "add_metrics":
            assert row["ways"]["by hand"]["p50"] > 0
    check_rows(load("report"), name, engine, rows)


def check_rows(report: ModuleType, name: str, engine: Any, rows: list[dict[str, Any]]) -> None:
    """Check that rows are distinct, have times of SQLTrack, and are in a table."""
    assert len({row["what"] for row in rows}) == len(rows) > 0
    for row in rows:
        assert (row["engine"], row["version"]) == (engine.name, engine.version)
        assert row["ways"]["sqltrack"]["p50"] > 0
    makes = [make for marker, (source, make) in report.FIGURES.items() if source == name and marker != "machine"]
    assert engine.version in "".join(make({"results": rows}) for make in makes)


@pytest.mark.engines("sqlite", reason="the same commands, only slower")
def test_commands_are_measured_in_processes_of_their_own(engine: Any, load: Load) -> None:
    rows = list(load("command_line").measure_engine(engine, True))
    assert [row["what"].split(",")[0] for row in rows] == ["sqltrack show", "sqltrack metrics"]
    check_rows(load("report"), "command_line", engine, rows)


def test_processes_that_write_at_once_report_all_their_rows(engine: Any, load: Load) -> None:
    script = load("writers")
    rows = list(script.measure_engine(engine, True))
    for row in rows:
        assert row["errors"] == []
        assert row["found"] == row["rows"] == row["processes"] * script.ROWS * 2
    check_rows(load("report"), "writers", engine, rows)


def test_a_process_that_fails_is_an_error_and_stops_no_other(load: Load, tmp_path: Path) -> None:
    script = load("writers")
    config = {"engine": "sqlite", "dbpath": str(tmp_path / "empty.db")}
    reports = script.log_at_once(config, 2, None, 1)
    assert all("setup" in report.error or "Barrier" in report.error for report in reports)
    assert script.elapsed(reports, "sqltrack", 1) == []


def test_killed_jobs_are_counted_with_the_steps_that_are_there(engine: Any, load: Load) -> None:
    script = load("kills")
    (row,) = script.measure_engine(engine, True)
    assert (row["jobs"], row["confirmed"], row["lost"]) == (1, script.STEPS, 0)


def test_all_ways_read_the_same_frame(engine: Any, load: Load) -> None:
    """Ways that need a process without the Arrow drivers are left out, because this process keeps them."""
    frames = load("frames")
    with engine.database() as database:
        frames.fill_frame(database, frames.QUICK_ROWS)
        found = frames.ways(engine.name)
        assert {"nothing", "sqltrack", "fetchall", "pandas.read_sql"} <= set(found)
        for way, read in found.items():
            if way != "nothing":
                assert read(database.client, frames.FRAME).shape == (frames.QUICK_ROWS, frames.METRICS + 3), way
        nanoseconds, peak_mb = frames.measure_way(engine.name, database.client.config, "sqltrack")
    assert nanoseconds > 0
    assert peak_mb > 0


@pytest.mark.engines("sqlite", reason="the drivers are hidden in the same way")
def test_a_frame_without_arrow_is_read_in_a_process_of_its_own(engine: Any, load: Load) -> None:
    frames = load("frames")
    with engine.database() as database:
        frames.fill_frame(database, frames.QUICK_ROWS)
        nanoseconds, _ = frames.in_new_process(engine.name, database.client.config, frames.WITHOUT_ARROW)
    assert nanoseconds > 0


def test_trackers_take_turns(engine: Any, load: Load) -> None:
    """SQLTrack with itself, which is always available."""
    peers = load("peers")
    with peers.new_place(engine) as place:
        ours, theirs = peers.measure_turns("SQLTrack", place, 1)
        assert peers.count_sqltrack(place) == 2 * 2 * peers.BATCH
    assert ours["p50"] > 0
    assert theirs["p50"] > 0


def test_the_import_is_measured_beyond_a_bare_interpreter(load: Load) -> None:
    script = load("import_time")
    row = script.measure(["sqltrack", "sqlite3"], 1)
    assert set(row["ways"]) == {"sqltrack", "sqlite3"}
    assert load("report").import_table({"results": [row]}).count("`import ") == 2


@pytest.mark.engines("sqlite", reason="the figures are for SQLite")
def test_imports_of_all_sources_have_times(load: Load, engine_name: str, tmp_path: Path) -> None:
    script = load("importing")
    for kind, write in script.SOURCES.items():
        (tmp_path / kind).mkdir()
        assert min(script.measure(kind, str(write(tmp_path / kind, 200)))) > 0


def test_the_session_the_readme_and_the_tables_know_all_scripts() -> None:
    text = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    lists = (
        re.search(r"^BENCHMARKS = \[(.*?)^\]", text, re.M | re.S),
        re.search(r"^PEER_BENCHMARKS = \[(.*)\]", text, re.M),
    )
    known = {name for found in lists if found for name in re.findall(r'"(\w+)"', found[1])}
    folder = ROOT / "benchmarks"
    scripts = {path.stem for path in folder.glob("*.py")} - {"_common", "report", *ALONE}
    assert known == scripts
    assert scripts <= {source for source, _ in load_module(folder / "report.py").FIGURES.values()}
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert scripts | ALONE == set(re.findall(r"^\| `(\w+)\.py`", readme, re.M))
