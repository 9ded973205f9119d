"""Find the limits of this process' job: CPUs and memory that its cgroup allows, which are less than the node has."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

from sqltrack.capture._files import read_text

__all__ = ["cpu_limit", "memory_limit"]

_ROOT = "/sys/fs/cgroup"
_MEMBERSHIP = "/proc/self/cgroup"

# Version 1 writes a number near 2**63 for no limit.
_UNLIMITED = 2**60


def cpu_limit() -> float | None:
    """Return the number of CPUs that this process can use: by its affinity and by its cgroup, the lower of both."""
    limits = [quota for folder in _folders("cpu") if (quota := _quota(folder)) is not None]
    count: float | None = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    known = [limit for limit in (count, *limits) if limit]
    if not known:
        return None
    least = min(known)
    return int(least) if least == int(least) else round(least, 3)


def memory_limit() -> int | None:
    """Return the bytes of memory that this process' job can use: the limit of its cgroup, or the size of the node."""
    limits = []
    for folder in _folders("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = (read_text(os.path.join(folder, name), 64) or "").strip()
            if text.isdigit() and int(text) < _UNLIMITED:
                limits.append(int(text))
    total = _node_memory()
    known = [limit for limit in (total, *limits) if limit]
    return min(known) if known else None


def _folders(controller: str) -> Iterator[str]:
    """Yield the folders of this process' cgroup and all that contain it, for both versions of cgroups."""
    for line in (read_text(_MEMBERSHIP, 2**16) or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            base = _ROOT
        elif controller in controllers.split(","):
            base = os.path.join(_ROOT, controller)
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for length in range(len(parts), -1, -1):
            yield os.path.join(base, *parts[:length])


def _quota(folder: str) -> float | None:
    """Return the number of CPUs that a cgroup allows, None without a limit."""
    text = read_text(os.path.join(folder, "cpu.max"), 64)
    if text is not None:
        quota, _, period = text.strip().partition(" ")
    else:
        quota = (read_text(os.path.join(folder, "cpu.cfs_quota_us"), 64) or "").strip()
        period = (read_text(os.path.join(folder, "cpu.cfs_period_us"), 64) or "").strip()
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return None
    number = int(quota) / int(period)
    return number if number and math.isfinite(number) else None


def _node_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
