"""Describe the machine, with the limits of this process."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from sqltrack.capture._limits import cpu_limit, memory_limit

__all__ = ["describe_devices", "describe_host"]


def describe_host() -> dict[str, Any]:
    """Return the facts that are known at once.

    These are `name`, `user`, `system` (such as "Linux 6.1 x86_64"), `python` (its version), `implementation` if it is
    not CPython, `cpus` and `memory` (bytes) of the job, and `cuda_visible_devices` if that variable is set.
    """
    python = ".".join(map(str, sys.version_info[:3]))
    found: dict[str, Any] = {
        "name": _or_none(socket.gethostname),
        "user": _user(),
        "system": _system(),
        "python": python,
        "implementation": None if sys.implementation.name == "cpython" else sys.implementation.name,
        "cpus": cpu_limit(),
        "memory": memory_limit(),
        "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }
    return {name: value for name, value in found.items() if value is not None}


def describe_devices() -> dict[str, Any]:
    """Return what takes longer: the GPUs, and the version of their driver."""
    from sqltrack.capture._nvml import describe_gpus

    return describe_gpus()


def _or_none(function: Any) -> Any:
    try:
        return function()
    except OSError:
        return None


def _user() -> str | None:
    from sqltrack import config

    return config._USER_NAME


def _system() -> str:
    # The module platform starts programs for some of its answers.
    if not hasattr(os, "uname"):
        return sys.platform
    known = os.uname()
    return f"{known.sysname} {known.release} {known.machine}"
