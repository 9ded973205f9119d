"""Add the stylesheet to a notebook, and show tables without itables."""

from __future__ import annotations

from importlib import resources

import pandas as pd

from sqltrack.errors import MissingPackageError
from sqltrack.notebook._status import add_status_colors

__all__ = ["init_notebook_mode", "stylesheet", "to_html"]


def init_notebook_mode() -> None:
    """Add the stylesheet to the notebook, and set up itables, if installed, for formatted data frames.

    Tables then render HTML, sort by value with missing values last, and fit the width of columns to their visible text.
    Call `itables.init_notebook_mode` first. With its `connected=True`, missing values come first in descending order.

    From then on, `itables.show` renders the text of all data frames as HTML. The result of `format_dataframe` is
    escaped. Show other data frames with untrusted text with `allow_html=False`.

    Raises:
        MissingPackageError: IPython is not installed.
    """
    try:
        from IPython.display import HTML, display
    except ImportError as error:
        raise MissingPackageError("init_notebook_mode", "ipython", "ipython") from error
    script = _prepare_itables()
    display(HTML(f"<style>\n{stylesheet()}</style>{script}"))  # type: ignore[no-untyped-call]


def _prepare_itables() -> str:
    """Set options of itables, if it is installed, and return a script for its tables."""
    try:
        import itables
    except ImportError:
        return ""
    itables.options.allow_html = True
    # Otherwise, DataTables makes columns as wide as the whole text, even if the stylesheet cuts it.
    itables.options.autoWidth = False
    script = resources.files(__package__).joinpath("order.js").read_text(encoding="utf-8")
    names = {"UNDERSCORES": itables.__version__.replace(".", "_"), "VERSION": itables.__version__}
    for name, value in names.items():
        script = script.replace(name, value)
    return f"<script>\n{script}</script>"


def stylesheet() -> str:
    """Return the CSS that formatted values need."""
    css = resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    return add_status_colors(css)


def to_html(formatted: pd.DataFrame) -> str:
    """Convert a data frame from `format_dataframe` to an HTML table, for use without itables.

    Args:
        formatted: the formatted data frame.

    Raises:
        TypeError: `formatted` is not a data frame.
    """
    if not isinstance(formatted, pd.DataFrame):
        raise TypeError(f"a pandas DataFrame is expected, got {type(formatted).__name__}")
    # Otherwise, pandas cuts the HTML of long cells.
    with pd.option_context("display.max_colwidth", None):
        return formatted.to_html(escape=False, classes="sqltrack-table")
