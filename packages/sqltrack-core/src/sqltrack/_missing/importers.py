"""Stand-in for sqltrack.importers while sqltrack-import is not installed."""

from sqltrack.errors import MissingPackageError

raise MissingPackageError("sqltrack.importers", "sqltrack-import", "sqltrack-import")
