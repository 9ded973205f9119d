"""Each view once in a real browser: it shows its data, stays without errors, and is accessible."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

import pytest
from axe_playwright_python.sync_playwright import Axe

# The view, its address, and a part that it shows when it is complete.
VIEWS = {
    "runs": ("", ".ag-row .run-link"),
    "curves": ("curves?sel=1-3&m=val_loss", "canvas"),
    "run": ("run/1", "canvas"),
    "compare": ("compare?sel=1-3", "td"),
    "live": ("live", "main .status"),
    "experiments": ("experiments", ".experiment"),
    "sql": ("sql?o=%7B%22sql%22:%7B%22text%22:%22SELECT+id+FROM+runs%22%7D%7D", ".sql-grid .ag-cell"),
}

# Those that are looked at with all other tests.
SHORT = ("runs", "curves")

# Frames and timers come late.
LATE = """
const [frame, timer] = [window.requestAnimationFrame.bind(window), window.setTimeout.bind(window)];
window.requestAnimationFrame = (call) => timer(() => frame(call), 250);
window.setTimeout = (call, delay = 0, ...rest) => timer(call, delay + 250, ...rest);
"""

# The database is away until `isBack`. Not by a route: the browser would write the status into its console.
AWAY = """
const ask = window.fetch;
const isData = (url) => url.includes("/api/") && !/api.(about|views|states|gone)/.test(url);
window.fetch = async (url, ...rest) => {
    if (window.isBack || !isData(url)) return ask(url, ...rest);
    return new Response('{"error": "the database is away", "kind": "database"}', {status: 503});
};
"""


def violations(page: Any) -> list[str]:
    """Return the rules of accessibility that a page violates, with the first element of each."""
    found = Axe().run(page).response["violations"]
    return [f"{item['id']}: {item['help']}: {item['nodes'][0]['html'][:300]}" for item in found]


@pytest.mark.parametrize(
    "name", [name if name in SHORT else pytest.param(name, marks=pytest.mark.page) for name in VIEWS]
)
def test_view_shows_its_data_and_is_accessible(open_page: Any, name: str) -> None:
    path, part = VIEWS[name]
    with open_page(path) as page:
        page.locator(part).first.wait_for()
        page.wait_for_load_state("networkidle")
        assert violations(page) == []


@pytest.mark.page
@pytest.mark.parametrize("name", ["runs", "curves", "run"])
def test_view_shows_answers_that_come_before_the_first_frame(open_page: Any, name: str) -> None:
    """A busy computer draws late, and the framework subscribes to values only after it has drawn."""
    path, part = VIEWS[name]
    with open_page() as page:
        page.add_init_script(LATE)
        page.goto(urljoin(page.url, path))
        page.locator(part).first.wait_for()


@pytest.mark.page
@pytest.mark.parametrize("name", [name for name in VIEWS if name != "sql"])
def test_view_shows_its_data_once_the_database_answers(open_page: Any, name: str) -> None:
    path, part = VIEWS[name]
    with open_page() as page:
        page.add_init_script(AWAY)
        page.goto(urljoin(page.url, path))
        page.get_by_text("the database is away").first.wait_for()
        page.evaluate("window.isBack = true")
        page.locator(part).first.wait_for()
        page.get_by_text("the database is away").first.wait_for(state="detached")


@pytest.mark.page
@pytest.mark.parametrize("width", [390, 2560])
@pytest.mark.parametrize("name", VIEWS)
def test_view_is_accessible_in_dark_and_on_other_screens(open_page: Any, name: str, width: int) -> None:
    path, part = VIEWS[name]
    with open_page(path, dark=True, width=width) as page:
        page.locator(part).first.wait_for()
        page.wait_for_load_state("networkidle")
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.page
def test_dialogs_and_menus_are_accessible(open_page: Any) -> None:
    with open_page("?sel=1-3") as page:
        page.locator(".run-link").first.wait_for()
        for key in ("c", "s", "?"):
            page.keyboard.press(key)
            page.get_by_role("dialog").wait_for()
            assert violations(page) == []
            page.keyboard.press("Escape")
            page.get_by_role("dialog").wait_for(state="detached")
        for name in ("Views", "Export"):
            page.get_by_role("button", name=name).click()
            page.locator(".menu-list").wait_for()
            assert violations(page) == []
            page.keyboard.press("Escape")
