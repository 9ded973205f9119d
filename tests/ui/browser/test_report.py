"""A report opens from disk without a network, shows the numbers of the page, and can be read without scripts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands import setup
from sqltrack.ui import create_report
from support.axe import violations

from .conftest import Demo, OpenPage

HOSTILE = "</script><script>document.title = 'hacked'</script><img src=x onerror=\"document.title='hacked'\">"
# The columns that are compared, by their headings in the report, and parts of their ids on the page.
COLUMNS = {"min val_loss": "val_loss", "max val_top1": "val_top1"}

pytestmark = pytest.mark.page


@pytest.fixture(scope="module")
def report(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 30 runs of the demo."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    assert main(["report", "--dbpath", str(demo.path), "--where", "id <= 30", "--output", str(path)]) == 0
    return path


def texts(page: Any, heading: str) -> dict[int, str]:
    """Return the texts of a column of the report's table of runs, by run."""
    pairs = page.evaluate(
        """heading => {
            const table = document.getElementById("runs");
            const index = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.trim() === heading);
            return [...table.tBodies[0].rows].map((row) => [row.cells[1].innerText.trim(), row.cells[index].innerText]);
        }""",
        heading,
    )
    return {int(run): text.strip() for run, text in pairs}


def charts_are_drawn(page: Any) -> None:
    page.locator(".chart-canvas canvas").first.wait_for()


def test_numbers_are_those_of_the_page(
    open_browser: OpenPage, open_page: OpenPage, report: Path, demo_address: str
) -> None:
    with open_browser(report) as page:
        charts_are_drawn(page)
        shown = {name: texts(page, name) for name in COLUMNS}
        compared = page.locator("#compare tr", has_text="val_loss.min").locator("td:not([hidden])").all_inner_texts()
        selected = page.locator("#runs tr.selected th").all_inner_texts()
    ids = ",".join(text.strip() for text in selected)
    with open_page("?q=id+<%3D+30") as page:
        page.locator(".ag-row .run-link").first.wait_for()
        for name, column in COLUMNS.items():
            cells = page.locator(f".ag-cell[col-id*={column}]")
            cells.nth(9).wait_for()
            on_page = cells.evaluate_all(
                "cells => cells.map((cell) => [cell.closest('.ag-row').getAttribute('row-id'), cell.innerText.trim()])"
            )
            assert {int(run): text for run, text in on_page}.items() <= shown[name].items()
        page.goto(urljoin(demo_address, f"compare?sel={ids}"))
        line = page.locator(".compare-table tr", has=page.get_by_text("val_loss.min", exact=True))
        line.wait_for()
        in_comparison = [text.replace("(best)", "").strip() for text in line.locator("td").all_inner_texts()]
    assert [text.strip() for text in compared] == in_comparison


def test_a_heading_sorts_with_missing_values_last(open_browser: OpenPage, report: Path) -> None:
    with open_browser(report) as page:
        charts_are_drawn(page)
        heading = page.locator("#runs th", has_text="max val_top1")
        for direction in ("descending", "ascending"):
            heading.get_by_role("button").click()
            assert heading.get_attribute("aria-sort") == direction
            values = list(texts(page, "max val_top1").values())
            numbers = [float(text) for text in values if text]
            assert numbers == sorted(numbers, reverse=direction == "descending")
            assert values[len(numbers) :] == [""] * (len(values) - len(numbers))
        page.locator("#runs th", has_text="Status").get_by_role("button").press("Enter")
        statuses = [text[1:].strip() for text in texts(page, "Status").values()]
        assert statuses == sorted(statuses)


