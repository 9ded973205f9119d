"""Measure what a process and its children use: memory, CPU and GPUs."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqltrack.capture._files import read_text
from sqltrack.capture._limits import cpu_limit

__all__ = ["Resources", "Usage"]

# Processes that are looked at.
_MAX_PROCESSES = 1_000


class Usage(NamedTuple):
    """CPU time and memory of a process that has ended, and its children.

    Attributes:
        cpu: seconds of CPU time.
        memory: bytes of memory of the largest process at its peak.
    """

    cpu: float
    memory: int


class _Series:
    """Mean and maximum of a measurement, since the run began or since the last row."""

    def __init__(self) -> None:
        self.total = 0.0
        self.count = 0
        self.highest: float | None = None

    def add(self, value: float) -> None:
        self.total += value
        self.count += 1
        self.highest = value if self.highest is None else max(self.highest, value)

    @property
    def mean(self) -> float:
        return self.total / self.count


class Resources:
    """Measurements of a process and its children.

    Args:
        pid: id of the process, default: this one.
    """

    def __init__(self, pid: int | None = None) -> None:
        self._pid = os.getpid() if pid is None else pid
        self._whole: dict[str, _Series] = {}
        self._recent: dict[str, _Series] = {}
        self._last: tuple[float, float] | None = None

    def sample(self) -> None:
        """Measure once; this takes about a tenth of a millisecond."""
        found = _measure(self._pid)
        if found is None:
            # The process has ended, see `end`.
            return
        if found.memory:
            self._add("memory", found.memory)
        self._add_cpu(found.cpu, time.monotonic())
        self._sample_gpus()

    def _sample_gpus(self) -> None:
        from sqltrack.capture._nvml import sample_gpus

        for index, gpu in enumerate(sample_gpus()):
            self._add(f"gpu{index}_memory", gpu.memory)
            if gpu.utilization is not None:
                self._add(f"gpu{index}", gpu.utilization)

    def end(self, usage: Usage, begun: float, ended: float) -> None:
        """Add CPU time and memory that the system reports after the end of the process.

        Args:
            usage: CPU time and memory of the process.
            begun: when (monotonic) the process was started, for one that ended before the first sample.
            ended: when (monotonic) it has ended.
        """
        if self._last is None:
            self._last = begun, 0.0
        self._add_cpu(usage.cpu, ended)
        known = self._whole.get("memory")
        if known is None:
            self._add("memory", usage.memory)
        else:
            # A peak, which says nothing about the mean.
            known.highest = max(known.highest or 0.0, usage.memory)

    def _add_cpu(self, spent: float, now: float) -> None:
        if self._last is not None and now > self._last[0]:
            at, before = self._last
            # Less than before if a process has ended that no other has waited for.
            self._add("cpu", max(spent - before, 0.0) / (now - at))
        self._last = now, spent

    def _add(self, name: str, value: float) -> None:
        for series in (self._whole, self._recent):
            series.setdefault(name, _Series()).add(value)

    def summary(self) -> dict[str, Any]:
        """Return peak and mean of each measurement since the beginning, and the number of samples.

        `memory` and `gpu0_memory` are in bytes, `cpu` in CPUs that were busy, with `cpus` for comparison, `gpu0` is the
        share of time in which that GPU was busy.
        """
        if not self._whole:
            return {}
        found = {name: _rounded(series) for name, series in list(self._whole.items())}
        return {**found, "cpus": cpu_limit(), "samples": max(series.count for series in self._whole.values())}

    def metrics(self) -> Mapping[str, float]:
        """Return mean and maximum of each measurement since the last call, as metrics such as "sys/memory_max"."""
        recent, self._recent = self._recent, {}
        return {
            f"sys/{name}_{kind}": value for name, series in recent.items() for kind, value in _rounded(series).items()
        }


def _rounded(series: _Series) -> dict[str, float]:
    highest = series.highest or 0.0
    if highest >= 1024:
        return {"mean": round(series.mean), "max": round(highest)}
    return {"mean": round(series.mean, 4), "max": round(highest, 4)}


def _measure(pid: int) -> Usage | None:
    """Return the memory and CPU time of a process and its children, None if it has ended."""
    memory, spent = 0, 0.0
    waiting = [pid]
    seen: set[int] = set()
    while waiting and len(seen) < _MAX_PROCESSES:
        process = waiting.pop()
        if process in seen:
            continue
        seen.add(process)
        found = _measure_one(process)
        if found is not None:
            memory += found.memory
            spent += found.cpu
            waiting += _children(process)
        elif process == pid:
            return _own_usage() if pid == os.getpid() else None
    return Usage(spent, memory)


def _own_usage() -> Usage:
    """Return the CPU time of this process, for systems without /proc."""
    used = os.times()
    return Usage(used.user + used.system + used.children_user + used.children_system, 0)


def _measure_one(pid: int) -> Usage | None:
    text = read_text(f"/proc/{pid}/stat", 4096)
    if text is None:
        return None
    # The name of the program, in parentheses, may hold blanks and parentheses.
    fields = text[text.rfind(")") + 2 :].split()
    try:
        # With the times of children that have ended, so that many short ones count.
        spent = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
        return Usage(spent, int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))
    except (IndexError, ValueError):
        return None


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    texts = [read_text(f"/proc/{pid}/task/{thread}/children", 2**16) for thread in threads]
    return [int(word) for text in texts if text for word in text.split()]
