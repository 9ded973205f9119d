"""Timing, statistics and tables of all benchmarks."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import Load


def test_ways_take_turns_in_rotating_order(load: Load) -> None:
    calls: list[str] = []
    ways = {name: lambda number, name=name: calls.append(f"{name}{number}") for name in "ab"}
    times = load("_common").take_turns(ways, 2, batch=2, warm_up=1)
    assert calls == ["a0", "a1", "b0", "b1", "b2", "b3", "a2", "a3", "a4", "a5", "b4", "b5"]
    assert {name: len(taken) for name, taken in times.items()} == {"a": 4, "b": 4}


def test_the_preparation_of_a_turn_does_not_count(load: Load) -> None:
    prepared: list[int] = []

    def prepare() -> None:
        time.sleep(0.05)
        prepared.append(len(prepared))

    times = load("_common").take_turns({"a": lambda number: None, "b": lambda number: None}, 1, prepare=prepare)
    assert prepared == [0, 1, 2, 3]
    assert all(taken < 50_000_000 for taken in times["a"] + times["b"])


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        (1, {"p50": 1e-9}),
        (99, {"p50": 50e-9}),
        (100, {"p50": 51e-9, "p99": 100e-9}),
        (1000, {"p50": 501e-9, "p99": 991e-9, "p99.9": 1e-6}),
    ],
)
def test_rare_calls_are_told_of_only_if_there_are_enough(load: Load, calls: int, expected: dict[str, float]) -> None:
    assert load("_common").summarize(range(calls, 0, -1)) == pytest.approx(expected)


def test_filled_runs_and_metrics_are_as_many_as_asked_for(engine: Any, load: Load) -> None:
    common = load("_common")
    with engine.database() as database:
        common.fill_runs(database.client, 4, [{"seed": 0}, {"seed": 1}])
        common.fill_metrics(database.client, 3, ["a b", 'c"d'])
        common.add_float_columns(database.client, ["a b", "new"])
        runs = database.client.execute("SELECT id, args FROM runs ORDER BY id").fetchall()
        rows = database.client.execute('SELECT run_id, step, "a b", "c""d", new FROM metrics').fetchall()
    assert [tuple(run) for run in runs] == [(1, {"seed": 0}), (2, {"seed": 0}), (3, {"seed": 1}), (4, {"seed": 1})]
    assert {row[:2] for row in rows} == {(run, step) for run in range(1, 5) for step in range(1, 4)}
    assert all(0 <= row[2] < 1 and 0 <= row[3] < 1 and row[4] is None for row in rows)
    assert len({row[2] for row in rows}) == len(rows) == 12


def test_the_bare_driver_sees_the_same_database(engine: Any, load: Load) -> None:
    common = load("_common")
    with engine.database() as database:
        common.fill_runs(database.client, 1)
        connection = common.connect_by_hand(database.client.config)
        connection.execute("UPDATE runs SET comment = %s WHERE id = %s", ("by hand", 1))
        connection.close()
        assert database.client.execute("SELECT comment FROM runs").fetchone()[0] == "by hand"


def test_files_of_figures_tell_the_machine_and_nothing_of_whose(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "new" / "figures.json"
    load("_common").write_json(path, results=[])
    document = json.loads(path.read_text(encoding="utf-8"))
    assert set(document) == {"date", "machine", "results"}
    assert set(document["machine"]) == {"cpu", "cpus", "system", "python", "sqlite", "psycopg", "sqltrack"}


def row(what: str, seconds: float, by_hand: float | None = None, engine: str = "sqlite") -> dict[str, Any]:
    ways = {"sqltrack": {"p50": seconds}} | ({} if by_hand is None else {"by hand": {"p50": by_hand}})
    return {"engine": engine, "version": f"{engine} 1", "what": what, "ways": ways}


def test_changes_show_times_and_ratios_of_figures_in_both_files(load: Load) -> None:
    old = {
        "a": {"results": [row("x", 0.004, 0.001), row("gone", 1), row("y", 1.5)]},
        "gone": {"results": [row("x", 1)]},
        "faults": [{"test": "has no times"}],
        "kills": {"results": [row("x", 1) | {"ways": {}}]},
    }
    new = {
        "a": {"results": [row("x", 0.0005, 0.00025), row("y", 3.0, 1.0), row("x", 1, engine="postgres")]},
        "faults": [{"test": "has no times"}],
        "kills": old["kills"],
    }
    assert load("report").changes(old, new) == (
        "## a\n\n"
        "| database | what | before | after | after / before | ratio before | ratio after |\n"
        "|---|---|---:|---:|---:|---:|---:|\n"
        "| sqlite 1 | x | 4.0 ms | 500 µs | 0.12 × | 4.00 × | 2.00 × |\n"
        "| sqlite 1 | y | 1.5 s | 3.0 s | 2.00 × |  | 3.00 × |\n"
    )


def test_changes_are_printed_and_nothing_is_written(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = load("report")
    paths = [tmp_path / "old.json", tmp_path / "new.json"]
    for path in paths:
        path.write_text(json.dumps({"a": {"results": [row("x", 1)]}}), encoding="utf-8")
    monkeypatch.setattr(report, "fill_pages", lambda: pytest.fail("pages were filled"))
    monkeypatch.setattr("sys.argv", ["report.py", "--compare", *map(str, paths)])
    report.main()
    assert "| x | 1.0 s | 1.0 s | 1.00 × |" in capsys.readouterr().out


def test_figures_go_into_another_file_and_leave_the_pages_alone(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = load("report")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.json").write_text("[1]", encoding="utf-8")
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(report, "fill_pages", lambda: pytest.fail("pages were filled"))
    monkeypatch.setattr("sys.argv", ["report.py", "--collect", "--into", str(tmp_path / "other.json")])
    report.main()
    assert json.loads((tmp_path / "other.json").read_text(encoding="utf-8")) == {"a": [1]}
    assert not report.RESULTS.exists()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (1.23e-6, "1.2 µs"),
        (0.0009949, "990 µs"),
        (0.000996, "1.0 ms"),
        (0.0123, "12 ms"),
        (0.9991, "1.0 s"),
        (75, "75 s"),
    ],
)
def test_durations_have_the_unit_that_suits_them(load: Load, seconds: float, shown: str) -> None:
    assert load("report").duration(seconds) == shown


def test_a_benchmark_without_figures_says_how_to_get_some(load: Load) -> None:
    tables = load("report").render({})
    assert tables["growth-rows"] == "Not measured yet, see `nox -s bench -- growth`."
