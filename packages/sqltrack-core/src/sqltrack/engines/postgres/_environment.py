"""What libpq takes from the environment by itself. Needs no driver."""

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
    """Return those of `user` and `dbname` that libpq finds by itself, so that our defaults must not hide them.

    Args:
        given: names of the parameters that the configuration holds.
    """
    if "service" in given or "conninfo" in given or os.environ.get("PGSERVICE") or os.environ.get("PGUSER"):
        return frozenset({"user", "dbname"})
    return frozenset({"dbname"}) if os.environ.get("PGDATABASE") else frozenset()


def told_to_libpq(name: str) -> str | None:
    """Return what the environment tells libpq of where a database is, None for nothing.

    Args:
        name: a parameter: dbname, host, hostaddr, port or service.
    """
    return os.environ.get(_VARIABLES[name]) or None
