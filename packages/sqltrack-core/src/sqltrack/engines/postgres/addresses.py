"""Addresses of PostgreSQL databases, as libpq writes them."""

from __future__ import annotations

import re
import urllib.parse
from typing import Any

import psycopg

from sqltrack.errors import ConfigError

__all__ = ["address_config"]

# A parameter of a connection string (PostgreSQL manual, 34.1.1.1): values may be quoted, characters escaped.
_PARAMETER = re.compile(r"\s*(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s\\]|\\.)*)", re.S)


def address_config(address: str) -> dict[str, Any]:
    """Return the configuration that a URI or a connection string means.

    Both may also hold SQLTrack's parameter `schema`.

    Args:
        address: "postgresql://…", or parameters as in "host=… dbname=…".

    Raises:
        ConfigError: it is none; the message does not quote it, because it may hold a password.
    """
    others, schema = _split_uri(address) if "://" in address.partition("?")[0] else _split_parameters(address)
    try:
        config: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(others)
    except psycopg.Error:
        raise ConfigError(
            "the address of a PostgreSQL database cannot be understood",
            "expected postgresql://USER@HOST:PORT/DBNAME, or parameters of libpq such as 'host=HOST dbname=DBNAME'",
        ) from None
    return {"engine": "postgres", **config, **({} if schema is None else {"schema": schema})}


def _split_uri(uri: str) -> tuple[str, str | None]:
    """Return a URI without its parameter `schema`, and that."""
    scheme, mark, rest = uri.partition("://")
    # libpq knows the scheme in lower case alone.
    uri = f"{scheme.lower()}{mark}{rest}"
    base, mark, query = uri.partition("?")
    pairs = query.split("&") if mark else []
    schemas = [pair.partition("=")[2] for pair in pairs if pair.startswith("schema=")]
    if not schemas:
        return uri, None
    others = "&".join(pair for pair in pairs if not pair.startswith("schema="))
    return f"{base}?{others}", urllib.parse.unquote(schemas[-1])


def _split_parameters(text: str) -> tuple[str, str | None]:
    """Return a connection string without its parameter `schema`, and that."""
    schemas = [match[2] for match in _PARAMETER.finditer(text) if match[1] == "schema"]
    if not schemas:
        return text, None
    others = _PARAMETER.sub(lambda match: "" if match[1] == "schema" else match[0], text)
    value = schemas[-1]
    quoted = len(value) > 1 and value.startswith("'")
    return others, re.sub(r"\\(.)", r"\1", value[1:-1] if quoted else value)
