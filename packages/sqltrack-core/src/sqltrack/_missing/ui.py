"""Stand-in for sqltrack.ui while sqltrack-ui is not installed."""

from sqltrack.errors import MissingPackageError

raise MissingPackageError("sqltrack.ui", "sqltrack-ui", "sqltrack-ui")
