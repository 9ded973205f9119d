"""The view of curves: what the charts show, zoom, axes, smoothing, groups, keys, and growth while one looks."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin

import pytest

import sqltrack
from support.axe import violations

STEPS = 10_000


def settle(page: Any) -> None:
    """Wait until all charts have their curves."""
    page.locator(".charts[aria-busy=false] .chart-canvas canvas").first.wait_for()
    page.wait_for_timeout(100)


def chart(page: Any, metric: str) -> Any:
    return page.locator("figure.chart").filter(has=page.get_by_role("heading", name=metric, exact=True))


def table_of(page: Any, metric: str) -> list[list[str]]:
    """Return the rows of the table that a chart offers instead of a picture: curve, rows, extremes, last value."""
    figure = chart(page, metric)
    if not figure.locator(".chart-table").count():
        figure.get_by_role("button", name="⋯").click()
        figure.get_by_role("button", name="Show as a table").click()
    rows: list[list[str]] = figure.locator(".chart-table tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    return rows


def range_of(page: Any) -> tuple[float, float] | None:
    """Return the range of x in the address."""
    found = re.search(r"[?&]range=([^&]+)", page.url)
    if not found:
        return None
    low, high = map(float, found.group(1).split(","))
    return low, high


def drag(page: Any, metric: str, start: float, end: float) -> None:
    """Drag over a chart, from one part of its width to another."""
    box = chart(page, metric).locator(".chart-canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] * start, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * (start + end) / 2, box["y"] + 100)
    page.mouse.move(box["x"] + box["width"] * end, box["y"] + 100)
    page.mouse.up()


def test_charts_show_the_selected_runs_and_follow_the_keys(open_page: Callable[..., Any], demo: Any) -> None:
    ids = demo.runs[20:23]
    with open_page(f"curves?sel={','.join(map(str, ids))}&m=val_loss,val_top1", height=1000) as page:
        settle(page)
        assert page.locator(".legend-run a").all_inner_texts() == [str(run) for run in ids]
        expected = {
            str(run): values
            for run, *values in demo.client.execute(
                "SELECT run_id, COUNT(val_loss), MAX(val_loss) FROM metrics"
                f" WHERE run_id IN ({', '.join(map(str, ids))}) AND val_loss IS NOT NULL GROUP BY run_id"
            )
        }
        rows = {re.findall(r"\d+", row[0])[0]: row for row in table_of(page, "val_loss")}
        assert rows.keys() == expected.keys()
        for run, (count, largest) in expected.items():
            assert (int(rows[run][1]), float(rows[run][4])) == (count, pytest.approx(largest, rel=1e-4))
        page.keyboard.press("l")
        assert "log=y" in page.url
        page.keyboard.press("f")
        assert page.locator("figure.chart").count() == 1
        page.keyboard.press("Escape")
        assert page.locator("figure.chart").count() == 2
        drag(page, "val_top1", 0.4, 0.7)
        settle(page)
        zoomed = range_of(page)
        assert zoomed
        assert zoomed[0] < zoomed[1]
        for label in page.locator(".chart-canvas").evaluate_all("charts => charts.map(c => c.ariaLabel)"):
            assert "from" in label, "all charts follow the zoom"
        page.keyboard.press("0")
        assert range_of(page) is None
        settle(page)
        assert violations(page) == []


@pytest.mark.page
def test_curves_come_before_what_else_the_view_shows(open_page: Callable[..., Any]) -> None:
    with open_page() as page:
        page.locator(".run-link").first.wait_for()
        # The modules of the curves, once a run is selected.
        with page.expect_response("**/chart.js"):
            page.keyboard.press("j")
            page.keyboard.press("x")
        asked: list[str] = []

        def note(request: Any) -> None:
            # The view of runs keeps asking for changes until it is left.
            if "/curves?" in request.frame.url:
                asked.append(request.url.split("?")[0].split("/api/")[-1])

        page.on("request", note)
        page.wait_for_url("**/?sel=*")
        page.goto(page.url.replace("?", "curves?m=val_loss&"))
        settle(page)
        page.get_by_role("combobox").first.locator("option", has_text="train_loss").wait_for(state="attached")
        queries = [name for name in asked if name in ("curves", "metrics", "changes")]
        assert queries[:2] == ["curves", "metrics"]


def points_of(page: Any, metric: str) -> list[str]:
    """Return the number of rows of each curve of a chart."""
    return [row[1] for row in table_of(page, metric)]


@pytest.mark.page
def test_values_that_are_logged_between_two_calls_appear(
    open_page: Callable[..., Any], serve: Callable[..., Any], fill_database: Callable[..., Any], tmp_path: Path
) -> None:
    demo = fill_database(tmp_path / "between.db", runs=0)
    names = ["m1", "m2", "m3", "m4"]
    run = sqltrack.Experiment(demo.client, name="live").get_run(1).set_status("RUNNING")
    run.add_metrics_many([{"step": step, **dict.fromkeys(names, 1.0)} for step in range(20)])
    run.set_updated(datetime.now(timezone.utc) - timedelta(hours=1))

    held: dict[str, Any] = {}

    def hold(route: Any) -> None:
        """Take the answer of the first three metrics from before a value, and keep the call of the fourth one back."""
        if '"m1"' in unquote(route.request.url):
            held["first"] = route, route.fetch()
        else:
            held["last"] = route

    with serve(demo.path) as address, open_page("", address=address) as page:
        page.route("**/api/curves?*", hold)
        page.goto(urljoin(address, f"curves?sel=1&m={','.join(names)}"))
        while len(held) < 2:
            page.wait_for_timeout(50)
        with demo.client as connection:
            connection.execute("INSERT INTO metrics (run_id, step, m1) VALUES (1, 50, 2.0)")
        held["last"].continue_()
        table_of(page, "m4")
        chart(page, "m4").locator(".chart-table td", has_text=re.compile("^20$")).wait_for()
        route, answer = held["first"]
        route.fulfill(response=answer)
        page.unroute("**/api/curves?*")
        settle(page)
        table_of(page, "m1")
        chart(page, "m1").locator(".chart-table td", has_text=re.compile("^21$")).wait_for(timeout=10_000)


@pytest.mark.page
def test_curves_that_failed_are_asked_for_again(
    open_page: Callable[..., Any], serve: Callable[..., Any], fill_database: Callable[..., Any], tmp_path: Path
) -> None:
    demo = fill_database(tmp_path / "failed.db", runs=3, epochs=5)
    failed = '{"error": "the database is away", "kind": "database"}'
    with serve(demo.path) as address, open_page("", address=address) as page:
        # Not by a route: the browser would write the status into its console.
        page.evaluate(
            """(failed) => {
            const ask = window.fetch;
            window.fetch = async (url, ...rest) => {
                if (!String(url).includes("api/curves") || window.isBack) return ask(url, ...rest);
                return new Response(failed, {status: 503});
            };
        }""",
            failed,
        )
        page.get_by_role("link", name="Curves").click()
        page.get_by_text("the database is away").first.wait_for()
        page.evaluate("window.isBack = true")
        settle(page)
        page.get_by_text("the database is away").wait_for(state="detached")
        assert points_of(page, "val_loss") == ["5"] * 3


@pytest.mark.page
def test_runs_that_were_deleted_leave_the_curves(
    open_page: Callable[..., Any], serve: Callable[..., Any], fill_database: Callable[..., Any], tmp_path: Path
) -> None:
    demo = fill_database(tmp_path / "deleted.db", runs=3, epochs=5)
    with serve(demo.path) as address, open_page("curves?sel=1-3&m=val_loss", address=address) as page:
        settle(page)
        assert points_of(page, "val_loss") == ["5"] * 3
        with demo.client as connection:
            connection.execute("DELETE FROM runs WHERE id = 2")
        page.locator(".legend tr", has_text="deleted").wait_for()
        chart(page, "val_loss").locator(".chart-table tbody tr").nth(2).wait_for(state="detached")
        assert points_of(page, "val_loss") == ["5"] * 2


@pytest.mark.page
def test_arrow_keys_read_the_values_of_a_curve(open_page: Callable[..., Any], demo: Any) -> None:
    run = demo.runs[20]
    with open_page(f"curves?sel={run}&m=val_loss") as page:
        settle(page)
        page.locator(".chart-canvas").first.focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        ((step, value),) = demo.client.execute(
            f"SELECT step, val_loss FROM metrics WHERE run_id = {run} AND val_loss IS NOT NULL"
            " ORDER BY step LIMIT 1 OFFSET 2"
        )
        shown = page.locator(".chart-tooltip").inner_text()
        assert f"step {step}" in shown
        assert f"{value:.5g}" in shown


@pytest.mark.page
def test_a_row_of_the_legend_highlights_its_curves_in_all_charts(open_page: Callable[..., Any], demo: Any) -> None:
    with open_page("curves?sel=21-23&m=val_loss,val_top1", height=1000) as page:
        settle(page)
        assert page.locator(".has-highlight").count() == 0
        page.locator(".legend-table tbody tr").nth(1).hover()
        page.locator(".has-highlight").nth(1).wait_for()
        page.wait_for_timeout(300)
        faded = page.locator(".chart-canvas canvas").evaluate_all(
            "all => all.filter(canvas => Number(getComputedStyle(canvas).opacity) < 0.5).length"
        )
        assert faded == 2
        page.get_by_label("Draw run 22", exact=True).uncheck()
        settle(page)
        assert [row[0] for row in table_of(page, "val_loss")] == ["run 21", "run 23"]


@pytest.mark.page
def test_metrics_are_found_and_chosen_by_keyboard(open_page: Callable[..., Any], demo: Any) -> None:
    with open_page(f"curves?sel={demo.runs[20]}&m=val_loss") as page:
        settle(page)
        page.keyboard.press("m")
        page.keyboard.type("TOP1")
        assert violations(page) == []
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        settle(page)
        titles = page.locator("figure.chart h2").all_inner_texts()
        assert titles[0] == "val_loss"
        assert "top1" in titles[1]


@pytest.fixture(scope="module")
def spiked(
    fill_database: Callable[..., Any], serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[int, int]]]:
    """Address of a server, and the step of each run at which its value is 100; the runs have 10,000 steps."""
    database = fill_database(tmp_path_factory.mktemp("spiked") / "spiked.db", runs=0)
    spikes = {}
    for index in range(12):
        with sqltrack.track(
            "Spikes", args={"lr": [0.1, 0.01][index % 2], "seed": index}, client=database.client
        ) as run:
            at = spikes[run.id] = 17 + index * 811
            run.add_metrics_many(
                {"step": step, "loss": 100.0 if step == at else math.exp(-step / 3000) + step % 7 / 50}
                for step in range(STEPS)
            )
    with serve(database.path) as address:
        yield address, spikes


@pytest.mark.page
def test_each_spike_is_seen_and_zoom_shows_each_value(open_page: Callable[..., Any], spiked: Any) -> None:
    address, spikes = spiked
    with open_page("curves?sel=1-12&m=loss", address=address) as page:
        settle(page)
        for _ in range(2):
            peaks = {re.findall(r"\d+", row[0])[0]: (row[4], row[5]) for row in table_of(page, "loss")}
            assert peaks == {str(run): ("100", str(step)) for run, step in spikes.items()}
            page.reload()
            settle(page)
        page.goto(f"{page.url}&range={spikes[3] - 10},{spikes[3] + 10}")
        settle(page)
        page.locator(".chart-canvas").first.focus()
        seen = set()
        for _ in range(30):
            page.keyboard.press("ArrowRight")
            seen.add(page.locator(".chart-tooltip-head b").inner_text())
        assert {str(step) for step in range(spikes[3] - 9, spikes[3] + 10)} <= seen


@pytest.mark.page
def test_groups_have_a_mean_and_a_number_of_runs(open_page: Callable[..., Any], spiked: Any) -> None:
    with open_page("curves?sel=1-12&m=loss&group=args~lr&smooth=0.9", address=spiked[0]) as page:
        settle(page)
        groups = page.locator(".legend tbody tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
        )
        assert sorted(groups) == [["0.01", "6", "6"], ["0.1", "6", "6"]]
        page.locator(".chart-canvas").first.focus()
        page.keyboard.press("ArrowRight")
        assert "n = 6" in page.locator(".chart-tooltip").inner_text()


@pytest.mark.page
def test_resumed_runs_become_one_curve(
    open_page: Callable[..., Any], fill_database: Callable[..., Any], serve: Callable[..., Any], tmp_path: Path
) -> None:
    database = fill_database(tmp_path / "resumed.db", runs=0)
    for first in (0, 50):
        with sqltrack.track("Resumed", client=database.client) as run:
            run.add_metrics_many({"step": step, "loss": float(step)} for step in range(first, first + 50))
    run.add_link("resumes", 1)
    with serve(database.path) as address, open_page("curves?sel=2&m=loss", address=address) as page:
        settle(page)
        assert table_of(page, "loss")[0][:2] == ["run 2", "50"]
        page.get_by_label("join resumed").check()
        page.get_by_text("run 1 + run 2").wait_for()
        assert table_of(page, "loss")[0][1:4] == ["100", "0", "0"]
        page.get_by_label("join resumed").uncheck()
        page.get_by_text("run 2", exact=True).wait_for()


@pytest.mark.page
def test_thousands_of_metrics_can_be_searched(
    open_page: Callable[..., Any], fill_database: Callable[..., Any], serve: Callable[..., Any], tmp_path: Path
) -> None:
    database = fill_database(tmp_path / "wide.db", runs=0)
    with sqltrack.track("Wide", client=database.client) as run:
        run.add_metrics({f"layer{index}.norm": float(index) for index in range(2261)}, step=1)
    with serve(database.path) as address, open_page("curves?sel=1", address=address) as page:
        settle(page)
        page.keyboard.press("m")
        page.get_by_text("2261 of 2261").wait_for()
        page.keyboard.type("layer2260")
        page.get_by_text("1 of 2261").wait_for()
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        page.get_by_role("heading", name="layer2260.norm").wait_for()


@pytest.mark.page
def test_values_that_are_not_finite_are_marked(
    open_page: Callable[..., Any], fill_database: Callable[..., Any], serve: Callable[..., Any], tmp_path: Path
) -> None:
    database = fill_database(tmp_path / "odd.db", runs=0)
    name = '<b>"; DROP--'
    with sqltrack.track("\u202eodd <i>", client=database.client) as run:
        for step in range(50):
            value = {20: math.inf, 30: -math.inf, 40: math.nan}.get(step, float(step - 5))
            run.add_metrics({"loss": value, name: 1.0}, step=step)
    with serve(database.path) as address, open_page("curves?sel=1", address=address) as page:
        settle(page)
        assert page.locator("figure.chart h2").all_inner_texts() == ["loss", name]
        page.keyboard.press("l")
        settle(page)
        assert "6 points ≤ 0" in chart(page, "loss").inner_text()
        assert len(table_of(page, name)) == 1


@pytest.mark.page
def test_growing_runs_keep_zoom_scroll_focus_and_menu(
    open_page: Callable[..., Any], fill_database: Callable[..., Any], serve: Callable[..., Any], tmp_path: Path
) -> None:
    database = fill_database(tmp_path / "live.db", runs=0)
    with sqltrack.track("Live", client=database.client) as run:
        run.add_metrics_many({"step": step, "loss": 1.0 + step % 3, "acc": step / 100} for step in range(100))
        with (
            serve(database.path) as address,
            open_page("curves?sel=1&m=loss,acc&range=10,200", address=address, width=700) as page,
        ):
            settle(page)
            assert table_of(page, "loss")[0][1] == "100"
            page.locator(".charts").evaluate("element => element.closest('main').scrollTo(0, 120)")
            canvas = chart(page, "acc").locator(".chart-canvas")
            canvas.focus()
            for _ in range(5):
                page.keyboard.press("ArrowRight")
            read = page.locator(".chart-tooltip").inner_text()
            scroll = page.locator("main").evaluate("main => main.scrollTop")
            # New rows, and a new value at an old step.
            run.add_metrics_many({"step": step, "loss": 1.5} for step in range(100, 120))
            run.add_metrics({"loss": 77.0}, step=50)
            row = chart(page, "loss").locator(".chart-table tbody tr").first
            row.get_by_text("77", exact=True).wait_for()
            assert table_of(page, "loss")[0][1] == "120"
            assert range_of(page) == (10, 200)
            assert page.locator("main").evaluate("main => main.scrollTop") == scroll
            assert page.locator(".chart-tooltip").inner_text() == read
            assert canvas.evaluate("element => element === document.activeElement")
            chart(page, "acc").get_by_role("button", name="⋯").click()
            run.add_metrics({"loss": 88.0}, step=51)
            row.get_by_text("88", exact=True).wait_for()
            assert page.locator(".menu-list").count() == 1


@pytest.mark.page
@pytest.mark.parametrize(("width", "dark"), [(390, True), (2560, False)])
@pytest.mark.parametrize("path", ["curves?sel=21-26", "run/21", "compare?sel=21-24", "live"])
def test_views_fit_all_windows(open_page: Callable[..., Any], path: str, width: int, dark: bool) -> None:
    with open_page(path, width=width, dark=dark) as page:
        page.locator("main > *").first.wait_for()
        page.wait_for_timeout(1500)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert violations(page) == []
