"""Stand-in for sqltrack.args while sqltrack-args is not installed."""

from sqltrack.errors import MissingPackageError

raise MissingPackageError("sqltrack.args", "sqltrack-args", "sqltrack-args")
