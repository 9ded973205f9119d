"""Modules of the page: addresses, numbers, times and colors as texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.page

STATE = {
    "filter": {
        "facets": [
            {"column": ["args", "a,b:c~d!e"], "values": ["x", "=1", 1, True, None, {"$number": "NaN"}, "a:b,c", ""]},
            {"column": ["run", "status"], "values": ["FAILED"], "exclude": True},
        ],
        "where": "a > 1 AND b = 'x & y + 50%' -- é",
        "search": "مقارنة",
        "ids": [1, 2, 3, 9],
    },
    "selected": [5, 6, 7, 2],
    "sort": [{"column": ["metric", "max", "-v~"], "descending": True}, {"column": ["run", "id"], "descending": False}],
    "metrics": ["a,b", "c d"],
    "x": ["metric", "z"],
    "log": {"x": True, "y": True},
    "smoothing": 0.6,
    "join": True,
    "group": ["args", "lr"],
    "band": "sem",
    "range": [0.5, 1e-7],
    "columns": [["run", "id"], ["args", "x"], ["env", "A=B&C"]],
    "widths": {'["args","x,:"]': 120},
    "pinned": [["args", "x"]],
    "rowGroup": "all_but_seed",
    "groupSort": [{"column": ["group", "n"], "descending": True}],
    "value": ["at", "a~b", "max"],
    "other": {"nested": [1, "#?"]},
}

# Arguments and results of functions of format.js.
TEXTS: dict[str, list[tuple[Any, str]]] = {
    "formatNumber": [
        (0, "0"),
        (3, "3"),
        (123456789, "123456789"),
        (1e15, "1e15"),
        (0.1 + 0.2, "0.3"),
        (0.00001234567, "1.2346e-5"),
        (-12345678.9, "-1.2346e7"),
        ({"$number": "NaN"}, "NaN"),
        ({"$number": "-Infinity"}, "−∞"),
        ({"$number": "9007199254740993"}, "9007199254740993"),
    ],
    "formatDuration": [
        (0.25, "0.25 s"),
        (59.4, "59 s"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (3599.9, "1 h"),
        (90061, "1 d 1 h"),
        (None, ""),
    ],
    "formatCount": [(7, "7"), (1234567, "1\u202f234\u202f567")],
}


@pytest.fixture(scope="module")
def call(open_browser: Any, demo_address: str) -> Iterator[Callable[..., Any]]:
    """Call a function of a module in the browser: `call("format.js", "formatNumber", 0.5)`."""
    with open_browser(demo_address) as page:
        main = page.locator("script[src$='main.js']").get_attribute("src")
        code = """async ([path, name, values]) => {
            const result = (await import(new URL(path, document.baseURI).href))[name](...values);
            return result instanceof Map ? [...result] : result;
        }"""
        yield lambda module, name, *values: page.evaluate(code, [main.replace("main.js", module), name, values])


def test_state_comes_back_from_its_address(call: Callable[..., Any]) -> None:
    query = call("address.js", "writeState", STATE)
    assert call("address.js", "readState", query) == STATE


@pytest.mark.parametrize(
    "group",
    [
        "all_but_seed",
        ["tag", "a~b"],
        [["args", "a,b"], ["args", "-c"]],
        {"all_but": [["seed"], ["data", "seed,2"]]},
        {"all_but": []},
        None,
    ],
)
def test_groups_come_back_from_their_address(call: Callable[..., Any], group: Any) -> None:
    query = call("address.js", "writeState", {"group": group, "rowGroup": group})
    state = call("address.js", "readState", query)
    assert (state["group"], state["rowGroup"]) == (group, group)


def test_default_state_has_an_empty_address(call: Callable[..., Any]) -> None:
    assert call("address.js", "writeState", call("address.js", "readState", "")) == ""


@pytest.mark.parametrize(
    "query", ["?sel=x-y,-1&o={&f=:&w=a&sort=&log=q&range=a", "?%E0%A4%A&=&&q", "?ids=1-999999999999"]
)
def test_broken_address_still_gives_a_state(call: Callable[..., Any], query: str) -> None:
    state = call("address.js", "readState", query)
    assert set(STATE) - {"other"} <= set(state)
    assert len(state["filter"]["ids"] or []) <= 100_000


@pytest.mark.parametrize("name", TEXTS)
def test_values_are_written_for_readers(call: Callable[..., Any], name: str) -> None:
    assert [call("format.js", name, value) for value, _ in TEXTS[name]] == [text for _, text in TEXTS[name]]


def test_lines_of_eight_runs_have_different_colors_and_keep_them(call: Callable[..., Any]) -> None:
    ids = [191, 193, 197, 200, 202, 205, 7, 8]
    styles = dict(call("palette.js", "lineStyles", ids, "light"))
    assert len({style["color"] for style in styles.values()}) == 8
    assert {tuple(style["dash"]) for style in styles.values()} == {()}
    assert dict(call("palette.js", "lineStyles", ids[::-1], "light")) == styles
    assert dict(call("palette.js", "lineStyles", [193], "light"))[193] == styles[193]


def test_lines_of_32_runs_differ_in_color_or_dash(call: Callable[..., Any]) -> None:
    styles = dict(call("palette.js", "lineStyles", list(range(7, 320, 10)), "dark"))
    assert len({str(style) for style in styles.values()}) == 32
