"""Stands in for sqltrack.pandas where sqltrack-notebook is not installed."""

from sqltrack.errors import MissingPackageError

raise MissingPackageError("sqltrack.pandas", "sqltrack-notebook", "sqltrack-notebook")
