"""The page made with Dash shows table, curves and comparison on both engines, and its address holds the state."""

from __future__ import annotations

import contextlib
import importlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest

import sqltrack
from support.browser import running_browser
from support.processes import running

EXAMPLES = Path(__file__).parents[2] / "examples"
LONGEST = 250
PATIENCE = 60.0
HOSTILE = "<img src=x onerror=\"document.title='hacked'\">"


@pytest.fixture
def address(client: sqltrack.Client, variables: dict[str, str]) -> Iterator[str]:
    """Address of the page for a database with made-up runs, and an experiment without runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        importlib.import_module("generate_experiment_data").generate(client, runs=40, epochs=5, first_id=1)
    sqltrack.Experiment(client, name=HOSTILE)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, str(EXAMPLES / "dash_app.py"), "--port", str(port)]
    with running(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=variables) as process:
        wait_for(lambda: answers(port) or process.poll() is not None)
        assert process.poll() is None
        yield f"http://127.0.0.1:{port}/"


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def choice(page: Any) -> dict[str, str]:
    """Return what the address of a page holds."""
    return {name: texts[0] for name, texts in parse_qs(urlsplit(page.url).query).items()}


def ids(page: Any) -> list[str]:
    """Return the ids of the runs at the top of the table."""
    # Rows that have moved keep their place in the document.
    code = "rows => rows.map((row) => [Number(row.getAttribute('row-index')), row.getAttribute('row-id')])"
    return [run for _, run in sorted(page.locator(".ag-row[row-id]").evaluate_all(code))]


def compared(page: Any) -> list[str]:
    """Return the ids of the runs in the comparison."""
    return list(page.locator("#comparison thead th").all_inner_texts()[1:])


def best(client: sqltrack.Client, function: str, metric: str, limit: int) -> list[str]:
    """Return the ids of the best runs of the first experiment, by a query of its own."""
    sql = f"""
        SELECT run_id FROM metrics JOIN runs ON runs.id = run_id
        WHERE experiment_id = 1 AND {metric} IS NOT NULL AND {metric} <> 'NaN' GROUP BY run_id
        ORDER BY {function}({metric}) {"DESC" if function == "MAX" else "ASC"}, run_id LIMIT {limit}
    """
    return [str(run_id) for (run_id,) in client.execute(sql)]


@pytest.mark.dash
def test_table_curves_and_comparison_follow_the_address(address: str, client: sqltrack.Client) -> None:
    with running_browser() as open_browser, open_browser(urljoin(address, "?experiment=1")) as page:
        page.set_default_timeout(30_000)
        page.locator(".js-plotly-plot .trace").first.wait_for()
        assert ids(page)[:5] == best(client, "MIN", "val_loss", 5)
        assert compared(page) == best(client, "MIN", "val_loss", 3)
        # A control changes the address, and all follows it.
        page.get_by_label("largest").check()
        page.wait_for_url("**best=max**")
        first, second = best(client, "MAX", "val_loss", 2)
        wait_for(lambda: ids(page)[:2] == [first, second])
        # The second click comes before the page has followed the first.
        for run in (first, second):
            page.locator(f".ag-row[row-id='{run}'] input:enabled").check()
        wait_for(lambda: compared(page) == [first, second])
        expected = {"experiment": "1", "metric": "val_loss", "best": "max", "runs": f"{first},{second}"}
        assert choice(page) == expected
        # The address alone is enough.
        page.reload()
        page.locator(".js-plotly-plot .trace").first.wait_for()
        assert (choice(page), compared(page)) == (expected, [first, second])
        assert page.locator(".ag-row-selected[row-id]").count() >= 2
        assert page.locator(".js-plotly-plot .trace").count() == 2
        page.locator(f".ag-row[row-id='{second}'] input:enabled").uncheck()
        wait_for(lambda: compared(page) == [first])
        page.go_back()
        wait_for(lambda: compared(page) == [first, second])
        assert choice(page) == expected


@pytest.mark.dash
def test_an_experiment_without_metrics_and_a_broken_address_are_no_errors(address: str) -> None:
    with running_browser() as open_browser, open_browser(address) as page:
        page.set_default_timeout(30_000)
        # The newest experiment has no runs.
        page.get_by_text("No run has a metric with numbers yet.").wait_for()
        assert page.get_by_text(HOSTILE, exact=True).first.is_visible()
        page.goto(urljoin(address, "?experiment=1&metric=gone&best=x&runs=5,999999,a"))
        page.locator(".js-plotly-plot .trace").first.wait_for()
        assert compared(page) == ["5"]
        assert page.title() == "Experiments"


def test_the_example_is_short_and_uses_public_names() -> None:
    text = (EXAMPLES / "dash_app.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    assert "sqltrack._" not in text
    assert "client._" not in text
