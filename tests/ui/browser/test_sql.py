"""The view of SQL: editor, completion, results as table and chart, errors with their place, history."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from support.axe import violations

pytestmark = pytest.mark.page

EDITOR = ".sql-editor .ace_text-input"
HOSTILE = '"><img src=x onerror="window.hacked = 1"><script>window.hacked = 1</script>'


def path_of(**query: Any) -> str:
    """Return the address of the view with a query."""
    return f"sql?o={quote(json.dumps({'sql': query}))}"


def write(page: Any, text: str) -> None:
    """Replace the text of the editor."""
    page.locator(EDITOR).focus()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)
    # The list of completions closes.
    page.keyboard.press("Escape")


def run(page: Any, text: str | None = None) -> None:
    """Run a query by the keyboard, and wait for its end."""
    page.locator(EDITOR).wait_for(state="attached")
    if text is not None:
        write(page, text)
    page.locator(EDITOR).focus()
    with page.expect_response(lambda response: "/api/sql" in response.url):
        page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Stop").wait_for(state="detached")


def cells(page: Any) -> list[list[str]]:
    """Return the texts of the table's rows."""
    page.locator(".sql-grid .ag-cell").first.wait_for()
    texts: list[list[str]] = page.eval_on_selector_all(
        ".sql-grid .ag-row",
        """rows => rows.sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
            .map(row => [...row.querySelectorAll(".ag-cell")].map(cell => cell.innerText))""",
    )
    return texts


def text_of(page: Any) -> str:
    page.locator(EDITOR).wait_for(state="attached")
    text: str = page.evaluate("document.querySelector('.sql-editor').env.editor.getValue()")
    return text


def test_ctrl_enter_runs_the_query_and_the_address_keeps_it(open_page: Any) -> None:
    with open_page() as page:
        page.locator(".run-link").first.wait_for()
        page.keyboard.press("g")
        page.keyboard.press("q")
        run(page, "SELECT 1 AS one, 'text' AS two, 0.25 AS half")
        assert cells(page) == [["1", "text", "0.25"]]
        assert "1 row in" in page.locator(".sql-status").inner_text()
        page.reload()
        assert cells(page) == [["1", "text", "0.25"]]
        assert text_of(page) == "SELECT 1 AS one, 'text' AS two, 0.25 AS half"


def test_a_draft_stays_while_another_view_is_looked_at(open_page: Any) -> None:
    with open_page(path_of(text="SELECT 7 AS seven")) as page:
        assert cells(page) == [["7"]]
        write(page, "SELECT 8")
        page.get_by_role("link", name="Live").click()
        page.wait_for_url("**/live?*")
        page.get_by_role("link", name="SQL", exact=True).click()
        assert cells(page) == [["7"]]
        page.locator(EDITOR).wait_for(state="attached")
        assert text_of(page) == "SELECT 8"
        # Back in the browser's history is the query of before.
        run(page)
        assert cells(page) == [["8"]]
        page.go_back()
        page.locator(".ag-cell", has_text="7").wait_for()
        assert text_of(page) == "SELECT 7 AS seven"


def test_names_are_completed_and_quoted(open_page: Any) -> None:
    with open_page("sql") as page:
        page.locator(".sql-names li").first.wait_for()
        page.locator(EDITOR).wait_for(state="attached")
        write(page, "SELECT MAX() FROM metrics AS m")
        for _ in ") FROM metrics AS m":
            page.keyboard.press("ArrowLeft")
        page.keyboard.type("gpu")
        page.locator(".ace_autocomplete", has_text="gpu util %").wait_for()
        page.keyboard.press("Enter")
        assert text_of(page) == 'SELECT MAX("gpu util %") FROM metrics AS m'
        # A qualifier leaves only the columns of its table.
        page.keyboard.press("End")
        page.keyboard.type(" WHERE m.")
        popup = page.locator(".ace_autocomplete:visible")
        popup.get_by_text("run_id").wait_for()
        assert popup.get_by_text("keyword").count() == 0
        page.keyboard.type("st")
        popup.get_by_text("progress").wait_for(state="detached")
        page.keyboard.press("Tab")
        assert text_of(page).endswith("WHERE m.step")


