"""The views of one run, of a comparison, and of running runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin

import pytest

import sqltrack
from sqltrack.capture._package_lists import share_packages
from support.axe import violations

ARGS = {"model": "vit", "optimizer": {"name": "adamw", "betas": [0.9, 0.99]}}
COMMIT = "237751aa0e7a269f656412a9"


def values_of(page: Any) -> dict[str, str]:
    """Return the names and values that the page lists."""
    pairs = page.locator(".values > div").evaluate_all(
        "items => items.map(item => [item.children[0].innerText.trim(), item.children[1].innerText.trim()])"
    )
    return dict(pairs)


def captured(client: sqltrack.Client, *, is_dirty: bool) -> dict[str, Any]:
    """Return what SQLTrack captures about a run."""
    return {
        "git": {"commit": COMMIT, "dirty": is_dirty, **({"diff": "-a\n+<b>\n"} if is_dirty else {})},
        "command": {"argv": ["train.py", "a b"], "cwd": "/work", "pid": 7},
        "packages": share_packages(client, {"torch": "2.9", "numpy": "2.3"}, {}),
    }


@pytest.fixture(scope="module")
def small(
    fill_database: Callable[..., Any], serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, sqltrack.Run]]:
    """Address of a server, and a run that is running; of two that have ended, the second resumes the first."""
    database = fill_database(tmp_path_factory.mktemp("small") / "small.db", runs=0)
    client = database.client
    experiment = sqltrack.Experiment(client, name="Small <b>")
    for run_id, lr in enumerate((0.1, 0.01), 1):
        with sqltrack.track(experiment, args={"lr": lr, **ARGS}, env={"CLUSTER": "one"}, client=client) as run:
            run.add_metrics_many({"step": step, "loss": lr / (step + 1), "val_acc": step / 10} for step in range(10))
            run.set_extras({"capture": captured(client, is_dirty=run_id == 1), "note": "x"})
    run.add_link("resumes", 1).set_comment("A second try.\n<script>").add_tags("baseline")
    running = experiment.get_run()
    running.start()
    running.add_metrics_many({"step": step, "progress": step / 100, "loss": 1.0} for step in range(26))
    with serve(database.path) as address:
        yield address, running


def test_a_run_shows_what_it_was_and_how_it_went(open_page: Callable[..., Any], small: Any) -> None:
    with open_page("run/2", address=small[0]) as page:
        page.locator(".chart-canvas canvas").first.wait_for()
        values = values_of(page)
        assert (values["lr"], values["optimizer.name"], values["optimizer.betas"]) == ("0.01", "adamw", "[0.9,0.99]")
        facts = page.locator(".run-facts").inner_text()
        assert "A second try.\n<script>" in facts
        assert f"commit {COMMIT[:8]}" in facts
        assert COMMIT not in facts
        assert "with changes" not in facts
        assert 'train.py "a b"' in facts
        assert values["cwd"] == "/work"
        page.get_by_text("2 packages").click()
        page.get_by_text("torch", exact=True).wait_for()
        assert values_of(page)["torch"] == "2.9"
        assert page.locator(".links").inner_text().startswith("resumes")
        assert "CLUSTER" not in facts, "the environment is shown on request"
        page.get_by_text("Environment, ").click()
        page.get_by_text("CLUSTER", exact=True).wait_for()
        assert values_of(page)["CLUSTER"] == "one"
        assert page.locator("figure.chart h2").all_inner_texts() == ["loss", "val_acc"]
        page.get_by_role("button", name="Table").click()
        row = page.locator(".metric-table tbody tr").first
        assert row.locator("th, td").all_inner_texts() == ["loss", "0.001", "0.001", "9", "0.01", "0", "10"]
        assert violations(page) == []
        page.keyboard.press("p")
        page.get_by_role("heading", name="Run 1").wait_for()
        page.get_by_text("with changes").wait_for()
        page.get_by_text("2 lines of diff").click()
        assert page.get_by_text("+<b>").inner_text() == "-a\n+<b>\n"
        page.keyboard.press("n")
        page.get_by_role("heading", name="Run 2").wait_for()
        page.locator(".links a").click()
        page.get_by_role("heading", name="Run 1").wait_for()


@pytest.mark.page
def test_a_comparison_lists_what_differs(open_page: Callable[..., Any], small: Any) -> None:
    def rows() -> dict[str, list[str]]:
        lines = page.locator(".compare-table tbody tr:not(.compare-section)").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
        )
        return {name: values for name, *values in lines}

    with open_page("compare?sel=1,2", address=small[0]) as page:
        page.locator(".compare-table").wait_for()
        page.locator(".chart-canvas canvas").first.wait_for()
        shown = rows()
        assert shown["lr"] == ["0.1", "0.01"]
        assert shown["capture.git.dirty"] == ["yes", "no"]
        assert shown.keys().isdisjoint({"model", "capture.git.commit", "capture.command.pid"})
        assert page.locator(".compare-table .best").all_inner_texts() == ["0.001\n(best)"]
        assert violations(page) == []
        page.keyboard.press("d")
        page.get_by_text("optimizer.name").wait_for()
        assert rows()["model"] == ["vit", "vit"]
        assert rows()["capture.git.commit"] == [COMMIT[:8]] * 2


@pytest.mark.page
def test_running_runs_tell_how_far_they_are(open_page: Callable[..., Any], small: Any) -> None:
    address, running = small
    with open_page("live", address=address) as page:
        card = page.locator(".live-run")
        card.get_by_text("25%").wait_for()
        assert "Step 25" in card.inner_text()
        assert violations(page) == []
        running.add_metrics({"loss": 0.5}, step=50, progress=0.5)
        card.get_by_text("50%").wait_for()
        page.keyboard.press("v")
        page.locator(".legend-run").get_by_text("3").wait_for()


@pytest.mark.page
def test_long_and_empty_names_leave_room_for_the_rest(
    open_page: Callable[..., Any],
    fill_database: Callable[..., Any],
    serve: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    database = fill_database(tmp_path_factory.mktemp("names") / "names.db", runs=0)
    long = "L" * 5_000
    for name in (long, ""):
        run = sqltrack.Experiment(database.client, name=name).get_run()
        run.set_args({"": 1, long: long}).set_comment(long).add_tags(long, "")
    with serve(database.path) as address, open_page("run/1", address=address) as page:
        name = page.get_by_role("link", name=long)
        name.wait_for()
        window = page.viewport_size
        box = name.bounding_box()
        assert box["x"] + box["width"] < window["width"]
        assert page.get_by_text("Arguments").bounding_box()["y"] < window["height"]
        assert values_of(page)['""'] == "1"
        assert page.locator(".tags .tag").all_inner_texts() == [long, '""']
        assert violations(page) == []
        page.goto(urljoin(address, "run/2"))
        page.get_by_role("link", name='""').click()
        page.get_by_text("1 of 2 runs").wait_for()
        page.locator(".facet", has_text="Tags").get_by_text('""', exact=True).wait_for()
        page.goto(urljoin(address, "?c=run~tags"))
        page.locator(".ag-row .tag").get_by_text('""', exact=True).first.wait_for()
        page.goto(urljoin(address, "experiments"))
        page.get_by_role("link", name='""').wait_for()
        assert page.locator(".experiment").last.bounding_box()["height"] < window["height"] / 2
        page.goto(urljoin(address, "compare?sel=1,2"))
        page.get_by_text('""').first.wait_for()
        assert violations(page) == []
