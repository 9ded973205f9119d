"""The parameters that the client itself uses, and checks of their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqltrack.engines._spelling import quote
from sqltrack.errors import ConfigError

__all__ = ["CLIENT_SETTINGS", "check_mask_settings", "number_setting", "text_setting", "truth_setting"]

#: Parameters that the client itself uses, with any engine.
CLIENT_SETTINGS = frozenset(
    {
        *("capture", "keepalive", "mask", "mask_env", "mask_env_names", "mask_names", "outbox", "outbox_dir"),
        *("outbox_keep", "outbox_limit", "patience", "reconnect", "time_column"),
    }
)


def check_mask_settings(config: Mapping[str, Any]) -> None:
    """Check the settings for masking, before a run has values to mask.

    Raises:
        ConfigError: (a ValueError) a setting has the wrong type.
    """
    for name in ("mask", "mask_env"):
        if config.get(name) is not None:
            truth_setting(config, name)
    for name in ("mask_names", "mask_env_names"):
        text_setting(config, name)


def number_setting(config: Mapping[str, Any], name: str, default: float) -> float:
    """Return the setting `name` of a configuration as a number of at least 0.

    Args:
        config: the configuration.
        name: name of the setting.
        default: its value if the configuration does not contain it.

    Raises:
        ConfigError: (a ValueError) it is not such a number.
    """
    value = config.get(name)
    if value is None:
        return default
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if not number >= 0:
        raise ConfigError(f"{name} must be a number of seconds that is not negative, got {quote(value)}")
    return number


def text_setting(config: Mapping[str, Any], name: str) -> str:
    """Return a setting as text, empty if the configuration does not contain it.

    Args:
        config: the configuration.
        name: name of the setting.

    Raises:
        ConfigError: (a ValueError) it is not text.
    """
    value = config.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be a text with names separated by commas, got {value!r}")
    return value


def truth_setting(config: Mapping[str, Any], name: str) -> bool:
    """Return a setting that the configuration contains as a bool.

    Args:
        config: the configuration.
        name: name of the setting.

    Raises:
        ConfigError: (a ValueError) it is neither true nor false.
    """
    value = config[name]
    text = str(value).strip().lower()
    if text in ("true", "yes", "on", "1"):
        return True
    if text in ("false", "no", "off", "0"):
        return False
    raise ConfigError(f"{name} must be true or false, got {quote(value)}")