def test_an_error_is_marked_at_its_place(open_page: Any) -> None:
    problems: list[str] = []
    with open_page("sql", problems=problems) as page:
        run(page, "SELECT step,\n  missing_one\nFROM metrics")
        page.get_by_role("alert").get_by_text("missing_one").wait_for()
        assert "line 2, column 3" in page.get_by_role("alert").inner_text()
        assert page.locator(".sql-error-mark").count() == 1
        assert page.locator(".ace_error").count() == 1
        page.keyboard.type("run_id, ")
        assert text_of(page) == "SELECT step,\n  run_id, missing_one\nFROM metrics"
        assert page.locator(".sql-error-mark").count() == 0
        for text in ("DELETE FROM runs", "SELECT 1; DROP TABLE runs"):
            run(page, text)
            page.get_by_role("alert").wait_for()
        run(page, "SELECT COUNT(*) FROM runs")
        assert cells(page) == [["120"]]
        page.get_by_role("alert").wait_for(state="detached")
    assert {problem.partition(":")[0] for problem in problems} == {"Failed to load resource"}


def test_more_rows_than_the_limit_are_told_and_the_result_sorts(open_page: Any) -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10001) SELECT i FROM n"
    with open_page(path_of(text=numbers)) as page:
        page.locator(".note.warning", has_text="there are more").wait_for()
        assert "10 000 rows" in page.locator(".sql-status").inner_text().replace("\u202f", " ")
        page.locator(".ag-header-cell").click()
        page.locator(".ag-header-cell").click()
        page.locator(".ag-row[row-index='0']", has_text="10000").wait_for()


def test_a_query_can_be_stopped(open_page: Any) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"
    with open_page(path_of(text=endless)) as page:
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("alert").get_by_text("The query was stopped").wait_for()
        run(page, "SELECT 3 AS three")
        assert cells(page) == [["3"]]


def run_query(page: Any) -> None:
    """Run the query of the editor, and wait until it is in the history, which has only queries that the user runs."""
    with page.expect_response(lambda answer: answer.url.endswith("/api/history")):
        page.get_by_role("button", name="Run", exact=True).click()


def test_values_are_text_and_nothing_else(open_page: Any) -> None:
    hostile = HOSTILE.replace("'", "''")
    with open_page(
        path_of(text=f"SELECT '{hostile}' AS a, 'NaN' AS \"{HOSTILE.replace(chr(34), chr(34) * 2)}\"")
    ) as page:
        assert cells(page)[0][0] == HOSTILE
        run_query(page)
        page.get_by_role("button", name="Chart", exact=True).click()
        page.locator(".sql-canvas").wait_for()
        page.get_by_role("button", name="History").click()
        page.locator(".sql-queries li").first.wait_for()
        assert page.evaluate("window.hacked") is None


def test_a_result_is_drawn_with_chosen_columns(open_page: Any) -> None:
    query = (
        "SELECT step, args ->> 'model' AS model, AVG(val_top1) AS top1, MIN(val_loss) AS loss "
        "FROM metrics JOIN runs ON runs.id = run_id GROUP BY step, args ->> 'model' ORDER BY step"
    )
    with open_page(path_of(text=query)) as page:
        cells(page)
        page.get_by_role("button", name="Table", exact=True).focus()
        page.keyboard.press("c")
        chart = page.locator(".sql-canvas")
        page.get_by_role("img", name="Chart of loss by step, 4 series").wait_for()
        page.get_by_role("checkbox", name="top1").check()
        page.get_by_role("img", name="Chart of top1, loss by step, 8 series").wait_for()
        page.get_by_label("split by").select_option(label="nothing")
        page.get_by_role("img", name="Chart of top1, loss by step, 2 series").wait_for()
        page.locator("select", has=page.locator("option[value=scatter]")).select_option(label="Points")
        page.get_by_role("button", name="log y").click()
        assert chart.locator("canvas").count() == 1
        page.get_by_role("button", name="Export").click()
        with page.expect_download() as download:
            page.get_by_role("button", name="Chart as SVG").click()
        assert Path(download.value.path()).read_text().startswith("<svg")
        page.reload()
        page.get_by_role("img", name="Chart of top1, loss by step, 2 series").wait_for()
        assert page.get_by_role("button", name="log y").get_attribute("aria-pressed") == "true"


