"""Describe the command of a process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["code_folder", "current_folder", "describe_command"]

# Characters of a command line that are stored at most; a pattern may stand for thousands of files.
_LIMIT = 64 * 2**10


def describe_command(config: Mapping[str, Any], argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Return `argv`, with credentials masked according to a configuration, `cwd` and `pid`.

    Args:
        config: the configuration with the settings for masking.
        argv: the command line, default: that of this process.
    """
    from sqltrack._masked_items import masked_items
    from sqltrack._settings import truth_setting

    given = list(map(str, getattr(sys, "orig_argv", sys.argv) if argv is None else argv))
    words = _cut(given)
    if config.get("mask") is None or truth_setting(config, "mask"):
        from sqltrack.capture._command_words import masked_words

        words = masked_words(words)
    found: dict[str, Any] = masked_items(config, "args", {"argv": words})
    if len(words) < len(given):
        found["argv_cut"] = True
    folder = current_folder()
    return {**found, **({} if folder is None else {"cwd": folder}), "pid": os.getpid()}


def _cut(words: Sequence[str]) -> list[str]:
    """Return the first words of a command line, as many as may be stored."""
    kept, size = [], 0
    for word in words:
        size += len(word) + 1
        if size > _LIMIT:
            break
        kept.append(word)
    return kept


def code_folder() -> str | None:
    """Return the folder of the running script, or the current folder if the script belongs to an installation."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    installed = {os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix)}
    if isinstance(path, str):
        folder = os.path.dirname(os.path.realpath(path))
        if not any(os.path.commonpath([folder, prefix]) == prefix for prefix in installed):
            return folder
    return current_folder()


def current_folder() -> str | None:
    """Return the current folder, None if it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return None
