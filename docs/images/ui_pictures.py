"""Take the pictures of `sqltrack ui` in this folder: `python docs/images/ui_pictures.py`, in a clone.

The script fills a temporary SQLite database with the made-up runs of the examples, serves it, and opens it in a
browser. Requires sqltrack-ui, and: pip install playwright rich; and Chromium, or the browser that SQLTRACK_TEST_BROWSER
names.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples"
PROGRAM = Path(sys.executable).with_name("sqltrack")
SIZE = {"width": 1280, "height": 720}
QUALITY = 82
CURVES = "curves?sel={runs}&m=val_loss,val_top1&smooth=0.4"

QUERY = """SELECT step, args ->> 'model' AS model, AVG(val_top1) AS mean_top1
FROM metrics JOIN runs ON runs.id = run_id
WHERE status = 'COMPLETED' AND val_top1 <> 'NaN'
GROUP BY step, args ->> 'model'
ORDER BY step"""


def main() -> None:
    """Take all pictures."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "vision.db"
        environment = {**os.environ, "SQLTRACK_DSN_ENGINE": "sqlite", "SQLTRACK_DSN_DBPATH": str(database)}
        script = [sys.executable, str(EXAMPLES / "generate_experiment_data.py"), "--runs", "300", "--first-id", "1"]
        subprocess.run([*script, "--seed", "3"], env=environment, check=True)  # noqa: S603
        with serving(database) as address, sync_playwright() as playwright:
            take_all(playwright, address)
        with serving(database, "--edit") as address, sync_playwright() as playwright:
            take_editing(playwright, address)


@contextlib.contextmanager
def serving(database: Path, *options: str) -> Iterator[str]:
    """Serve the page, and yield its address."""
    command = [str(PROGRAM), "--dbpath", str(database), "ui", "--no-open", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def take_all(playwright: Any, address: str) -> None:
    """Take the pictures of all views."""
    program = os.environ.get("SQLTRACK_TEST_BROWSER", "chromium")
    browser = playwright.chromium.launch(executable_path=shutil.which(program), args=["--no-sandbox"])
    light = browser.new_context(viewport=SIZE, color_scheme="light").new_page()
    dark = browser.new_context(viewport=SIZE, color_scheme="dark").new_page()
    for page in (light, dark):
        page.goto(address)
        page.locator(".ag-row .run-link").first.wait_for()
    light.keyboard.press("j")
    light.keyboard.press("b")
    light.locator(".ag-row-selected").first.wait_for()
    take(light, "ui-runs")
    runs = "191,193,197,200,202,205"
    show(light, urljoin(address, CURVES.format(runs=runs)))
    box = light.locator(".chart-canvas").last.bounding_box()
    light.mouse.move(box["x"] + 0.62 * box["width"], box["y"] + 0.2 * box["height"])
    light.locator(".chart-tooltip").wait_for()
    take(light, "ui-curves")
    take_groups(light, address)
    take_figure(light, address)
    show(light, urljoin(address, f"compare?sel={runs}&m=val_top1"))
    take(light, "ui-compare")
    light.goto(urljoin(address, "sweep?f=experiment~name:Learning-rate+sweep"))
    light.locator(".sweep-table .run-link").first.wait_for()
    axis = light.locator(".sweep-strip").last.bounding_box()
    light.mouse.move(axis["x"] + axis["width"] / 2, axis["y"] + 0.75 * axis["height"])
    light.mouse.down()
    light.mouse.move(axis["x"] + axis["width"] / 2, axis["y"] + axis["height"])
    light.mouse.up()
    light.locator(".sweep-runs .chip").wait_for()
    take(light, "ui-sweep")
    show(dark, urljoin(address, "run/197"))
    take(dark, "ui-run")
    light.goto(urljoin(address, f"sql?o={quote(json.dumps({'sql': {'text': QUERY, 'show': 'chart'}}))}"))
    light.locator(".sql-canvas canvas").wait_for()
    light.locator(".sql-names li").first.wait_for()
    light.wait_for_timeout(500)
    take(light, "ui-sql")
    dark.goto(urljoin(address, "live"))
    dark.locator(".live-run").first.wait_for()
    take(dark, "ui-live")
    browser.close()


def take_figure(page: Page, address: str) -> None:
    """Take the picture of the dialog for figures."""
    show(page, urljoin(address, "curves?sel=191-230&m=val_top1&group=args~model&band=ci"))
    page.locator("figure.chart").get_by_role("button", name="⋯").click()
    page.get_by_role("button", name="Figure for a paper").click()
    page.get_by_label("x axis").fill("epoch $t$")
    page.get_by_label("y axis").fill(r"accuracy $a_\text{val}$")
    page.get_by_role("combobox", name="Font", exact=True).select_option("latex")
    page.wait_for_timeout(1000)
    take(page, "ui-figure")
    page.keyboard.press("Escape")


def take_groups(page: Page, address: str) -> None:
    """Take the pictures of groups of runs, in the table and as curves."""
    columns = "metric~max~val_top1,metric~min~val_loss,run~duration"
    page.goto(urljoin(address, f"?by=args~model,args~epochs&f=run~status:COMPLETED&c={columns}&band=ci"))
    page.locator(".group-name").first.click()
    page.locator(".group-member").first.wait_for()
    take(page, "ui-groups")
    show(page, urljoin(address, "curves?sel=191-230&m=val_loss,val_top1&group=args~model&band=ci"))
    page.keyboard.press("e")
    page.wait_for_timeout(1000)
    take(page, "ui-bands")


def take_editing(playwright: Any, address: str) -> None:
    """Take the picture of a change that is not made yet."""
    program = os.environ.get("SQLTRACK_TEST_BROWSER", "chromium")
    browser = playwright.chromium.launch(executable_path=shutil.which(program), args=["--no-sandbox"])
    page = browser.new_context(viewport=SIZE, color_scheme="light").new_page()
    page.goto(address)
    page.goto(urljoin(address, "?sel=286-294&c=run~status,run~tags,args~model,metric~max~val_top1"))
    page.locator(".ag-row-selected").first.wait_for()
    page.keyboard.press("e")
    page.keyboard.press("t")
    page.keyboard.type("paper, chapter 4")
    page.locator(".edit-changes").wait_for()
    page.wait_for_timeout(500)
    take(page, "ui-edit")
    browser.close()


def show(page: Page, address: str) -> None:
    """Open a view with charts, and wait until all are drawn."""
    page.goto(address)
    page.locator(".charts[aria-busy=false] .chart-canvas canvas").first.wait_for()
    page.wait_for_timeout(500)


def take(page: Page, name: str) -> None:
    """Write a picture of a page as a WebP file, which is a third of a PNG file."""
    session = page.context.new_cdp_session(page)
    picture = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    (HERE / f"{name}.webp").write_bytes(base64.b64decode(picture["data"]))


if __name__ == "__main__":
    main()
