"""The view of runs: filters, sorts, columns, selection, keys, and what stays when the data change."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest

import sqltrack
from sqltrack import Client, Experiment
from sqltrack.commands import setup
from sqltrack.queries import first_value

pytestmark = pytest.mark.page

LONG = "x" * 5000
HOSTILE = [
    "<script>window.hacked = 1</script>",
    "'; DROP TABLE runs; --",
    '"><img src=x onerror="window.hacked = 1">',
    LONG,
]
RIGHT_TO_LEFT = "مقارنة النماذج"
TIME = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def table_ids(page: Any) -> list[int]:
    """Return the ids in the table from the top."""
    page.locator(".run-link").first.wait_for()
    # A row may be drawn anew while it is read.
    ids: list[int] = page.eval_on_selector_all(
        ".ag-row",
        """rows => rows.map(row => [Number(row.ariaRowIndex), Number(row.querySelector(".run-link")?.text)])
                       .filter(pair => pair[1] > 0).sort((a, b) => a[0] - b[0]).map(pair => pair[1])""",
    )
    return ids


def headings(page: Any) -> list[str]:
    """Return the texts of the headings from the left, without the column of ids."""
    page.locator(".ag-header-cell[col-id^='[']").first.wait_for()
    texts: list[str] = page.eval_on_selector_all(
        ".ag-header-cell[col-id^='[']",
        """cells => cells.sort((a, b) => a.getBoundingClientRect().x - b.getBoundingClientRect().x)
                         .map(cell => cell.innerText.replace(/\\s+/g, " ").trim())""",
    )
    return texts


def wait_for_count(page: Any, text: str) -> None:
    page.locator(".count-line").get_by_text(text, exact=True).wait_for()


def parameters(page: Any) -> dict[str, str]:
    """Return the parameters in the address of a page."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def value(demo: Any, sql: str) -> Any:
    """Return the first value that a statement selects."""
    return first_value(demo.client, sql)


def heading(page: Any, name: str) -> Any:
    return page.locator(".ag-header-cell", has=page.locator(f":text-is('{name}')"))


def choose_column(page: Any, search: str) -> None:
    """Open the chooser, and choose the first column that a search finds."""
    page.keyboard.press("c")
    page.get_by_label("Search columns").fill(search)
    page.locator("dialog .choices li", has_text=search).first.wait_for()
    page.locator("dialog .choices li").first.get_by_text(search).wait_for()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")


def test_three_best_runs_reach_a_curve_in_two_keys(open_page: Any) -> None:
    with open_page() as page:
        table_ids(page)
        page.keyboard.press("b")
        page.locator(".chip", has_text="3 selected").wait_for()
        page.keyboard.press("v")
        page.wait_for_url("**/curves?*")
        assert len(parameters(page)["sel"].split(",")) <= 3
        page.locator("canvas").first.wait_for()


def test_value_of_a_facet_filters_and_is_shown_as_text(open_page: Any, demo: Any) -> None:
    count = value(demo, "SELECT COUNT(*) FROM runs WHERE args ->> 'model' = 'resnet50'")
    with open_page() as page:
        page.locator(".facet label", has_text="resnet50").click()
        wait_for_count(page, f"{count} of 120 runs")
        assert page.locator(".chips .chip").inner_text().startswith("model (args) = resnet50")
        assert parameters(page) == {"f": "args~model:resnet50"}
        page.reload()
        wait_for_count(page, f"{count} of 120 runs")
        page.get_by_role("button", name="Clear", exact=True).click()
        wait_for_count(page, "120 runs")


def test_alt_click_on_a_value_excludes_it(open_page: Any, demo: Any) -> None:
    count = value(demo, "SELECT COUNT(*) FROM runs WHERE status != 'COMPLETED'")
    with open_page() as page:
        page.locator(".facet label", has_text="COMPLETED").click(modifiers=["Alt"])
        wait_for_count(page, f"{count} of 120 runs")
        assert parameters(page) == {"f": "-run~status:COMPLETED"}