def test_selected_runs_are_drawn_and_compared(open_browser: OpenPage, report: Path) -> None:
    with open_browser(report) as page:
        charts_are_drawn(page)
        everything = page.get_by_label("Select all runs that are shown")
        everything.check()
        assert page.get_by_text("30 selected", exact=True).is_visible()
        everything.press("Space")
        assert page.get_by_text("0 selected", exact=True).is_visible()
        page.locator(".chart-empty").nth(3).wait_for()
        page.get_by_label("Select run 3", exact=True).check()
        page.get_by_label("Select run 5", exact=True).press("Space")
        assert page.locator("#compare thead th:not([hidden])").count() == 3
        assert page.get_by_text("What differs between the selected 2 runs.").is_visible()
        rows = page.locator("#compare tbody tr:not([hidden]):not(.compare-section)")
        for row in rows.all():
            cells = row.locator("td:not([hidden])").all_inner_texts()
            if row.is_visible():
                assert len(cells) == 2
        label = page.locator(".chart-canvas").first.get_attribute("aria-label") or ""
        assert "2 curves" in label
        page.get_by_label("Search runs").fill("no such text")
        assert page.get_by_text("0 of 30 runs").is_visible()


def test_groups_over_seeds_are_drawn(open_browser: OpenPage, report: Path) -> None:
    with open_browser(report) as page:
        charts_are_drawn(page)
        page.get_by_role("button", name="Groups").click()
        assert "groups" in (page.locator(".chart-canvas").first.get_attribute("aria-label") or "")
        assert page.get_by_text("Mean and standard deviation.").first.is_visible()
        rows = page.locator("#groups tbody tr")
        assert page.locator("#groups .swatch").count() == rows.count() > 1
        page.get_by_role("button", name="log y").press("Enter")
        assert page.get_by_role("button", name="log y").get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize(("width", "dark"), [(1280, True), (390, False)])
def test_a_report_is_accessible_and_fits(open_browser: OpenPage, report: Path, width: int, dark: bool) -> None:
    with open_browser(report, width=width, dark=dark) as page:
        charts_are_drawn(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert violations(page) == []


def test_the_menu_of_a_view_downloads_a_report(open_browser: OpenPage, open_page: OpenPage, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    with open_page("curves?sel=3,5&m=val_top1") as page:
        charts_are_drawn(page)
        page.get_by_role("button", name="Export").click()
        with page.expect_download() as download:
            page.get_by_role("button", name="Report as HTML").click()
        download.value.save_as(path)
        assert download.value.suggested_filename == "report.html"
    with open_browser(path) as page:
        charts_are_drawn(page)
        assert sorted(texts(page, "Status")) == [3, 5]
        assert page.locator(".chart h2").all_inner_texts() == ["val_top1"]
        assert page.get_by_text("2 selected", exact=True).is_visible()


def test_300_runs_take_less_than_3_megabytes(
    fill_database: Callable[..., Demo], tmp_path_factory: pytest.TempPathFactory
) -> None:
    database = fill_database(tmp_path_factory.mktemp("many") / "many.db", runs=300, epochs=90)
    text = create_report(database.client)
    assert len(text.encode()) < 3_000_000


def test_without_scripts_the_tables_are_there(open_browser: OpenPage, report: Path, tmp_path: Path) -> None:
    text = report.read_text(encoding="utf-8").replace("script-src", "script-src 'none'; other-src")
    plain = tmp_path / "plain.html"
    plain.write_text(text, encoding="utf-8")
    problems: list[str] = []
    with open_browser(plain, problems=problems) as page:
        assert page.get_by_text("To sort the tables and to see the curves").is_visible()
        assert page.locator("#runs tbody tr").count() == 30
        assert page.locator("#compare tbody tr").count() > 5
        page.get_by_text("Curves in numbers").click()
        assert page.get_by_role("region", name="Curves in numbers").is_visible()


def test_texts_of_the_database_stay_texts(open_browser: OpenPage, tmp_path: Path) -> None:
    client = sqltrack.Client({"engine": "sqlite", "dbpath": str(tmp_path / "odd.db"), "outbox": "off"})
    setup(client)
    experiment = sqltrack.Experiment(client, name=HOSTILE)
    for number in range(2):
        run = experiment.get_run().set_args({HOSTILE: HOSTILE, "n": number}).set_comment(HOSTILE).add_tags(HOSTILE)
        run.add_metrics_many({"step": step, HOSTILE: step + number} for step in range(3))
    path = tmp_path / "odd.html"
    path.write_text(create_report(client, title=HOSTILE), encoding="utf-8")
    with open_browser(path) as page:
        charts_are_drawn(page)
        assert page.title() == HOSTILE
        assert page.locator("img").count() == 0
