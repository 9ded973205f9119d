"""Show experiments in notebooks: values as readable HTML, tables that sort by value.

The functions `format_*` turn one value into HTML. Everything that comes from data is escaped by them; a function of
your own returns HTML, too, and must escape what comes from data (`html.escape`).
"""

from __future__ import annotations

from sqltrack.notebook._colors import textcolor
from sqltrack.notebook._comparison import format_comparison
from sqltrack.notebook._display import init_notebook_mode, stylesheet, to_html
from sqltrack.notebook._frame import format_dataframe
from sqltrack.notebook._runs import compare_runs
from sqltrack.notebook._seeds import seed_statistics
from sqltrack.notebook._status import format_status
from sqltrack.notebook._tags import format_tags
from sqltrack.notebook._times import format_datetime, format_datetime_relative, format_timedelta
from sqltrack.notebook._values import (
    format_bool,
    format_float,
    format_json,
    format_marked,
    format_percentage,
    format_string,
)

__all__ = [
    "compare_runs",
    "format_bool",
    "format_comparison",
    "format_dataframe",
    "format_datetime",
    "format_datetime_relative",
    "format_float",
    "format_json",
    "format_marked",
    "format_percentage",
    "format_status",
    "format_string",
    "format_tags",
    "format_timedelta",
    "init_notebook_mode",
    "seed_statistics",
    "stylesheet",
    "textcolor",
    "to_html",
]
