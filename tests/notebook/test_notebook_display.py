"""The stylesheet, itables' options, and the imports on demand."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import resources
from typing import Any

import IPython.display
import itables
import pandas as pd
import pytest

from sqltrack import notebook
from sqltrack.errors import MissingPackageError
from sqltrack.notebook import (
    format_dataframe,
    format_datetime_relative,
    format_status,
    init_notebook_mode,
    stylesheet,
    to_html,
)
from sqltrack.statuses import GROUPS


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The HTML that the notebook gets; itables' option is restored afterwards."""
    found: list[str] = []
    monkeypatch.setattr(itables.options, "allow_html", False)
    monkeypatch.setattr(IPython.display, "display", lambda part: found.append(part.data))
    return found


def test_the_stylesheet_goes_to_the_notebook(displayed: list[str]) -> None:
    init_notebook_mode()
    (html,) = displayed
    assert html.startswith(f"<style>\n{stylesheet()}</style><script>")


def test_the_stylesheet_needs_nothing_from_elsewhere(displayed: list[str]) -> None:
    init_notebook_mode()
    style, _, script = displayed[0].partition("<script>")
    assert not re.search(r"url\(|@import|//", style)
    assert not re.search(r"https?:|import\(|fetch|src=", script)


def test_every_class_has_its_rules_in_the_stylesheet(displayed: list[str]) -> None:
    init_notebook_mode()
    frame = pd.DataFrame(
        {"s": ["FAILED", "x"], "tags": [["a"], []], "progress": [0.5, 1], " ": [True, False], "t": "x" * 20}
    )
    states = [state for group in GROUPS for state in group.states]
    markup = to_html(format_dataframe(frame)) + "".join(map(format_status, states))
    classes = {name for group in re.findall(r'class="([^"]*)"', markup) for name in group.split()}
    classes = {name for name in classes if name.startswith("sqltrack-")} - {"sqltrack-table"}
    assert len(classes) > 10
    assert {name for name in classes if f".{name}" not in displayed[0]} == set()


def test_dark_and_light_define_the_same_variables() -> None:
    style = stylesheet()
    blocks = [set(re.findall(r"(--sqltrack-[\w-]+):", block)) for block in re.findall(r"\{[^{}]*\}", style)]
    themes = [block for block in blocks if block]
    assert len(themes) == 3
    assert themes[0] == themes[1] == themes[2]
    assert {f"--sqltrack-{group.name}" for group in GROUPS} < themes[0]
    assert set(re.findall(r"var\((--sqltrack-[\w-]+)\)", style)) <= themes[0] | {"--sqltrack-bar"}


def test_light_and_dark_have_the_colors_of_the_statuses() -> None:
    style = stylesheet()
    for group in GROUPS:
        colors = re.findall(rf"--sqltrack-{group.name}: (#\w+);", style)
        assert colors == [group.light, group.dark, group.dark]
    assert "of statuses */" not in style


def test_itables_shows_formatted_cells_from_then_on(displayed: list[str]) -> None:
    frame = format_dataframe(pd.DataFrame({"s": ["FAILED"]}))
    assert "&lt;span hidden" in itables.to_html_datatable(frame, connected=True)
    init_notebook_mode()
    assert itables.options.allow_html is True
    shown = itables.to_html_datatable(frame, connected=True)
    assert "&lt;span hidden" not in shown
    assert "sqltrack-failed" in shown


def test_tables_without_itables_are_not_cut() -> None:
    text = "x" * 300 + "<b>"
    shown = to_html(format_dataframe(pd.DataFrame({"text": [text]})))
    assert shown.count("x" * 300 + "&lt;b&gt;") == 2
    assert "<b>" not in shown


def test_the_import_takes_neither_itables_nor_ipython_nor_humanize() -> None:
    code = """
import sys
for name in ("itables", "IPython", "humanize"):
    sys.modules[name] = None
from sqltrack.notebook import format_dataframe, to_html
import pandas
print(to_html(format_dataframe(pandas.DataFrame({"s": ["FAILED"]}))).count("sqltrack-failed"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_without_itables_the_stylesheet_is_still_added(displayed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "itables", None)
    init_notebook_mode()
    assert len(displayed) == 1


@pytest.mark.parametrize(
    ("module", "call", "message"),
    [
        (
            "IPython.display",
            init_notebook_mode,
            "init_notebook_mode requires 'ipython'; install it with: pip install ipython",
        ),
        ("humanize", lambda: format_datetime_relative(pd.Timestamp("2020")), "relative time requires 'humanize'"),
    ],
)
def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, module: str, call: Any, message: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=message):
        call()


def test_types_are_shipped() -> None:
    assert resources.files(notebook).joinpath("py.typed").is_file()
