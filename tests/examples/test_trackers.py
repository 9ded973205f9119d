"""The same script with three trackers: SQLTrack needs the fewest lines, and records the expected values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sqltrack import Client
from support.pages import ROOT

from .conftest import EXAMPLES, RunExample

pytestmark = pytest.mark.guides

FOLDER = EXAMPLES / "trackers"
SCRIPTS = {"SQLTrack": "digits_sqltrack.py", "Trackio": "digits_trackio.py", "MLflow": "digits_mlflow.py"}
MARK = re.compile(r"  # (tracking|results)$")


def read_lines(tracker: str) -> list[str]:
    return (FOLDER / SCRIPTS[tracker]).read_text(encoding="utf-8").splitlines()


def count_lines(tracker: str) -> tuple[int, int]:
    """Return the numbers of lines that record runs, and of lines that compare them."""
    marks = [found[1] for line in read_lines(tracker) if (found := MARK.search(line))]
    return marks.count("tracking"), marks.count("results")


def unmarked(tracker: str) -> list[str]:
    """Return all other lines that are not empty, without the indentation, which a tracker's blocks change."""
    return [line.strip().replace(tracker, "") for line in read_lines(tracker) if line and not MARK.search(line)]


@pytest.mark.parametrize("tracker", SCRIPTS)
def test_lines_without_a_mark_are_the_same_in_all_scripts(tracker: str) -> None:
    """So the marked lines are all that a tracker needs."""
    assert unmarked(tracker) == unmarked("SQLTrack")
    assert any("partial_fit" in line for line in unmarked(tracker))


@pytest.mark.parametrize("tracker", SCRIPTS)
def test_only_lines_of_the_tracker_name_it(tracker: str) -> None:
    """If a statement spans several lines, each of them has a mark."""
    naming = [line for line in read_lines(tracker) if re.search(rf"\b({tracker.lower()}|run|pd|os)\.|^import", line)]
    assert [line for line in naming if not MARK.search(line) and not line.startswith(("import it", "import pi"))] == []


def test_sqltrack_needs_the_fewest_lines() -> None:
    tracking, everything = (
        {tracker: count(*count_lines(tracker)) for tracker in SCRIPTS}
        for count in (lambda tracking, results: tracking, lambda tracking, results: tracking + results)
    )
    for counts in (tracking, everything):
        assert all(counts["SQLTrack"] < count for tracker, count in counts.items() if tracker != "SQLTrack"), counts


@pytest.mark.parametrize("tracker", SCRIPTS)
def test_the_page_tells_how_many(tracker: str) -> None:
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    tracking, results = count_lines(tracker)
    row = rf"\| \[{SCRIPTS[tracker]}\]\(\.\./examples/trackers/{SCRIPTS[tracker]}\) \|"
    assert re.search(rf"^{row} {tracker} \| {tracking} \| {results} \| {tracking + results} \|$", page, re.M)


def test_the_script_of_sqltrack_records_all_that_it_names(
    run_example: RunExample, client: Client, tmp_path: Path
) -> None:
    shown = run_example(f"trackers/{SCRIPTS['SQLTrack']}").splitlines()
    query = "SELECT status, args, tags, comment, env IS NOT NULL, extras FROM runs ORDER BY id"
    rows = client.execute(query).fetchall()
    assert rows == [
        (
            "COMPLETED",
            {"lr": lr, "seed": seed},
            {"baseline": True},
            "a linear classifier",
            True,
            {"checkpoint": f"digits-{lr}-{seed}.pickle"},
        )
        for lr in (0.001, 0.01, 0.1)
        for seed in range(3)
    ]
    assert all((tmp_path / row[-1]["checkpoint"]).exists() for row in rows)
    assert client.execute("SELECT COUNT(accuracy) FROM metrics").fetchone() == (45,)
    best = client.execute("SELECT run_id, accuracy FROM metrics ORDER BY accuracy DESC").fetchone()
    assert shown[0].endswith(f", {best[1]})")
    assert shown[1] == "means over seeds:"
    assert [("0.1", "0.01", "0.001")[number] in line for number, line in enumerate(shown[2:])] == [True] * 3
