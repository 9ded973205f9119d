"""The functions behind the charts, called in a browser: axes, and the points near the pointer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture
def call(open_page: Callable[..., Any]) -> Iterator[Callable[[str, str], Any]]:
    """A function that passes a module of the page to a JavaScript function, and returns its result."""
    with open_page() as page:
        page.locator(".run-link").first.wait_for()
        session = page.context.new_cdp_session(page)

        def run(module: str, function: str) -> Any:
            # Not by eval in the page, which the page's policy refuses.
            expression = (
                f'import(new URL("{module}", document.querySelector("script[type=module]").src).href).then({function})'
            )
            answer = session.send(
                "Runtime.evaluate", {"expression": expression, "awaitPromise": True, "returnByValue": True}
            )
            assert "exceptionDetails" not in answer, answer
            return answer["result"].get("value")

        yield run


@pytest.mark.page
def test_ticks_are_round_and_have_labels_that_differ(call: Callable[[str, str], Any]) -> None:
    cases: list[tuple[bool, float, float, list[str]]] = [
        (False, 0, 10, ["0", "2", "4", "6", "8", "10"]),
        (False, -0.31, 0.28, ["-0.2", "0.0", "0.2"]),
        (False, 1999.2, 2000.1, ["1999.2", "1999.4", "1999.6", "1999.8", "2000.0"]),
        (False, 0, 5e-9, ["0", "1e-9", "2e-9", "3e-9", "4e-9", "5e-9"]),
        (
            False,
            2_000_000,
            2_000_010,
            ["2.000000e6", "2.000002e6", "2.000004e6", "2.000006e6", "2.000008e6", "2.000010e6"],
        ),
        (True, 0.05, 6, ["0.1", "0.3", "1", "3"]),
        (True, 1e-8, 1e8, ["1e-8", "1e-4", "1", "1e4", "1e8"]),
        (True, 0.21, 0.29, ["0.22", "0.24", "0.26", "0.28"]),
    ]
    for log, low, high, expected in cases:
        labels = call(
            "scales.js",
            f"""({{ makeScale, findTicks, labelTicks }}) => {{
                const scale = makeScale({str(log).lower()});
                return labelTicks(scale, findTicks(scale, [scale.to({low}), scale.to({high})], 5));
            }}""",
        )
        assert labels == expected, (log, low, high)


@pytest.mark.page
def test_the_nearest_curve_is_that_of_the_nearest_segment(call: Callable[[str, str], Any]) -> None:
    found = call(
        "nearest.js",
        """({ findNearest }) => {
            const line = (name, px, py) => ({ name, px, py, isSorted: true });
            const far = line("far", [0, 20, 40], [5, 90, 90]);
            const steep = line("steep", [0, 20, 40], [0, 100, 200]);
            return findNearest([far, steep], 12, 58).map(({ line, index }) => [line.name, index]);
        }""",
    )
    assert found == [["steep", 1], ["far", 1]]


@pytest.mark.page
def test_only_the_points_of_the_window_are_drawn_with_their_neighbors(call: Callable[[str, str], Any]) -> None:
    cases: list[tuple[list[float], tuple[float, float], list[int]]] = [
        ([0, 1, 2, 3, 4, 5], (2, 3), [1, 5]),
        ([0, 1, 2, 3, 4, 5], (2.2, 2.8), [2, 4]),
        ([0, 1, 2, 3, 4, 5], (-1, 9), [0, 6]),
        ([0, 1, 2, 3, 4, 5], (6, 7), [5, 6]),
        ([0, 1, 2, 3, 4, 5], (-7, -6), [0, 1]),
        ([1, 1, 1, 2, 2, 2], (1, 1), [0, 4]),
        ([3], (0, 1), [0, 1]),
        ([], (0, 1), [0, 0]),
    ]
    for positions, extent, expected in cases:
        curve = f"{{ ax: Float64Array.of(...{positions}), isSorted: true }}"
        found = call("chart_option.js", f"({{ findWindow }}) => findWindow({curve}, {list(extent)})")
        # The end may lie behind the last point.
        assert list(range(len(positions)))[slice(*found)] == list(range(*expected)), (positions, extent, found)
    curve = "{ ax: Float64Array.of(3, 1, 2), isSorted: false }"
    assert call("chart_option.js", f"({{ findWindow }}) => findWindow({curve}, [1, 2])") == [0, 3]


@pytest.mark.page
def test_dashes_that_tell_metrics_apart_are_drawn_for_many_curves(call: Callable[[str, str], Any]) -> None:
    for needed, expected in ((True, ["solid", "4,2"]), (False, ["solid", "solid"])):
        looks = call(
            "chart_option.js",
            f"""({{ buildOption, placeCurves }}) => {{
                const dashes = Array.from({{ length: 26 }}, (_, index) => (index % 2 ? [4, 2] : []));
                const lines = dashes.map((dash) => ({{
                    x: [0, 1], y: [0, 1], marks: [], color: "red", dash, isDashNeeded: {str(needed).lower()},
                }}));
                const [x, y] = [{{ name: "step", log: false, range: null }}, {{ name: "", log: false }}];
                const colors = {{ text: "red", muted: "red", border: "red", surface: "red" }};
                const size = {{ width: 400, height: 300 }};
                const {{ series }} = buildOption(placeCurves(lines, [], x, y), {{ x: "", y: "" }}, colors, size);
                return series.slice(0, 2).map(({{ lineStyle }}) => String(lineStyle.type));
            }}""",
        )
        assert looks == expected
