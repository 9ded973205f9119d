"""Stands in for sqltrack.cli where sqltrack-cli is not installed."""

from sqltrack.errors import MissingPackageError

raise MissingPackageError("the sqltrack program", "sqltrack-cli", "sqltrack-cli")
