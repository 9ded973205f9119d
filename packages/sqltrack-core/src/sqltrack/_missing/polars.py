"""Stands in for sqltrack.polars where sqltrack-notebook is not installed."""

from sqltrack.errors import MissingPackageError

raise MissingPackageError("sqltrack.polars", "sqltrack-notebook", "'sqltrack-notebook[polars]'")
