"""Requirements of tests on the platform, as marks."""

from __future__ import annotations

import sys

import pytest

__all__ = ["needs_movable_files", "needs_posix", "needs_sigterm"]

needs_movable_files = pytest.mark.skipif(sys.platform == "win32", reason="this platform does not remove open files")
needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="the server of the tests needs POSIX")
needs_sigterm = pytest.mark.skipif(sys.platform == "win32", reason="this platform has no SIGTERM to handle")
