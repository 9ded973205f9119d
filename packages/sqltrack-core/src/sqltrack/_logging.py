"""Loggers, without the cost of the logging module for programs in which nothing goes wrong."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import logging

__all__ = ["announce", "get_logger", "has_ended"]


def get_logger(module: str) -> logging.Logger:
    """Return the logger `sqltrack.<module>`, at the very end of the interpreter one that writes to stderr."""
    if has_ended():
        return cast("logging.Logger", _LastLogger())
    import logging

    return logging.getLogger(f"sqltrack.{module}")


def has_ended() -> bool:
    """Return whether Python imports nothing any more, because it is taking its modules apart."""
    # It sets that to None, which type checkers do not know.
    return cast(object, sys.meta_path) is None


class _LastLogger:
    """Does what loggers do that nobody has configured."""

    def info(self, message: str, *arguments: Any) -> None:
        """Do nothing."""

    def warning(self, message: str, *arguments: Any) -> None:
        """Write a line to stderr, if it is there."""
        if sys.stderr is not None:
            print(message % arguments if arguments else message, file=sys.stderr)

    error = exception = warning


def announce(module: str, text: str) -> None:
    """Log a line at level INFO, or write it to stderr if the program has not configured logging.

    Python shows only warnings in such a program. Levels of the loggers `sqltrack` and `sqltrack.<module>` hold there,
    too: `logging.getLogger("sqltrack").setLevel("WARNING")` turns such lines off.

    Args:
        module: the logger is `sqltrack.<module>`.
        text: the line.
    """
    # A program that has not imported the module has not configured it, and the import takes long.
    if "logging" in sys.modules:
        logger = get_logger(module)
        if logger.hasHandlers():
            logger.info("%s", text)
            return
        if not _would_show_info(logger):
            return
    # A program without stderr, or whose reader is gone, must not fail because of a line.
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            print(f"sqltrack: {text}", file=sys.stderr, flush=True)


def _would_show_info(logger: logging.Logger) -> bool:
    """Return whether a logger lets lines of level INFO pass, if the level of the root is not set."""
    import logging

    if logger.disabled or logger.manager.disable >= logging.INFO:
        return False
    while logger.parent is not None:
        if logger.level:
            return logger.level <= logging.INFO
        logger = logger.parent
    return True
