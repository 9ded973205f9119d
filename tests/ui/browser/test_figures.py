"""Figures for papers: other programs open the files, which have the size that was asked for and the numbers shown."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from PIL import Image
from pypdf import PageObject, PdfReader

import sqltrack
from support.axe import violations

STEPS = 10_000
RUNS = 20
LARGEST = 500_000
# Rows of noise for all runs, apart from the first step.
NOISE = """
    WITH RECURSIVE counted (step) AS (SELECT 1 UNION ALL SELECT step + 1 FROM counted WHERE step < %s)
    INSERT INTO metrics (run_id, step, progress, loss)
    SELECT id, step, step * 1.0 / %s, 10.0 / (1 + step / 100.0) + (step * 7919 * (id + 1)) %% 1000 / 500.0
    FROM runs CROSS JOIN counted
"""
SVG = "{http://www.w3.org/2000/svg}"


def open_figure(page: Any) -> None:
    """Open the dialog for the first chart, and wait until the preview is drawn."""
    # Charts of long runs take a moment on a busy machine.
    page.locator(".charts[aria-busy=false] .chart-canvas canvas").first.wait_for(timeout=30_000)
    page.locator("figure.chart").first.get_by_role("button", name="⋯").click()
    page.get_by_role("button", name="Figure for a paper").click()
    page.locator(".figure-preview[aria-busy=false] svg").wait_for()


def save(page: Any, name: str, folder: Path) -> Path:
    """Press a button that saves a file, and return the file."""
    with page.expect_download() as download:
        page.get_by_role("button", name=name, exact=True).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def set_number(page: Any, label: str, value: str) -> None:
    page.get_by_role("spinbutton", name=label, exact=True).fill(value)
    # The preview follows when no key was pressed for a moment.
    page.wait_for_timeout(400)
    page.locator(".figure-preview[aria-busy=false] svg").wait_for()


def text_of(page: Any, button: str) -> str:
    """Press a button that shows a text, return the text, and close it."""
    page.get_by_role("button", name=button, exact=True).click()
    text: str = page.locator("dialog pre.code").inner_text()
    page.keyboard.press("Escape")
    return text


def read_pdf(path: Path) -> PageObject:
    """Return the only page of a file."""
    (page,) = PdfReader(path, strict=True).pages
    return page


def fonts_of(page: PageObject) -> dict[str, bool]:
    """Return the names of the fonts of a page, and whether their files are embedded."""
    found: dict[str, bool] = {}
    for font in page["/Resources"]["/Font"].values():
        for descendant in font.get_object()["/DescendantFonts"].get_object():
            descriptor = descendant.get_object()["/FontDescriptor"].get_object()
            found[str(descriptor["/FontName"])] = "/FontFile2" in descriptor
    return found


@pytest.fixture(scope="module")
def long_runs(serve: Any, fill_database: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server with 20 noisy runs of 10,000 steps, with ids from 1."""
    demo = fill_database(tmp_path_factory.mktemp("long") / "long.db", runs=0)
    experiment = sqltrack.Experiment(demo.client, name="long")
    runs = [experiment.get_run().set_status("COMPLETED").id for _ in range(RUNS)]
    sqltrack.Run(demo.client, run_id=runs[0]).add_metrics({"loss": 10.0}, step=0)
    with demo.client:
        demo.client.execute(NOISE, (STEPS, STEPS))
    with serve(demo.path) as address:
        yield address


