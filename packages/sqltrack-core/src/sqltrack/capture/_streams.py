"""Copy what a program writes to sys.stdout and sys.stderr, without touching their file descriptors."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from sqltrack.capture._output import OutputText

__all__ = ["CopiedStreams"]


class _Copy:
    """Behaves like a stream, and passes all text to a collector, too."""

    def __init__(self, stream: Any, number: int, copies: CopiedStreams) -> None:
        self.copied = stream
        self._number = number
        self._copies = copies

    def __getattr__(self, name: str) -> Any:
        return getattr(self.copied, name)

    def __iter__(self) -> Any:
        return iter(self.copied)

    def write(self, text: str) -> Any:
        """Write text to the stream."""
        written = self.copied.write(text)
        self._copies.note(text, self._number)
        return written

    def writelines(self, lines: Any) -> None:
        """Write several texts to the stream."""
        for line in lines:
            self.write(line)


class CopiedStreams:
    """Copies the output of this process from `begin` to `end`."""

    def __init__(self) -> None:
        self._text = OutputText()
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._replaced: list[tuple[str, _Copy]] = []

    def begin(self) -> None:
        """Replace the streams by copies."""
        for number, name in enumerate(("stdout", "stderr"), start=1):
            stream = getattr(sys, name)
            if stream is not None:
                copy = _Copy(stream, number, self)
                setattr(sys, name, copy)
                self._replaced.append((name, copy))

    def end(self) -> None:
        """Put the streams back; of those that another library or run has replaced since, only those of runs change."""
        for name, copy in self._replaced:
            current = getattr(sys, name)
            if current is copy:
                setattr(sys, name, copy.copied)
            while isinstance(current, _Copy):
                if current.copied is copy:
                    # Another run that began later copies this copy. Without this, each such run would add a layer.
                    current.copied = copy.copied
                current = current.copied
        self._replaced.clear()

    def note(self, text: Any, number: int) -> None:
        """Collect text. A signal handler that prints while its thread is here loses its line in the copy only."""
        if self._pid != os.getpid():
            # A forked child, in which another thread may have left the lock locked.
            return
        if isinstance(text, str) and self._replaced and self._lock.acquire(timeout=0.01):
            try:
                self._text.write(text, number)
            finally:
                self._lock.release()

    def read(self) -> dict[str, Any]:
        """Return the collected text, see `OutputText.read`."""
        with self._lock:
            return self._text.read()
