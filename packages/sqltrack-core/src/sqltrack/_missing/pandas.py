"""Stand-in for sqltrack.pandas while sqltrack-notebook is not installed."""

from sqltrack.errors import MissingPackageError

raise MissingPackageError("sqltrack.pandas", "sqltrack-notebook", "sqltrack-notebook")
