"""Loggers, without importing the logging module in programs that have nothing to log."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import logging

__all__ = ["announce", "get_logger", "has_ended"]


def get_logger(module: str) -> logging.Logger:
    """Return the logger `sqltrack.<module>`; at the very end of the interpreter, one that writes to stderr."""
    if has_ended():
        return cast("logging.Logger", _LastLogger())
    import logging

    return logging.getLogger(f"sqltrack.{module}")


def has_ended() -> bool:
    """Return whether Python can no longer import modules, because it is exiting."""
    # It sets this to None, which type checkers do not know.
    return cast(object, sys.meta_path) is None


class _LastLogger:
    """Behaves like a logger without configuration."""

    def info(self, message: str, *arguments: Any) -> None:
        """Do nothing."""

    def warning(self, message: str, *arguments: Any) -> None:
        """Write a line to stderr, if available."""
        if sys.stderr is not None:
            print(message % arguments if arguments else message, file=sys.stderr)

    error = exception = warning


def announce(module: str, text: str) -> None:
    """Log a line at level INFO, or write it to stderr if the program has not configured logging.

    Python would show only warnings in such a program. Levels of the loggers `sqltrack` and `sqltrack.<module>` still
    apply: `logging.getLogger("sqltrack").setLevel("WARNING")` turns these lines off.

    Args:
        module: the logger is `sqltrack.<module>`.
        text: the line.
    """
    # A program that has not imported logging has not configured it, and importing it takes long.
    if "logging" in sys.modules:
        logger = get_logger(module)
        if logger.hasHandlers():
            logger.info("%s", text)
            return
        if not _would_show_info(logger):
            return
    # A program without stderr, or whose reader is gone, must not fail because of this line.
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            print(f"sqltrack: {text}", file=sys.stderr, flush=True)


def _would_show_info(logger: logging.Logger) -> bool:
    """Return whether a logger passes lines of level INFO, ignoring the level of the root logger."""
    import logging

    if logger.disabled or logger.manager.disable >= logging.INFO:
        return False
    while logger.parent is not None:
        if logger.level:
            return logger.level <= logging.INFO
        logger = logger.parent
    return True
