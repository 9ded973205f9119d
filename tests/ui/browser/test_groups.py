"""Groups of runs in the table and in the charts, and the value of a metric that a comparison shows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from support.axe import violations

pytestmark = pytest.mark.page

# Runs 1 to 5 are two settings with three and two seeds; run 3 is shorter, and run 5 has a NaN.
SETTINGS = [(0.1, 1), (0.1, 2), (0.1, 3), (0.5, 1), (0.5, 2)]
LENGTHS = [10, 10, 6, 10, 10]


def accuracy(run_id: int, step: int) -> float:
    return math.nan if (run_id, step) == (5, 4) else run_id / 10 + step / 100


@pytest.fixture(scope="module")
def seeds(
    fill_database: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
    serve: Callable[..., Any],
) -> Iterator[tuple[str, Any]]:
    """Address and client of a database of runs with seeds."""
    demo = fill_database(tmp_path_factory.mktemp("seeds") / "seeds.db", runs=0)
    with demo.client:
        for run_id, ((lr, seed), length) in enumerate(zip(SETTINGS, LENGTHS), 1):
            run = sqltrack.Experiment(demo.client, name="seeds").get_run(run_id)
            run.set_args({"lr": lr, "model": "vit", "seed": seed, "workers": run_id})
            run.add_metrics_many(
                [{"step": step, "acc": accuracy(run_id, step), "loss": 1.0 / (run_id + step)} for step in range(length)]
            )
            run.set_status("COMPLETED")
    with serve(demo.path) as address:
        yield address, demo.client


def rows_of(page: Any) -> list[list[str]]:
    """Return the texts of the rows of the table of groups."""
    page.locator(".group-row").first.wait_for()
    rows: list[list[str]] = page.locator(".group-table tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].slice(1).map(cell => cell.innerText.replace(/[\\s▸▾]+/g, ' ').trim()))"
    )
    return rows


def legend_of(page: Any) -> list[list[str]]:
    page.locator(".charts[aria-busy=false] .chart-canvas canvas").first.wait_for()
    page.locator(".legend tbody tr").first.wait_for()
    rows: list[list[str]] = page.locator(".legend tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    return rows


def test_table_shows_groups_with_mean_and_deviation_and_their_runs_on_demand(
    open_page: Callable[..., Any], seeds: Any
) -> None:
    best = [[accuracy(run, length - 1) for run, length in zip(runs, LENGTHS)] for runs in ((1, 2, 3), (4, 5))]
    best[0][2] = accuracy(3, 5)
    with open_page("?by=args~lr&c=metric~max~acc,run~status", address=seeds[0]) as page:
        first, second = rows_of(page)
        assert first[:2] == ["0.1", "3"]
        mean, sign, half = first[2].split()
        assert float(mean) == pytest.approx(statistics.mean(best[0]), rel=1e-4)
        assert (sign, float(half)) == ("±", pytest.approx(statistics.stdev(best[0]), rel=0.01))
        assert second[3] == "COMPLETED"
        assert violations(page) == []
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.get_by_role("link", name="run 3").wait_for()
        assert [row[0].split(" ✔")[0] for row in rows_of(page)] == ["0.1", "run 1", "run 2", "run 3", "0.5"]
        page.keyboard.press("x")
        page.wait_for_url("**sel=1-3**")
        page.get_by_role("button", name="acc").click()
        page.get_by_role("columnheader", name="acc").and_(page.locator("[aria-sort=descending]")).wait_for()
        page.locator(".group-row").first.get_by_text("0.5", exact=True).wait_for()
        assert violations(page) == []
        page.get_by_label("spread").select_option("min to max")
        page.get_by_text("to 0.35").wait_for()
        page.locator(".group-table").focus()
        page.keyboard.press("v")
        page.wait_for_url("**/curves?**group=args~lr**")
        assert legend_of(page) == [["0.1", "3", "2 to 3"]]


def test_groups_are_chosen_in_a_dialog_and_stay_in_the_address(open_page: Callable[..., Any], seeds: Any) -> None:
    with open_page(address=seeds[0]) as page:
        page.locator(".run-link").first.wait_for()
        page.get_by_label("group by").select_option("all but the seed")
        # The number of workers differs as well.
        assert len(rows_of(page)) == 5
        page.keyboard.press("y")
        dialog = page.get_by_role("dialog", name="Group by")
        assert dialog.get_by_label("seed").is_checked()
        assert violations(page) == []
        dialog.get_by_label("workers").check()
        page.wait_for_url("**by=-seed,workers**")
        dialog.get_by_label("columns").check()
        dialog.get_by_role("checkbox", name="model args").check()
        dialog.get_by_role("checkbox", name="lr args").check()
        page.wait_for_url("**by=args~model,args~lr**")
        assert violations(page) == []
        page.keyboard.press("Escape")
        page.reload()
        assert [row[:2] for row in rows_of(page)] == [["model=vit, lr=0.1", "3"], ["model=vit, lr=0.5", "2"]]
        assert page.get_by_label("group by").locator("option:checked").inner_text() == "model, lr"
        page.get_by_label("group by").select_option("none")
        page.locator(".run-link").first.wait_for()
        assert "by=" not in page.url


def test_charts_of_groups_tell_n_and_what_does_not_count(open_page: Callable[..., Any], seeds: Any) -> None:
    with open_page("curves?sel=1-5&m=acc&group=args~lr&band=ci", address=seeds[0]) as page:
        assert legend_of(page) == [["0.1", "3", "2 to 3"], ["0.5", "2", "1 to 2"]]
        note = page.locator(".chart-note").inner_text()
        assert "95 % confidence interval" in note
        assert "The curves end between step 5 and 9" in note
        assert "NaN and infinite values do not count: 1." in note
        canvas = page.locator(".chart-canvas")
        canvas.focus()
        for _ in range(8):
            page.keyboard.press("ArrowRight")
        tooltip = page.locator(".chart-tooltip").inner_text()
        assert "n = 2" in tooltip
        assert "±" in tooltip
        page.keyboard.press("Escape")
        assert "2 groups" in canvas.get_attribute("aria-label")
        page.keyboard.press("e")
        page.locator(".chart-canvas[aria-label*='5 curves, 2 groups']").wait_for()
        assert violations(page) == []
        page.get_by_label("band").select_option("min to max")
        page.get_by_text("range from the smallest to the largest value").wait_for()


def test_groups_fit_on_a_phone(open_page: Callable[..., Any], seeds: Any) -> None:
    with open_page("?by=args~lr", address=seeds[0], width=390, height=800) as page:
        rows_of(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.goto(page.url.replace("?by=args~lr", "curves?sel=1-5&group=args~lr&band=ci"))
        legend_of(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator(".chart-note").first.is_visible()


def test_comparison_shows_the_chosen_value_of_metrics(open_page: Callable[..., Any], seeds: Any) -> None:
    def cells(page: Any, label: str) -> list[str]:
        row = page.locator("tr.differs", has=page.get_by_role("rowheader", name=label, exact=True))
        row.wait_for()
        return [text.split("\n")[0] for text in row.locator("td").all_inner_texts()]

    with open_page("compare?sel=1,2", address=seeds[0]) as page:
        assert cells(page, "acc.max") == ["0.19", "0.29"]
        chooser = page.get_by_label("Value of metrics")
        chooser.select_option("mean")
        assert cells(page, "acc.mean") == ["0.145", "0.245"]
        chooser.select_option("at best of…")
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Search columns").fill("loss")
        dialog.locator("li", has_text="loss").click()
        page.wait_for_url("**val=at~loss~min**")
        assert cells(page, "acc at min loss") == ["0.19", "0.29"]
        chooser.select_option("at max loss")
        assert cells(page, "acc at max loss") == ["0.1", "0.2"]
        # The larger accuracy is better, whichever value is shown.
        assert page.locator("tr.differs", has_text="acc").locator("td.best").inner_text().startswith("0.2")
        assert violations(page) == []
        page.reload()
        assert cells(page, "acc at max loss") == ["0.1", "0.2"]


def test_words_that_not_all_runs_of_a_group_have_are_counted(
    fill_database: Callable[..., Any], serve: Callable[..., Any], tmp_path: Path, open_page: Any
) -> None:
    demo = fill_database(tmp_path / "words.db", runs=0)
    experiment = sqltrack.Experiment(demo.client, name="words")
    for seed in range(3):
        experiment.get_run().set_args({"lr": 0.1, "seed": seed}).set_comment("all")
    experiment.get_run().set_args({"lr": 0.5, "seed": 0}).set_comment("one").add_tags("paper", "best")
    sqltrack.Run(demo.client, run_id=2).add_tags("good")
    with (
        serve(demo.path) as address,
        open_page("?by=all_but_seed&c=run~tags,run~comment", address=address) as page,
    ):
        words = {row[0]: row[2:] for row in rows_of(page)}
    assert words == {"lr=0.1": ["good (1)", "all"], "lr=0.5": ["paper, best", "one"]}


def test_runs_without_arguments_are_no_group_of_all_runs(
    fill_database: Callable[..., Any], serve: Callable[..., Any], tmp_path: Path, open_page: Any
) -> None:
    demo = fill_database(tmp_path / "planned.db", runs=0)
    experiment = sqltrack.Experiment(demo.client, name="planned")
    for lr in (0.1, 0.5):
        experiment.get_run().set_args({"lr": lr})
    experiment.get_run()
    with serve(demo.path) as address, open_page("?by=all_but_seed", address=address) as page:
        assert {row[0] for row in rows_of(page)} == {"lr=0.1", "lr=0.5", "no differing arguments"}