@pytest.mark.page
def test_files_of_many_long_curves_are_small_and_have_the_width_that_was_asked_for(
    open_page: Callable[..., Any], long_runs: str, tmp_path: Path
) -> None:
    with open_page("curves?sel=1-20&m=loss", address=long_runs) as page:
        open_figure(page)
        set_number(page, "Width cm", "17.4")
        set_number(page, "Height cm", "7")
        svg, pdf, png = (save(page, name, tmp_path) for name in ("SVG", "PDF", "PNG"))
    for path in (svg, pdf):
        assert path.stat().st_size < LARGEST, path.name
    root = ET.parse(svg).getroot()  # noqa: S314 - it is ours
    assert (root.get("width"), root.get("height")) == ("17.4cm", "7cm")
    curves = [path for path in root.iter(f"{SVG}path") if path.get("clip-path")]
    assert len(curves) == RUNS
    assert min(len(re.findall("l", path.get("d") or "")) for path in curves) > 1_000
    assert not list(root.iter(f"{SVG}image"))
    with Image.open(png) as picture:
        assert picture.size == (round(17.4 / 2.54 * 300), round(7 / 2.54 * 300))
    printed = read_pdf(pdf)
    size = [float(length) / 72 * 2.54 for length in (printed.mediabox.width, printed.mediabox.height)]
    assert size == pytest.approx([17.4, 7], abs=0.1)
    assert fonts_of(printed)
    assert all(fonts_of(printed).values()), "embedded"
    assert "loss" in printed.extract_text()
    assert not printed.images, "all lines are vectors"


@pytest.mark.page
@pytest.mark.parametrize(
    ("address", "draws"),
    [
        ("curves?sel=20-23&m=val_loss&smooth=0.6&log=y", "axes.plot"),
        ('curves?sel=20-40&m=val_loss,val_top1&o={"overlay":true}', "axes.plot"),
        ("curves?sel=20-40&m=val_top1&group=args~model&band=ci", "axes.fill_between"),
    ],
)
def test_the_program_and_the_data_hold_the_points_of_the_figure(
    open_page: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, draws: str
) -> None:
    mpl.use("agg")
    monkeypatch.chdir(tmp_path)
    with open_page(address) as page:
        open_figure(page)
        page.get_by_label("x axis").fill("epoch $t$")
        rows = list(csv.DictReader(io.StringIO(save(page, "Data as CSV", tmp_path).read_text(encoding="utf-8"))))
        program, code = text_of(page, "As Python"), text_of(page, "As LaTeX")
        table = save(page, "Table for LaTeX", tmp_path).read_text(encoding="utf-8").splitlines()
        title = page.locator("dialog h2").inner_text().removeprefix("Figure of ")
    assert draws in program
    names: dict[str, Any] = {}
    with mpl.rc_context():
        exec(program, names)  # noqa: S102 - it is ours
        names["plt"].close("all")
    (saved,) = tmp_path.glob("*.pdf")
    assert saved.read_bytes().startswith(b"%PDF")
    frame = names["groups"] if draws == "axes.fill_between" else names["curves"]
    shown = "mean" if "mean" in frame else "value"
    frame = frame[[metric in title for metric in frame["metric"]]]
    assert len(rows) == len(frame)
    assert sorted(float(row[shown]) for row in rows) == pytest.approx(sorted(frame[shown]))
    assert names["axes"].get_xlabel() == "epoch $t$"
    assert "xlabel={epoch $t$}" in code
    assert "enlarge x limits=false" in code
    heads = table[0].split()
    used = re.findall(r"table\[x=(\w+), y=(\w+)\]", code)
    assert used
    assert {name for pair in used for name in pair} <= set(heads)
    assert all(len(line.split()) == len(heads) for line in table)
    assert code.count("\\addlegendentry") in (0, len(names["styles"]))
    assert code.count("{") == code.count("}")


@pytest.mark.page
@pytest.mark.parametrize("color", ["lr", "model"])
def test_scatter_plots_have_a_dot_for_each_run(
    open_page: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, color: str
) -> None:
    mpl.use("agg")
    monkeypatch.chdir(tmp_path)
    with open_page("sweep") as page:
        page.get_by_role("button", name="Color ▾").click()
        page.locator(".menu-list").get_by_role("button", name=color, exact=True).click()
        scatter = page.locator(".sweep-scatter")
        scatter.get_by_role("button", name="x ▾").click()
        scatter.locator(".menu-list").get_by_role("button", name="optimizer" if color == "lr" else "lr").first.click()
        scatter.get_by_role("button", name="⋯").click()
        page.get_by_role("button", name="Figure for a paper").click()
        page.locator(".figure-preview[aria-busy=false] svg").wait_for()
        svg, pdf = (save(page, name, tmp_path) for name in ("SVG", "PDF"))
        rows = list(csv.DictReader(io.StringIO(save(page, "Data as CSV", tmp_path).read_text(encoding="utf-8"))))
        program, code = text_of(page, "As Python"), text_of(page, "As LaTeX")
        assert violations(page) == []
    assert "val_loss" in read_pdf(pdf).extract_text()
    names: dict[str, Any] = {}
    with mpl.rc_context():
        exec(program, names)  # noqa: S102 - it is ours
        names["plt"].close("all")
    assert sorted(names["points"]["y"]) == pytest.approx(sorted(float(row["y"]) for row in rows))
    circles = ET.parse(svg).getroot().iter(f"{SVG}circle")  # noqa: S314 - it is ours
    assert len([circle for circle in circles if circle.get("clip-path")]) == len(rows) > 20
    assert "only marks" in code


