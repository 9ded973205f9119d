"""Parse addresses of PostgreSQL databases: URIs and connection strings of libpq."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable
from typing import Any

import psycopg

from sqltrack._settings import CLIENT_SETTINGS
from sqltrack.engines._parameters import OWN_PARAMETERS, refuse_unknown
from sqltrack.engines.postgres._parameters import is_known_to_libpq
from sqltrack.errors import ConfigError

__all__ = ["address_config"]

_OWN_IN_ADDRESSES = CLIENT_SETTINGS | {"schema"}
# libpq accepts ssl=true for JDBC (PostgreSQL manual, 34.1.1.2).
_JDBC = frozenset({"ssl"})

# A parameter of a connection string (PostgreSQL manual, 34.1.1.1), with quotes and escapes.
_PARAMETER = re.compile(r"\s*(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s\\]|\\.)*)", re.S)


def address_config(address: str) -> dict[str, Any]:
    """Return the configuration for a URI or a connection string.

    Both may also contain SQLTrack's parameter `schema` and the settings of the client.

    Args:
        address: "postgresql://…", or parameters as in "host=… dbname=…".

    Raises:
        ConfigError: the address cannot be parsed, or a parameter is unknown. The message does not quote the address,
            because it may contain a password.
    """
    _refuse_signs_of_passwords(address)
    others, own = _split_uri(address) if "://" in address.partition("?")[0] else _split_parameters(address)
    config = _read(others)
    if config is None:
        raise ConfigError(
            "cannot parse the address of a PostgreSQL database",
            "expected postgresql://USER@HOST:PORT/DBNAME with special characters as %XX, or 'host=HOST dbname=DBNAME'",
        )
    return {"engine": "postgres", **config, **own}


def _refuse_signs_of_passwords(address: str) -> None:
    """Refuse a URI in which libpq would mistake a part of the password for the host, the port or the database.

    libpq ends the password at the first @, and takes the text after a / for the database.
    """
    authority, mark, rest = address.partition("://")[2].partition("@")
    if not mark or "/" in authority:
        rest = f"{authority}{mark}{rest}"
    place = rest.partition("?")[0]
    ports = re.findall(r"(?:\A|,)(?:\[[^\]]*\]|[^:/,\[]*):([^/,]*)", place.partition("/")[0])
    if "@" in place or any(port and not port.isdecimal() for port in ports):
        raise ConfigError(
            "the address of a PostgreSQL database has an @ or : where libpq expects no password",
            "expected postgresql://USER@HOST:PORT/DBNAME; in a password write @ as %40, / as %2F and : as %3A",
        )


def _read(address: str) -> dict[str, Any] | None:
    """Return the libpq parameters of an address, None if it is invalid; psycopg's error would quote a password."""
    try:
        return dict(psycopg.conninfo.conninfo_to_dict(address))
    except psycopg.Error:
        return None


def _is_own(name: str) -> bool:
    return name in OWN_PARAMETERS or not is_known_to_libpq(name)


def _split_uri(uri: str) -> tuple[str, dict[str, str]]:
    """Split the parameters that libpq does not know off a URI."""
    scheme, mark, rest = uri.partition("://")
    # libpq knows the scheme in lower case only.
    uri = f"{scheme.lower()}{mark}{rest}"
    base, mark, query = uri.partition("?")
    pairs = query.split("&") if mark else []
    own = dict(urllib.parse.parse_qsl("&".join(filter(_is_own_pair, pairs)), keep_blank_values=True))
    # With another @, this may be part of a password, which no error may show.
    if not own or ("@" in query and not _OWN_IN_ADDRESSES.issuperset(own)):
        return uri, {}
    _refuse(own)
    others = "&".join(pair for pair in pairs if not _is_own_pair(pair))
    return f"{base}?{others}", own


def _is_own_pair(pair: str) -> bool:
    name, mark, _ = pair.partition("=")
    # libpq accepts a few names from JDBC, which are not in its list of parameters.
    return mark != "" and name not in _JDBC and _is_own(urllib.parse.unquote(name))


def _split_parameters(text: str) -> tuple[str, dict[str, str]]:
    """Split the parameters that libpq does not know off a connection string."""
    own = {match[1]: _unquoted(match[2]) for match in _PARAMETER.finditer(text) if _is_own(match[1])}
    names = [match[1] for match in _PARAMETER.finditer(text)]
    # The rest of a password with a blank may look like a parameter, which no error may show.
    if not own or ("password" in names and not _OWN_IN_ADDRESSES.issuperset(own)):
        return text, {}
    _refuse(own)
    return _PARAMETER.sub(lambda match: "" if _is_own(match[1]) else match[0], text), own


def _unquoted(value: str) -> str:
    is_quoted = len(value) > 1 and value.startswith("'")
    return re.sub(r"\\(.)", r"\1", value[1:-1] if is_quoted else value)


def _refuse(names: Iterable[str]) -> None:
    """Raise an error for a name that SQLTrack does not know, or that does not belong in an address."""
    refuse_unknown(names, "postgres", dict.fromkeys(names, "the address"))
    for name in names:
        if name not in _OWN_IN_ADDRESSES:
            raise ConfigError(
                f"the address of a PostgreSQL database cannot contain {name!r}", "remove it from the address"
            )