def test_condition_in_sql_filters_and_its_errors_are_told(open_page: Any, demo: Any) -> None:
    count = value(demo, "SELECT COUNT(*) FROM runs WHERE status = 'FAILED'")
    problems: list[str] = []
    with open_page(problems=problems) as page:
        table_ids(page)
        page.keyboard.press("/")
        page.keyboard.type("status = 'FAILED'")
        page.keyboard.press("Enter")
        wait_for_count(page, f"{count} of 120 runs")
        page.keyboard.press("Control+a")
        page.keyboard.type("no_such_column > 1")
        page.keyboard.press("Enter")
        note = page.locator("#where-error")
        note.wait_for()
        assert "no_such_column" in note.inner_text()
        assert page.locator("#where").get_attribute("aria-invalid") == "true"
        assert parameters(page)["q"] == "no_such_column > 1"
    # The browser itself notes the status of the answer.
    assert all("status of 400" in problem for problem in problems)


def test_click_on_a_heading_sorts_all_runs(open_page: Any, demo: Any) -> None:
    with open_page("?c=metric~max~val_top1") as page:
        heading(page, "val_top1").click()
        page.wait_for_url("**sort=-metric~max~val_top1**")
        page.wait_for_timeout(300)
        best = table_ids(page)[0]
        assert best == value(demo, "SELECT run_id FROM metrics ORDER BY val_top1 DESC LIMIT 1")
        page.go_back()
        page.locator(".ag-row[row-index='0'] .run-link:text-is('120')").wait_for()


def test_selection_stays_over_sorting_and_a_new_filter(open_page: Any) -> None:
    with open_page("?c=run~status&sel=1,2,120") as page:
        page.locator(".ag-row[aria-selected=true]", has=page.locator(".run-link:text-is('120')")).wait_for()
        heading(page, "Run").click()
        heading(page, "Run").click()
        page.locator(".ag-row[aria-selected=true]", has=page.locator(".run-link:text-is('1')")).wait_for()
        assert page.locator(".ag-row[aria-selected=true] .run-link").count() == 2
        page.locator(".facet label", has_text="COMPLETED").click()
        page.locator(".chip", has_text="3 selected").wait_for()
        page.keyboard.press("u")
        page.locator(".ag-row[aria-selected=true]").first.wait_for(state="detached")
        assert "sel" not in parameters(page)


def test_keys_move_select_and_open(open_page: Any) -> None:
    with open_page() as page:
        first, second = table_ids(page)[:2]
        page.keyboard.press("j")
        page.keyboard.press("x")
        page.keyboard.press("j")
        page.keyboard.press("x")
        page.locator(".chip", has_text="2 selected").wait_for()
        page.wait_for_url(f"**/?sel={first},{second}")
        page.keyboard.press("k")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/run/{first}*")


def test_help_lists_the_keys_of_the_view(open_page: Any) -> None:
    with open_page() as page:
        table_ids(page)
        page.keyboard.press("?")
        dialog = page.get_by_role("dialog", name="Keys")
        dialog.wait_for()
        assert "select the three best" in dialog.inner_text()
        page.keyboard.press("Escape")
        dialog.wait_for(state="detached")
        page.keyboard.press("g")
        page.keyboard.press("e")
        page.wait_for_url("**/experiments")


def test_default_columns_are_few_and_without_the_environment(open_page: Any) -> None:
    with open_page(width=2560) as page:
        shown = headings(page)
        assert shown[:2] == ["Status", "Experiment"]
        assert len(shown) <= 14
        assert not [name for name in shown if name.endswith(" env")]
        assert [name for name in shown if name.endswith((" max", " min"))]


def test_chosen_column_shows_and_stays_in_a_fresh_browser(open_page: Any) -> None:
    with open_page("?c=run~status,args~model") as page:
        table_ids(page)
        choose_column(page, "val_top5")
        page.wait_for_url(lambda url: "v=" in url or "val_top5" in url)
        page.locator(".ag-header-cell[col-id*=val_top5]").wait_for(state="attached")
        shown, address = headings(page), page.url
    with open_page(address.split("/", 3)[3]) as page:
        page.locator(".ag-header-cell[col-id*=val_top5]").wait_for(state="attached")
        assert headings(page) == shown


