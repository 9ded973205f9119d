"""Saved views: save, open, rename, copy, delete; defaults of experiments; and views whose names are gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

import sqltrack
from sqltrack.commands import setup
from support.axe import violations

pytestmark = pytest.mark.page


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with two experiments of two runs."""
    path = tmp_path_factory.mktemp("views") / "small.db"
    client = sqltrack.Client({"engine": "sqlite", "dbpath": str(path), "outbox": "off", "capture": "off"})
    setup(client)
    for name in ("first", "second"):
        experiment = sqltrack.Experiment(client, name=name)
        for number in range(2):
            run = experiment.get_run().set_args({"lr": 0.1 * (number + 1), "seed": number})
            with run.track():
                run.add_metrics({"loss": 1.0 / (number + 1), "val_acc": 0.5 + number / 10}, step=1)
    return path


@pytest.fixture
def address(small: Path, serve: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    """Address of a server of that database, for a user without views."""
    with serve(small) as started:
        yield started


def save(page: Any, name: str) -> None:
    page.locator(".menu button[title^='Saved views']").click()
    page.get_by_label("Name of this view").fill(name)
    page.keyboard.press("Enter")
    page.get_by_text(f'Saved "{name}".').wait_for()
    page.keyboard.press("Escape")


def headings(page: Any) -> list[str]:
    page.locator(".run-link").first.wait_for()
    return [text for text in page.locator(".column-title bdi").all_inner_texts() if text]


def test_views_are_saved_renamed_copied_and_deleted_by_keyboard(open_page: Any, address: str) -> None:
    with open_page("?c=run~status,args~lr", address=address) as page:
        assert headings(page) == ["Status", "lr"]
        save(page, "rates")
        page.locator(".view-label", has_text="rates").wait_for()
        page.locator(".ag-row").first.wait_for()
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("g")
        page.keyboard.press("v")
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Rename rates").press("Enter")
        page.get_by_label("New name of rates").fill("learning rates")
        page.keyboard.press("Enter")
        dialog.get_by_role("button", name="Copy learning rates", exact=True).press("Enter")
        dialog.get_by_text("learning rates (copy)", exact=True).wait_for()
        assert violations(page) == []
        dialog.get_by_role("button", name="Delete learning rates", exact=True).press("Enter")
        dialog.get_by_role("button", name="Rename learning rates", exact=True).wait_for(state="detached")
        page.goto(urljoin(address, "live"))
        page.locator(".menu button[title^='Saved views']").click()
        page.get_by_role("button", name="learning rates (copy)").click()
        assert headings(page) == ["Status", "lr"]


def test_changes_are_saved_to_the_view_that_is_open(open_page: Any, address: str) -> None:
    with open_page("?c=run~status", address=address) as page:
        assert headings(page) == ["Status"]
        save(page, "mine")
        address_of_view = page.url
        page.goto(address_of_view.replace("c=run~status", "c=run~status,args~seed"))
        assert headings(page) == ["Status", "seed"]
        page.locator(".menu button[title^='Saved views']").click()
        page.get_by_role("button", name="Save changes to mine").click()
        page.get_by_text('Saved "mine".').wait_for()
        page.goto(urljoin(address, "live"))
        page.locator(".menu button[title^='Saved views']").click()
        page.get_by_role("button", name="mine").click()
        assert headings(page) == ["Status", "seed"]


def test_an_experiment_opens_in_its_default_view(open_page: Any, address: str) -> None:
    with open_page("?c=run~status,metric~max~val_acc&sort=-metric~max~val_acc", address=address) as page:
        assert headings(page) == ["Status", "val_acc"]
        save(page, "accuracy")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("g")
        page.keyboard.press("v")
        page.get_by_label("Make accuracy the default of an experiment").select_option(label="second")
        page.get_by_text("default of second").wait_for()
        # By a click on the experiment, and by choosing its facet.
        for begin in ("experiments", ""):
            page.goto(urljoin(address, begin))
            if begin:
                page.locator(".experiment a", has_text="second").click()
            else:
                page.locator(".facet label", has_text="second").click()
            page.locator(".view-note", has_text="accuracy, the default of second").wait_for()
            page.locator(".count-line", has_text="2 of 4 runs").wait_for()
            assert headings(page) == ["Status", "val_acc"]
        page.get_by_role("button", name="Without it").click()
        page.locator(".view-note").wait_for(state="detached")
        page.locator(".column-title", has_text="lr").wait_for()
        page.goto(urljoin(address, "experiments"))
        page.locator(".experiment a", has_text="first").click()
        page.locator(".count-line", has_text="2 of 4 runs").wait_for()
        assert page.locator(".view-note").count() == 0


def test_long_notes_leave_the_window_to_the_table(
    open_page: Any, serve: Callable[..., AbstractContextManager[str]], small: Path, tmp_path: Path
) -> None:
    """Names that are gone, filters by many columns, a condition that fails, and a default of a long name."""
    path = tmp_path / "long.db"
    path.write_bytes(small.read_bytes())
    name = "long " * 1000 + "name"
    client = sqltrack.Client({"engine": "sqlite", "dbpath": str(path), "outbox": "off", "capture": "off"})
    with sqltrack.Experiment(client, name=name).get_run().track():
        pass
    names = [f"gone_{number}" for number in range(500)]
    gone = "c=" + ",".join(f"extras~{column}" for column in names)
    facets = "f=" + ",".join(f"args~{column}:1" for column in names[:60])
    condition = f"q={'x' * 4000}"
    with serve(path) as started, open_page(f"?{gone}", address=started, problems=[]) as page:
        for problem in ("", "&" + facets, "&" + condition):
            page.goto(urljoin(started, f"?{gone}{problem}"))
            page.locator(".view-gone").wait_for()
            assert_most_is_table(page)
            # The table without any column is the grid's own fault.
            assert [found for found in violations(page) if "ag-header-row" not in found] == []
        page.goto(urljoin(started, "?c=run~status"))
        save(page, "statuses")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("g")
        page.keyboard.press("v")
        page.get_by_label("Make statuses the default of an experiment").select_option(label=name)
        page.get_by_text("default of long long").wait_for()
        page.goto(urljoin(started, "experiments"))
        page.locator(".experiment a", has_text="long long").click()
        page.locator(".view-note", has_text="the default of long long").wait_for()
        assert_most_is_table(page)


def assert_most_is_table(page: Any) -> None:
    page.locator(".ag-root").wait_for()
    table = page.locator(".ag-root").bounding_box()
    assert table["y"] + 200 < page.viewport_size["height"], f"the table begins at {table['y']:.0f} pixels"


def test_a_view_of_yesterday_opens_and_says_what_is_gone(
    open_page: Any, serve: Callable[..., AbstractContextManager[str]], small: Path, tmp_path: Path
) -> None:
    path = tmp_path / "changed.db"
    path.write_bytes(small.read_bytes())
    client = sqltrack.Client({"engine": "sqlite", "dbpath": str(path), "outbox": "off"})
    with serve(path) as started, open_page("curves?sel=1-4&m=loss,val_acc", address=started) as page:
        page.locator("canvas").nth(1).wait_for()
        save(page, "yesterday")
        assert page.locator(".view-gone").count() == 0
        client.execute("ALTER TABLE metrics RENAME COLUMN loss TO train_loss")
        client.execute("ALTER TABLE metrics DROP COLUMN val_acc")
        client.execute("DELETE FROM metrics WHERE run_id = 4")
        client.execute("DELETE FROM runs WHERE id = 4")
        page.goto(urljoin(started, "live"))
        page.locator(".menu button[title^='Saved views']").click()
        page.get_by_role("button", name="yesterday").click()
        note = page.locator(".view-gone")
        note.wait_for()
        assert "metric loss, metric val_acc, run 4." in note.inner_text()
        page.locator(".chart h2").first.wait_for()
        assert violations(page) == []
        note.get_by_role("button", name="Show train_loss for loss").click()
        page.locator(".chart h2", has_text="train_loss").wait_for()
        note.get_by_role("button", name="Remove from the view").click()
        note.wait_for(state="detached")
        page.wait_for_url("**/curves?*sel=1-3*")
        assert page.locator(".chart h2").all_inner_texts() == ["train_loss"]
        # The view itself is as it was.
        page.goto(urljoin(started, "live"))
        page.locator(".menu button[title^='Saved views']").click()
        page.get_by_role("button", name="yesterday").click()
        note.wait_for()
