"""Keep the beginning and the end of a program's output, as a terminal would show it, without credentials."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from sqltrack._masking import MASK, is_key_line, masked_text

__all__ = ["OUTPUT_LIMIT", "OutputText"]

#: Bytes of the beginning, and of the end, that are kept.
OUTPUT_LIMIT = 64 * 2**10

# A longer line is cut into pieces, so that a program that never ends a line needs no memory.
_LONGEST_LINE = 16 * 2**10

# Moves of the cursor, colors and titles of windows.
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_].*?\x1b\\|[ -/]*[0-~])", re.DOTALL
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_KEY_SIGN = "PRIVATE KEY"
_MOST_KEY_LINES = 400
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY")
_KEY_ENDS = re.compile(r"-----END [A-Z ]{0,40}PRIVATE KEY")


class _Stream:
    """The state of one of a program's streams: the line that has not ended, and the private key that it is in.

    Attributes:
        line: the line that has not ended.
        is_in_key: whether the next line may belong to a private key.
        key_lines: number of the key's lines that were left out.
    """

    def __init__(self) -> None:
        self.line = ""
        self.is_in_key = False
        self.key_lines = 0


class OutputText:
    """Collects text that a program writes, piece by piece.

    Each line is kept as a terminal shows it at its end. A carriage return drops the text before it, so a progress bar
    becomes its last state.

    Args:
        limit: bytes to keep of the beginning, and of the end.
    """

    def __init__(self, limit: int = OUTPUT_LIMIT) -> None:
        self._limit = limit
        self._streams: dict[int, _Stream] = {}
        self._head: list[str] = []
        self._head_size = 0
        self._tail: deque[str] = deque()
        self._tail_size = 0
        self._left_out = 0

    def write(self, text: str, number: int = 1) -> None:
        """Add text; `number` is that of the stream, so that unfinished lines of several do not mix."""
        stream = self._streams.setdefault(number, _Stream())
        *lines, rest = (stream.line + text).split("\n")
        for line in lines:
            self._add(stream, line)
        rest = _overwritten(rest)
        while len(rest) > _LONGEST_LINE:
            # At a blank, so that no credential is cut.
            end = rest.rfind(" ", 1, _LONGEST_LINE) + 1 or _LONGEST_LINE
            self._add(stream, rest[:end], ending="")
            rest = rest[end:]
        stream.line = rest

    def read(self) -> dict[str, Any]:
        """Return `text`, the output so far, and `left_out`, the number of bytes left out in its middle, if any."""
        # Masking takes longer than all else, so it is left out for lines that are.
        shown = list(map(masked_text, self._head))
        if self._left_out:
            shown.append(f"[… {self._left_out} bytes left out …]\n")
        shown += map(masked_text, self._tail)
        shown += [
            masked_text(_shown(stream.line))
            for stream in self._streams.values()
            if stream.line and not (stream.is_in_key and is_key_line(_shown(stream.line)))
        ]
        text = "".join(shown)
        return {} if not text else {"text": text, **({"left_out": self._left_out} if self._left_out else {})}

    def _add(self, stream: _Stream, line: str, ending: str = "\n") -> None:
        shown = _shown(line)
        if stream.is_in_key and self._leave_out(stream, shown):
            return
        if _KEY_SIGN in shown:
            begins = list(_KEY_BEGINS.finditer(shown))
            stream.is_in_key = bool(begins) and _KEY_ENDS.search(shown, begins[-1].end()) is None
            stream.key_lines = 0
        self._keep(shown + ending)

    def _leave_out(self, stream: _Stream, shown: str) -> bool:
        """Return whether a line belongs to a private key. Its lines are recognized only together, so one mask is kept.

        A line that only mentions a key is followed by others.
        """
        is_end = _KEY_ENDS.search(shown) is not None
        is_key = is_end or is_key_line(shown)
        stream.is_in_key = not is_end and stream.key_lines < _MOST_KEY_LINES and (is_key or not shown.strip())
        if is_key:
            if not stream.key_lines:
                self._keep(f"{MASK}\n")
            stream.key_lines += 1
        return is_key

    def _keep(self, line: str) -> None:
        size = len(line.encode("utf-8", "replace"))
        if not self._tail and self._head_size + size <= self._limit:
            self._head.append(line)
            self._head_size += size
            return
        self._tail.append(line)
        self._tail_size += size
        while self._tail_size > self._limit and len(self._tail) > 1:
            dropped = len(self._tail.popleft().encode("utf-8", "replace"))
            self._tail_size -= dropped
            self._left_out += dropped


def _overwritten(line: str) -> str:
    """Return an unfinished line without overwritten text; a last carriage return may belong to a newline."""
    end = line.rfind("\r", 0, len(line) - 1 if line.endswith("\r") else len(line))
    return line if end < 0 else line[end + 1 :]


def _shown(line: str) -> str:
    text = _ESCAPES.sub("", line.removesuffix("\r"))
    return _CONTROLS.sub("", text[text.rfind("\r") + 1 :])
