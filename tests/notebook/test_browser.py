"""Formatted tables in a real browser, shown by itables without a network: order, search, hostile text, appearance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import IPython.display
import itables
import numpy as np
import pandas as pd
import pytest

from sqltrack import notebook
from sqltrack.notebook import format_dataframe, format_datetime, format_float, format_percentage
from support.browser import running_browser, sort_by

TIMES = [datetime(2024, 5, 7, 12, tzinfo=timezone.utc) - timedelta(hours=hours) for hours in (0, 5, 3000, 40, 1, 100)]
HOSTILE = [
    "<script>window.hacked = 1</script>",
    "\"><img src=x onerror='window.hacked = 1'>",
    "'><svg onload=window.hacked=1>",
    "</script><script>window.hacked = 1</script>",
    "<!-- & &lt; &amp;lt; -->",
    "javascript:alert(1)//</td></tr></table><b>bold</b>",
]


# With the colors of notebooks.
TOP = """<!doctype html><meta charset="utf-8"><title>Table</title><style>
body { font: 14px sans-serif }
@media (prefers-color-scheme: dark) { body { background: #111; color: #ddd } }
</style>"""


@pytest.fixture(scope="module")
def open_page() -> Iterator[Callable[..., Any]]:
    with running_browser() as opener:
        yield opener


@pytest.fixture
def write_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A function that writes the output of a notebook with init_notebook_mode and itables.show to a file."""
    shown: list[Any] = []
    monkeypatch.setattr(itables.options, "allow_html", False)
    monkeypatch.setattr(IPython.display, "display", shown.append)
    # As the documentation shows.
    itables.init_notebook_mode(all_interactive=False, connected=False)
    notebook.init_notebook_mode()
    head = "".join(part.data for part in shown)

    def write(*frames: pd.DataFrame, **options: Any) -> Path:
        tables = "".join(itables.to_html_datatable(frame, connected=False, **options) for frame in frames)
        path = tmp_path / "page.html"
        path.write_text(f"{TOP}{head}{tables}", encoding="utf-8")
        return path

    return write


def rows(page: Any) -> list[list[str]]:
    page.wait_for_selector("table.dataTable tbody tr td")
    cells: list[list[str]] = page.eval_on_selector_all(
        "table.dataTable tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    return cells


def header(page: Any, position: int) -> Any:
    return page.locator("table.dataTable thead th").nth(position)


COLUMNS: dict[str, tuple[list[Any], Any]] = {
    "floats": ([2.0, -1.5, 1e-9, -1e20, math.inf, -math.inf, math.nan, 10.0, 0.0], None),
    "numbers": ([2.0, -1.5, 1e-9, -1e20, 3e5, 10.0, 0.0, 123456.789], None),
    "formatted": ([2.0, -1.5, 100.0, -30.25, None, 20.0], format_float),
    "integers": ([5, -7, 100, 20, 0], None),
    "large": ([2**53 + 1, 2**53 + 3, 2**53 + 2, -(2**60)], None),
    "progress": ([0.5, 1.0, 0.05, None, -0.1, 0.123], None),
    "percent": ([0.5, 1.0, 0.05, None, 10.0], format_percentage),
    "time": ([*TIMES, None], None),
    "absolute": ([*TIMES, None], format_datetime),
    "duration": ([timedelta(seconds=s) for s in (90, 3600, -5, 0.001, 86400 * 40, 86400 * 5)] + [None], None),
    "truth": ([True, False, None, True], None),
    "status": (["RUNNING", None, "COMPLETED", "FAILED", "CANCELLED by 1000", "äöü"], None),
    "text": (["b", "a2", "A10", None, "ä", "<b>", "-1", "long text that does not fit into the cell at all"], None),
    "beginning with digits": (["10", "9 ü", "9a", "1", "11ä", "100", "2", "20", "3", "-3", "é", "z", "8"], None),
    "plain digits": (["10", "9 u", "9a", "1", "11", "100", "2", "20", "3", "-3", "e", "z", "8"], None),
    "mixed": (["text", 3, 2.5, None, {"a": 1}, True], None),
}


def by_value(value: Any) -> tuple[Any, ...]:
    """The expected order, written differently than in the code."""
    if value is None or value != value:
        return (9,)
    kinds = [(bool, 0), (int, 0), (float, 0), (datetime, 1), (timedelta, 2), (str, 3), (dict, 4)]
    kind = next(number for type_, number in kinds if isinstance(value, type_))
    return kind, str(value).lower() if kind >= 3 else value


def test_clicking_a_header_sorts_by_value(open_page: Any, write_page: Any) -> None:
    """Missing values come last in both directions."""
    frames = [
        format_dataframe(
            pd.DataFrame({"row": range(len(values)), name: pd.Series(values)}), {name: function} if function else None
        )
        for name, (values, function) in COLUMNS.items()
    ]
    with open_page(write_page(*frames, showIndex=False, pageLength=50)) as page:
        page.wait_for_function(f"document.querySelectorAll('div.dt-container').length == {len(COLUMNS)}")
        for number, (name, (values, _)) in enumerate(COLUMNS.items()):
            table = page.locator("div.dt-container table.dataTable").nth(number)
            expected = [str(row) for row in sorted(range(len(values)), key=lambda row: by_value(values[row]))]
            distinct = {str(row) for row, value in enumerate(values) if values.count(value) == 1}
            missing = [str(row) for row, value in enumerate(values) if by_value(value) == (9,)]
            assert expected[len(values) - len(missing) :] == missing
            turned = [*reversed(expected[: len(values) - len(missing)]), *missing]
            head = table.locator("thead th").nth(1)
            sort_by(head)
            assert first_cells(table) == expected, name
            sort_by(head, "descending")
            descending = first_cells(table)
            assert [row for row in descending if row in distinct] == [row for row in turned if row in distinct], name


def first_cells(table: Any) -> list[str]:
    cells: list[str] = table.locator("tbody tr").evaluate_all("rows => rows.map(row => row.cells[0].innerText.trim())")
    return cells


def test_ranks_of_many_rows_sort(open_page: Any, write_page: Any) -> None:
    values = list(np.random.default_rng(0).permutation(600) / 7 - 30)
    frame = pd.DataFrame({"row": range(600), "value": [*values[:-1], None]})
    with open_page(write_page(format_dataframe(frame), showIndex=False, paging=False, maxBytes=0)) as page:
        sort_by(header(page, 1))
        order = [int(row[0]) for row in rows(page)]
        sort_by(header(page, 1), "descending")
        turned = [int(row[0]) for row in rows(page)]
    assert order == [*sorted(range(599), key=lambda row: values[row]), 599]
    assert turned == [*reversed(order[:-1]), 599]


# Jupyter's own stylesheet for tables.
JUPYTER = "<style>.jp-RenderedHTMLCommon:not(.jp-RenderedMarkdown) :is(td, th, tr) { text-align: right }</style>"


def test_text_is_on_the_left_and_numbers_are_on_the_right(open_page: Any, write_page: Any) -> None:
    """The same goes for their headings, formatted or missing numbers, and empty columns."""
    frame = pd.DataFrame(
        {
            "text": ["a", "a longer text", None],
            "number": [1, 20, 3],
            "formatted": [0.5, None, 100.25],
            "status": ["FAILED", "my own", None],
            "tags": [{"x": True}, {"a longer tag": True}, None],
            "time": [*TIMES[:2], None],
            "nothing": [None, None, None],
            "mixed": ["x", 5, None],
        },
        index=["first run", "second", "third"],
    )
    centered = {"columnDefs": [{"className": "dt-center", "targets": [6]}]}
    path = write_page(format_dataframe(frame, {"formatted": format_float}), **centered)
    text = path.read_text(encoding="utf-8").replace("</title>", f"</title>{JUPYTER}", 1)
    path.write_text(text.replace("<!--|", '<div class="jp-RenderedHTMLCommon"><!--|', 1), encoding="utf-8")
    with open_page(path) as page:
        rows(page)
        for part in ("thead th", "tbody tr:first-child td"):
            sides = page.eval_on_selector_all(
                f"table.dataTable {part}", "cells => cells.map(cell => getComputedStyle(cell).textAlign)"
            )
            assert sides[:7] == ["left", "left", "right", "right", "left", "left", "center"], part
            assert sides[-1] == "left", part


def test_a_hash_is_as_wide_as_its_visible_part_and_found_as_a_whole(open_page: Any, write_page: Any) -> None:
    """Its first digits are shown; the full hash is in the tooltip, can be searched and is copied."""
    hashes = [f"{number:02x}d1{'9f' * 18}" for number in range(12)]
    frame = pd.DataFrame({"commit": hashes, "path": [f"/data/{'x' * 80}/{number}" for number in range(12)]})
    with open_page(write_page(format_dataframe(frame), showIndex=False, pageLength=50)) as page:
        rows(page)
        width = "cells => cells.map(cell => cell.getBoundingClientRect().width)"
        commit, path = page.eval_on_selector_all("table.dataTable tbody tr:first-child td", width)
        ch = page.evaluate("parseFloat(getComputedStyle(document.querySelector('.sqltrack-hash')).fontSize)")
        assert 5 * ch < commit < 10 * ch
        assert path < 32 * ch
        assert page.get_attribute(".sqltrack-hash", "title") == hashes[0]
        assert page.inner_text(".sqltrack-hash >> nth=0") == hashes[0]
        assert [row.partition("d1")[0] for row in search(page, hashes[1])] == ["01"]
        assert len(search(page, "d19f")) == 12


def test_nothing_is_cut_twice(open_page: Any, write_page: Any) -> None:
    """Neither the text in the cell nor the cell around it, also in narrow transposed tables."""
    frame = pd.DataFrame({"commit": ["9f" * 20, "8e" * 20], "args": [{"a": ["x" * 50]}, None], "text": ["y" * 50, "z"]})
    overflow = "cells => cells.filter(cell => cell.scrollWidth > cell.clientWidth + 1).length"
    for table in (format_dataframe(frame).T, notebook.format_comparison(frame)):
        with open_page(write_page(table, classes="compact nowrap cell-max-width-15em", paging=False)) as page:
            rows(page)
            assert page.eval_on_selector_all("table.dataTable td", overflow) == 0
            assert page.eval_on_selector_all(".sqltrack-text", overflow) >= 3


def search(page: Any, text: str) -> list[str]:
    page.fill("input[type=search]", text)
    page.wait_for_timeout(400)
    return [row[0] for row in rows(page)]


def test_searching_finds_visible_text_and_ignores_hidden_keys(open_page: Any, write_page: Any) -> None:
    frame = pd.DataFrame(
        {
            "row": [f"r{letter}" for letter in "abcdefghijklm"],
            "loss": [0.25, 12.5, math.nan, *[8203.0] * 10],
            "status": ["FAILED", "COMPLETED", "RUNNING", *["my own <state>"] * 10],
            "text": ["a very long text, end to end", "ü & <b>", "x", *["y"] * 10],
        }
    )
    with open_page(write_page(format_dataframe(frame), showIndex=False, pageLength=50)) as page:
        rows(page)
        assert search(page, "12.5") == ["rb"]
        assert search(page, "failed") == ["ra"]
        assert search(page, "very long text, end") == ["ra"]
        assert search(page, "ü & <b>") == ["rb"]
        assert search(page, "u & <b>") == ["rb"]
        assert len(search(page, "<state>")) == 10
        # Users do not type the keys; 8203 is the number of one of their characters.
        assert len(search(page, "8203")) == 10
        assert search(page, "8204") == ["No matching records found"]
        assert search(page, "number") == ["No matching records found"]


def test_hostile_text_is_shown_as_text_everywhere(open_page: Any, write_page: Any) -> None:
    frame = pd.DataFrame(
        {
            "status": HOSTILE,
            "tags": [{text: text} for text in HOSTILE],
            HOSTILE[0]: HOSTILE,
            HOSTILE[1]: [{text: [text]} for text in HOSTILE],
            HOSTILE[4]: [*HOSTILE[:5], 1],
        },
        index=pd.Index(HOSTILE, name=HOSTILE[1]),
    )
    frame.columns.name = HOSTILE[0]
    with open_page(write_page(format_dataframe(frame, string_ellipsis=False), pageLength=50)) as page:
        cells = rows(page)
        heads = page.eval_on_selector_all(
            "table.dataTable thead th .dt-column-title", "heads => heads.map(head => head.innerText)"
        )
        assert page.evaluate("window.hacked") is None
        assert page.evaluate("document.querySelectorAll('td script, td img, td svg, td b, th img, th b').length") == 0
    assert {HOSTILE[0], HOSTILE[1], HOSTILE[4]} <= set(heads)
    for text, row in zip(HOSTILE, cells):
        assert row[0] == text
        assert row[1] == f"• {text}"
        assert row[2] == f"{text}={text}"
        assert row[3] == text
    assert [row[5] for row in cells] == [*HOSTILE[:5], "1"]


def test_the_comparison_of_runs_side_by_side_marks_differences(open_page: Any, write_page: Any) -> None:
    """Runs are columns, and rows whose cells differ have another color."""
    frame = pd.DataFrame({"id": [3, 1], "status": ["FAILED", "FAILED"], "progress": [0.5, 1.0], "lr": [0.1, 0.1]})
    mark = itables.JavascriptFunction(
        """function (td, cellData, rowData, row, col) {
            if (col > 0 && !rowData.slice(1).every((val, i, arr) => val === arr[0])) { $(td).css('color', 'OrangeRed') }
        }"""
    )
    options = {"columnDefs": [{"targets": "_all", "createdCell": mark}], "paging": False, "layout": {"topStart": None}}
    with open_page(write_page(format_dataframe(frame.set_index("id")).T, **options)) as page:
        assert [row[0] for row in rows(page)] == ["status", "progress", "lr"]
        colors = page.eval_on_selector_all(
            "table.dataTable tbody tr", "rows => rows.map(row => row.cells[1].style.color)"
        )
    assert colors == ["", "orangered", ""]


def computed(page: Any, selector: str, name: str) -> str:
    style: str = page.eval_on_selector(selector, f"element => getComputedStyle(element).{name}")
    return style


@pytest.mark.parametrize("attribute", [None, ("data-jp-theme-light", "false"), ("class", "vscode-dark")])
def test_colors_follow_the_theme(open_page: Any, write_page: Any, attribute: tuple[str, str] | None) -> None:
    path = write_page(format_dataframe(pd.DataFrame({"s": ["FAILED", "COMPLETED"]})))
    with open_page(path) as page:
        rows(page)
        light = computed(page, ".sqltrack-failed", "color")
        if attribute:
            page.evaluate("([name, value]) => document.body.setAttribute(name, value)", list(attribute))
            dark = computed(page, ".sqltrack-failed", "color")
    if not attribute:
        with open_page(path, dark=True) as page:
            rows(page)
            dark = computed(page, ".sqltrack-failed", "color")
            # The notebook's setting has priority over the system's. itables puts "dark" on the page itself.
            page.evaluate("document.body.setAttribute('data-jp-theme-light', 'true')")
            assert computed(page, ".sqltrack-failed", "color") == light
    assert light != dark


def test_bars_end_at_zero_and_at_full_width(open_page: Any, write_page: Any) -> None:
    frame = pd.DataFrame({"progress": [-0.5, 0.25, 7.0]})
    with open_page(write_page(format_dataframe(frame))) as page:
        assert [row[-1] for row in rows(page)] == ["-50.0%", "25.0%", "700.0%"]
        sizes = page.eval_on_selector_all(
            "table.dataTable .sqltrack-bar", "bars => bars.map(bar => getComputedStyle(bar).backgroundSize)"
        )
    assert sizes == ["0% 100%", "25% 100%", "100% 100%"]


def test_long_text_is_cut_on_the_chosen_side(open_page: Any, write_page: Any) -> None:
    """The visible part is the end of the text for 'left', and its beginning for 'right'."""
    text = "begin-" + "x" * 80 + "-end"
    edges = """([element]) => {
        const box = element.getBoundingClientRect(), text = element.firstElementChild.getBoundingClientRect();
        return [text.left < box.left - 1, text.right > box.right + 1];
    }"""
    for side, expected in (("left", [True, False]), ("right", [False, True])):
        path = write_page(format_dataframe(pd.DataFrame({"text": [text]}), string_ellipsis=side))
        with open_page(path) as page:
            rows(page)
            assert page.eval_on_selector_all(".sqltrack-text", edges) == expected
            assert page.get_attribute(".sqltrack-text", "title") == text


def test_hidden_keys_take_no_room_without_a_stylesheet(open_page: Any, tmp_path: Path) -> None:
    path = tmp_path / "plain.html"
    path.write_text(notebook.to_html(format_dataframe(pd.DataFrame({"x": [1.5, None]}))), encoding="utf-8")
    with open_page(path) as page:
        assert page.inner_text("tbody tr:nth-child(1) td") == "1.5"
        assert computed(page, ".sqltrack-key", "display") == "none"
