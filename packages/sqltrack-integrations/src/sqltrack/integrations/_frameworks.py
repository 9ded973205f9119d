"""Explain a missing framework."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqltrack.errors import MissingPackageError

__all__ = ["require"]


@contextlib.contextmanager
def require(module: str, package: str) -> Iterator[None]:
    """Import a framework in a `with` block.

    Args:
        module: the module of SQLTrack that needs it.
        package: the name by which pip installs it.

    Raises:
        MissingPackageError: the framework is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingPackageError(module, package, package) from error
