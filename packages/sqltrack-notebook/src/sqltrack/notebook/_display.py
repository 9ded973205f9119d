"""The stylesheet, and tables without itables."""

from __future__ import annotations

from importlib import resources

import pandas as pd

from sqltrack.errors import MissingPackageError
from sqltrack.notebook._status import add_status_colors

__all__ = ["init_notebook_mode", "stylesheet", "to_html"]


def init_notebook_mode() -> None:
    """Add the stylesheet to the notebook, and let itables, if installed, show formatted data frames as they should be.

    Tables then show HTML, sort by value with missing values last, and give columns the width of what is shown. Call
    `itables.init_notebook_mode` first; with its `connected=True`, missing values come first in descending order.

    From then on `itables.show` takes the text of all data frames for HTML. What `format_dataframe` returns is
    escaped; other data frames with text from strangers should be shown with `allow_html=False`.

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
    # DataTables would give a column the width of the whole text, also where the stylesheet cuts it.
    itables.options.autoWidth = False
    script = resources.files(__package__).joinpath("order.js").read_text(encoding="utf-8")
    names = {"UNDERSCORES": itables.__version__.replace(".", "_"), "VERSION": itables.__version__}
    for name, value in names.items():
        script = script.replace(name, value)
    return f"<script>\n{script}</script>"


def stylesheet() -> str:
    """Return the rules of CSS that formatted values rely on."""
    css = resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    return add_status_colors(css)


def to_html(formatted: pd.DataFrame) -> str:
    """Return a data frame from `format_dataframe` as one HTML table, for use without itables.

    Args:
        formatted: the formatted data frame.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(formatted, pd.DataFrame):
        raise TypeError(f"a pandas DataFrame is expected, got {type(formatted).__name__}")
    # pandas would cut the HTML of long cells in the middle otherwise.
    with pd.option_context("display.max_colwidth", None):
        return formatted.to_html(escape=False, classes="sqltrack-table")
