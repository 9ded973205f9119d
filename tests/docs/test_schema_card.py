"""The schema card fits on one sheet of paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.browser import running_browser
from support.pages import DOCS

pytestmark = pytest.mark.site

MILLIMETRE = 96 / 25.4  # CSS pixels
A4 = (210, 297)
MARGIN = 12


@pytest.fixture(scope="module")
def printed(site: Path) -> Iterator[Any]:
    """The page in a browser as printed, as wide as the printable part of a sheet."""
    width = round((A4[0] - 2 * MARGIN) * MILLIMETRE)
    with running_browser() as open_page, open_page(site / "schema-card.html", width=width) as page:
        page.emulate_media(media="print")
        yield page


def sheets(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def test_the_card_is_printed_on_one_sheet(printed: Any) -> None:
    pdf = printed.pdf(prefer_css_page_size=True)
    assert sheets(pdf) == 1
    (size,) = set(re.findall(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)\s*\]", pdf))
    assert [round(float(points) / 72 * 25.4) for points in size] == [*A4]


def test_more_than_a_sheet_is_counted_as_such(printed: Any) -> None:
    printed.evaluate("document.querySelector('#schema-card').style.paddingTop = '150mm'")
    pdf = printed.pdf(prefer_css_page_size=True)
    printed.evaluate("document.querySelector('#schema-card').style.paddingTop = ''")
    assert sheets(pdf) == 2


def test_nothing_of_the_card_is_cut_and_all_of_it_can_be_read(printed: Any) -> None:
    assert printed.evaluate("document.documentElement.scrollWidth") <= printed.viewport_size["width"]
    sizes = "elements => elements.map(e => parseFloat(getComputedStyle(e).fontSize))"
    # 6.5 points, as in the footnotes of a paper.
    assert min(printed.locator("#schema-card p, #schema-card pre").evaluate_all(sizes)) >= 6.5 * 96 / 72
    blocks = printed.locator("#schema-card pre").all_inner_texts()
    source = (DOCS / "schema-card.md").read_text(encoding="utf-8")
    codes = re.findall(r"^```\w+\n(.*?)^```$", source, re.M | re.S)
    assert [text.strip() for text in blocks] == [code.strip() for code in codes]


def test_the_navigation_is_not_printed(printed: Any) -> None:
    for name in (".sidebar-drawer", ".toc-drawer", ".related-pages"):
        places = printed.locator(name).all()
        assert places, name
        assert not any(place.is_visible() for place in places), name
