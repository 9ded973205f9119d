"""Read what the page shows: functions without HTTP, for both databases."""

from __future__ import annotations

from sqltrack.ui.queries._curves import curves
from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._errors import QueryError
from sqltrack.ui.queries._runs import best, export_rows, runs

__all__ = ["Database", "QueryError", "best", "curves", "export_rows", "runs"]
