"""The folder of a user's outboxes, and the lock that shows whether the process of a file is alive."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Mapping
from typing import Any, Literal

from sqltrack._logging import get_logger
from sqltrack.engines._spelling import quote
from sqltrack.errors import ConfigError, OutboxError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "Holder",
    "OutboxLock",
    "check_file",
    "check_folder",
    "folder_setting",
    "folders_in_use",
    "is_held_here",
    "is_of_this_host",
    "lock_within",
    "make_folder",
    "new_path",
    "read_holder",
    "state_of",
    "temporary_path",
]

#: Whether the process that writes a file is alive.
State = Literal["alive", "dead", "unknown"]

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})

# Bytes of the text in a lock file, at most.
_LONGEST_TEXT = 4096

# Seconds between two attempts to lock.
_PAUSE = 0.02

# Locks that this process holds, by path. Opening and closing one of these files would release it.
_held: dict[str, OutboxLock] = {}


# The folder


def folder_setting(config: Mapping[str, Any]) -> str:
    """Return the absolute path of the folder for outboxes.

    Args:
        config: configuration of a client. Its setting `outbox_dir` wins over `$XDG_STATE_HOME/sqltrack/outbox`, and
            that over `~/.local/state/sqltrack/outbox`.

    Raises:
        ConfigError: (a ValueError) `outbox_dir` is not a path.
    """
    given = config.get("outbox_dir")
    if given is not None:
        if not isinstance(given, (str, os.PathLike)) or not os.fspath(given) or "\0" in str(given):
            raise ConfigError(f"outbox_dir must name a folder, got {quote(given)}")
        return os.path.abspath(os.path.expanduser(os.fspath(given)))
    root = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(os.path.abspath(root), "sqltrack", "outbox")


def folders_in_use(config: Mapping[str, Any]) -> list[str]:
    """Return the paths of the folders that may contain outboxes: the configured one, and its temporary replacement.

    Args:
        config: as for `folder_setting`.

    Raises:
        ConfigError: (a ValueError) `outbox_dir` is not a path.
    """
    folders = [folder_setting(config)]
    temporary = temporary_path()
    # A folder that another user has put there is ignored.
    if temporary not in folders and os.path.isdir(temporary):
        with contextlib.suppress(ConfigError):
            check_folder(temporary)
            folders.append(temporary)
    return folders


def check_folder(folder: str) -> None:
    """Check that only this user can put files into a folder, or that it does not exist.

    Raises:
        ConfigError: (a ValueError) it is a link, not a folder, belongs to another user, or is writable for others.
    """
    try:
        status = os.lstat(folder)
    except OSError:
        return
    reason = _reason_to_refuse(status, stat.S_ISDIR, "folder")
    if reason is not None:
        raise ConfigError(f"the folder for outboxes {folder!r} {reason}", "set outbox_dir to a folder of your own")


def make_folder(folder: str, *, is_default: bool) -> str:
    """Return the folder; create it if it is missing.

    Args:
        folder: its path.
        is_default: whether a temporary folder may replace it.

    Raises:
        ConfigError: (a ValueError) it exists, and is not safe.
        OutboxError: it cannot be created.
    """
    try:
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
    except OSError as error:
        if not is_default:
            raise OutboxError(f"the folder for outboxes {folder!r} cannot be created: {error.strerror}") from error
        folder = _temporary_folder(error)
    check_folder(folder)
    return folder


def _temporary_folder(reason: OSError) -> str:
    folder = temporary_path()
    get_logger("outbox").warning(
        "outboxes are kept in %s, which may not survive a restart, because the usual folder cannot be created: %s",
        folder,
        reason,
    )
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
    except OSError as error:
        raise OutboxError(f"the folder for outboxes {folder!r} cannot be created: {error.strerror}") from error
    return folder


def temporary_path() -> str:
    """Return the path of the private folder for temporary files that replaces a folder which cannot be used."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return os.path.join(_system_folder(), f"sqltrack-outbox-{user}")


def _system_folder() -> str:
    """Return the folder for temporary files.

    It is the one that `tempfile.gettempdir` finds. That takes 8 ms to import, writes a file, and raises an error if
    there is none.
    """
    variables = (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    for path in (*variables, "/tmp", "/var/tmp", "/usr/tmp"):  # noqa: S108
        if path and os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK):
            return os.path.abspath(path)
    return os.curdir


def new_path(folder: str) -> str:
    """Return the path of a new file in the folder, with time, host and process in its name."""
    import secrets

    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    return os.path.join(folder, f"{moment}-{_host_in_names()}-{os.getpid()}-{secrets.token_hex(3)}.db")


def is_of_this_host(path: str) -> bool:
    """Return whether a process on this host has created a file, according to its name."""
    return f"-{_host_in_names()}-" in os.path.basename(path)


def _host_in_names() -> str:
    import re

    return re.sub(r"[^A-Za-z0-9.-]", "-", _host_name())


def check_file(path: str) -> None:
    """Check that a file belongs to the user.

    Raises:
        OutboxError: it does not exist, is a link, not a file, belongs to another user, or is writable for others.
    """
    try:
        status = os.lstat(path)
    except OSError as error:
        raise OutboxError(f"outbox {path!r} cannot be read: {error.strerror}") from error
    reason = _reason_to_refuse(status, stat.S_ISREG, "file")
    if reason is not None:
        raise OutboxError(f"outbox {path!r} {reason}", "it is not used")


