"""The settings of the outbox."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from sqltrack._outbox._places import folder_setting
from sqltrack._settings import number_setting
from sqltrack.engines._spelling import quote
from sqltrack.errors import ConfigError

__all__ = ["Mode", "OutboxSettings", "mode_setting", "outbox_settings"]

Mode = Literal["off", "on", "always"]

_DEFAULT_MODE: Mode = "on"
_DEFAULT_PATIENCE = 1.0
# PostgreSQL and the system have upper limits for timeouts in milliseconds; longer ones are as good as none.
_LONGEST_PATIENCE = 1e6
_LIMIT = 2**30
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class OutboxSettings(NamedTuple):
    """The settings of a client's outbox.

    Attributes:
        mode: "on" uses it during an outage, "always" for all calls, "off" never.
        folder: absolute path of the folder for files.
        is_default_folder: whether the folder was not configured.
        patience: seconds that a call may wait for the database.
        limit: largest size of the file in bytes.
        keep: seconds for which a file is kept after all of it was sent.
    """

    mode: Mode
    folder: str
    is_default_folder: bool
    patience: float
    limit: int
    keep: float


def mode_setting(config: Mapping[str, Any]) -> Mode:
    """Return the setting `outbox` of a configuration.

    Raises:
        ConfigError: (a ValueError) it is not off, on or always.
    """
    value = config.get("outbox")
    if value is None:
        return _DEFAULT_MODE
    text = str(value).strip().lower()
    if text in ("on", "true", "yes", "1"):
        return "on"
    if text in ("off", "false", "no", "0"):
        return "off"
    if text == "always":
        return "always"
    raise ConfigError(f"outbox must be on, off or always, got {quote(value)}")


def outbox_settings(config: Mapping[str, Any]) -> OutboxSettings:
    """Return the outbox settings of a configuration.

    Raises:
        ConfigError: (a ValueError) a setting cannot be used.
    """
    return OutboxSettings(
        mode_setting(config),
        folder_setting(config),
        config.get("outbox_dir") is None,
        min(number_setting(config, "patience", _DEFAULT_PATIENCE), _LONGEST_PATIENCE),
        _size_setting(config, "outbox_limit", _LIMIT),
        number_setting(config, "outbox_keep", 0.0),
    )


def _size_setting(config: Mapping[str, Any], name: str, default: int) -> int:
    """Return a setting as a number of bytes; it may have a unit, where 500 MB and 500 MiB are the same.

    Raises:
        ConfigError: (a ValueError) it is not a size.
    """
    value = config.get(name)
    if value is None:
        return default
    import re

    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", str(value), re.IGNORECASE)
    if match is None:
        raise ConfigError(f"{name} must be a number of bytes, such as 500 MiB, got {quote(value)}")
    return int(float(match[1]) * _UNITS[match[2].upper()])
