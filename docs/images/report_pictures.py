"""Take the pictures of a report and of a page made with Dash: `python docs/images/report_pictures.py`, in a clone.

The script fills a temporary SQLite database with the made-up runs of the examples. Requires sqltrack-ui, and: pip
install dash dash-ag-grid playwright rich; and Chromium, or the browser that SQLTRACK_TEST_BROWSER names.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from playwright.sync_api import sync_playwright
from ui_pictures import EXAMPLES, PROGRAM, SIZE, take

PORT = 8051


def main() -> None:
    """Take both pictures."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"SQLTRACK_DSN_ENGINE": "sqlite", "SQLTRACK_DSN_DBPATH": str(Path(folder) / "vision.db")}
        environment = {**os.environ, **settings}
        script = [sys.executable, str(EXAMPLES / "generate_experiment_data.py"), "--runs", "300", "--first-id", "1"]
        subprocess.run([*script, "--seed", "3"], env=environment, check=True)  # noqa: S603
        report = Path(folder) / "report.html"
        command = [str(PROGRAM), "report", "Learning-rate sweep", "--output", str(report)]
        subprocess.run(command, env=environment, check=True)  # noqa: S603
        with serving_dash(environment) as address:
            take_both(report, address)


@contextlib.contextmanager
def serving_dash(environment: Mapping[str, str]) -> Iterator[str]:
    """Serve the page made with Dash, and yield its address."""
    address = f"http://127.0.0.1:{PORT}/"
    command = [sys.executable, str(EXAMPLES / "dash_app.py"), "--port", str(PORT)]
    with subprocess.Popen(command, env=environment) as process:  # noqa: S603
        for _ in range(100):
            with contextlib.suppress(OSError), urllib.request.urlopen(address):
                break
            time.sleep(0.3)
        yield address
        process.terminate()


def take_both(report: Path, address: str) -> None:
    """Take the pictures of a file and of a page."""
    program = os.environ.get("SQLTRACK_TEST_BROWSER", "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(program), args=["--no-sandbox"])
        page = browser.new_context(viewport={**SIZE, "height": 960}, color_scheme="light").new_page()
        page.goto(report.as_uri())
        page.locator(".chart-canvas canvas").first.wait_for()
        page.get_by_role("button", name="Groups").click()
        page.wait_for_timeout(1000)
        take(page, "report")
        page.set_viewport_size({**SIZE, "height": 1200})
        page.goto(f"{address}?experiment=3&metric=val_loss&best=min&runs=178,198")
        page.locator(".js-plotly-plot .trace").first.wait_for()
        page.wait_for_timeout(1000)
        take(page, "dash")
        browser.close()


if __name__ == "__main__":
    main()
