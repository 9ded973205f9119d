"""Keep results by a version of the data, within a limit of memory."""

from __future__ import annotations

import sys
import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

__all__ = ["Cache", "Cached", "size_of"]

T = TypeVar("T")

# Results that took this many seconds are kept for some time although the data have changed, so that a training that
# writes all the time does not let each request read everything again: computing takes a tenth of the time at most.
_SLOW = 0.5
_SHARE = 10.0
# Bytes of a number.
_NUMBER = 28


class Cached(NamedTuple):
    """A result.

    Attributes:
        value: the result.
        version: version of the data that it was computed from, or a later one.
        seconds: time that it took.
        at: time on the monotonic clock when it was ready.
        bytes: approximate size in memory.
    """

    value: Any
    version: str
    seconds: float
    at: float
    bytes: int


class Cache:
    """Results by key, the least recently used are dropped first. Threads can share a cache.

    Args:
        limit: maximum size in bytes, default 64 MiB.
    """

    def __init__(self, limit: int = 64 * 2**20) -> None:
        self._limit = limit
        self._bytes = 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, Cached] = OrderedDict()
        self._computing: dict[Hashable, threading.Lock] = {}

    @property
    def bytes(self) -> int:
        """Approximate size of all results."""
        return self._bytes

    def get(self, key: Hashable, version: str, compute: Callable[[], T]) -> tuple[T, str]:
        """Return a result and the version of its data; compute it if it is missing or too old.

        Several threads that need the same result compute it once.
        """
        with self._lock:
            guard = self._computing.setdefault(key, threading.Lock())
        try:
            with guard:
                found = self._find(key, version)
                if found is None:
                    begin = time.monotonic()
                    value = compute()
                    found = self._keep(key, value, version, time.monotonic() - begin)
        finally:
            with self._lock:
                self._computing.pop(key, None)
        return cast("T", found.value), found.version

    def peek(self, key: Hashable, version: str) -> Any:
        """Return a result of this version, None without one."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry.version != version:
                return None
            self._entries.move_to_end(key)
            return entry.value

    def latest(self, key: Hashable) -> Any:
        """Return a result of any version, None without one."""
        with self._lock:
            entry = self._entries.get(key)
        return None if entry is None else entry.value

    def keep(self, key: Hashable, value: Any, version: str) -> None:
        """Keep a result."""
        self._keep(key, value, version, 0.0)

    def expire(self) -> None:
        """Let no result outlive its version, also if it took long to compute."""
        with self._lock:
            for key, entry in self._entries.items():
                self._entries[key] = entry._replace(seconds=0.0)

    def _find(self, key: Hashable, version: str) -> Cached | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
        is_slow = entry.seconds > _SLOW and time.monotonic() - entry.at < _SHARE * entry.seconds
        return entry if entry.version == version or is_slow else None

    def _keep(self, key: Hashable, value: Any, version: str, seconds: float) -> Cached:
        entry = Cached(value, version, seconds, time.monotonic(), size_of(value) + size_of(key))
        with self._lock:
            old = self._entries.pop(key, None)
            self._bytes -= 0 if old is None else old.bytes
            if entry.bytes <= self._limit:
                self._entries[key] = entry
                self._bytes += entry.bytes
            while self._bytes > self._limit:
                _, dropped = self._entries.popitem(last=False)
                self._bytes -= dropped.bytes
        return entry


def size_of(value: Any) -> int:
    """Return the approximate size of a value with its parts, in bytes."""
    size = sys.getsizeof(value)
    if isinstance(value, (str, bytes, bytearray, array)):
        return size
    if isinstance(value, Mapping):
        return size + sum(size_of(key) + size_of(item) for key, item in value.items())
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], (float, int)):
        # Curves are long lists of numbers.
        return size + _NUMBER * len(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return size + sum(map(size_of, value))
    state = getattr(value, "__dict__", None)
    return size + (0 if state is None else size_of(state))
