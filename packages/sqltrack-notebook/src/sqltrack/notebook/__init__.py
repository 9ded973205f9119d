"""Show experiments in notebooks, with values as readable HTML and tables that sort by value.

The functions `format_*` convert a value to HTML and escape all data. If you write your own function, it must return
HTML and escape data, too (`html.escape`).
"""

from __future__ import annotations

from sqltrack.notebook._colors import textcolor
from sqltrack.notebook._comparison import format_comparison
from sqltrack.notebook._curves import group_curves, metric_curves
from sqltrack.notebook._display import init_notebook_mode, stylesheet, to_html
from sqltrack.notebook._frame import format_dataframe
from sqltrack.notebook._plots import plot_metrics
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
    "group_curves",
    "init_notebook_mode",
    "metric_curves",
    "plot_metrics",
    "seed_statistics",
    "stylesheet",
    "textcolor",
    "to_html",
]