def _reason_to_refuse(status: os.stat_result, is_right: Any, kind: str) -> str | None:
    if stat.S_ISLNK(status.st_mode):
        return "is a link"
    if not is_right(status.st_mode):
        return f"is not a {kind}"
    if hasattr(os, "geteuid"):
        if status.st_uid != os.geteuid():
            return "belongs to another user"
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return "can be written by others"
    return None


# The lock


class Holder:
    """The process that writes a file.

    Attributes:
        host: name of its host.
        boot: the system's id of its current boot, empty if unknown.
        pid: id of the process.
        started: when the process began, in the system's own unit, empty if unknown.
    """

    def __init__(self, host: str, boot: str, pid: int, started: str) -> None:
        self.host = host
        self.boot = boot
        self.pid = pid
        self.started = started

    @classmethod
    def present(cls) -> Holder:
        """Return this process."""
        return cls(_host_name(), _read(_BOOT_ID), os.getpid(), _start_of(os.getpid()))


class OutboxLock:
    """A lock file that this process holds, next to its outbox.

    It is a POSIX lock, which ends with the process and is not inherited by children. On file systems without locks, the
    text in the file has to suffice. A lock file that is kept names its first holder again, the process that wrote the
    outbox.

    Args:
        path: path of the lock file.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be created.
    """

    def __init__(self, path: str) -> None:

        self._path = path
        self._pid = os.getpid()
        if path in _held and not is_held_here(path):
            # Held by the process that this one was forked from.
            _held.pop(path, None)
        # The system knows only processes, and grants the lock to every thread of the one that holds it.
        if _held.setdefault(path, self) is not self:
            raise BlockingIOError(errno.EAGAIN, "another thread of this process holds the lock")
        try:
            self._fd, self._before = _open_locked(path)
        except BaseException:
            del _held[path]
            raise

    def release(self, *, remove: bool) -> None:
        """Release the lock, and optionally remove the file; doing so twice is harmless."""
        if self._pid != os.getpid() or _held.get(self._path) is not self:
            return
        if remove:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
        elif self._before:
            with contextlib.suppress(OSError):
                _rewrite(self._fd, self._before)
        with contextlib.suppress(OSError):
            os.close(self._fd)
        del _held[self._path]


def lock_within(path: str, seconds: float) -> OutboxLock:
    """Return the lock of a file, after waiting for another process that holds it.

    Raises:
        OutboxError: the lock is not available, or not in this time.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return OutboxLock(path)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise OutboxError(f"lock file {path!r} is held by another process") from error
        except OSError as error:
            raise OutboxError(f"lock file {path!r} cannot be used: {error.strerror}") from error
        time.sleep(_PAUSE)


def _open_locked(path: str) -> tuple[int, bytes]:
    """Lock a file, write the holder into it, and return its descriptor and previous text.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be created.
    """
    import json

    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    while True:
        fd = os.open(path, flags, 0o600)
        is_locked = False
        try:
            _lock(fd)
            is_locked = True
            if not _is_file_of(fd, path):
                # The previous holder has removed the file.
                os.close(fd)
                continue
            before = os.pread(fd, _LONGEST_TEXT, 0)
            _rewrite(fd, json.dumps(vars(Holder.present())).encode("utf-8"))
        except BaseException:
            with contextlib.suppress(OSError):
                if is_locked:
                    # An empty lock file, for example on a full disk, would not name its holder.
                    os.unlink(path)
            with contextlib.suppress(OSError):
                os.close(fd)
            raise
        return fd, before


def _rewrite(fd: int, text: bytes) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, text, 0)


def _is_file_of(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def is_held_here(path: str) -> bool:
    """Return whether this process holds a lock file."""
    lock = _held.get(path)
    return lock is not None and lock._pid == os.getpid()


def read_holder(path: str) -> Holder | None:
    """Return the current or last holder of the lock file `path`; None if it names none."""
    if is_held_here(path):
        return Holder.present()
    import json

    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        return Holder(str(found["host"]), str(found["boot"]), int(found["pid"]), str(found["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def state_of(path: str) -> State:
    """Return whether the process that holds the lock file `path` is alive."""
    if is_held_here(path):
        return "alive"
    holder = read_holder(path)
    if not os.path.exists(path):
        # The lock file exists before the file that it protects, and is removed after it.
        return "dead"
    is_free = _is_free(path)
    if is_free is False:
        return "alive"
    if holder is None:
        return "dead" if is_free else "unknown"
    present = Holder.present()
    is_same_start = holder.boot == present.boot and (bool(holder.boot) or holder.host == present.host)
    if is_free and is_same_start:
        return "dead"
    if holder.host == present.host and holder.boot != present.boot:
        # The host was restarted since.
        return "dead"
    if is_same_start and holder.host == present.host and holder.started:
        return "alive" if _start_of(holder.pid) == holder.started else "dead"
    return "unknown"


def _is_free(path: str) -> bool | None:
    """Return whether a lock file is not locked; None if the file system does not say."""
    try:
        fd = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return None
    try:
        return _lock(fd)
    except BlockingIOError:
        return False
    except OSError:
        return None
    finally:
        os.close(fd)


def _lock(fd: int) -> bool | None:
    """Lock a file, and return True; None on file systems without locks.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    if fcntl is None:  # pragma: no cover - Windows
        return None
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise BlockingIOError(error.errno, error.strerror) from error
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def _host_name() -> str:
    # Slow to import, and seldom needed.
    import socket

    return socket.gethostname()


def _start_of(pid: int) -> str:
    """Return when a process began, in the system's own unit; empty if it does not exist, or the system does not say."""
    # The program name before these fields may contain blanks and parentheses.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
