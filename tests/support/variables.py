"""Environment variables for programs that tests start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["PATIENCE", "database_variables"]

#: Seconds that calls wait for the database by default: longer than busy machines stall, so that values are stored when
#: tests read them.
PATIENCE = 30.0


def database_variables(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables for a configuration, whose calls wait as long as those of the tests themselves."""
    settings = {"patience": PATIENCE, **config}
    return {f"SQLTRACK_DSN_{name.upper()}": str(value) for name, value in settings.items()}
