"""Check that texts can be paths of files."""

from __future__ import annotations

import os

from sqltrack.engines._spelling import quote
from sqltrack.errors import ConfigError

__all__ = ["check_path"]


def check_path(path: str) -> None:
    """Check that a path or an address can be the name of a file.

    Raises:
        ConfigError: (a ValueError) it contains NUL, or characters that the file system cannot store.
    """
    try:
        is_name = "\0" not in path and bool(os.fsencode(path) or True)
    except UnicodeEncodeError:
        is_name = False
    if not is_name:
        raise ConfigError(f"a path must not hold NUL or lone surrogates, got {quote(path)}")
