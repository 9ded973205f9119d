"""Stand-in for sqltrack.integrations while sqltrack-integrations is not installed."""

from sqltrack.errors import MissingPackageError

raise MissingPackageError("sqltrack.integrations", "sqltrack-integrations", "sqltrack-integrations")
