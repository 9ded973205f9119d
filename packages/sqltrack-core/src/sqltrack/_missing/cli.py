"""Stand-in for sqltrack.cli while sqltrack-cli is not installed."""

from sqltrack.errors import MissingPackageError

raise MissingPackageError("the sqltrack program", "sqltrack-cli", "sqltrack-cli")
