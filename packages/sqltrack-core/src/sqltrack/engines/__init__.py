"""The databases that SQLTrack can use, and how a configuration chooses one."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sqltrack.engines.engine import Engine
from sqltrack.errors import ConfigError

__all__ = ["Engine", "create_engine", "has_users"]

if TYPE_CHECKING:
    from sqltrack.engines.postgres import PostgresEngine as PostgresEngine
    from sqltrack.engines.sqlite import SQLiteEngine as SQLiteEngine


class _Known(NamedTuple):
    """An engine by its module and class, loaded when it is used: its driver may be slow to import, or missing."""

    module: str
    cls: str
    has_users: bool


_ENGINES = {
    "postgres": _Known("sqltrack.engines.postgres", "PostgresEngine", has_users=True),
    "sqlite": _Known("sqltrack.engines.sqlite", "SQLiteEngine", has_users=False),
}


def create_engine(config: Mapping[str, Any]) -> Engine:
    """Create the engine that a configuration asks for.

    Args:
        config: parameters as returned by `load_config`; `engine` is "postgres" (default) or "sqlite", the others
            are the engine's own.

    Raises:
        ConfigError: the engine is unknown, or cannot use its parameters.
        MissingPackageError: the engine's driver is not installed.
    """
    known = _find(config)
    engine: Engine = _load_class(known.module, known.cls)(config)
    return engine


def has_users(config: Mapping[str, Any]) -> bool:
    """Return whether the database of a configuration is on a server, with users who have rights; needs no driver.

    Args:
        config: parameters as returned by `load_config`.

    Raises:
        ConfigError: the engine is unknown.
    """
    return _find(config).has_users


def _find(config: Mapping[str, Any]) -> _Known:
    name = config.get("engine", "postgres")
    if name not in _ENGINES:
        known = " or ".join(repr(known) for known in _ENGINES)
        raise ConfigError(f"unknown engine {name!r}, expected {known}")
    return _ENGINES[name]


def __getattr__(name: str) -> Any:
    """Return PostgresEngine or SQLiteEngine, whose drivers are loaded when they are asked for."""
    for known in _ENGINES.values():
        if known.cls == name:
            return _load_class(known.module, known.cls)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _load_class(module: str, cls: str) -> Any:
    return getattr(importlib.import_module(module), cls)
