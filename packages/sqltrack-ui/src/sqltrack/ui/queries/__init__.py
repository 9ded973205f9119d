"""Read what the page shows: functions without HTTP, for both databases.

Each function takes a `Database` and a specification, a dict as in JSON, and returns a dict that is strict JSON. Its
`version` changes whenever the data have changed.

A column of the table of runs is a list: `["run", "status"]`, `["experiment", "name"]`, `["args", "lr"]`,
`["extras", "host", "name"]`, `["env", "HOME"]`, `["tag", "baseline"]`, `["metric", "max", "val_acc"]` (or min, last,
mean), or `["metric", "at", "val_loss", "min", "val_acc"]`, the value of val_acc where val_loss is smallest.

A filter is a dict with facets (dicts with column, values and exclude), where (a condition in SQL, as for
`sqltrack runs --where`), search (a text) and ids.
"""

from __future__ import annotations

from sqltrack.ui.queries._catalog import columns, metrics
from sqltrack.ui.queries._choices import choices
from sqltrack.ui.queries._curves import curves
from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._errors import QueryError
from sqltrack.ui.queries._facets import facets
from sqltrack.ui.queries._figures import figure
from sqltrack.ui.queries._gone import gone
from sqltrack.ui.queries._grid import grid
from sqltrack.ui.queries._group_rows import export_groups, group_rows
from sqltrack.ui.queries._groups import group_choices
from sqltrack.ui.queries._overview import about, changes, experiments, live
from sqltrack.ui.queries._run import compare, run
from sqltrack.ui.queries._runs import best, export_rows, runs
from sqltrack.ui.queries._schema import schema
from sqltrack.ui.queries._sql import StatementError, Stop, sql
from sqltrack.ui.queries._sweep import sweep

__all__ = [
    "Database",
    "QueryError",
    "StatementError",
    "Stop",
    "about",
    "best",
    "changes",
    "choices",
    "columns",
    "compare",
    "curves",
    "experiments",
    "export_groups",
    "export_rows",
    "facets",
    "figure",
    "gone",
    "grid",
    "group_choices",
    "group_rows",
    "live",
    "metrics",
    "run",
    "runs",
    "schema",
    "sql",
    "sweep",
]
