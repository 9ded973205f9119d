"""Databases as they are named on a command line: a file, a config file, or the address of a server."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sqltrack.client import Client
from sqltrack.config import load_config_file
from sqltrack.errors import ConfigError

__all__ = ["client_of"]

_SERVER = re.compile(r"postgres(?:ql)?://|\s*[a-z_]+\s*=")
_OTHER_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_CONFIG_SUFFIXES = frozenset({".cfg", ".conf", ".ini"})
_SQLITE_HEADER = b"SQLite format 3\0"


def client_of(address: str) -> Client:
    """Return a client of the database that an address names.

    A file that exists comes before all else: it is a SQLite database if it begins as one does or is empty, else a
    config file. What begins with `postgresql://` or `postgres://`, or holds parameters such as `host=…`, is the address
    of a server. Anything else is the path of a file that does not exist: of a config file if it ends with .conf, .cfg
    or .ini, else of a SQLite database.

    A config file is taken as it is: environment variables do not change what it says.

    Raises:
        ConfigError: the address cannot be understood, or the config file cannot be used.
    """
    path = Path(address).expanduser()
    if path.is_file():
        return _client_of_file(path)
    if _SERVER.match(address):
        # Only now: it needs the driver.
        from sqltrack.engines.postgres.addresses import address_config

        return Client(address_config(address))
    if _OTHER_URI.match(address):
        scheme = address.partition("://")[0]
        raise ConfigError(f"unknown kind of address {scheme + '://…'!r}, expected postgresql://… or the path of a file")
    if path.suffix.lower() in _CONFIG_SUFFIXES:
        return Client(load_config_file(path))
    return _sqlite_client(path)


def _client_of_file(path: Path) -> Client:
    with path.open("rb") as file:
        begin = file.read(1024)
    is_config = path.suffix.lower() in _CONFIG_SUFFIXES
    if begin.startswith(_SQLITE_HEADER) or not (begin or is_config):
        return _sqlite_client(path)
    if b"\0" in begin:
        raise ConfigError(f"file {str(path)!r} is neither a SQLite database nor a config file")
    return Client(load_config_file(path))


def _sqlite_client(path: Path) -> Client:
    return Client({"engine": "sqlite", "dbpath": os.fspath(path)})
