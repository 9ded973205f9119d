"""Fixtures and options of all tests: databases on both engines, and the PostgreSQL server that the session starts."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from plugins.pgbouncer import NoPoolerError, PgBouncer, find_pgbouncer
from plugins.postgres_binaries import find_binaries
from plugins.postgres_server import NoServerError, PostgresServer, requested_major, running_server
from sqltrack import sigterm
from sqltrack.commands import setup

ENGINES = ("sqlite", "postgres")

_numbers = itertools.count(1)
_lease = pytest.StashKey["ServerLease"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engines",
        default=",".join(ENGINES),
        help="engines to test, separated by commas, default: sqlite,postgres; with sqlite alone no server is needed",
    )
    parser.addoption("--pooler", action="store_true", help="reach PostgreSQL through a PgBouncer in transaction mode")


def pytest_configure(config: pytest.Config) -> None:
    # What a shell starts in the background ignores Ctrl-C, and so would all that the tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Tests run side by side, and threads of numerical libraries that wait for work would only take it from them.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    config.addinivalue_line("markers", "engines(name, ...): what is tested is something that only these engines have")
    config.addinivalue_line("markers", "pooler: needs a PgBouncer, so it runs only with --pooler or -m pooler")
    config.addinivalue_line("markers", "not_pooled(reason): does not run behind a pooler, and why")
    config.addinivalue_line("markers", "faults: takes minutes, so it runs only with -m faults")
    config.addinivalue_line(
        "markers",
        "unmeasured: fails or hangs while coverage is measured, whose lock a handler of signals cannot enter again, "
        "and whose files limits meet as well; -m 'not unmeasured' leaves it out",
    )
    unknown = set(chosen_engines(config)) - set(ENGINES)
    if unknown:
        raise pytest.UsageError(f"--engines must be of {ENGINES}, got {sorted(unknown)}")
    config.stash[_lease] = ServerLease(behind_pooler=uses_pooler(config))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the server before pytest-xdist gives its processes ten seconds to end, in which coverage is written."""
    session.config.stash[_lease].close()


def pytest_unconfigure(config: pytest.Config) -> None:
    if _lease in config.stash:
        config.stash[_lease].close()


