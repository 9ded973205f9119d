"""Start and stop PgBouncers for the tests, in transaction mode, as root or as another user.

Each runs below a keeper, like the PostgreSQL server of the tests, and ends when the process that started it has gone,
even if that was killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from plugins.postgres_keeper import STOP_SECONDS, remove_folder
from plugins.postgres_server import (
    _KEEPER,
    _find_free_port,
    _find_temporary_folder,
    _remove_abandoned_folders,
    _server_account,
)

__all__ = ["NoPoolerError", "PgBouncer", "find_pgbouncer", "find_version", "settings_to_mix_up_statements"]

_USUAL_FOLDERS = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin", "/usr/pgsql/bin"]
# The prefix lets them be removed together with the folders of abandoned servers.
_FOLDER_PREFIX = "sqltrack-pg-"
_START_SECONDS = 30.0

# Few sessions, used in turn, so that another client soon finds everything that a transaction leaves in a session.
_SETTINGS = {
    "pool_mode": "transaction",
    "auth_type": "trust",
    "auth_user": "postgres",
    "default_pool_size": "4",
    "server_round_robin": "1",
    "server_idle_timeout": "5",
    "server_login_retry": "1",
    "query_wait_timeout": "60",
    "max_client_conn": "500",
    "log_connections": "0",
    "log_disconnections": "0",
}


class NoPoolerError(Exception):
    """There is no PgBouncer to test with."""

    def __init__(self) -> None:
        super().__init__(
            "no PgBouncer was found in SQLTRACK_TEST_PGBOUNCER, on PATH or in "
            f"{', '.join(_USUAL_FOLDERS)}; install the package pgbouncer, or set SQLTRACK_TEST_PGBOUNCER to the program"
        )


def find_pgbouncer() -> Path:
    """Return the program that SQLTRACK_TEST_PGBOUNCER names, or the one on PATH or in the usual folders.

    Raises:
        NoPoolerError: no program was found.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_USUAL_FOLDERS])
    found = shutil.which(os.environ.get("SQLTRACK_TEST_PGBOUNCER") or "pgbouncer", path=path)
    if found is None:
        raise NoPoolerError
    return Path(found)


def settings_to_mix_up_statements() -> dict[str, str]:
    """Return settings with which a client may find statements that another has prepared, as always before 1.21."""
    major, minor = map(int, find_version().split(".")[:2])
    return {"max_prepared_statements": "0"} if (major, minor) >= (1, 21) else {}


def find_version() -> str:
    """Return the version of the program, such as '1.18.0'."""
    output = subprocess.run([find_pgbouncer(), "--version"], capture_output=True, check=True, text=True).stdout
    return output.split()[1]


class PgBouncer:
    """A PgBouncer in front of a server, for all of its databases; use it as a context manager.

    It listens on a Unix socket in `host` and on 127.0.0.1, both with `port`. All users of the server may connect.
    Started by root, it runs as 'nobody'.

    Args:
        server: the server's connection parameters; host, port and password are used.
        settings: settings of its section [pgbouncer], which override those for all tests.
        databases: names of the databases, default: all of the server.
    """

    def __init__(
        self,
        server: Mapping[str, object],
        settings: Mapping[str, str] | None = None,
        databases: Sequence[str] = ("*",),
    ) -> None:
        self._program = find_pgbouncer()
        self._server = {name: server[name] for name in ("host", "port", "password") if server.get(name)}
        self._databases = databases
        self._settings = {**_SETTINGS, **(settings or {})}
        self._account = _server_account()
        self._folder: Path | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self.port = 0

    def __enter__(self) -> PgBouncer:
        try:
            self._create()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def host(self) -> str:
        """The folder of the Unix socket."""
        return str(self.folder / "s")

    @property
    def folder(self) -> Path:
        """The temporary folder with all files of this pooler."""
        if self._folder is None:
            raise RuntimeError("the pooler has not been started; use it in a with block")
        return self._folder

    @property
    def log(self) -> str:
        """Its output since the first start."""
        return (self.folder / "pgbouncer.log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start it, also after `stop`, and wait until it accepts connections.

        Raises:
            RuntimeError: it did not start; the message ends with its log.
        """
        keep: list[str | Path] = [sys.executable, "-I", "-S", _KEEPER, str(self._owner), self.folder]
        account = f"{self._account.uid}:{self._account.gid}" if self._account else ""
        with (self.folder / "pgbouncer.log").open("ab") as log:
            self._keeper = subprocess.Popen(
                [*keep, account, self._program, "-q", self.folder / "pgbouncer.ini"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_answering():
            if self._keeper.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PgBouncer did not start: {self.log[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it at once, which breaks all connections; stopping twice is harmless."""
        keeper, self._keeper = self._keeper, None
        if keeper is None or os.getpid() != self._owner:
            return
        pid = self._read_pid()
        if pid is not None and keeper.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            # When its input closes, the keeper ends the program if it still runs, and removes the folder.
            with contextlib.suppress(subprocess.TimeoutExpired):
                keeper.wait(STOP_SECONDS)
        if keeper.stdin is not None:
            keeper.stdin.close()
        keeper.wait()

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        if self._folder is not None and os.getpid() == self._owner:
            remove_folder(self._folder)
            self._folder = None

    def _create(self) -> None:
        self._owner = os.getpid()
        base = _find_temporary_folder(self._account)
        _remove_abandoned_folders(base)
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER_PREFIX}{self._owner}-", dir=base))
        self.port = _find_free_port()
        sockets = self._folder / "s"
        sockets.mkdir(mode=0o700)
        if self._account is not None:
            self._folder.chmod(0o711)
            os.chown(sockets, self._account.uid, self._account.gid)
        self._write("users.txt", f'"postgres" "{self._server.get("password", "")}"\n')
        self._write("pgbouncer.ini", self._configuration())

    def _configuration(self) -> str:
        server = " ".join(f"{name}={value}" for name, value in self._server.items())
        listening = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": self.host,
            "pidfile": f"{self.host}/pgbouncer.pid",
            "auth_file": str(self.folder / "users.txt"),
        }
        lines = [f"{name} = {value}" for name, value in {**self._settings, **listening}.items()]
        databases = [f"{name} = {server}" for name in self._databases]
        return "\n".join(["[databases]", *databases, "[pgbouncer]", *lines, ""])

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)

    def _read_pid(self) -> int | None:
        try:
            return int(Path(self.host, "pgbouncer.pid").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None

    def _is_answering(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{self.host}/.s.PGSQL.{self.port}")
            return self._read_pid() is not None
        return False
