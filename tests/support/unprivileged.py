"""Scripts that must obey file permissions, even if root runs the tests."""

from __future__ import annotations

import os
import sys

import pytest

__all__ = ["UNPRIVILEGED", "needs_permissions"]

# Root without its privileges, because another user may not be able to read the tested code (capset(2), version 3 of its
# structures).
UNPRIVILEGED = """
import ctypes, os

if os.geteuid() == 0:
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, nothing) == 0
"""

needs_permissions = pytest.mark.skipif(
    sys.platform == "win32" or (sys.platform != "linux" and os.geteuid() == 0),
    reason="this platform has other permissions, or root ignores them",
)
