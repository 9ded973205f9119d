"""Read the environment variables of libpq that choose a database; needs no driver."""

from __future__ import annotations

import os
from collections.abc import Container

__all__ = ["names_told_to_libpq", "told_to_libpq"]

_VARIABLES = {
    "dbname": "PGDATABASE",
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "service": "PGSERVICE",
}


def names_told_to_libpq(given: Container[str]) -> frozenset[str]:
    """Return which of `user` and `dbname` libpq finds in the environment, so that our defaults must not override them.

    Args:
        given: names of the parameters in the configuration.
    """
    if "service" in given or "conninfo" in given or os.environ.get("PGSERVICE") or os.environ.get("PGUSER"):
        return frozenset({"user", "dbname"})
    return frozenset({"dbname"}) if os.environ.get("PGDATABASE") else frozenset()


def told_to_libpq(name: str) -> str | None:
    """Return the value of a parameter in the environment, None without one.

    Args:
        name: dbname, host, hostaddr, port or service.
    """
    return os.environ.get(_VARIABLES[name]) or None
