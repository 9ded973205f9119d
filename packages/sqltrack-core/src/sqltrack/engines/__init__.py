"""Create the engine, PostgreSQL or SQLite, that a configuration or an address names."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sqltrack.engines._paths import check_path
from sqltrack.engines._spelling import quote
from sqltrack.engines.engine import Engine
from sqltrack.errors import ConfigError

__all__ = ["Engine", "config_of_address", "create_engine", "engine_name", "has_users"]

if TYPE_CHECKING:
    from sqltrack.engines.postgres import PostgresEngine as PostgresEngine
    from sqltrack.engines.sqlite import SQLiteEngine as SQLiteEngine


class _Known(NamedTuple):
    """An engine by its module and class, loaded on first use: its driver may be slow to import, or missing.

    Attributes:
        module: its module, with a submodule `addresses` if it has schemes.
        cls: its class.
        has_users: whether its databases have users and permissions.
        other_names: other names of the engine, in lower case.
        schemes: schemes of its URLs.
        suffixes: suffixes of its files.
        header: first bytes of its files.
    """

    module: str
    cls: str
    has_users: bool
    other_names: frozenset[str] = frozenset()
    schemes: frozenset[str] = frozenset()
    suffixes: frozenset[str] = frozenset()
    header: bytes | None = None


_ENGINES = {
    "postgres": _Known(
        "sqltrack.engines.postgres",
        "PostgresEngine",
        has_users=True,
        other_names=frozenset({"postgresql"}),
        schemes=frozenset({"postgres", "postgresql"}),
    ),
    "sqlite": _Known(
        "sqltrack.engines.sqlite",
        "SQLiteEngine",
        has_users=False,
        other_names=frozenset({"sqlite3"}),
        suffixes=frozenset({".db", ".sqlite", ".sqlite3"}),
        header=b"SQLite format 3\0",
    ),
}


def create_engine(config: Mapping[str, Any]) -> Engine:
    """Create the engine that a configuration names.

    Args:
        config: parameters as returned by `load_config`. `engine` is "postgres" or "sqlite", in upper or lower case;
            default: "sqlite" if `dbpath` is given without parameters of a server, otherwise "postgres". Parameters
            of other engines are ignored.

    Raises:
        ConfigError: the engine or a parameter is unknown, or a value cannot be used.
        MissingPackageError: the engine's driver is not installed.
    """
    from sqltrack.engines._parameters import refuse_unknown

    name = engine_name(config)
    refuse_unknown(config, name)
    engine: Engine = _load_engine(_ENGINES[name])(config)
    return engine


def engine_name(config: Mapping[str, Any]) -> str:
    """Return the name of the engine that a configuration names: "postgres" or "sqlite".

    Args:
        config: parameters as returned by `load_config`.

    Raises:
        ConfigError: the engine is unknown.
    """
    from sqltrack.engines._parameters import implied_engine

    given = config.get("engine")
    if given is None:
        return implied_engine(name for name, value in config.items() if value is not None)
    name = str(given).strip().lower()
    for known, engine in _ENGINES.items():
        if name == known or name in engine.other_names:
            return known
    from sqltrack.engines._parameters import may_be_engine

    expected = " or ".join(repr(known) for known in _ENGINES)
    if name and not may_be_engine(name):
        # Do not show it: it may be a password, or an address with one.
        advice = "pass the address of a database as Client('postgresql://…')"
        raise ConfigError(f"engine takes the name of an engine, expected {expected}, got something else", advice)
    raise ConfigError(f"unknown engine {quote(given)}, expected {expected}")


def config_of_address(address: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the configuration for the address of a database, None if it is not an address.

    Args:
        address: "postgresql://…", or the path of a SQLite file: an existing SQLite database of any name, or a path
            that ends in .db, .sqlite or .sqlite3 and is not an existing text file.

    Raises:
        ConfigError: the address cannot be parsed.
        MissingPackageError: the driver that parses it is not installed.
    """
    text = os.fspath(address)
    check_path(text)
    scheme = text.partition("://")[0].lower() if "://" in text else None
    for name, known in _ENGINES.items():
        if scheme in known.schemes:
            _load_engine(known)
            config: dict[str, Any] = importlib.import_module(f"{known.module}.addresses").address_config(text)
            return config
        if scheme is None and _is_file_of(known, os.path.expanduser(text)):
            return {"engine": name, "dbpath": text}
    return None


def _is_file_of(engine: _Known, path: str) -> bool:
    if engine.header is None:
        return False
    is_called_so = os.path.splitext(path)[1].lower() in engine.suffixes
    try:
        with open(path, "rb") as file:
            begin = file.read(1024)
    except OSError:
        return is_called_so
    return begin.startswith(engine.header) or (is_called_so and (not begin or b"\0" in begin))


def has_users(config: Mapping[str, Any]) -> bool:
    """Return whether the database of a configuration has users and permissions; needs no driver.

    Args:
        config: parameters as returned by `load_config`.

    Raises:
        ConfigError: the engine is unknown.
    """
    return _ENGINES[engine_name(config)].has_users


def __getattr__(name: str) -> Any:
    """Import PostgresEngine or SQLiteEngine on first use, with its driver."""
    for known in _ENGINES.values():
        if known.cls == name:
            return _load_engine(known)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _load_engine(known: _Known) -> Any:
    return getattr(importlib.import_module(known.module), known.cls)
