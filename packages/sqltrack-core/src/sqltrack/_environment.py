"""The environment variables of a process, without the secrets in them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from sqltrack.errors import ConfigError

__all__ = ["masked", "masked_environment"]

_MASK = "***"

# Names are compared without separators; TOKEN alone must be the last word, or NUM_TOKENS and TOKENIZERS_PARALLELISM
# would go, too.
_SECRET_PARTS = (
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "CREDENTIAL",
    "APIKEY",
    "ACCESSKEY",
    "PRIVATEKEY",
    "SCRAMCLIENTKEY",
    "SCRAMSERVERKEY",
)
_SECRET_LAST_WORDS = ("TOKEN", "JWT")

# user:password@ in a URL; the password may hold an @ itself. And password=… in a connection string of libpq.
_URL_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/]+(@)")
_CONNINFO_PASSWORD = re.compile(r"(\b(?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)()", re.IGNORECASE)


def masked_environment(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment with the values of variables that look like credentials masked.

    Args:
        config: `mask_env`, whether anything is masked, default true; `mask_env_names`, names of further variables to
            mask, separated by commas, in which * stands for anything.

    Raises:
        ConfigError: `mask_env` is neither true nor false.
    """
    if not _is_true(config.get("mask_env", True)):
        return dict(os.environ)
    further = _name_patterns(str(config.get("mask_env_names") or ""))
    return {name: _MASK if further.fullmatch(name) else masked(name, value) for name, value in os.environ.items()}


def masked(name: str, value: str) -> str:
    """Return the value of a variable or parameter, masked if the name looks like credentials or where it holds some."""
    return _MASK if _is_secret(name) else _mask_passwords(value)


def _is_secret(name: str) -> bool:
    words = re.split(r"[^A-Za-z0-9]+", name.upper())
    joined = "".join(words)
    return any(part in joined for part in _SECRET_PARTS) or words[-1] in _SECRET_LAST_WORDS


def _mask_passwords(value: str) -> str:
    for pattern in (_URL_PASSWORD, _CONNINFO_PASSWORD):
        value = pattern.sub(rf"\g<1>{_MASK}\g<2>" if pattern is _URL_PASSWORD else rf"\g<1>{_MASK}", value)
    return value


def _name_patterns(names: str) -> re.Pattern[str]:
    patterns = [re.escape(name.strip()).replace(r"\*", ".*") for name in names.split(",") if name.strip()]
    return re.compile("|".join(patterns) or r"(?!)", re.IGNORECASE)


def _is_true(value: Any) -> bool:
    text = str(value).strip().lower()
    if text in ("true", "yes", "on", "1"):
        return True
    if text in ("false", "no", "off", "0"):
        return False
    raise ConfigError(f"mask_env must be true or false, got {value!r}")