def test_a_chart_as_python_draws_the_same_values(open_page: Any, demo: Any, tmp_path: Path) -> None:
    query = (
        'SELECT step, args ->> \'model\' AS model, AVG(val_top1) AS "top""1", COUNT(*) AS n '
        "FROM metrics JOIN runs ON runs.id = run_id WHERE val_top1 <> 'NaN' GROUP BY 1, 2 ORDER BY step"
    )
    with open_page(path_of(text=query, show="chart", chart={"x": 0, "y": [2], "by": 1, "kind": "line"})) as page:
        page.get_by_role("img", name="4 series").wait_for()
        page.get_by_role("button", name="Export").click()
        page.get_by_role("button", name="As Python").click()
        program = page.locator("dialog pre").inner_text()
    shown = "import json; print(json.dumps({line.get_label(): list(line.get_ydata()) for line in axes.lines}))"
    command = [sys.executable, "-c", f"{program}\n{shown}"]
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    expected: dict[str, list[float]] = {}
    for _, model, value, _ in demo.client.execute(query).fetchall():
        expected.setdefault(model, []).append(value)
    assert json.loads(done.stdout) == expected
    assert (tmp_path / "query.pdf").stat().st_size > 1000


def test_the_runs_of_a_result_become_the_selection(open_page: Any, demo: Any) -> None:
    query = "SELECT run_id, MAX(val_top1) AS best FROM metrics GROUP BY run_id ORDER BY best DESC LIMIT 3"
    with open_page(path_of(text=query)) as page:
        page.get_by_role("button", name="Select 3 runs").click()
        page.get_by_role("button", name="Selected", exact=True).wait_for()
        assert page.locator(".nav-link .badge").first.inner_text() == "3"
        ids = [row[0] for row in cells(page)]
        assert page.locator(".sql-grid .run-link").first.get_attribute("href").split("?")[0].endswith(f"run/{ids[0]}")


def test_the_sql_of_a_view_opens_here(open_page: Any) -> None:
    with open_page("?f=args~model:resnet50&sort=-metric~max~val_top1") as page:
        page.locator(".run-link").first.wait_for()
        best = page.locator(".run-link").first.inner_text()
        page.get_by_role("button", name="Export").click()
        page.get_by_role("button", name="As SQL").click()
        page.get_by_role("button", name="Open in SQL").click()
        page.wait_for_url("**/sql?*")
        assert cells(page)[0][0] == best
        assert "resnet50" in text_of(page)


def test_past_queries_come_back_and_can_be_forgotten(
    fill_database: Callable[..., Any], serve: Callable[..., AbstractContextManager[str]], open_page: Any, tmp_path: Path
) -> None:
    own = fill_database(tmp_path / "few.db", runs=1, epochs=2)
    with serve(own.path) as address, open_page("sql", address=address) as page:
        for text in ("SELECT 1 AS a", "SELECT 2 AS b", "SELECT 1 AS a"):
            run(page, text)
        page.get_by_role("button", name="History").click()
        page.locator(".sql-queries li").nth(1).wait_for()
        assert page.locator(".sql-queries li code").all_inner_texts() == ["SELECT 1 AS a", "SELECT 2 AS b"]
        page.locator(".sql-queries li button").nth(2).click()
        assert text_of(page) == "SELECT 2 AS b"
        page.get_by_label("Forget this query").first.click()
        page.locator(".sql-queries li").nth(1).wait_for(state="detached")
        page.reload()
        page.get_by_role("button", name="History").click()
        page.locator(".sql-queries li").first.wait_for()
        assert page.locator(".sql-queries li code").all_inner_texts() == ["SELECT 2 AS b"]
        page.get_by_role("button", name="Forget all").click()
        page.get_by_text("No queries yet").wait_for()


def test_the_view_works_by_keyboard_and_tab_leaves_the_editor(open_page: Any) -> None:
    with open_page("sql") as page:
        page.locator(".sql-names li").first.wait_for()
        page.locator(EDITOR).wait_for(state="attached")
        page.wait_for_function("document.activeElement.className.includes('ace_text-input')")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.innerText") == "Run"
        with page.expect_response(lambda response: "/api/sql" in response.url):
            page.keyboard.press("r")
        cells(page)
        page.keyboard.press("i")
        assert "ace_text-input" in page.evaluate("document.activeElement.className")


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 390)])
def test_the_view_is_accessible(open_page: Any, dark: bool, width: int) -> None:
    with open_page(path_of(text="SELECT id, status FROM runs"), dark=dark, width=width) as page:
        cells(page)
        page.locator(EDITOR).wait_for(state="attached")
        run_query(page)
        if width < 900:
            page.get_by_role("button", name="Names", exact=True).click()
        for part in ("Examples", "History", "Names"):
            page.locator(".sql-parts").get_by_role("button", name=part).click()
            page.locator(".sql-queries li, .sql-names").first.wait_for()
            assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
