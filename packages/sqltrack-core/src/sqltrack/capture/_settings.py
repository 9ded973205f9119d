"""The settings `capture` and `time_column`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from sqltrack.engines._spelling import quote
from sqltrack.errors import ConfigError

__all__ = ["ALL", "DEFAULT", "capture_setting", "time_column_setting"]

#: What is captured unless the configuration says otherwise.
DEFAULT = frozenset({"git", "packages", "host", "command"})

#: All that can be captured; `series` is `resources` as metrics.
ALL = frozenset({*DEFAULT, "diff", "output", "resources"})

_VARIABLE = "SQLTRACK_CAPTURE"
_GROUPS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("on", "true", "yes", "1"), DEFAULT),
    **dict.fromkeys(("off", "false", "no", "0", "none"), frozenset()),
    "all": ALL,
    "series": frozenset({"resources", "series"}),
    "diff": frozenset({"git", "diff"}),
}


def capture_setting(config: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of what to capture.

    Args:
        config: a configuration; without `capture`, the environment variable SQLTRACK_CAPTURE decides, or else `DEFAULT`
            counts.

    Raises:
        ConfigError: (a ValueError) a name is unknown.
    """
    value = config.get("capture")
    if value is None:
        value = os.environ.get(_VARIABLE) or "on"
    if isinstance(value, str):
        words: Iterable[Any] = value.split(",")
    elif isinstance(value, Iterable):
        words = value
    else:
        words = [value]
    chosen: set[str] = set()
    for word in words:
        chosen |= _group(word)
    return frozenset(chosen)


def _group(word: Any) -> frozenset[str]:
    name = str(word).strip().lower()
    if name in _GROUPS:
        return _GROUPS[name]
    if name in ALL:
        return frozenset({name})
    known = ", ".join(sorted({*ALL, "series"}))
    raise ConfigError(f"capture must be on, off, all or names, got {quote(word)}", f"the names are {known}")


def time_column_setting(config: Mapping[str, Any]) -> str | None:
    """Return the name of the metric that holds the time of each row, None without one.

    Raises:
        ConfigError: (a ValueError) it is not a name.
    """
    value = config.get("time_column")
    if value is None or value == "":
        return None
    if not isinstance(value, str) or value in ("run_id", "step", "progress", "extras"):
        raise ConfigError(f"time_column must be the name of a metric, got {quote(value)}")
    return value
