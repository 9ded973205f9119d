"""Start and stop a PostgreSQL server for the tests, on a bare machine, as root or as another user.

Each server runs below a keeper: a small Python process (postgres_keeper.py, run as a script). It ends the server and
removes its data when the process that started it has gone, even if that was killed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from plugins.postgres_binaries import NoServerError, cache_folder, find_binaries, major_of, read_version
from plugins.postgres_keeper import STOP_SECONDS, Account, remove_folder

__all__ = [
    "DEFAULT_SETTINGS",
    "NoServerError",
    "PostgresServer",
    "RunningServer",
    "crash",
    "find_version",
    "requested_major",
    "restart",
    "running_server",
]

# full_page_writes stays on, so that recovery from a crash works as in production.
DEFAULT_SETTINGS = {"fsync": "off", "max_connections": "200"}

_KEEPER = Path(__file__).resolve().with_name("postgres_keeper.py")
_FOLDER_PREFIX = "sqltrack-pg-"
_START_SECONDS = 60.0
# Paths of sockets are limited to 104 bytes on macOS and 108 on Linux; we add up to 50 to the temporary folder.
_LONGEST_TEMPORARY_FOLDER = 50


def _server_account() -> Account | None:
    """Return the account to switch to: 'nobody' for root, whom PostgreSQL refuses; None for all other users."""
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        entry = pwd.getpwnam("nobody")
    except KeyError as error:
        raise RuntimeError("root cannot run PostgreSQL, and this machine has no user 'nobody' to run it as") from error
    return Account(entry.pw_uid, entry.pw_gid)


def _find_temporary_folder(account: Account | None) -> Path:
    """Return a folder for temporary files that has a short path and that `account` may enter."""
    # A world-writable folder is safe, because mkdtemp creates a new folder in it with an unpredictable name.
    candidates = [Path(tempfile.gettempdir()).resolve(), Path("/tmp"), Path("/var/tmp")]  # noqa: S108
    for folder in candidates:
        is_short = len(os.fsencode(folder)) <= _LONGEST_TEMPORARY_FOLDER
        is_open = account is None or all(path.stat().st_mode & stat.S_IXOTH for path in [folder, *folder.parents])
        if is_short and is_open and os.access(folder, os.W_OK):
            return folder
    raise RuntimeError(f"no temporary folder that the server may enter with a short path among {candidates!r}")


def _remove_abandoned_folders(base: Path) -> None:
    """Remove the folders of sessions that were killed together with their keeper.

    A folder whose server still answers stays: it may belong to a container with its own process ids.
    """
    for folder in base.glob(f"{_FOLDER_PREFIX}*"):
        owner = re.match(rf"{_FOLDER_PREFIX}(\d+)-", folder.name)
        with contextlib.suppress(OSError):
            status = folder.lstat()
            is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
            if owner and is_ours and not _is_alive(int(owner[1])) and not _is_answering(folder / "s"):
                shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_answering(socket_dir: Path) -> bool:
    for path in socket_dir.glob(".s.PGSQL.*"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(path))
            return True
    return False


def _can_run(account: Account, program: Path) -> bool:
    command: list[str | Path] = [program, "--version"]
    user, group = account
    try:
        subprocess.run(command, capture_output=True, check=True, user=user, group=group, extra_groups=[], cwd="/")
    except PermissionError:
        return False
    return True


def _link_or_copy(source: str, target: str) -> None:
    """Link a file, which takes a twentieth of the time, or copy it to another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def _prepare_binaries(binaries: Path, folder: Path, account: Account | None) -> Path:
    """Return binaries that `account` can run: a copy in `folder` if only root can enter their folder."""
    if account is None:
        return binaries
    if _can_run(account, binaries / "postgres"):
        return binaries
    # Copy the whole package of the cache, because the binaries may need libraries from neighboring folders.
    cache = cache_folder()
    root = cache / binaries.relative_to(cache).parts[0] if binaries.is_relative_to(cache) else binaries.parent
    copy = folder / "install"
    shutil.copytree(root, copy, symlinks=True, copy_function=_link_or_copy)
    for path in [copy, *copy.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    return copy / binaries.relative_to(root)


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _quote(value: str) -> str:
    """Quote a value for a connection string."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _quote_setting(value: str) -> str:
    """Quote a value for postgresql.conf."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


class PostgresServer:
    """A PostgreSQL server with fresh data that ends when the process that started it ends.

    It listens on a Unix socket in `socket_dir` and on 127.0.0.1, both with `port`. Clients may connect as the superuser
    'postgres' without a password. Started by root, it runs as 'nobody'. Use it as a context manager, or call `start`
    and `stop`.

    Args:
        binaries: the folder with initdb and postgres, as `find_binaries` returns it.
        settings: server settings that override DEFAULT_SETTINGS; ALTER SYSTEM overrides them. The addresses that the
            server listens on cannot be set.
    """

    def __init__(self, binaries: Path, settings: Mapping[str, str] | None = None) -> None:
        self.binaries = binaries
        self.settings = {**DEFAULT_SETTINGS, **(settings or {})}
        self._account: Account | None = None
        self._folder: Path | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._pid: int | None = None
        self._last_pid: int | None = None
        self._port = 0
        self._programs = binaries
        self._version: str | None = None

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def version(self) -> str:
        """The server's version, such as '15.18'."""
        if self._version is None:
            self._version = read_version(self.binaries)
        return self._version

    @property
    def folder(self) -> Path:
        """The temporary folder with all files of this server, until `stop` removes it."""
        if self._folder is None:
            raise RuntimeError("the server has not been started; call start()")
        return self._folder

    @property
    def data_dir(self) -> Path:
        """The data folder, with the server's configuration."""
        return self.folder / "data"

    @property
    def socket_dir(self) -> Path:
        """The folder of the Unix socket; under root, only root and the server may enter it."""
        return self.folder / "s"

    @property
    def log_file(self) -> Path:
        """The output of initdb and the server since the first start."""
        return self.folder / "server.log"

    @property
    def port(self) -> int:
        """The port of the Unix socket and of 127.0.0.1; it stays the same over `restart`."""
        if self._folder is None:
            raise RuntimeError("the server has not been started; call start()")
        return self._port

    @property
    def dsn(self) -> str:
        """The libpq connection string of the superuser, over the Unix socket."""
        return f"host={_quote(str(self.socket_dir))} port={self.port} user=postgres dbname=postgres"

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        if self._pid is None:
            raise RuntimeError("the server is not running; call start()")
        return self._pid

    def start(self) -> None:
        """Create the data if they are missing, start the server and wait until it accepts connections.

        After `kill`, this starts the same data again and waits for the recovery.

        Raises:
            RuntimeError: the server is running already, or did not start; the message ends with its log.
        """
        if self._pid is not None:
            raise RuntimeError("the server is running already; call stop() or restart()")
        if self._folder is not None:
            self._launch()
            return
        try:
            self._create()
            self._launch_on_free_port()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server and remove its data; stopping twice is harmless.

        Connections are broken. A server that does not end in 15 seconds is stopped without a checkpoint.
        """
        # A forked child inherits this object, but the server is not its own.
        if self._folder is None or os.getpid() != self._owner:
            return
        self._end(signal.SIGINT)
        remove_folder(self._folder)
        self._folder = None
        atexit.unregister(self.stop)

    def restart(self) -> None:
        """Stop the server cleanly and start it with the same data and port; after `kill`, only start it."""
        self._end(signal.SIGINT)
        self.start()

    def kill(self) -> None:
        """Crash the server: all its processes end at once, without a checkpoint and without telling the clients.

        This is PostgreSQL's immediate shutdown (`pg_ctl stop -m immediate`): the next start replays the log as after a
        power failure. The data stay until `stop`.
        """
        if self._pid is None:
            raise RuntimeError("the server is not running; call start()")
        self._end(signal.SIGQUIT)

    def _create(self) -> None:
        self._owner = os.getpid()
        self._account = _server_account()
        base = _find_temporary_folder(self._account)
        _remove_abandoned_folders(base)
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER_PREFIX}{self._owner}-", dir=base))
        atexit.register(self.stop)
        if self._account is not None:
            self._folder.chmod(0o711)
        for folder in (self.data_dir, self.socket_dir):
            folder.mkdir(mode=0o700)
            if self._account is not None:
                os.chown(folder, self._account.uid, self._account.gid)
        self._programs = _prepare_binaries(self.binaries, self._folder, self._account)
        self._fill()

    def _fill(self) -> None:
        """Fill the data folder."""
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        status = self._run_kept([self._programs / "initdb", f"--pgdata={self.data_dir}", *options]).wait(_START_SECONDS)
        self._end(signal.SIGQUIT)
        if status != 0:
            raise RuntimeError(f"initdb failed: {self._read_log(0)}")

    def _launch_on_free_port(self) -> None:
        for attempts_left in reversed(range(5)):
            self._port = _find_free_port()
            self._append_settings()
            try:
                self._launch()
                break
            except RuntimeError as error:
                # Another process may take the port between our check and the server's start.
                if "Address already in use" not in str(error) or not attempts_left:
                    raise

    def _append_settings(self) -> None:
        listening = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": f'"{self.socket_dir}"',
        }
        with (self.data_dir / "postgresql.conf").open("a", encoding="utf-8") as file:
            for name, value in {**self.settings, **listening}.items():
                file.write(f"{name} = {_quote_setting(value)}\n")

    def _launch(self) -> None:
        """Run postgres and wait until it is ready.

        `pg_ctl start` would detach the server from the keeper, and pass its options through a shell.
        """
        offset = self.log_file.stat().st_size
        keeper = self._run_kept([self._programs / "postgres", "-D", self.data_dir])
        deadline = time.monotonic() + _START_SECONDS
        while (pid := self._read_ready_pid()) is None:
            has_ended = keeper.poll() is not None
            if has_ended or time.monotonic() > deadline:
                problem = "did not start" if has_ended else f"was not ready after {_START_SECONDS:.0f} seconds"
                log = self._read_log(offset)
                self._end(signal.SIGQUIT)
                raise RuntimeError(f"PostgreSQL {problem}: {log}")
            time.sleep(0.02)
        self._pid = self._last_pid = pid

    def _read_ready_pid(self) -> int | None:
        """Return the postmaster's process id once its lock file says that it accepts connections."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        if len(lines) < 8 or lines[7].strip() not in ("ready", "standby"):
            return None
        pid = int(lines[0])
        # A crash can leave the lock file of the previous server.
        return pid if pid != self._last_pid else None

    def _read_log(self, offset: int) -> str:
        with self.log_file.open("rb") as file:
            file.seek(offset)
            return file.read().decode("utf-8", "replace").strip()[-2000:]

    def _run_kept(self, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        """Run a command below a keeper, in its own session, so that Ctrl-C in the terminal does not reach it."""
        keep: list[str | Path] = [sys.executable, "-I", "-S", _KEEPER, str(self._owner), self.folder]
        account = f"{self._account.uid}:{self._account.gid}" if self._account else ""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        with self.log_file.open("ab") as log:
            self._keeper = subprocess.Popen(
                [*keep, account, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**environment, "LC_ALL": "C"},
                start_new_session=True,
            )
        return self._keeper

    def _end(self, first: signal.Signals) -> None:
        """End the process below the keeper: gracefully if requested, and by force after 15 seconds."""
        keeper, pid = self._keeper, self._pid
        self._keeper = self._pid = None
        if keeper is None:
            return
        if pid is not None:
            for number in (first, signal.SIGQUIT, signal.SIGKILL):
                if self._send(pid, number, keeper):
                    break
        if keeper.stdin is not None:
            keeper.stdin.close()
        keeper.wait()

    @staticmethod
    def _send(pid: int, number: signal.Signals, keeper: subprocess.Popen[bytes]) -> bool:
        """Send a signal to the postmaster and return whether it ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        # Check both: a killed keeper ends before its server.
        while keeper.poll() is None or _is_alive(pid):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True


def restart(server: PostgresServer) -> None:
    """Restart a server cleanly."""
    server.restart()


def crash(server: PostgresServer) -> None:
    """Crash a server and start it again."""
    server.kill()
    server.start()


@dataclass(frozen=True)
class RunningServer:
    """A server to test against; `server` is None if we did not start it."""

    dsn: str
    version: str
    server: PostgresServer | None = None


@contextlib.contextmanager
def running_server() -> Iterator[RunningServer]:
    """Provide the server of the session: the one that SQLTRACK_TEST_DSN names, or one that runs until the end.

    SQLTRACK_TEST_POSTGRES, such as '13', requests a major version.

    Raises:
        NoServerError: no server could be reached or started, or it has another major version than requested.
    """
    major = requested_major()
    dsn = os.environ.get("SQLTRACK_TEST_DSN")
    if dsn:
        yield RunningServer(dsn, _ask_version(dsn, major))
        return
    server = PostgresServer(find_binaries(major))
    try:
        server.start()
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise NoServerError([f"the binaries in {str(server.binaries)!r}: {error}"]) from error
    try:
        yield RunningServer(server.dsn, server.version, server)
    finally:
        server.stop()


def find_version() -> str:
    """Return the version of the server that `running_server` would provide, such as '15.18', without starting one.

    Raises:
        NoServerError: as for `running_server`.
    """
    dsn, major = os.environ.get("SQLTRACK_TEST_DSN"), requested_major()
    return _ask_version(dsn, major) if dsn else read_version(find_binaries(major))


def requested_major() -> int | None:
    """Return the major version that SQLTRACK_TEST_POSTGRES requests, or None."""
    requested = os.environ.get("SQLTRACK_TEST_POSTGRES")
    if not requested:
        return None
    if not requested.isdecimal():
        raise NoServerError([f"SQLTRACK_TEST_POSTGRES: {requested!r} is not a major version such as '17'"])
    return int(requested)


def _ask_version(dsn: str, major: int | None) -> str:
    try:
        import psycopg

        with psycopg.connect(dsn, connect_timeout=10) as connection:
            version = str(connection.execute("SHOW server_version").fetchall()[0][0]).split()[0]
    except Exception as error:  # psycopg.Error cannot be named before psycopg is imported
        raise NoServerError([f"SQLTRACK_TEST_DSN: {error}"]) from error
    if major is not None and major_of(version) != major:
        raise NoServerError([f"SQLTRACK_TEST_DSN: is PostgreSQL {version}, but SQLTRACK_TEST_POSTGRES says {major}"])
    return version
