"""Figures in the documentation come from benchmarks/results.json, and are in no other place."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from support.modules import load_module
from support.pages import DOCS, PAGES, ROOT, page_id

MARKER = re.compile(r"<!-- figures: ([\w-]+) -->\n(.*?)<!-- end of figures -->\n", re.S)
# A number with a unit of a measurement; settings are written in words.
FIGURE = re.compile(r"\d\s*(?:µs|ms|s|×|%|[kMG]i?B|rows/s|times as)(?!\w)")


def load(name: str) -> ModuleType:
    return load_module(ROOT / "benchmarks" / f"{name}.py")


report = load("report")
RESULTS: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
TABLES: dict[str, str] = report.render(RESULTS)
MARKED = [path for path in PAGES if "<!-- figures:" in path.read_text(encoding="utf-8")]


def test_readme_and_performance_show_figures() -> None:
    assert {ROOT / "README.md", DOCS / "performance.md"} <= set(MARKED)


@pytest.mark.parametrize("path", MARKED, ids=page_id)
def test_a_page_shows_the_figures_that_were_measured(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert report.fill(text, TABLES) == text, "run: python benchmarks/report.py"


@pytest.mark.parametrize("path", MARKED, ids=page_id)
def test_every_marker_has_figures_and_an_end(path: Path) -> None:
    """A new benchmark has no figures before its first run; the page says so."""
    text = path.read_text(encoding="utf-8")
    found = MARKER.findall(text)
    assert len(found) == text.count("<!-- figures:") == text.count("<!-- end of figures -->")
    for name, content in found:
        source, _ = report.FIGURES[name]
        assert re.search(r"\d", content) if source in RESULTS else "Not measured yet" in content, name


def test_everything_that_was_measured_is_shown() -> None:
    shown = {name for path in MARKED for name, _ in MARKER.findall(path.read_text(encoding="utf-8"))}
    assert set(TABLES) <= shown
    assert set(RESULTS) <= {source for name, (source, _) in report.FIGURES.items() if name in shown}


def test_performance_has_no_figures_but_measured_ones() -> None:
    text = MARKER.sub("", (DOCS / "performance.md").read_text(encoding="utf-8"))
    assert FIGURE.findall(text) == []


def test_figures_are_recognised() -> None:
    for text in ("12 µs", "1.5 s.", "3 ×", "5,100 ms", "97 MB", "20% more"):
        assert FIGURE.search(text), text
    for text in ("10 metrics", "200 steps", "PostgreSQL 15"):
        assert not FIGURE.search(text), text


def test_a_page_with_an_unknown_marker_is_an_error() -> None:
    with pytest.raises(KeyError, match="nothing"):
        report.fill("<!-- figures: nothing -->\n<!-- end of figures -->\n", TABLES)


def test_filling_replaces_only_text_between_markers() -> None:
    page = "before\n<!-- figures: a -->\nold\n<!-- end of figures -->\nafter\n"
    filled = report.fill(page, {"a": "| new |"})
    assert filled == "before\n<!-- figures: a -->\n\n| new |\n\n<!-- end of figures -->\nafter\n"
    assert report.fill(filled, {"a": "| new |"}) == filled


def test_new_figures_replace_those_of_the_same_benchmark(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    results.write_text('{"a": {"date": "old"}, "b": {"date": "old"}}', encoding="utf-8")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "b.json").write_text('{"date": "new"}', encoding="utf-8")
    report.collect(tmp_path / "new", results)
    assert json.loads(results.read_text(encoding="utf-8")) == {"a": {"date": "old"}, "b": {"date": "new"}}


def test_results_describe_the_machine_but_not_its_owner() -> None:
    measured = {name: document for name, document in RESULTS.items() if isinstance(document, dict)}
    for document in measured.values():
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", document["date"])
        # Older figures lack the model of the processor and the version of SQLTrack.
        assert set(document["machine"]) - {"cpu", "sqltrack"} == {"cpus", "system", "python", "sqlite", "psycopg"}
        assert re.fullmatch(r"\w+ \w+", document["machine"]["system"])


@pytest.mark.parametrize(
    ("page", "text", "source", "constants"),
    [
        (
            "performance.md",
            r"(\d+) rows of (\d+) metrics at a time",
            "benchmarks/writers.py",
            ["ROWS", "METRICS"],
        ),
        ("performance.md", r"([\d,]+) runs with ([\d,]+) steps", "benchmarks/best_values.py", ["RUNS", "STEPS"]),
        ("performance.md", r"([\d,]+) runs with (\d+) arguments", "benchmarks/reading.py", ["RUNS", "ARGS"]),
        ("../README.md", r"logs (\d+) metrics.*last of (\d+) such", "benchmarks/peers.py", ["METRICS", "KILLED_AFTER"]),
        ("reliability.md", r"starts and stops \| (\d+) times", "tests/faults/test_processes.py", ["_KILLS"]),
        ("reliability.md", r"\| (\d+) jobs, (\d+) at a", "tests/faults/test_processes.py", ["_JOBS", "_ALIVE"]),
        ("reliability.md", r"untracked run \| (\d+) times each", "tests/faults/test_servers.py", ["_RESTARTS"]),
        ("reliability.md", r"\| (\d+) writers, 17", "tests/faults/test_servers.py", ["_WRITERS"]),
    ],
)
def test_a_page_says_how_much_of_it_there_is(page: str, text: str, source: str, constants: list[str]) -> None:
    (match,) = re.finditer(text, (DOCS / page).read_text(encoding="utf-8"), re.S)
    code = (ROOT / source).read_text(encoding="utf-8")
    values = [re.search(rf"^{name} = ([\d_]+)$", code, re.M) for name in constants]
    assert [int(group.replace(",", "")) for group in match.groups()] == [int(value[1]) for value in values if value]
