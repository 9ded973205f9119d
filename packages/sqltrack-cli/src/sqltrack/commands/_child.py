"""Run a program as a child, pass signals on to it, and find out how it ended."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.capture._resources import Usage

__all__ = ["CANNOT_RUN", "NOT_FOUND", "Child", "Ending", "block_signals", "end_like"]

#: Exit statuses of shells for a program that cannot be started, and one that is not found.
CANNOT_RUN, NOT_FOUND = 126, 127

# Sent by the kernel: by a key of the terminal, to all processes of the foreground.
_BY_KERNEL = 0x80


def _signals(*names: str) -> tuple[signal.Signals, ...]:
    """Return signals by their names, without those that the system does not have."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


_PASSED_ON = _signals("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM")
_HANDLED = (*_PASSED_ON, *_signals("SIGCHLD", "SIGWINCH"))

# These ask a program to end.
_REQUESTS = _signals("SIGINT", "SIGTERM", "SIGHUP")

# Ignored by Python itself, and not by the program that started it.
_PYTHON_IGNORES = _signals("SIGPIPE", "SIGXFSZ")


class Ending(NamedTuple):
    """How a program has ended.

    Attributes:
        code: its exit status, None if a signal has ended it.
        signal: number of that signal, None without one.
    """

    code: int | None
    signal: int | None

    @property
    def status(self) -> str:
        """The status of a run: COMPLETED for exit status 0, CANCELLED after a request to end, otherwise FAILED."""
        if self.code == 0:
            return "COMPLETED"
        number = self.signal if self.code is None else self.code - 128
        return "CANCELLED" if number in _REQUESTS else "FAILED"


def block_signals() -> set[signal.Signals]:
    """Let the signals wait that a child shall get, until `Child.wait` passes them on; return the previous mask.

    Call this before the first thread starts, because threads inherit the mask.
    """
    # A parent that ignores it would leave us without the exit status.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    return {signal.Signals(number) for number in previous}


class Child:
    """A program that runs as a child.

    Without a terminal the child gets a process group of its own, so that a signal for our group reaches it only once,
    through us. With a terminal it stays in our group, because only the processes of one group may use it.

    Args:
        command: name and arguments of the program.
        environ: its environment variables.
        mask: signals that it shall block.
        actions: changes of its files, as for `os.posix_spawn`.
        has_own_session: whether it leads a session of its own, for a terminal of its own.

    Attributes:
        pid: its process id.
        usage: CPU time and memory that it has used, None until it has ended.

    Raises:
        FileNotFoundError: the program does not exist.
        OSError: it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        mask: set[signal.Signals],
        actions: Sequence[tuple[int, ...]] = (),
        *,
        has_own_session: bool = False,
    ) -> None:
        self._shares_terminal = not has_own_session and _has_terminal()
        options: dict[str, Any] = {"setsid": True} if has_own_session else {}
        if not has_own_session and not self._shares_terminal:
            options["setpgroup"] = 0
        options.update(file_actions=list(actions), setsigmask=mask, setsigdef=_PYTHON_IGNORES)
        self.usage: Usage | None = None
        self.pid: int = _spawn(command, environ, options)

    def wait(self, on_resize: Callable[[], None] | None = None, on_stop: Callable[[], None] | None = None) -> Ending:
        """Wait until the program has ended, and pass signals on to it.

        Args:
            on_resize: called when the size of the terminal has changed.
            on_stop: called when a signal has stopped the program; by default that is left to the shell.
        """
        while True:
            ending = self._look(on_stop)
            if ending is not None:
                return ending
            number, is_by_key = _next_signal()
            if number == signal.SIGWINCH and on_resize is not None:
                on_resize()
            elif number in _PASSED_ON and not (self._shares_terminal and is_by_key):
                self.send(number)

    def send(self, number: int) -> None:
        """Send a signal to the program."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, number)

    def _look(self, on_stop: Callable[[], None] | None) -> Ending | None:
        options = os.WNOHANG | (os.WUNTRACED if on_stop is not None else 0)
        pid, status, used = os.wait4(self.pid, options)
        if pid == 0:
            return None
        if os.WIFSTOPPED(status):
            if on_stop is not None:
                on_stop()
            return None
        code = os.waitstatus_to_exitcode(status)
        # In KiB, except on macOS.
        self.usage = Usage(used.ru_utime + used.ru_stime, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        return Ending(code, None) if code >= 0 else Ending(None, -code)


def _spawn(command: Sequence[str], environ: Mapping[str, str], options: Mapping[str, Any]) -> int:
    """Start a program as shells do, and return its process id."""
    if not command[0]:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
    try:
        return os.posix_spawnp(command[0], list(command), dict(environ), **options)
    except OSError as error:
        path = shutil.which(command[0])
        if error.errno != errno.ENOEXEC or path is None or not _is_script(path):
            raise
        return os.posix_spawnp("/bin/sh", ["/bin/sh", path, *command[1:]], dict(environ), **options)


def _is_script(path: str) -> bool:
    """Return whether a file that the system cannot execute is a script without a line that names its interpreter."""
    try:
        with open(path, "rb") as file:
            return b"\0" not in file.read(256)
    except OSError:
        return False


def _next_signal() -> tuple[int, bool]:
    """Return the next signal, and whether a key of the terminal has sent it to all processes of the foreground."""
    if hasattr(signal, "sigwaitinfo"):
        info = signal.sigwaitinfo(_HANDLED)
        return info.si_signo, info.si_code == _BY_KERNEL
    # macOS does not tell who has sent a signal.
    number = signal.sigwait(_HANDLED)
    return number, number in (signal.SIGINT, signal.SIGQUIT)


def _has_terminal() -> bool:
    """Return whether this process has a controlling terminal, whose keys send signals to it."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def end_like(ending: Ending) -> int:
    """End this process by the signal that has ended the program; otherwise return the exit status for it."""
    if ending.signal is None:
        return ending.code or 0
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        # The program has left a core file already, if wanted.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with contextlib.suppress(OSError, ValueError):
        signal.signal(ending.signal, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {ending.signal})
    os.kill(os.getpid(), ending.signal)
    # The first process of a container ignores signals.
    return 128 + ending.signal
