"""The view of a sweep: ranges that filter the table, the choice of what is drawn, the best command, and the grid."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.ui import queries
from support.axe import violations

pytestmark = pytest.mark.page

SWEEP = "sweep?f=experiment~name:Learning-rate+sweep"
FILTER = {"facets": [{"column": ["experiment", "name"], "values": ["Learning-rate sweep"]}]}
# As in sweep_option.js.
TOP, BOTTOM = 38, 18


def settle(page: Any) -> None:
    """Wait until the charts, the table and the grid are there."""
    page.locator(".sweep-canvas div canvas").first.wait_for()
    page.locator(".sweep-table .run-link").first.wait_for()
    page.locator(".sweep-grid :is(p, table)").first.wait_for()


def table_ids(page: Any) -> list[int]:
    """Return the ids in the table from the top, as far as they are drawn."""
    ids: list[int] = page.eval_on_selector_all(
        ".sweep-table .ag-row",
        """rows => rows.map(row => [Number(row.ariaRowIndex), Number(row.querySelector(".run-link")?.text)])
                       .filter(pair => pair[1] > 0).sort((a, b) => a[0] - b[0]).map(pair => pair[1])""",
    )
    return ids


def wait_for_ids(page: Any, expected: set[int]) -> set[int]:
    """Return the ids in the table once all of them are expected; the table follows the charts."""
    deadline = time.monotonic() + 10
    while True:
        found = set(table_ids(page))
        if (found and found <= expected) or time.monotonic() > deadline:
            return found
        page.wait_for_timeout(50)


def drag(page: Any, axis: str, start: float, end: float) -> None:
    """Drag along an axis of the parallel coordinates, from one part of its height to another."""
    box = page.locator(f".sweep-strip[data-axis='{axis}']").bounding_box()
    x = box["x"] + box["width"] / 2
    page.mouse.move(x, box["y"] + box["height"] * start)
    page.mouse.down()
    page.mouse.move(x, box["y"] + box["height"] * (start + end) / 2)
    page.mouse.move(x, box["y"] + box["height"] * end)
    page.mouse.up()


def chips(page: Any) -> list[str]:
    return [text.removesuffix("✕").strip() for text in page.locator(".sweep-runs .chip").all_inner_texts()]


@pytest.fixture(scope="module")
def expected(demo: Any) -> dict[str, Any]:
    """The answer of the query that the page asks."""
    with queries.Database(demo.client) as source:
        return queries.sweep(source, {"filter": FILTER})


def test_ranges_filter_the_table_and_selections_are_those_of_the_page(
    open_page: Callable[..., Any], expected: dict[str, Any]
) -> None:
    values = {run["id"]: run["value"] for run in expected["runs"]}
    models = {run["id"]: run["values"][0] for run in expected["runs"]}
    with open_page(SWEEP, height=1600) as page:
        settle(page)
        assert table_ids(page)[0] == expected["best"][0]["run"]
        assert violations(page) == []
        # The upper half of the smallest losses, and one of the models, which is the topmost.
        drag(page, '["metric","min","val_loss"]', 0.7, 1)
        drag(page, '["args","model"]', 0, 0.2)
        page.locator(".sweep-runs .chip").nth(1).wait_for()
        loss, model = sorted(chips(page), key=lambda text: text.startswith("model"))
        assert model == "model = vit_small"
        low, high = map(float, loss.removeprefix("val_loss (min) = ").split(" to "))
        within = {run for run, value in values.items() if value and low <= value <= high and models[run] == "vit_small"}
        assert 0 < len(within) < 20
        page.get_by_text(f"{len(within)} of {len(values)} within the ranges").wait_for()
        assert wait_for_ids(page, within) <= within
        page.keyboard.press("s")
        page.get_by_text(f"{len(within)} selected").wait_for()
        page.reload()
        settle(page)
        assert sorted(chips(page))[1:] == sorted([model, loss])
        assert page.locator("a", has_text="Curves").locator(".badge").inner_text() == str(len(within))
        # A click clears a range, and a range can be moved as a whole.
        drag(page, '["args","model"]', 0.1, 0.1)
        drag(page, '["metric","min","val_loss"]', 0.85, 0.5)
        page.wait_for_function("chips => document.querySelectorAll('.sweep-runs .chip').length === chips", arg=2)
        moved = next(text for text in chips(page) if "val_loss" in text)
        assert float(moved.split(" to ")[1]) > high
        page.keyboard.press("0")
        page.get_by_role("button", name="Select all").wait_for()


def test_the_page_shows_the_correlations_and_the_best_configurations(
    open_page: Callable[..., Any], expected: dict[str, Any]
) -> None:
    with open_page(SWEEP) as page:
        settle(page)
        rows = page.locator("[aria-label='Rank correlations'] tbody tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
        )
        known = {item["label"]: (item["rho"], item["n"]) for item in expected["arguments"] if item["rho"] is not None}
        assert {row[0]: (float(row[1].replace("−", "-")), int(row[3])) for row in rows} == {
            label: (pytest.approx(rho, abs=0.005), n) for label, (rho, n) in known.items()
        }
        texts = page.locator(".sweep-best pre").all_inner_texts()
        assert [" ".join(text.split()) for text in texts] == [item["command"]["text"] for item in expected["best"]]
        seeds = expected["best"][1]
        assert f"n = {seeds['n']}" in page.locator(".sweep-best figcaption").nth(1).inner_text()
        page.get_by_role("button", name="seed", exact=True).click()
        page.get_by_role("heading", name="val_loss (min) against seed").wait_for()
        page.locator(".sweep-scatter").get_by_role("button", name="⋯").click()
        page.get_by_role("button", name="Figure for a paper …").click()
        page.get_by_role("dialog", name="Figure of val_loss (min) against seed").locator("svg").first.wait_for()


def test_all_is_done_by_keyboard(open_page: Callable[..., Any], expected: dict[str, Any]) -> None:
    with open_page(SWEEP.replace("sweep", "", 1), dark=True) as page:
        page.locator(".run-link").first.wait_for()
        page.keyboard.press("g")
        page.keyboard.press("w")
        settle(page)
        page.keyboard.press("b")
        page.get_by_label("lr to", exact=True).fill("1e-1")
        page.keyboard.press("Enter")
        page.get_by_label("resnet18").press("Space")
        assert violations(page) == []
        page.keyboard.press("Escape")
        model, rate = (
            next(index for index, item in enumerate(expected["arguments"]) if item["label"] == label)
            for label in ("model", "lr")
        )
        within = [
            run["id"] for run in expected["runs"] if run["values"][rate] <= 0.1 and run["values"][model] == "resnet18"
        ]
        page.get_by_text(f"{len(within)} of {expected['total']} within the ranges").wait_for()
        assert chips(page) == ["lr ≤ 0.1", "model = resnet18"]
        page.keyboard.press("a")
        page.get_by_label("seed", exact=True).press("Space")
        page.get_by_label("Logarithmic lr").press("Space")
        page.keyboard.press("Escape")
        assert page.locator(".sweep-strip").count() == 5
        page.locator(".sweep-points").focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        assert "resnet18" not in page.locator(".chart-tooltip").inner_text()
        page.keyboard.press("Space")
        page.get_by_text("1 selected").wait_for()
        page.keyboard.press("s")
        page.keyboard.press("v")
        page.locator(".legend-run a").first.wait_for()
        assert page.locator(".legend-run a").count() == len(within)


def test_the_value_of_the_metric_is_chosen(open_page: Callable[..., Any], demo: Any) -> None:
    column = ["metric", "at", "val_loss", "min", "val_top1"]
    with queries.Database(demo.client) as source:
        best = queries.sweep(source, {"filter": FILTER, "metric": column})["best"][0]
    with open_page(SWEEP, width=390, height=844) as page:
        settle(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.keyboard.press("m")
        page.get_by_label("Search columns").fill("val_top1")
        page.locator("dialog .choices li").first.get_by_text("val_top1", exact=True).wait_for()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Rank correlation with val_top1").wait_for()
        page.get_by_label("Value of val_top1").select_option("other")
        page.get_by_label("Search columns").fill("val_loss")
        page.locator("dialog .choices li").first.get_by_text("val_loss", exact=True).wait_for()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Rank correlation with val_top1 (at min val_loss)").wait_for()
        assert page.locator(".sweep-best a").first.inner_text() == str(best["run"])
        assert violations(page) == []


def test_the_grid_is_planned_by_the_shown_python(
    open_page: Callable[..., Any], fill_database: Callable[..., Any], serve: Any, tmp_path: Path
) -> None:
    own = fill_database(tmp_path / "grid.db", runs=0)
    experiment = sqltrack.Experiment(own.client, name="<b>small</b> grid")
    for model, rate in [("a", 0.1), ("a", 0.2), ("b", 0.1)]:
        run = experiment.get_run().set_args({"model": model, "lr": rate, "fixed": 1})
        run.set_status("FAILED" if model == "b" else "COMPLETED").add_metrics({"acc": rate}, step=0)
    with serve(own.path) as address, open_page("sweep", address=address) as page:
        settle(page)
        panel = page.locator(".sweep-grid")
        panel.get_by_text("4 cells: 2 completed, 0 not ended, 1 failed, 1 missing.").wait_for()
        assert panel.locator("tbody tr").count() == 2
        panel.get_by_role("button", name="Plan 2 runs in Python").click()
        program = page.locator("dialog pre").inner_text()
        page.keyboard.press("Escape")
        panel.get_by_label("also the failed ones").uncheck()
        panel.get_by_role("button", name="Plan 1 run in Python").wait_for()
        exec(program, {})  # noqa: S102 - it is ours
        planned = own.client.execute("SELECT args FROM runs WHERE status = 'PLANNED' ORDER BY id").fetchall()
        assert [args for (args,) in planned] == [
            {"model": model, "lr": rate, "fixed": 1} for model, rate in [("b", 0.1), ("b", 0.2)]
        ]
        # The page follows.
        panel.get_by_text("4 cells: 2 completed, 2 not ended, 0 failed, 0 missing.").wait_for()
        panel.get_by_role("button", name="Leave model out of the grid").click()
        panel.get_by_text("2 cells: 2 completed").wait_for()


@pytest.mark.parametrize("width", [1280, 390])
def test_notes_above_a_sweep_are_not_cut_off(open_page: Any, width: int) -> None:
    # The runs of all experiments.
    with open_page("sweep", width=width) as page:
        note = page.locator(".sweep-view > .note").first
        note.wait_for()
        assert note.evaluate("element => element.scrollHeight - element.clientHeight") <= 0
