"""Fixtures for `sqltrack import`."""

from __future__ import annotations

from support.program import one_line_error, options, parquet, program

__all__ = ["one_line_error", "options", "parquet", "program"]
