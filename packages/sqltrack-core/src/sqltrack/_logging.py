"""Loggers, without the cost of the logging module for programs in which nothing goes wrong."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

__all__ = ["announce", "get_logger"]


def get_logger(module: str) -> logging.Logger:
    """Return the logger `sqltrack.<module>`."""
    import logging

    return logging.getLogger(f"sqltrack.{module}")


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
