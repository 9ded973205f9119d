"""The notebooks are executed on both engines, and their pages work in a browser without internet."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbconvert
import nbformat
import pytest

import sqltrack
from sqltrack.commands import setup
from sqltrack.pandas import query_dataframe
from sqltrack.queries import best_values
from support.browser import running_browser, sort_by
from support.modules import load_module

pytestmark = pytest.mark.guides

EXAMPLES = Path(__file__).parents[2] / "examples"
HOSTILE = "<script>document.title = 'hacked'</script>"


@pytest.fixture(scope="module")
def databases(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Callable[[str], dict[str, Any]]:
    """Configurations of databases with made-up data, one for each engine, created on first use."""
    made: dict[str, dict[str, Any]] = {}

    def database(engine_name: str) -> dict[str, Any]:
        if engine_name not in made:
            if engine_name == "sqlite":
                config = {"engine": "sqlite", "dbpath": str(tmp_path_factory.mktemp("notebook") / "sqltrack.db")}
            else:
                config = request.getfixturevalue("create_lasting_database")()
            client = sqltrack.Client(config)
            setup(client)
            with pytest.MonkeyPatch.context() as patch:
                patch.syspath_prepend(EXAMPLES)
                importlib.import_module("generate_experiment_data").generate(client, runs=150, epochs=12)
            sqltrack.Experiment(client, name=HOSTILE).set_comment(HOSTILE).add_tags(HOSTILE)
            made[engine_name] = config
        return made[engine_name]

    return database


@pytest.fixture
def data(
    databases: Callable[[str], dict[str, Any]], engine_name: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Configuration of such a database, which the environment names as well."""
    config = databases(engine_name)
    for name, value in config.items():
        monkeypatch.setenv(f"SQLTRACK_DSN_{name.upper()}", str(value))
    return config


def execute() -> Any:
    """Execute the notebook as Jupyter would, in a separate process."""
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    run_cells(notebook)
    return notebook


def run_cells(notebook: Any) -> None:
    with warnings.catch_warnings():
        # Warnings about the connection to the kernel do not matter.
        warnings.simplefilter("ignore")
        nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()