def test_column_moves_by_drag_and_keeps_its_place_and_width(open_page: Any) -> None:
    with open_page("?c=run~status,args~model,args~batch_size&w=args~model:230") as page:
        assert headings(page) == ["Status", "model args", "batch_size args"]
        source, target = heading(page, "batch_size").bounding_box(), heading(page, "Status").bounding_box()
        page.mouse.move(source["x"] + 30, source["y"] + 15)
        page.mouse.down()
        page.mouse.move(target["x"] + 60, target["y"] + 15, steps=8)
        page.mouse.move(target["x"] + 20, target["y"] + 15, steps=4)
        page.mouse.up()
        page.wait_for_url("**c=args~batch_size,**")
        page.reload()
        assert headings(page) == ["batch_size args", "Status", "model args"]
        assert round(heading(page, "model").bounding_box()["width"]) == 230


def test_address_with_500_columns_is_short_and_opens_elsewhere(open_page: Any) -> None:
    columns = ",".join(f"extras~column_{number}" for number in range(500))
    widths = "extras~column_0:222"
    with open_page(f"?c={columns}&w={widths}") as page:
        table_ids(page)
        page.locator(".facet label", has_text="COMPLETED").click()
        page.wait_for_url("**/?v=*")
        address = page.url
        assert len(address) < 200
    with open_page(address.split("/", 3)[3]) as page:
        assert headings(page)[:2] == ["column_0 extras", "column_1 extras"]
        assert round(heading(page, "column_0").bounding_box()["width"]) == 222
        page.locator(".chip", has_text="Status = COMPLETED").wait_for()


def test_long_view_survives_a_reload_before_the_server_has_it(open_page: Any) -> None:
    columns = ",".join(f"extras~column_{number}" for number in range(500))
    with open_page(f"?c={columns}") as page:
        table_ids(page)
        page.route("**/api/states", lambda route: None)
        page.locator(".facet label", has_text="COMPLETED").click()
        page.locator(".chip", has_text="Status = COMPLETED").wait_for()
        # Chromium forgets the state of an entry that it has not stored yet.
        page.evaluate("history.replaceState(null, '')")
        page.reload()
        page.locator(".chip", has_text="Status = COMPLETED").wait_for()
        assert headings(page)[:2] == ["column_0 extras", "column_1 extras"]
        page.unroute("**/api/states")
        page.locator(".chip", has_text="Status = COMPLETED").get_by_role("button").click()
        page.wait_for_url("**/?v=*")
        page.goto(page.url.split("?")[0])
        assert table_ids(page)
        assert "column_0 extras" not in headings(page)


def test_saved_view_opens_by_its_name(open_page: Any) -> None:
    with open_page("?f=run~status:FAILED") as page:
        table_ids(page)
        page.get_by_role("button", name="Views").click()
        page.get_by_label("Name of this view").fill("failed <b>runs</b>")
        page.keyboard.press("Enter")
        page.locator(".menu-list button", has_text="failed <b>runs</b>").first.wait_for()
    with open_page("experiments") as page:
        page.get_by_role("button", name="Views").click()
        page.locator(".menu-list button", has_text="failed <b>runs</b>").first.click()
        page.wait_for_url("**f=run~status:FAILED**")
        page.locator(".chip", has_text="Status = FAILED").wait_for()


def test_view_that_was_lost_is_told(open_page: Any) -> None:
    problems: list[str] = []
    with open_page("?v=s_0000000000000000", problems=problems) as page:
        page.locator(".note", has_text="cannot be opened").wait_for()
        assert len(table_ids(page)) > 10


