"""Stand-in for sqltrack.notebook while sqltrack-notebook is not installed."""

from sqltrack.errors import MissingPackageError

raise MissingPackageError("sqltrack.notebook", "sqltrack-notebook", "sqltrack-notebook")
