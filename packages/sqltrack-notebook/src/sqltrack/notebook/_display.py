"""The stylesheet, and tables without itables."""

from __future__ import annotations

from importlib import resources

import pandas as pd

from sqltrack.errors import MissingPackageError
from sqltrack.notebook._status import add_status_colors

__all__ = ["init_notebook_mode", "stylesheet", "to_html"]


def init_notebook_mode() -> None:
    """Add the stylesheet to the notebook, and let itables, if installed, show the HTML of formatted data frames.

    From then on `itables.show` takes the text of all data frames for HTML. What `format_dataframe` returns is
    escaped; other data frames with text from strangers should be shown with `allow_html=False`.

    Raises:
        MissingPackageError: IPython is not installed.
    """
    try:
        from IPython.display import HTML, display
    except ImportError as error:
        raise MissingPackageError("init_notebook_mode", "ipython", "ipython") from error
    _allow_html()
    display(HTML(f"<style>\n{stylesheet()}</style>"))  # type: ignore[no-untyped-call]


def _allow_html() -> None:
    try:
        import itables
    except ImportError:
        return
    itables.options.allow_html = True


def stylesheet() -> str:
    """Return the rules of CSS that formatted values rely on."""
    css = resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    return add_status_colors(css)


def to_html(formatted: pd.DataFrame) -> str:
    """Return a data frame from `format_dataframe` as one HTML table, for use without itables.

    Args:
        formatted: the formatted data frame.
    """
    # pandas would cut the HTML of long cells in the middle otherwise.
    with pd.option_context("display.max_colwidth", None):
        return formatted.to_html(escape=False, classes="sqltrack-table")