def test_only_the_selected_runs_are_shown(open_page: Any) -> None:
    with open_page("?sel=3-5") as page:
        table_ids(page)
        page.keyboard.press("o")
        wait_for_count(page, "3 of 120 runs")
        assert sorted(table_ids(page)) == [3, 4, 5]
        assert parameters(page) == {"sel": "3-5", "ids": "3-5"}
        page.keyboard.press("o")
        wait_for_count(page, "120 runs")


def test_view_is_given_as_sql_python_and_csv(open_page: Any, demo: Any) -> None:
    with open_page("?c=args~model,metric~max~val_top1&f=run~status:FAILED") as page:
        ids = table_ids(page)
        page.get_by_role("button", name="Export").click()
        page.get_by_role("button", name="As SQL").click()
        sql = page.locator("dialog pre").inner_text()
        # It runs as it stands.
        with sqlite3.connect(demo.path) as connection:
            assert [row[0] for row in connection.execute(sql)][: len(ids)] == ids
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Export").click()
        page.get_by_role("button", name="As Python").click()
        compile(page.locator("dialog pre").inner_text(), "python", "exec")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Export").click()
        with page.expect_download() as download:
            page.get_by_role("button", name="All rows as CSV").click()
        lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
        count = value(demo, "SELECT COUNT(*) FROM runs WHERE status = 'FAILED'")
        assert len(lines) == count + 1


def test_hostile_texts_are_shown_as_texts(
    fill_database: Callable[..., Any], tmp_path: Path, open_page: Any, serve: Any
) -> None:
    demo = fill_database(tmp_path / "hostile.db", runs=0)
    for text in [*HOSTILE, RIGHT_TO_LEFT]:
        experiment = Experiment(demo.client, name=text)
        run = experiment.get_run().set_args({text: text, "text": text}).set_comment(text).set_tags(text)
        run.set_status("COMPLETED")
        run.add_metrics({text[:60]: 1.0})
    columns = ",".join(("run~comment", "run~tags", "args~text"))
    with (
        serve(demo.path) as address,
        open_page(f"?c={columns}&sort=args~text", address=address) as page,
    ):
        assert len(table_ids(page)) == 5
        cells = page.locator(".ag-row").all_inner_texts()
        assert all(any(text in cell for cell in cells) for text in [*HOSTILE[:3], RIGHT_TO_LEFT])
        page.goto(urljoin(address, "experiments"))
        page.locator(".experiment").nth(4).wait_for()
        names = page.locator(".experiment h2 bdi").all_inner_texts()
        assert sorted(names) == sorted([*HOSTILE, RIGHT_TO_LEFT])
        page.goto(urljoin(address, "/"))
        page.locator(".facet label", has_text="DROP TABLE").first.click()
        wait_for_count(page, "1 of 5 runs")
        assert page.evaluate("window.hacked") is None


def shown_values(page: Any, run_id: int) -> dict[str, str]:
    """Return the texts of a run's cells, by the names of their columns, such as "lr" or "duration"."""
    texts: dict[str, str] = page.evaluate(
        """id => Object.fromEntries(
            [...document.querySelectorAll(`.ag-row[row-id="${id}"] .ag-cell[col-id^="["]`)]
                .map(cell => [cell.getAttribute("col-id").replaceAll("&quot;", `"`), cell.innerText])
                .map(([id, text]) => [JSON.parse(id).at(-1), text]))""",
        run_id,
    )
    return texts


def wait_for_values(page: Any, run_id: int, expected: dict[str, str]) -> None:
    """Wait until cells of a run have these texts."""
    for _ in range(200):
        found = shown_values(page, run_id)
        if {name: found.get(name) for name in expected} == expected:
            return
        page.wait_for_timeout(50)
    pytest.fail(f"run {run_id} shows {found}, expected {expected}")


def log_run(experiment: Experiment, loss: float, **args: Any) -> None:
    """Log a run with arguments that has taken an hour."""
    run = experiment.get_run().set_args(args).set_status("COMPLETED")
    run.add_metrics({"loss": loss}, step=0)
    run.set_started(TIME).set_updated(TIME + timedelta(hours=1))


