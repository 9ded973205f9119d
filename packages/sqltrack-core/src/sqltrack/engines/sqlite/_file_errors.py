"""Find out why the file system refuses an operation, with a probe file, because SQLite does not report it."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from sqltrack.errors import DatabaseError, DiskFullError

__all__ = ["allows_wal", "explain_io_error", "find_lock_refusal", "refused_locks"]

# Result codes (https://sqlite.org/rescode.html) if a file cannot grow, if locks are refused, or if processes cannot
# share the memory that the write-ahead log needs. In Python 3.10 errors have no code, so it may be any of them.
_UNKNOWN = "SQLITE_IOERR"
_GROWING = frozenset({_UNKNOWN, "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_TRUNCATE"})
_LOCKING = frozenset(f"SQLITE_IOERR_{name}" for name in ("LOCK", "RDLOCK", "UNLOCK", "CHECKRESERVEDLOCK", "BLOCKED"))
_SHARING = frozenset({"SQLITE_PROTOCOL", *(f"SQLITE_IOERR_{name}" for name in ("SHMOPEN", "SHMLOCK", "SHMMAP"))})

# More than SQLite writes at once.
_PROBE_BYTES = 128 * 2**10


def allows_wal(path: str) -> bool:
    """Return whether a database with a write-ahead log works in the folder of `path`."""
    import tempfile

    try:
        with tempfile.TemporaryDirectory(prefix=_prefix(path), dir=os.path.dirname(path)) as folder:
            probe = sqlite3.connect(os.path.join(folder, "probe.db"), timeout=1, isolation_level=None)
            with closing(probe):
                probe.execute("PRAGMA synchronous = OFF")
                probe.execute("PRAGMA journal_mode = WAL")
                probe.execute("CREATE TABLE probe (a)")
                return str(probe.execute("PRAGMA journal_mode").fetchone()[0]) == "wal"
    except (OSError, sqlite3.Error):
        return False


def find_lock_refusal(path: str) -> str | None:
    """Return why files in the folder of `path` cannot be locked, None if they can or if it is unknown."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Windows
        return None
    with _probe_file(path) as fd:
        if fd is None:
            return None
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return os.strerror(error.errno) if error.errno else str(error)
    return None


def refused_locks(path: str, reason: str) -> DatabaseError:
    """Return the error for a file system that refuses locks."""
    return DatabaseError(
        f"database {path!r} cannot be used: the file system refuses locks ({reason})",
        "move the file to a local disk and set dbpath, or use PostgreSQL",
    )


def explain_io_error(error: Exception, path: str) -> DatabaseError:
    """Return the error for a database whose file system refused an operation."""
    unnamed = "SQLITE_PROTOCOL" if str(error) == "locking protocol" else _UNKNOWN
    name = getattr(error, "sqlite_errorname", unnamed)
    if name in _LOCKING:
        return refused_locks(path, name)
    failure = _try_to_grow(path) if name in _GROWING else None
    if failure is not None and failure.errno in _full_errors():
        return DiskFullError(
            f"database {path!r}: disk I/O error ({name}): {failure.strerror}",
            "free space or raise the limit, then continue",
        )
    is_unknown = name == _UNKNOWN and failure is None and os.path.exists(f"{path}-wal")
    if name in _SHARING or (is_unknown and not allows_wal(path)):
        return _refused_sharing(path, name)
    return DatabaseError(
        f"database {path!r}: disk I/O error ({name})", "check the disk, its quota, and whether it is still reachable"
    )


def _refused_sharing(path: str, name: str) -> DatabaseError:
    return DatabaseError(
        f"database {path!r} has a write-ahead log, for which the file system cannot share memory ({name})",
        "move it to a local disk; or, while no process uses it, give it a rollback journal with SQLite's own program: "
        f'sqlite3 {path} "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = DELETE"',
    )


def _try_to_grow(path: str) -> OSError | None:
    """Return why files in the folder of `path` cannot grow, None if they can or if it is unknown."""
    limit = _file_size_limit()
    sizes = [os.path.getsize(name) for name in (path, f"{path}-wal", f"{path}-journal") if os.path.exists(name)]
    if limit is not None and max(sizes, default=0) + _PROBE_BYTES > limit:
        return OSError(errno.EFBIG, f"files may have {limit} bytes at most")
    with _probe_file(path) as fd:
        if fd is None:
            return None
        try:
            written = os.write(fd, bytes(_PROBE_BYTES))
            os.fsync(fd)
        except OSError as error:
            return error
    return None if written == _PROBE_BYTES else OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _full_errors() -> set[int]:
    return {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def _file_size_limit() -> int | None:
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


@contextmanager
def _probe_file(path: str) -> Iterator[int | None]:
    """Return a context manager with the descriptor of a new file next to `path`, None if it cannot be created."""
    import tempfile

    try:
        fd, name = tempfile.mkstemp(prefix=_prefix(path), dir=os.path.dirname(path))
    except OSError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)
        with contextlib.suppress(OSError):
            os.unlink(name)


def _prefix(path: str) -> str:
    return f".{os.path.basename(path)}-"
