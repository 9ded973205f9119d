"""Measure what a process and its children use: memory, CPU and GPUs."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from sqltrack.capture._files import read_text
from sqltrack.capture._limits import cpu_limit

__all__ = ["Resources"]

# Processes that are looked at.
_MAX_PROCESSES = 1_000


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
        self._last: tuple[float, dict[int, float]] | None = None

    def sample(self) -> None:
        """Measure once; this takes about a tenth of a millisecond."""
        memory, times = _measure(self._pid)
        if memory:
            self._add("memory", memory)
        now = time.monotonic()
        if self._last is not None and now > self._last[0]:
            # Processes that began or ended in between count only by what both samples saw.
            begun, before = self._last
            used = sum(spent - before.get(pid, 0.0) for pid, spent in times.items())
            self._add("cpu", max(used, 0.0) / (now - begun))
        self._last = now, times
        from sqltrack.capture._nvml import sample_gpus

        for index, gpu in enumerate(sample_gpus()):
            self._add(f"gpu{index}_memory", gpu.memory)
            if gpu.utilization is not None:
                self._add(f"gpu{index}", gpu.utilization)

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


def _measure(pid: int) -> tuple[int, dict[int, float]]:
    """Return the bytes of memory of a process and its children, and the seconds of CPU time of each."""
    memory = 0
    times: dict[int, float] = {}
    waiting = [pid]
    seen: set[int] = set()
    while waiting and len(seen) < _MAX_PROCESSES:
        process = waiting.pop()
        if process in seen:
            continue
        seen.add(process)
        found = _measure_one(process)
        if found is not None:
            memory += found[0]
            times[process] = found[1]
            waiting += _children(process)
    if not times and pid == os.getpid():
        used = os.times()
        times[pid] = used.user + used.system
    return memory, times


def _measure_one(pid: int) -> tuple[int, float] | None:
    text = read_text(f"/proc/{pid}/stat", 4096)
    if text is None:
        return None
    # The name of the program, in parentheses, may hold blanks and parentheses.
    fields = text[text.rfind(")") + 2 :].split()
    try:
        spent = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return int(fields[21]) * os.sysconf("SC_PAGE_SIZE"), spent
    except (IndexError, ValueError):
        return None


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    texts = [read_text(f"/proc/{pid}/task/{thread}/children", 2**16) for thread in threads]
    return [int(word) for text in texts if text for word in text.split()]
