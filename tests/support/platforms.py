"""What tests need of the platform that they run on, as marks."""

from __future__ import annotations

import sys

import pytest

__all__ = ["needs_sigterm"]

needs_sigterm = pytest.mark.skipif(sys.platform == "win32", reason="this platform has no SIGTERM to handle")
