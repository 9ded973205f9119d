"""Loggers, without the cost of the logging module for programs in which nothing goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

__all__ = ["get_logger"]


def get_logger(module: str) -> logging.Logger:
    """Return the logger `sqltrack.<module>`."""
    import logging

    return logging.getLogger(f"sqltrack.{module}")
