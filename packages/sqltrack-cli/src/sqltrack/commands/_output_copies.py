"""Copy the output of a child while it runs: through pipes, or through a terminal of its own."""

from __future__ import annotations

import codecs
import contextlib
import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Sequence
from typing import Any

from sqltrack.capture._output import OutputText

# Windows, where `sqltrack run` is refused, has none of these.
with contextlib.suppress(ImportError):
    import fcntl
    import termios
    import tty

__all__ = ["Output", "Pipes", "Terminal", "copied_output"]

# Seconds without output after which a child that has ended has nothing left to say, though its children may.
_DRAIN = 0.1

_STDIN, _STDOUT, _STDERR = 0, 1, 2

# Puts a terminal back if its process is killed: then the input ends without a line.
_GUARD = 'trap "" INT TERM HUP QUIT TSTP TTOU; read line || stty "$0" < /dev/tty'


class Output:
    """The output of a child, which a thread passes on and collects.

    Attributes:
        text: what the child has written.
        actions: changes of the child's files, as for `os.posix_spawn`.
        has_own_session: whether the child must lead a session of its own.
    """

    has_own_session: bool = False

    def __init__(self) -> None:
        self.text = OutputText()
        self.actions: Sequence[tuple[Any, ...]] = ()
        self._selector = selectors.DefaultSelector()
        self._sources = 0
        self._reader, self._writer = os.pipe()
        self._selector.register(self._reader, selectors.EVENT_READ, None)
        self._is_ending = False
        self._thread = threading.Thread(target=self._work, name="sqltrack-output", daemon=True)

    def begin(self, child: int) -> None:
        """Begin to copy, after the child with this process id was started."""
        self._thread.start()

    def resize(self) -> None:
        """Give the child the new size of the terminal."""

    def stop(self) -> None:
        """Stop like the child, until a shell continues this job."""

    def end(self) -> None:
        """Copy the rest after the child has ended."""
        self._is_ending = True
        os.write(self._writer, b"\0")
        self._thread.join()

    def _copy(self, source: int, target: int, *, collects: bool = True) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace") if collects else None
        self._selector.register(source, selectors.EVENT_READ, (target, decoder))
        self._sources += collects

    def _typed(self, part: bytes) -> bytes:
        """Return the part of what the user has typed that goes to the child."""
        return part

    def _work(self) -> None:
        while self._sources:
            ready = [key for key, _ in self._selector.select(_DRAIN if self._is_ending else None)]
            for key in ready:
                if key.data is None:
                    os.read(self._reader, 1)
                else:
                    self._copy_part(key)
            if self._is_ending and not ready:
                return

    def _copy_part(self, key: selectors.SelectorKey) -> None:
        target, decoder = key.data
        try:
            part = os.read(key.fd, 2**16)
        except OSError:
            # This is how the output of a terminal ends.
            part = b""
        if not part:
            self._forget(key)
            return
        if decoder is not None:
            self.text.write(decoder.decode(part), target)
        else:
            part = self._typed(part)
        try:
            while part:
                part = part[os.write(target, part) :]
        except OSError:
            # The reader of our output is gone. Closing our end of the pipe tells the child by SIGPIPE, as usual.
            self._forget(key)
            if decoder is not None:
                os.close(key.fd)

    def _forget(self, key: selectors.SelectorKey) -> None:
        self._selector.unregister(key.fd)
        self._sources -= key.data[1] is not None


class Pipes(Output):
    """Output that goes to files or pipes; the child has pipes instead."""

    def __init__(self) -> None:
        super().__init__()
        self._child_ends: list[int] = []
        actions: list[tuple[Any, ...]] = []
        for target in (_STDOUT, _STDERR):
            reader, writer = os.pipe()
            self._copy(reader, target)
            self._child_ends.append(writer)
            actions.append((os.POSIX_SPAWN_DUP2, writer, target))
        self.actions = actions

    def begin(self, child: int) -> None:
        """Close our copies of the child's ends, and begin to copy."""
        for descriptor in self._child_ends:
            os.close(descriptor)
        super().begin(child)


class Terminal(Output):
    """Output that goes to a terminal; the child has a terminal of its own, of the same size and settings.

    Keys go to the child's terminal unchanged, which makes signals of them. If this process is killed, a guard puts the
    settings of the real terminal back.
    """

    has_own_session = True

    def __init__(self) -> None:
        super().__init__()
        self._own, self._child_end = os.openpty()
        self._settings = termios.tcgetattr(_STDIN)
        termios.tcsetattr(self._child_end, termios.TCSANOW, self._settings)
        name = os.ttyname(self._child_end)
        # The first terminal that the leader of a session opens controls it.
        self.actions = [(os.POSIX_SPAWN_OPEN, target, name, os.O_RDWR, 0) for target in (_STDIN, _STDOUT, _STDERR)]
        self._guard: subprocess.Popen[bytes] | None = None
        self._child = 0
        self.resize()

    def begin(self, child: int) -> None:
        """Pass keys on unchanged from now on, and begin to copy."""
        self._child = child
        os.close(self._child_end)
        self._guard = _start_guard()
        self._copy(self._own, _STDOUT)
        self._copy(_STDIN, self._own, collects=False)
        tty.setraw(_STDIN, termios.TCSANOW)
        super().begin(child)

    def _typed(self, part: bytes) -> bytes:
        # The system ignores the key that stops programs where no shell could continue them, as in this session.
        settings = termios.tcgetattr(self._own)
        key = settings[6][termios.VSUSP]
        if key in (b"\0", b"\xff") or key not in part or not settings[3] & termios.ISIG:
            return part
        if os.tcgetpgrp(self._own) != self._child:
            # A shell in this terminal, or one of its programs.
            return part
        for number in (signal.SIGTSTP, signal.SIGSTOP):
            with contextlib.suppress(OSError):
                os.killpg(self._child, number)
        return part.replace(key, b"")

    def resize(self) -> None:
        """Give the child the new size of the terminal, which tells it by SIGWINCH."""
        with contextlib.suppress(OSError):
            size = fcntl.ioctl(_STDIN, termios.TIOCGWINSZ, b"\0" * 8)
            fcntl.ioctl(self._own, termios.TIOCSWINSZ, size)

    def stop(self) -> None:
        """Stop like the child, with the terminal as it was, until the shell continues this job; then continue it."""
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, self._settings)
        os.kill(0, signal.SIGTSTP)
        tty.setraw(_STDIN, termios.TCSANOW)
        self.resize()
        with contextlib.suppress(OSError):
            os.killpg(self._child, signal.SIGCONT)

    def end(self) -> None:
        """Copy the rest, and put the settings of the terminal back."""
        super().end()
        with contextlib.suppress(termios.error):
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, self._settings)
        if self._guard is not None:
            with contextlib.suppress(OSError):
                self._guard.communicate(b"\n", 1)


def copied_output() -> Output:
    """Return the way to copy a child's output that suits the streams of this process."""
    uses_terminal = all(os.isatty(descriptor) for descriptor in (_STDIN, _STDOUT, _STDERR))
    # A job in the background must not touch the settings of the terminal.
    if uses_terminal and os.tcgetpgrp(_STDIN) == os.getpgrp():
        return Terminal()
    return Pipes()


def _start_guard() -> subprocess.Popen[bytes] | None:
    try:
        settings = subprocess.run(["stty", "-g"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S607
        return subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _GUARD, settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, subprocess.CalledProcessError):
        # Without stty.
        return None
