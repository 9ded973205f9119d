"""Configurations for copied clients: complete in this process and its children, without passwords elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from sqltrack._masking import masked
from sqltrack.config import load_config
from sqltrack.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["ACCESS_ADVICE", "portable_config", "restored_config"]

ACCESS_ADVICE = "a client loses its password when it is pickled: put the password into ~/.pgpass"


def portable_config(config: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the configuration for a pickle, and whether a password was left out.

    A pickle that multiprocessing makes to start a process is never stored, so it contains the password.
    """
    if _is_starting_process():
        return dict(config), False
    kept = {name: value for name, value in config.items() if masked(name, str(value)) == str(value)}
    return kept, kept != dict(config)


def restored_config(config: Mapping[str, Any], source: str | Path | None) -> dict[str, Any]:
    """Return a configuration with the password from the config file or the environment.

    Args:
        config: the configuration without password.
        source: path of the config file, None to look for it with `sqltrack.config.find_config_file`.
    """
    try:
        found = load_config(source)
    except ConfigError:
        found = {}
    return {**config, **{name: found[name] for name in ("password", "sslpassword") if name in found}}


def _is_starting_process() -> bool:
    context = sys.modules.get("multiprocessing.context")
    return context is not None and context.get_spawning_popen() is not None