def as_page(notebook: Any, path: Path, theme: str = "light") -> Path:
    """Write a notebook as a self-contained page."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exporter = nbconvert.HTMLExporter(theme=theme)
        for library in ("require_js_url", "mathjax_url", "jquery_url", "mermaid_js_url"):
            setattr(exporter, library, "")
        path.write_text(exporter.from_notebook_node(notebook)[0], encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def executed() -> dict[str, Any]:
    """The executed notebook of each engine."""
    return {}


@pytest.fixture
def notebook(data: dict[str, Any], engine_name: str, executed: dict[str, Any]) -> Any:
    """The notebook with its outputs; tests must not change it."""
    if engine_name not in executed:
        executed[engine_name] = execute()
    return executed[engine_name]


@pytest.fixture(scope="module")
def open_page() -> Iterator[Callable[..., Any]]:
    with running_browser() as open_page:
        yield open_page


# The unchanged cells of the user's guide, apart from lines that page breaks have split.
DOCUMENTED = Path(__file__).parent / "documented" / "notebook.txt"
# DISTINCT ON, the operator ? and ANY exist only in PostgreSQL.
CELLS_FOR_SQLITE = 2


@pytest.mark.usefixtures("data")
def test_the_documented_cells_run_as_they_stand(
    engine_name: str, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    """Experiments are listed on both engines. On PostgreSQL each of the newest runs has its best accuracy, a resumed
    run is merged with the run that resumes it, and four runs are compared.
    """
    cells = re.split(r"^\[\d\]:\n", DOCUMENTED.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    chosen = cells if engine_name == "postgres" else cells[:CELLS_FOR_SQLITE]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in chosen])
    run_cells(notebook)
    assert "'output_type': 'error'" not in outputs(notebook)
    with open_page(as_page(notebook, tmp_path / "notebook.html"), width=1800) as page:
        tables = page.locator("div.dt-container")
        tables.last.locator("tbody tr td").first.wait_for()
        assert tables.count() == (4 if engine_name == "postgres" else 1)
        assert "Fine-tuning on small data" in tables.first.inner_text()
        if engine_name == "postgres":
            check_documented_tables(*(tables.nth(number) for number in (1, 2, 3)))


def check_documented_tables(runs: Any, metrics: Any, comparison: Any) -> None:
    accuracies = column_of(runs, "val_top1")
    assert len(accuracies) == 10
    assert all(re.fullmatch(r"\d+\.\d%", text) for text in accuracies)
    assert set(column_of(metrics, "merged_id")) == {"523459"}
    assert column_of(metrics, "run_id") == ["523459"] * 6 + ["523473"] * 4
    assert column_of(metrics, "step") == [str(step) for step in range(10)]
    heads = [cell.inner_text().strip() for cell in comparison.locator("thead th").all()]
    assert heads == ["id", "1", "523459", "523473", "523497"]
    assert "--" not in rows_of(comparison)["val_top1"]
    assert rows_of(comparison)["best_step"]


def column_of(table: Any, name: str) -> list[str]:
    position = [cell.inner_text().strip() for cell in table.locator("thead th").all()].index(name)
    return [row.locator("td").nth(position).inner_text().strip() for row in table.locator("tbody tr").all()]


def rows_of(table: Any) -> dict[str, list[str]]:
    rows = [[cell.inner_text().strip() for cell in row.locator("td").all()] for row in table.locator("tbody tr").all()]
    return {name: values for name, *values in rows}


def outputs(notebook: Any) -> str:
    return "\n".join(str(output) for cell in notebook.cells for output in cell.get("outputs", ()))


def test_the_notebook_that_is_shipped_has_no_outputs() -> None:
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert all(
        cell.execution_count is None and cell.outputs == [] for cell in notebook.cells if cell.cell_type == "code"
    )


def test_every_cell_runs(notebook: Any) -> None:
    assert all(cell.outputs for cell in notebook.cells if cell.cell_type == "code")
    assert "'output_type': 'error'" not in outputs(notebook)
    assert "'name': 'stderr'" not in outputs(notebook)


def test_tables_and_plots_work_without_internet(
    notebook: Any, data: dict[str, Any], tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    """A request to the network or a console error would make open_page fail at its end."""
    with open_page(as_page(notebook, tmp_path / "notebook.html"), width=1400) as page:
        page.wait_for_selector("div.dt-container >> nth=4")
        assert page.title() != "hacked"
        assert page.locator(f"td:has-text({HOSTILE!r})").count() >= 1
        assert page.locator(".js-plotly-plot .scatterlayer .trace").count() >= 4
        check_the_table_of_runs(page, data)
        check_the_comparison(page)


def check_the_table_of_runs(page: Any, config: dict[str, Any]) -> None:
    """Sort by the best accuracy, search, and turn the page."""
    table = page.locator("div.dt-container").nth(1)
    header = table.locator("thead th", has_text="val_top1")
    column = [cell.inner_text().strip() for cell in table.locator("thead th").all()].index("val_top1")

    def shown() -> list[str]:
        return [row.locator("td").nth(column).inner_text().strip() for row in table.locator("tbody tr").all()]

    sort_by(header, "ascending")
    ascending = [float(text.rstrip("%")) for text in shown()]
    assert ascending == sorted(ascending)
    assert len(ascending) == 10
    sort_by(header, "descending")
    best = sqltrack.Client(config).execute("SELECT MAX(val_top1) FROM metrics WHERE val_top1 <> 'NaN'").fetchone()[0]
    descending = [float(text.rstrip("%")) for text in shown()]
    assert descending == sorted(descending, reverse=True)
    assert descending[0] == round(100 * best, 1)
    page_number = table.locator(".dt-paging-button.current")
    table.locator(".dt-paging-button", has_text="2").first.click()
    assert page_number.inner_text() == "2"
    table.locator("input[type=search]").fill("resnet50")
    rows = table.locator("tbody tr").all()
    assert rows
    assert all("resnet50" in row.inner_text() for row in rows)


def check_the_comparison(page: Any) -> None:
    """Exactly the rows with different values are marked, and they come first."""
    rows = page.locator("div.dt-container").last.locator("tbody tr").all()
    assert len(rows) > 20
    kinds = []
    for row in rows:
        cells = [cell.text_content() for cell in row.locator("td").all()[1:]]
        marked = row.locator(".sqltrack-differs").count()
        assert marked == (len(cells) if len(set(cells)) > 1 else 0)
        kinds.append(bool(marked))
    assert kinds == sorted(kinds, reverse=True)
    assert set(kinds) == {True, False}


@pytest.mark.engines("sqlite", reason="plots are the same on all engines")
@pytest.mark.usefixtures("data")
def test_plotly_can_be_left_out(engine_name: str) -> None:
    """Then plots are data for the programs that show notebooks, and everything else stays the same."""
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    (cell,) = (cell for cell in notebook.cells if "EMBED_PLOTLY = True" in cell.source)
    cell.source = cell.source.replace("EMBED_PLOTLY = True", "EMBED_PLOTLY = False")
    run_cells(notebook)
    assert len(nbformat.writes(notebook)) < 2_500_000
    kinds = [set(output.get("data", ())) for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("application/vnd.plotly.v1+json" in kind for kind in kinds) == 2


def test_the_best_epoch_is_shown_and_not_the_last(data: dict[str, Any]) -> None:
    """Epochs where the value is missing or NaN cannot be the best."""
    client = sqltrack.Client(data)
    best = query_dataframe(client, *best_values("val_top1")).set_index("run_id")
    everything = query_dataframe(client, "SELECT run_id, step, val_top1 FROM metrics").dropna()
    expected = everything.groupby("run_id")["val_top1"].max()
    assert best["val_top1"].equals(expected.loc[best.index])
    assert set(best.index) == set(expected.index)
    last = everything.groupby("run_id")["step"].max()
    assert (best["step"] < last).any()


def test_the_marimo_notebook_runs_and_reacts(data: dict[str, Any]) -> None:
    shown, names = load_module(EXAMPLES / "marimo_notebook.py").app.run()
    assert names["metric"].value == "val_top1"
    runs = names["runs"]
    assert runs["val_top1"].is_monotonic_decreasing
    assert len(names["figure"].data) == min(5, len(runs))
    assert re.search(r"sqltrack-(status|tag)", str([output.text for output in shown if hasattr(output, "text")]))


def test_the_marimo_notebook_is_fine_with_marimo_s_own_check() -> None:
    command = [sys.executable, "-m", "marimo", "check", str(EXAMPLES / "marimo_notebook.py")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
