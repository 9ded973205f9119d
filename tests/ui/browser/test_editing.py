"""Changes of runs by keyboard: the plan is shown first, then applied, and can be undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.queries import first_value
from support.axe import violations

pytestmark = pytest.mark.page

HOSTILE = '<img src=x onerror="window.hacked = 1">'


@pytest.fixture(scope="module")
def editable(
    fill_database: Callable[..., Any], serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, sqltrack.Client]]:
    """Address of a server with `--edit`, and a client of its database with 60 runs."""
    path: Path = tmp_path_factory.mktemp("editable") / "editable.db"
    demo = fill_database(path, runs=60, epochs=3)
    with serve(path, "--edit") as address:
        yield address, demo.client


def tags_of(client: sqltrack.Client, run_id: int) -> list[str]:
    return sorted(first_value(client, f"SELECT tags FROM runs WHERE id = {run_id}") or {})


def wait_for_rows(page: Any) -> None:
    page.locator(".run-link").first.wait_for()


def notice(page: Any, text: str) -> Any:
    found = page.locator(".note.edited", has_text=text)
    found.wait_for()
    return found


def test_selected_runs_are_tagged_by_keys_and_the_tags_are_undone(
    open_page: Callable[..., Any], editable: tuple[str, sqltrack.Client]
) -> None:
    address, client = editable
    before = [tags_of(client, run_id) for run_id in (1, 2)]
    with open_page("?sel=1,2&c=run~tags&sort=run~id", address=address) as page:
        wait_for_rows(page)
        page.keyboard.press("e")
        page.keyboard.press("t")
        dialog = page.get_by_role("dialog", name="Tags")
        dialog.wait_for()
        assert page.get_by_label("Change", exact=True).input_value() == "0"
        page.keyboard.type(f"paper, {HOSTILE}")
        page.keyboard.press("Enter")
        dialog.get_by_text("Change the tags of 2 runs").first.wait_for()
        assert [tags_of(client, run_id) for run_id in (1, 2)] == before
        assert violations(page) == []
        page.keyboard.press("Enter")
        notice(page, "Changed the tags of 2 runs.")
        assert set(tags_of(client, 1)) == {*before[0], "paper", HOSTILE}
        # The table shows it without being asked.
        page.locator(".ag-row .tag, .ag-row", has_text="paper").first.wait_for()
        page.keyboard.press("e")
        page.keyboard.press("u")
        notice(page, "Undone: changed the tags of 2 runs.").get_by_role("button", name="Redo").wait_for()
        assert [tags_of(client, run_id) for run_id in (1, 2)] == before
        page.keyboard.press("e")
        page.keyboard.press("x")
        page.locator(".note.edited").wait_for(state="detached")
        # A page that was loaded again knows the change, too.
        page.reload()
        wait_for_rows(page)
        page.keyboard.press("e")
        page.keyboard.press("r")
        page.get_by_role("dialog", name="Recent changes").get_by_role("button", name="Redo").click()
        notice(page, "Redone: changed the tags of 2 runs.")
        assert page.evaluate("window.hacked") is None


def test_a_large_deletion_needs_the_number_and_tells_what_goes_too(
    open_page: Callable[..., Any], editable: tuple[str, sqltrack.Client]
) -> None:
    address, client = editable
    rows = first_value(client, "SELECT COUNT(*) FROM metrics WHERE run_id BETWEEN 31 AND 60")
    with open_page("?sel=31-60&c=run~status", address=address) as page:
        wait_for_rows(page)
        page.get_by_role("button", name="Edit ▾").click()
        page.get_by_role("button", name="Delete…").click()
        dialog = page.get_by_role("dialog", name="Delete")
        dialog.get_by_text("end it first").wait_for()
        dialog.get_by_label("Also delete runs that are still logging").check()
        dialog.get_by_text(f"{rows:,} rows of metrics").wait_for()
        button = dialog.get_by_role("button", name="Delete 30 runs")
        assert button.is_disabled()
        dialog.get_by_label("Type 30 to confirm").fill("30")
        assert first_value(client, "SELECT COUNT(*) FROM runs") == 60
        button.click()
        notice(page, "Deleted 30 runs.")
        page.locator(".count-line", has_text="30 runs").wait_for()
        assert page.get_by_role("button", name="Undo").count() == 0
        assert "sel" not in page.url
    assert first_value(client, "SELECT COUNT(*) FROM runs") == 30


def test_a_run_gets_a_comment_and_a_conflict_is_told(
    open_page: Callable[..., Any], editable: tuple[str, sqltrack.Client]
) -> None:
    address, client = editable
    problems: list[str] = []
    sqltrack.run_set_comment(client, 3, "old")
    with open_page("run/3", address=address, problems=problems) as page:
        page.locator(".comment", has_text="old").wait_for()
        page.keyboard.press("e")
        page.keyboard.press("c")
        field = page.get_by_role("dialog").locator("textarea")
        assert field.input_value() == "old"
        field.fill("new")
        page.get_by_role("button", name="Set the comment of 1 run").wait_for()
        sqltrack.run_set_comment(client, 3, "of another")
        page.keyboard.press("Control+Enter")
        page.get_by_role("alert").get_by_text("has changed in the meantime").wait_for()
        page.get_by_role("button", name="Show what changes").wait_for()
        page.keyboard.press("Control+Enter")
        page.locator(".edit-changes", has_text="of another").wait_for()
        page.keyboard.press("Control+Enter")
        page.locator(".comment", has_text="new").wait_for()
    assert first_value(client, "SELECT comment FROM runs WHERE id = 3") == "new"
    # The browser itself notes the status of the answer.
    assert ["status of 409" in problem for problem in problems] == [True]


def test_an_experiment_is_renamed(open_page: Callable[..., Any], editable: tuple[str, sqltrack.Client]) -> None:
    address, client = editable
    with open_page("experiments", address=address) as page:
        page.locator(".experiment").first.get_by_role("button", name="Edit ▾").click()
        page.get_by_role("button", name="Rename…").click()
        page.get_by_label("New name").fill("renamed")
        page.get_by_role("button", name="Rename the experiment").wait_for()
        page.keyboard.press("Enter")
        page.locator(".experiment h2", has_text="renamed").wait_for()
    assert first_value(client, "SELECT COUNT(*) FROM experiments WHERE name = 'renamed'") == 1


@pytest.mark.parametrize(("dark", "width", "keys"), [(False, 1280, "l"), (True, 390, "ms")])
def test_the_dialog_fits_the_window_and_is_accessible(
    open_page: Callable[..., Any], editable: tuple[str, sqltrack.Client], dark: bool, width: int, keys: str
) -> None:
    fields = {"l": "Kind, such as resumes", "m": "Experiment, which", "s": "New status"}
    with open_page("?sel=5-30&c=run~status", address=editable[0], dark=dark, width=width) as page:
        wait_for_rows(page)
        page.get_by_role("button", name="Edit ▾").click()
        menu = page.locator(".menu-list").bounding_box()
        assert 0 <= menu["x"] <= menu["x"] + menu["width"] <= width
        page.keyboard.press("Escape")
        page.evaluate("document.activeElement.blur()")
        for key in keys:
            page.keyboard.press("e")
            page.keyboard.press(key)
            page.get_by_label(fields[key]).fill("other")
            if key == "l":
                page.get_by_label("To the run with the id").fill("1")
            page.locator(".edit-changes").wait_for()
            box = page.locator("dialog").bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert violations(page) == []
            page.keyboard.press("Escape")


def test_a_page_that_is_read_only_offers_no_changes(open_page: Callable[..., Any]) -> None:
    with open_page() as page:
        wait_for_rows(page)
        assert page.get_by_role("button", name="Edit ▾").count() == 0
        page.keyboard.press("?")
        assert "remove tags" not in page.get_by_role("dialog", name="Keys").inner_text()