def test_values_stay_below_their_headings_when_the_columns_change(tmp_path: Path, open_page: Any, serve: Any) -> None:
    """The server chooses the columns in which runs differ, so new runs, tags and other filters change them."""
    client = Client({"engine": "sqlite", "dbpath": str(tmp_path / "lab.db")})
    setup(client)
    first = Experiment(client, name="first")
    for seed in (1, 2):
        log_run(first, seed / 4, lr=0.1, batch=32, seed=seed)
    with serve(tmp_path / "lab.db") as address, open_page(address=address) as page:
        wait_for_values(page, 1, {"seed": "1", "duration": "1 h"})
        assert not {"lr", "batch"} & shown_values(page, 1).keys()
        # Arguments differ that did not before, and come first.
        log_run(first, 0.75, lr=0.7, batch=99, seed=3)
        wait_for_values(page, 3, {"lr": "0.7", "batch": "99", "seed": "3", "duration": "1 h"})
        wait_for_values(page, 1, {"lr": "0.1", "batch": "32", "seed": "1", "duration": "1 h"})
        sqltrack.Run(client, run_id=1).add_tags("good")
        wait_for_values(page, 1, {"tags": "good", "seed": "1", "duration": "1 h"})
        # Texts stand where numbers did.
        second = Experiment(client, name="second")
        for name in ("adam", "sgd"):
            log_run(second, 0.5, optimizer=name, schedule=f"{name} schedule")
        page.locator("#where").fill("id IN (1, 2)")
        page.keyboard.press("Enter")
        wait_for_count(page, "2 of 5 runs")
        page.locator("#where").fill("id IN (4, 5)")
        page.keyboard.press("Enter")
        wait_for_values(page, 4, {"optimizer": "adam", "duration": "1 h"})
        assert sorted(table_ids(page)) == [4, 5]
        assert not {"lr", "batch", "seed"} & shown_values(page, 4).keys()
        before = headings(page)
        page.reload()
        wait_for_values(page, 4, {"optimizer": "adam"})
        assert headings(page) == before


def test_escape_gives_up_what_was_typed_in_the_filter(demo: Any, open_page: Any) -> None:
    with open_page("?q=id<10") as page:
        wait_for_count(page, f"9 of {len(demo.runs)} runs")
        page.keyboard.press("/")
        page.keyboard.type("nonsense")
        page.keyboard.press("Escape")
        assert page.locator("#where").input_value() == "id<10"
        assert parameters(page)["q"] == "id<10"
        assert page.locator(".where-error").count() == 0


def test_growing_run_shows_without_losing_the_place(
    fill_database: Callable[..., Any], tmp_path: Path, open_page: Any, serve: Any
) -> None:
    demo = fill_database(tmp_path / "live.db", runs=150, epochs=3)
    experiment = Experiment(demo.client, name="live")
    with (
        serve(demo.path) as address,
        open_page("?c=run~steps,run~status&sel=100", address=address) as page,
    ):
        table_ids(page)
        viewport = ".ag-body-viewport, .ag-grid-viewport"
        page.eval_on_selector(viewport, "element => element.scrollTop = 900")
        page.locator(".run-link:text-is('115')").wait_for()
        page.get_by_role("button", name="Views").click()
        page.get_by_label("Name of this view").fill("typed")
        run = experiment.get_run().set_status("RUNNING")
        run.add_metrics_many([{"step": step, "progress": 0.0, "value": 1.0} for step in range(7)])
        wait_for_count(page, "151 runs")
        page.wait_for_timeout(400)
        assert page.eval_on_selector(viewport, "element => element.scrollTop") == 900
        assert page.get_by_label("Name of this view").input_value() == "typed"
        assert page.evaluate("document.activeElement.name") == "name"
        page.locator(".chip", has_text="1 selected").wait_for()
        page.keyboard.press("Escape")
        page.eval_on_selector(viewport, "element => element.scrollTop = 0")
        page.locator(f".ag-row[row-index='0'] .run-link:text-is('{run.id}')").wait_for()