def pytest_report_header(config: pytest.Config) -> list[str]:
    versions = {"sqlite": lambda: f"SQLite {sqlite3.sqlite_version}", "postgres": config.stash[_lease].describe}
    return ["engines: " + ", ".join(versions[engine]() for engine in chosen_engines(config))]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Start the server before the tests change the environment that it is looked for in."""
    if not session.config.option.collectonly and "postgres" in chosen_engines(session.config):
        with contextlib.suppress(NoServerError):
            session.config.stash[_lease].server()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine_name" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("engines")
        engines = [name for name in chosen_engines(metafunc.config) if mark is None or name in mark.args]
        metafunc.parametrize("engine_name", engines)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the session was not asked for: servers, poolers, and what takes minutes."""
    _check_reasons(items)
    left_out = [item for item in items if _is_left_out(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not _is_left_out(item)]


def _check_reasons(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("not_pooled"):
            if mark.kwargs or len(mark.args) != 1 or not isinstance(mark.args[0], str) or not mark.args[0]:
                raise pytest.UsageError(
                    f'{item.nodeid}: the mark not_pooled needs a reason, as in @pytest.mark.not_pooled("it …"), '
                    f"got {mark.args!r}"
                )


def _is_left_out(item: pytest.Item) -> bool:
    if "postgres" not in chosen_engines(item.config) and _needs_server(item):
        return True
    if item.get_closest_marker("faults") is not None and "faults" not in item.config.getoption("markexpr"):
        return True
    if uses_pooler(item.config):
        return item.get_closest_marker("not_pooled") is not None
    is_chosen = "pooler" in item.config.getoption("markexpr")
    return item.get_closest_marker("pooler") is not None and not is_chosen


def uses_pooler(config: pytest.Config) -> bool:
    """Return whether the session's databases lie behind a pooler, which must be there if so."""
    if not config.getoption("--pooler"):
        return False
    try:
        find_pgbouncer()
    except NoPoolerError as error:
        raise pytest.UsageError(f"--pooler: {error}") from error
    return True


def chosen_engines(config: pytest.Config) -> list[str]:
    return [name.strip() for name in config.getoption("--engines").split(",")]


def _needs_server(item: pytest.Item) -> bool:
    names = getattr(item, "fixturenames", ())
    return "engine_name" not in names and not {"postgres_server", "postgres_config"}.isdisjoint(names)


class ServerLease:
    """The session's PostgreSQL server, and the pooler in front of it, started when first asked for.

    Args:
        behind_pooler: whether there is to be a pooler.

    Attributes:
        pooler: the pooler, None if there is to be none or the server is not running yet.
    """

    def __init__(self, *, behind_pooler: bool) -> None:
        self.pooler: PgBouncer | None = None
        self._behind_pooler = behind_pooler
        self._stack = contextlib.ExitStack()
        self._server: Any = None
        self._error: NoServerError | None = None

    def server(self) -> Any:
        if self._error is not None:
            raise self._error
        if self._server is None:
            try:
                self._server = self._stack.enter_context(running_server())
            except NoServerError as error:
                self._error = error
                raise
            if self._behind_pooler:
                self.pooler = self._stack.enter_context(PgBouncer(_parameters(self._server)))
        return self._server

    def describe(self) -> str:
        try:
            version = f"PostgreSQL {self.server().version}"
        except NoServerError:
            return "no PostgreSQL server"
        return f"{version} behind PgBouncer {self.pooler.version}" if self.pooler else version

    def close(self) -> None:
        self._stack.close()


def _parameters(server: Any) -> dict[str, Any]:
    import psycopg

    return dict(psycopg.conninfo.conninfo_to_dict(server.dsn))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the configuration of whoever runs the tests out of them."""
    for name in list(os.environ):
        if name.startswith(("SQLTRACK_DSN_", "SQLTRACK_CONFIG_", "PG")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("APPDATA", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _no_tracked_runs() -> Iterator[None]:
    """Let no test leave a run behind that listens for SIGTERM, whichever test comes next in this process."""
    yield
    for key in list(sigterm._functions):
        sigterm.deregister(key)


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Any:
    """The PostgreSQL server of this session; without one the test fails and says what to install."""
    try:
        return pytestconfig.stash[_lease].server()
    except NoServerError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def server_binaries(postgres_server: Any) -> Path:
    """The programs of that server, for tests that start one of their own."""
    own = postgres_server.server
    return find_binaries(requested_major()) if own is None else Path(own.binaries)


@pytest.fixture(scope="module")
def own_server(server_binaries: Path) -> Iterator[PostgresServer]:
    """A server that may be stopped, because nobody else uses it."""
    with PostgresServer(server_binaries) as server:
        yield server


@pytest.fixture
def own_config(own_server: PostgresServer) -> Iterator[dict[str, Any]]:
    """Configuration for a database of that server, which is set up."""
    import psycopg

    name = f"test_{next(_numbers)}"
    config = {"engine": "postgres", **_parameters(own_server), "dbname": name}
    with psycopg.connect(own_server.dsn, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    setup(sqltrack.Client(config))
    yield config
    # Not the same connection: the server may have been restarted.
    with psycopg.connect(own_server.dsn, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def create_database(postgres_server: Any, pooler_address: dict[str, Any]) -> Iterator[Callable[..., dict[str, Any]]]:
    """Create PostgreSQL databases, from a template or empty, which go at the end, with the server if that is ours."""
    import psycopg

    parameters = _parameters(postgres_server)
    names: list[str] = []
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:

        def create(template: str = "template1") -> dict[str, Any]:
            name = f"sqltrack_test_{os.getpid()}_{next(_numbers)}"
            if pooler_address:
                # The pooler keeps sessions, but nobody may be connected to a template.
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (template,)
                )
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
            names.append(name)
            return {"engine": "postgres", **parameters, **pooler_address, "dbname": name}

        yield create
        for name in names if postgres_server.server is None else ():
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def pooler_address(pytestconfig: pytest.Config, postgres_server: Any) -> dict[str, Any]:
    """Where the pooler of this session listens, nothing if there is none."""
    pooler = pytestconfig.stash[_lease].pooler
    return {} if pooler is None else {"host": pooler.host, "port": str(pooler.port)}


@pytest.fixture(scope="session")
def postgres_template(create_database: Callable[..., dict[str, Any]]) -> str:
    """Name of a database that is set up, to make others from."""
    config = create_database()
    setup(sqltrack.Client(config))
    return str(config["dbname"])


@pytest.fixture
def postgres_config(create_database: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Configuration for an empty PostgreSQL database."""
    return create_database()


@pytest.fixture
def empty_config(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Configuration for an empty database, on each engine."""
    if engine_name == "sqlite":
        return {"engine": "sqlite", "dbpath": str(tmp_path / "sqltrack.db")}
    return dict(request.getfixturevalue("postgres_config"))


@pytest.fixture
def config(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Configuration for a database that is set up, on each engine."""
    if engine_name == "sqlite":
        config = {"engine": "sqlite", "dbpath": str(tmp_path / "sqltrack.db")}
        setup(sqltrack.Client(config))
        return config
    create = request.getfixturevalue("create_database")
    return dict(create(request.getfixturevalue("postgres_template")))


@pytest.fixture
def client(config: dict[str, Any]) -> sqltrack.Client:
    """Client of a database that is set up, on each engine."""
    return sqltrack.Client(config)


@pytest.fixture
def experiment(client: sqltrack.Client) -> sqltrack.Experiment:
    """An experiment in that database."""
    return sqltrack.Experiment(client, name="experiment")


@pytest.fixture
def run(experiment: sqltrack.Experiment) -> sqltrack.Run:
    """A run of that experiment."""
    return experiment.get_run()
