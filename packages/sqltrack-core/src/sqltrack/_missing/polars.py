"""Stand-in for sqltrack.polars while sqltrack-notebook is not installed."""

from sqltrack.errors import MissingPackageError

raise MissingPackageError("sqltrack.polars", "sqltrack-notebook", "'sqltrack-notebook[polars]'")
