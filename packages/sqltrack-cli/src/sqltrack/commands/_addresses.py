"""Find the database of an address on a command line: a file, a config file or a server."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from sqltrack.client import Client
from sqltrack.config import load_config_file
from sqltrack.engines import config_of_address
from sqltrack.errors import ConfigError

__all__ = ["client_of"]

_PARAMETERS = re.compile(r"\s*[a-z_]+\s*=")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_CONFIG_SUFFIXES = frozenset({".cfg", ".conf", ".ini"})


def client_of(address: str) -> Client:
    """Return a client of the database that an address names.

    An existing file comes first: it is a SQLite database if it is empty or begins like one, and otherwise a config
    file. A text that begins with `postgresql://` or `postgres://`, or holds parameters such as `host=…`, is the address
    of a server. Anything else is the path of a new file: a config file if it ends in .conf, .cfg or .ini, and otherwise
    a SQLite database.

    Environment variables do not change the settings of a config file.

    Raises:
        ConfigError: the address is invalid, or the config file is unusable.
    """
    path = Path(address).expanduser()
    is_file = path.is_file()
    if not is_file and _PARAMETERS.match(address):
        # Imported late, because it needs the driver.
        from sqltrack.engines.postgres.addresses import address_config

        return Client(address_config(address))
    config = config_of_address(address)
    if config is not None:
        return Client(config)
    if not is_file and _URI.match(address):
        scheme = address.partition("://")[0]
        raise ConfigError(f"unknown kind of address {scheme + '://…'!r}, expected postgresql://… or the path of a file")
    if path.suffix.lower() in _CONFIG_SUFFIXES or (is_file and path.stat().st_size):
        return Client(_read_config(path))
    return Client({"engine": "sqlite", "dbpath": os.fspath(path)})


def _read_config(path: Path) -> dict[str, Any]:
    if path.is_file():
        with path.open("rb") as file:
            if b"\0" in file.read(1024):
                raise ConfigError(f"file {str(path)!r} is neither a SQLite database nor a config file")
    return load_config_file(path)