def test_empty_database_says_what_to_type_and_shows_the_first_run(
    fill_database: Callable[..., Any], tmp_path: Path, open_page: Any, serve: Any
) -> None:
    demo = fill_database(tmp_path / "empty.db", runs=0)
    with serve(demo.path) as address, open_page(address=address) as page:
        page.get_by_role("heading", name="No runs yet").wait_for()
        script = page.locator("pre").inner_text()
        compile(script, "script", "exec")
        Experiment(demo.client, name="first").get_run().set_status("COMPLETED")
        assert table_ids(page) == [1]


def test_thousands_of_columns_can_be_searched(
    fill_database: Callable[..., Any], tmp_path: Path, open_page: Any, serve: Any
) -> None:
    demo = fill_database(tmp_path / "wide.db", runs=0)
    run = Experiment(demo.client, name="wide").get_run().set_status("COMPLETED")
    run.set_args({f"key_{number}": number for number in range(5000)})
    with serve(demo.path) as address, open_page(address=address) as page:
        table_ids(page)
        page.keyboard.press("c")
        page.locator("dialog .choices li").first.wait_for()
        # Longer than 0.2 seconds without an answer to the mouse or a key is a stall.
        page.evaluate("""() => {
            window.stalls = [];
            const note = list => window.stalls.push(...list.getEntries().map(entry => entry.duration));
            new PerformanceObserver(note).observe({ type: "longtask" });
        }""")
        page.get_by_label("Search columns").press_sequentially("key_4321")
        page.get_by_text("1 column", exact=True).wait_for(timeout=60_000)
        # Loose: other programs may use the machine at the same time.
        assert max(page.evaluate("window.stalls"), default=0) < 1000
        assert page.locator("dialog section").first.locator("li").count() == 1


@pytest.mark.parametrize("width", [390, 1280, 2560])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_the_window(open_page: Any, width: int, dark: bool) -> None:
    with open_page(width=width, dark=dark) as page:
        for path in ("", "experiments"):
            page.goto(urljoin(page.url, f"/{path}"))
            page.locator(".run-link, .experiment").first.wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate("getComputedStyle(document.body).colorScheme") == ("dark" if dark else "light")


def test_facets_open_on_a_small_screen(open_page: Any) -> None:
    with open_page(width=390) as page:
        table_ids(page)
        assert not page.locator(".facets").is_visible()
        page.get_by_role("button", name="Facets").click()
        page.locator(".facet label", has_text="COMPLETED").click()
        page.locator(".chip", has_text="Status = COMPLETED").wait_for()


def test_scheme_is_kept_in_the_browser(open_page: Any) -> None:
    with open_page() as page:
        table_ids(page)
        page.get_by_role("button", name="Dark colors").click()
        page.reload()
        table_ids(page)
        background = page.eval_on_selector(".ag-root-wrapper", "element => getComputedStyle(element).backgroundColor")
        assert background == "rgb(23, 28, 34)"


def test_page_recovers_when_the_server_is_back(
    fill_database: Callable[..., Any], tmp_path: Path, open_page: Any, serve: Any
) -> None:
    demo = fill_database(tmp_path / "away.db", runs=60, epochs=2)
    token = tmp_path / "token"
    token.write_text("a-token-that-stays-the-same\n", encoding="utf-8")
    token.chmod(0o600)
    options = ("--token-file", str(token))
    with serve(demo.path, *options) as address:
        port = urlsplit(address).port
        problems: list[str] = []
        opened = open_page(address=address, problems=problems)
        page = opened.__enter__()
        table_ids(page)
    try:
        page.locator(".note", has_text="does not answer").first.wait_for()
        assert table_ids(page)
        with serve(demo.path, *options, "--port", str(port)):
            page.locator(".note", has_text="does not answer").first.wait_for(state="detached", timeout=30_000)
    finally:
        opened.__exit__(None, None, None)
    assert all("ERR_CONNECTION" in problem or "ERR_EMPTY" in problem for problem in problems), json.dumps(problems)


