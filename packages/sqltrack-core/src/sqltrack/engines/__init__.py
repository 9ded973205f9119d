"""The databases that SQLTrack can use, and how a configuration chooses one."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqltrack.engines.engine import Engine
from sqltrack.errors import ConfigError

__all__ = ["Engine", "create_engine"]

if TYPE_CHECKING:
    from sqltrack.engines.postgres import PostgresEngine as PostgresEngine
    from sqltrack.engines.sqlite import SQLiteEngine as SQLiteEngine

# Loaded by name, so that nobody pays for the driver of an engine that is not used.
_ENGINES = {
    "postgres": ("sqltrack.engines.postgres", "PostgresEngine"),
    "sqlite": ("sqltrack.engines.sqlite", "SQLiteEngine"),
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
    name = config.get("engine", "postgres")
    if name not in _ENGINES:
        known = " or ".join(repr(known) for known in _ENGINES)
        raise ConfigError(f"unknown engine {name!r}, expected {known}")
    engine: Engine = _load_class(*_ENGINES[name])(config)
    return engine


def __getattr__(name: str) -> Any:
    """Return PostgresEngine or SQLiteEngine, whose drivers are loaded when they are asked for."""
    for module, cls in _ENGINES.values():
        if cls == name:
            return _load_class(module, cls)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _load_class(module: str, cls: str) -> Any:
    return getattr(importlib.import_module(module), cls)
