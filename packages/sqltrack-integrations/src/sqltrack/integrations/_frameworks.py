"""Explain a missing framework."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqltrack.errors import MissingPackageError

__all__ = ["require"]


@contextlib.contextmanager
def require(module: str, package: str, imported: str | None = None) -> Iterator[None]:
    """Import a framework in a `with` block.

    Args:
        module: the module of SQLTrack that needs it.
        package: the name by which pip installs it.
        imported: the name by which Python imports it, default: the last part of `module`.

    Raises:
        MissingPackageError: the framework is not installed.
        ModuleNotFoundError: the framework lacks a package that it needs.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        # The framework may be there, and lack a package of its own, such as a backend of Keras.
        if (error.name or "").partition(".")[0] != (imported or module.rpartition(".")[2]):
            raise
        raise MissingPackageError(module, package, package) from error