def test_columns_are_ordered_pinned_and_removed_by_keys(open_page: Any) -> None:
    with open_page("?c=run~status,args~model,metric~max~val_top1") as page:
        assert headings(page) == ["Status", "model args", "val_top1 max"]
        page.keyboard.press("c")
        page.get_by_role("button", name="Pin val_top1 (max)").focus()
        page.keyboard.press("Alt+ArrowUp")
        page.wait_for_url("**c=run~status,metric~max~val_top1,args~model**")
        # The focus follows the column.
        page.keyboard.press("Enter")
        page.wait_for_url("**pin=metric~max~val_top1**")
        page.get_by_role("button", name="Remove Status").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**c=metric~max~val_top1,args~model**")
        page.keyboard.press("Escape")
        page.locator(".ag-header-cell", has_text="Status").wait_for(state="detached")
        assert headings(page) == ["val_top1 max", "model args"]
        page.locator(".ag-grid-pinned-left-cells .ag-header-cell", has_text="val_top1").wait_for()


def test_metric_is_shown_where_another_one_is_best(open_page: Any, demo: Any) -> None:
    with open_page("?c=metric~max~val_top1&sel=1") as page:
        table_ids(page)
        page.keyboard.press("c")
        page.get_by_label("Value of val_top1").select_option("at best of…")
        picker = page.get_by_role("dialog", name="Value of val_top1 at the best of")
        picker.get_by_label("Search columns").fill("val_loss")
        picker.get_by_text("1 column", exact=True).wait_for()
        picker.locator("li", has_text="min").click()
        page.wait_for_url("**c=metric~at~val_loss~min~val_top1**")
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="hidden")
        # The table shows the old column until the server has answered.
        page.locator(".ag-header-cell", has_text="val_loss").click()
        page.wait_for_url("**sort=-metric~at~val_loss~min~val_top1**")
        page.wait_for_timeout(500)
        run = table_ids(page)[0]
        shown = page.locator(".ag-row[row-index='0'] .ag-cell.number").inner_text()
    expected = value(
        demo, f"SELECT val_top1 FROM metrics WHERE run_id = {run} AND val_loss IS NOT NULL ORDER BY val_loss LIMIT 1"
    )
    assert float(shown) == pytest.approx(expected, rel=1e-4)


def test_facet_with_many_values_can_be_searched(fill_database: Any, tmp_path: Path, open_page: Any, serve: Any) -> None:
    demo = fill_database(tmp_path / "values.db", runs=0)
    experiment = Experiment(demo.client, name="values")
    with demo.client:
        for number in range(40):
            experiment.get_run().set_status("COMPLETED").set_args({"name": f"value {number:02d}"})
    with serve(demo.path) as address, open_page(address=address) as page:
        table_ids(page)
        page.get_by_role("button", name="Add a facet").click()
        page.get_by_label("Search columns").fill("name")
        page.locator("dialog li", has_text="args").first.click()
        facet = page.locator(".facet", has_text="args")
        facet.get_by_role("button", name="more").click()
        facet.get_by_label("Search values of name").fill("value 37")
        facet.locator("label", has_text="value 37").click()
        wait_for_count(page, "1 of 40 runs")


def test_new_metric_becomes_a_column_while_the_page_is_open(
    fill_database: Callable[..., Any], tmp_path: Path, open_page: Any, serve: Any
) -> None:
    demo = fill_database(tmp_path / "new.db", runs=0)
    runs = [Experiment(demo.client, name="new").get_run().set_status("RUNNING") for _ in range(2)]
    with serve(demo.path) as address, open_page(address=address) as page:
        assert headings(page) == ["Status", "Experiment"]
        for run in runs:
            run.add_metrics({"brand_new": float(run.id)})
        heading(page, "brand_new").wait_for()
        cell = page.locator(".ag-row[row-index='0'] .ag-cell.number", has_text="2")
        cell.wait_for()
