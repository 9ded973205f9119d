"""Addresses of PostgreSQL databases, as libpq writes them."""

from __future__ import annotations

import urllib.parse
from typing import Any

import psycopg

from sqltrack.errors import ConfigError

__all__ = ["address_config"]


def address_config(address: str) -> dict[str, Any]:
    """Return the configuration that a URI or a connection string means.

    A URI may also hold SQLTrack's parameter `schema`.

    Args:
        address: "postgresql://…", or parameters as in "host=… dbname=…".

    Raises:
        ConfigError: it is none; the message does not quote it, because it may hold a password.
    """
    base, mark, query = address.partition("?")
    pairs = query.split("&") if "://" in base and mark else []
    schemas = [pair.partition("=")[2] for pair in pairs if pair.startswith("schema=")]
    others = "&".join(pair for pair in pairs if not pair.startswith("schema="))
    try:
        config: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(f"{base}?{others}" if pairs else address)
    except psycopg.Error:
        raise ConfigError(
            "the address of a PostgreSQL database cannot be understood; expected "
            "postgresql://USER@HOST:PORT/DBNAME, or parameters of libpq such as 'host=HOST dbname=DBNAME'"
        ) from None
    if schemas:
        config["schema"] = urllib.parse.unquote(schemas[-1])
    return {"engine": "postgres", **config}
