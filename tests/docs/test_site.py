"""The site that Sphinx builds: links work, it contains all public names, and it looks right in a browser."""

from __future__ import annotations

import inspect
import re
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from sqltrack.cli._parser import build_parser
from support.browser import running_browser
from support.pages import DOC_PAGES, DOCS
from support.public import actions, commands, documented_names

pytestmark = pytest.mark.site

WIDTHS = (1280, 390)
# Attributes by which a page loads files itself; links are for readers to follow.
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """Anchors, links and loaded files of an HTML page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        if LOADED.get(tag) in values:
            self.loaded.add(values[LOADED[tag]])


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_links_and_anchors_lead_somewhere(pages: dict[Path, Page]) -> None:
    broken = [
        f"{path.name}: {link}"
        for path, page in pages.items()
        for link in page.links | page.loaded
        if not is_external(link) and not leads_somewhere(path, link, pages)
    ]
    assert broken == []


def is_external(link: str) -> bool:
    return bool(urlsplit(link).scheme or urlsplit(link).netloc)


def leads_somewhere(path: Path, link: str, pages: dict[Path, Page]) -> bool:
    target = (path.parent / unquote(urlsplit(link).path)).resolve() if urlsplit(link).path else path
    anchor = unquote(urlsplit(link).fragment)
    if anchor and target in pages:
        return anchor in pages[target].ids
    return target.exists()


def test_pages_load_nothing_from_elsewhere(pages: dict[Path, Page], site: Path) -> None:
    assert {link for page in pages.values() for link in page.loaded if is_external(link)} == set()
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet.name


def test_a_broken_anchor_is_found(tmp_path: Path) -> None:
    path = tmp_path.resolve() / "a.html"
    path.write_text('<a href="#there">1</a><a href="#not">2</a><a href="b.html">3</a><p id="there">', encoding="utf-8")
    pages = {path: Page(path)}
    assert sorted(link for link in pages[path].links if not leads_somewhere(path, link, pages)) == ["#not", "b.html"]


def test_every_name_that_a_page_documents_is_in_the_index_of_the_site(site: Path) -> None:
    indexed = {name for name, kind in inventory(site) if kind.startswith("py:")}
    assert [name for name in documented_names() if name not in indexed] == []


def test_every_public_method_is_in_the_index_of_the_site(site: Path) -> None:
    indexed = {name for name, kind in inventory(site) if kind in ("py:method", "py:property")}
    missing = [
        f"{name}.{key}"
        for name, value in documented_names().items()
        if isinstance(value, type)
        for key, member in vars(value).items()
        if not key.startswith("_") and (inspect.isroutine(member) or isinstance(member, property))
    ]
    missing = [name for name in missing if name not in indexed]
    assert missing == []


def inventory(site: Path) -> Iterator[tuple[str, str]]:
    """Yield the names that have a link target, and the kind of each."""
    data = (site / "objects.inv").read_bytes()
    lines = zlib.decompress(data.split(b"\n", 4)[4]).decode("utf-8").splitlines()
    for line in lines:
        match = re.match(r"(.+?) (\S+:\S+) -?\d+ ", line)
        assert match is not None, line
        yield match[1], match[2]


def test_every_command_and_option_is_in_the_reference_of_the_program(site: Path) -> None:
    ids = Page(site / "cli.html").ids
    missing = [
        f"{name} {option}"
        for name, parser in commands().items()
        for action in parser._actions
        for option in action.option_strings
        # All commands have the options of the connection, which are documented once.
        if not {f"sqltrack-{name}-{option}", f"sqltrack-{option}"} & ids
    ]
    assert missing == []
    assert [name for name in commands() if f"sqltrack-{name}" not in ids] == []
    nested = {f"sqltrack-outbox-{name}" for name in actions(commands()["outbox"])}
    assert {*nested, *(f"{name}---force" for name in nested)} <= ids
    options = [option for action in build_parser()._actions for option in action.option_strings]
    assert [option for option in options if f"sqltrack-{option}" not in ids] == []


def test_llms_txt_lists_every_page_with_a_link_to_its_text(site: Path) -> None:
    text = (site / "llms.txt").read_text(encoding="utf-8")
    assert re.match(r"# SQLTrack\n\n> \S.+\n\n", text)
    links = re.findall(r"^- \[.+?\]\((.+?)\): \S", text, re.M)
    sources = {path.relative_to(DOCS).as_posix() for path in DOC_PAGES}
    assert sorted(links) == sorted(sources - {"index.md"})
    full = (site / "llms-full.txt").read_text(encoding="utf-8")
    for link in links:
        page = (site / link).read_text(encoding="utf-8")
        assert "{eval-rst}" not in page
        assert page in full


def test_llms_full_txt_holds_signatures_and_options(site: Path) -> None:
    full = (site / "llms-full.txt").read_text(encoding="utf-8")
    assert "def sqltrack.run_set_env(client: Client, run_id: int, env: Literal['auto'] | Mapping[str, Any]" in full
    assert "\nclass sqltrack.Run(client: Client, experiment_id: int | None = None" in full
    assert "def Run.add_metrics(" in full
    assert re.search(r"^  --older-than", full, re.M)
    assert [name for name in documented_names() if f"\n## {name}\n" not in full] == []


@pytest.fixture(scope="module")
def open_page() -> Iterator[Any]:
    with running_browser() as open_page:
        yield open_page


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_open_offline_without_an_error_and_without_scrolling_sideways(
    site: Path, open_page: Any, width: int
) -> None:
    paths = [path for path in sorted(site.glob("**/*.html")) if "source" not in path.relative_to(site).parts]
    # A console error or a request to another site fails at the end.
    with open_page(site / "index.html", width=width) as page:
        for path in paths:
            page.goto(path.as_uri())
            widest = page.evaluate("document.documentElement.scrollWidth")
            assert widest <= width, f"{path.name} is {widest} pixels wide in a window of {width}"


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_ground_by_day_and_night(site: Path, open_page: Any, dark: bool) -> None:
    for name in ("index", "api/sqltrack", "cli"):
        with open_page(site / f"{name}.html", dark=dark) as page:
            colors = "e => [getComputedStyle(e).color, getComputedStyle(document.body).backgroundColor]"
            text, ground = (luminance(color) for color in page.locator("article p").first.evaluate(colors))
            assert (text > ground) is dark
            assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) >= 7


def luminance(color: str) -> float:
    """Return the relative luminance of a color, as WCAG defines it."""
    channels = [int(channel) / 255 for channel in re.findall(r"\d+", color)[:3]]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("width", WIDTHS)
def test_search_finds_a_function_offline(site: Path, open_page: Any, width: int) -> None:
    with open_page(site / "search.html", width=width) as page:
        page.goto(f"{(site / 'search.html').as_uri()}?q=best_values")
        page.locator("#search-results li a").first.wait_for()
        targets = page.locator("#search-results li a").evaluate_all("links => links.map(link => link.href)")
        assert any("api/queries.html" in target for target in targets)