@pytest.mark.page
def test_labels_are_formulas_and_text_of_the_data_is_not(open_page: Callable[..., Any], tmp_path: Path) -> None:
    with open_page("curves?sel=20-22&m=val_loss&smooth=0.3", width=390, height=800) as page:
        open_figure(page)
        page.get_by_label("y axis").fill(r"$\mathcal{L}_\text{val}$ (<b> & $10^{-3}$)")
        page.get_by_label("run 20", exact=True).fill("baseline, 100% $")
        page.get_by_role("combobox", name="Font", exact=True).select_option("latex")
        page.get_by_role("combobox", name="Lines", exact=True).select_option("dashed")
        page.get_by_role("combobox", name="Legend", exact=True).select_option("upper right")
        page.wait_for_timeout(400)
        page.locator(".figure-preview[aria-busy=false] svg").wait_for()
        assert violations(page) == []
        scroll = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        svg, pdf = (save(page, name, tmp_path) for name in ("SVG", "PDF"))
        page.get_by_role("combobox", name="Legend", exact=True).select_option("none")
        assert page.get_by_label("run 20", exact=True).count() == 0
        code, program = text_of(page, "As LaTeX"), text_of(page, "As Python")
    assert scroll <= 0, "the page does not scroll sideways"
    texts = ["".join(text.itertext()) for text in ET.parse(svg).getroot().iter(f"{SVG}text")]  # noqa: S314 - it is ours
    joined = "".join(texts)
    assert "Lval (<b> & 10−3)" in joined
    assert "baseline, 100% $" in joined
    assert "run 21" in joined
    dashes = {path.get("stroke-dasharray") for path in ET.parse(svg).getroot().iter(f"{SVG}path")}  # noqa: S314
    assert len(dashes - {None}) == 2, "three curves: one is solid"
    assert len(fonts_of(read_pdf(pdf))) == 2, "letters of formulas have a font of their own"
    assert r"ylabel={$\mathcal{L}_\text{val}$ (<b> \& $10^{-3}$)}" in code
    assert "legend" not in code
    assert (code.count("dash pattern"), program.count("'linestyle': (0, (")) == (2, 2)


@pytest.mark.page
def test_sizes_are_kept_for_the_next_figure_and_the_colors_are_for_paper(open_page: Callable[..., Any]) -> None:
    with open_page("curves?sel=20-22&m=val_loss,val_top1", dark=True) as page:
        open_figure(page)
        set_number(page, "Width cm", "12")
        set_number(page, "Font size pt", "99")
        assert page.locator(".figure-preview svg").get_attribute("width") == "12cm", "a size that is too large waits"
        page.keyboard.press("Escape")
        assert page.locator("dialog").count() == 0
        colors = page.evaluate(
            "[...document.querySelectorAll('.legend-run line')].map(line => line.getAttribute('stroke'))"
        )
        page.locator("figure.chart").nth(1).get_by_role("button", name="⋯").click()
        page.get_by_role("button", name="Figure for a paper").click()
        page.locator(".figure-preview[aria-busy=false] svg").wait_for()
        assert page.get_by_role("spinbutton", name="Width cm", exact=True).input_value() == "12"
        assert page.get_by_label("y axis").input_value() == "val_top1"
        strokes = page.locator(".figure-preview path[clip-path]").evaluate_all(
            "all => all.map(p => p.getAttribute('stroke'))"
        )
        assert len(strokes) == 3
        assert not set(strokes) & set(colors)
        assert violations(page) == []
