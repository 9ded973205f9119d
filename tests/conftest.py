"""Shared by all tests: databases on both engines, and the options and marks that select tests."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import itertools
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sqltrack
import sqltrack.engines
from plugins.memory import use_memory
from plugins.postgres_databases import Databases
from plugins.postgres_server import PostgresServer
from plugins.postgres_session import connection_parameters, describe_server, start_server
from sqltrack import _tracking, sigterm
from sqltrack._outbox import _outbox, _settings
from sqltrack.commands import setup
from support.variables import PATIENCE

pytest_plugins = ["plugins.postgres"]

ENGINES = ("sqlite", "postgres")

_numbers = itertools.count(1)


# Marks of tests that run only if -m names the mark.
_ON_REQUEST = ("faults", "citus", "guides", "installs", "page", "site", "dash")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engines",
        default=",".join(ENGINES),
        help="engines to test, separated by commas, default: sqlite,postgres; with sqlite alone no server is needed",
    )


def pytest_configure(config: pytest.Config) -> None:
    # Programs that a shell starts in the background ignore Ctrl-C, and so would everything that the tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # So do programs below nohup with the end of a terminal.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # Programs that tests start would compile the packages again each time, which takes longer than what they do.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Tests run in parallel. Idle threads of numerical libraries would only take CPU time from them.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with contextlib.suppress(ImportError):
        import hypothesis

        # How long an example takes depends on the other work of the machine.
        hypothesis.settings.register_profile("unhurried", deadline=None)
        hypothesis.settings.load_profile("unhurried")
    # Figures of faults must come from a disk.
    if "faults" not in config.getoption("markexpr").replace("not faults", ""):
        use_memory()
    config.addinivalue_line(
        "markers",
        "engines(name, ..., reason=None): only these engines have the tested behavior, for this reason",
    )
    config.addinivalue_line(
        "markers",
        "also_on(name, ...): also runs on these engines of the tests, if SQLite is tested and the driver is installed",
    )
    config.addinivalue_line(
        "markers",
        "one_engine: takes long, so it runs on the first of the tested engines only; "
        "-m 'one_engine or not one_engine' runs it on all",
    )
    config.addinivalue_line("markers", "no_outbox: tests outages of clients without an outbox")
    config.addinivalue_line("markers", "faults: takes minutes, so it runs only with -m faults")
    config.addinivalue_line("markers", "citus: needs a running Citus cluster, so it runs only with -m citus")
    config.addinivalue_line("markers", "guides: runs a guide or an example as a whole, so it runs only with -m guides")
    config.addinivalue_line("markers", "installs: makes environments or releases, so it runs only with -m installs")
    config.addinivalue_line("markers", "site: builds the documentation, so it runs only with -m site")
    config.addinivalue_line("markers", "dash: needs Dash and a browser, so it runs only with -m dash")
    config.addinivalue_line("markers", "page: drives a browser for seconds, so it runs only with -m page")
    config.addinivalue_line(
        "markers",
        "unmeasured: fails or hangs while coverage is measured, because signal handlers cannot take its lock again, "
        "and limits apply to its files as well; -m 'not unmeasured' leaves it out",
    )
    unknown = set(chosen_engines(config)) - set(ENGINES)
    if unknown:
        raise pytest.UsageError(f"--engines must be of {ENGINES}, got {sorted(unknown)}")


def pytest_report_header(config: pytest.Config) -> list[str]:
    versions = {"sqlite": lambda: f"SQLite {sqlite3.sqlite_version}", "postgres": lambda: describe_server(config)}
    return ["engines: " + ", ".join(versions[engine]() for engine in chosen_engines(config))]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Start the server before the tests change the environment, which may name it."""
    if not session.config.option.collectonly and "postgres" in chosen_engines(session.config):
        start_server(session.config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine_name" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("engines")
        engines = [*chosen_engines(metafunc.config), *_added_engines(metafunc)]
        names = [name for name in engines if only is None or name in only.args]
        is_long = metafunc.definition.get_closest_marker("one_engine") is not None
        wants_all = "one_engine" in metafunc.config.getoption("markexpr")
        metafunc.parametrize("engine_name", names[:1] if is_long and not wants_all else names)


def _added_engines(metafunc: pytest.Metafunc) -> list[str]:
    """Return the engines that a test is marked for in addition, if a driver of that name is installed."""
    also = metafunc.definition.get_closest_marker("also_on")
    if also is None or "sqlite" not in chosen_engines(metafunc.config):
        return []
    return [name for name in also.args if importlib.util.find_spec(name) is not None]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests for servers that are not requested, and tests that take minutes."""
    left_out = [item for item in items if _is_left_out(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not _is_left_out(item)]


def _is_left_out(item: pytest.Item) -> bool:
    engines = chosen_engines(item.config)
    mark = item.get_closest_marker("engines")
    if (mark is not None and set(engines).isdisjoint(mark.args)) or ("postgres" not in engines and _needs_server(item)):
        return True
    chosen = item.config.getoption("markexpr")
    return any(item.get_closest_marker(name) is not None and name not in chosen for name in _ON_REQUEST)


def chosen_engines(config: pytest.Config) -> list[str]:
    return [name.strip() for name in config.getoption("--engines").split(",")]


def _needs_server(item: pytest.Item) -> bool:
    names = getattr(item, "fixturenames", ())
    return "engine_name" not in names and not {"postgres_server", "postgres_config"}.isdisjoint(names)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the configuration of the user who runs the tests out of them."""
    for name in list(os.environ):
        if name.startswith(("SQLTRACK_DSN_", "SQLTRACK_CONFIG_", "PG")):
            monkeypatch.delenv(name)
    # What runs capture depends on the machine; the tests of it turn it on.
    monkeypatch.setenv("SQLTRACK_CAPTURE", "off")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("APPDATA", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _outbox_by_default(outbox_off: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn off the outbox by default in tests marked `no_outbox`; a test can still turn it on."""
    if outbox_off:
        monkeypatch.setattr(_settings, "_DEFAULT_MODE", "off")


@pytest.fixture(autouse=True)
def _patient_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calls wait longer by default than busy machines stall, so that values are stored when tests read them."""
    monkeypatch.setattr(_settings, "_DEFAULT_PATIENCE", PATIENCE)


@pytest.fixture
def outbox_off(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings that turn off the outbox in tests marked `no_outbox`."""
    return {} if request.node.get_closest_marker("no_outbox") is None else {"outbox": "off"}


@pytest.fixture(autouse=True)
def _no_tracked_runs() -> Iterator[None]:
    """Check that a test leaves no unsent calls, and no tracked run, which would keep handling SIGTERM."""
    yield
    for outbox in _outbox._outboxes.values():
        outbox._is_closing = True
        outbox._wake()
    _outbox._outboxes.clear()
    for thread in threading.enumerate():
        if thread.name.startswith("sqltrack-outbox"):
            # Otherwise the next test would still watch its connection.
            thread.join(5)
    _tracking._tracked.clear()
    for key in list(sigterm._functions):
        sigterm.deregister(key)


@pytest.fixture(autouse=True)
def _old_servers_read_as_superuser(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tests' superuser read with all rights before PostgreSQL 14, which has no role that only reads."""
    if "postgres" not in chosen_engines(pytestconfig):
        return
    from sqltrack.engines.postgres.admin import PostgresAdmin

    read_only = PostgresAdmin.read_only

    @functools.wraps(read_only)
    def read_only_anywhere(
        self: PostgresAdmin, seconds: float, *, as_superuser: bool = False, own_sql: bool = False
    ) -> Any:
        needs_role = self.connection.info.server_version < 140000 and not own_sql
        return read_only(self, seconds, as_superuser=as_superuser or needs_role, own_sql=own_sql)

    monkeypatch.setattr(PostgresAdmin, "read_only", read_only_anywhere)


@pytest.fixture
def own_config(own_server: PostgresServer, outbox_off: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Configuration for a database of that server, after setup."""
    import psycopg

    name = f"test_{next(_numbers)}"
    config = {"engine": "postgres", **connection_parameters(own_server), "dbname": name, **outbox_off}
    with psycopg.connect(own_server.dsn, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    setup(sqltrack.Client(config))
    yield config
    # A new connection, because the server may have been restarted.
    with psycopg.connect(own_server.dsn, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def create_lasting_database(postgres_databases: Databases) -> Callable[..., dict[str, Any]]:
    """Create PostgreSQL databases, from a template or empty, that remain; return a configuration for each."""

    def create(template: str = "template1") -> dict[str, Any]:
        return {"engine": "postgres", **postgres_databases.create(template)}

    return create


@pytest.fixture
def create_database(
    postgres_databases: Databases, create_lasting_database: Callable[..., dict[str, Any]]
) -> Iterator[Callable[..., dict[str, Any]]]:
    """Create PostgreSQL databases that are dropped after the test; otherwise the same."""
    names: list[str] = []

    def create(template: str = "template1") -> dict[str, Any]:
        config = create_lasting_database(template)
        names.append(config["dbname"])
        return config

    yield create
    postgres_databases.drop(names)


@pytest.fixture(scope="session")
def postgres_template(create_lasting_database: Callable[..., dict[str, Any]]) -> str:
    """Name of a template database with the schema."""
    config = create_lasting_database()
    setup(sqltrack.Client(config))
    return str(config["dbname"])


@pytest.fixture
def postgres_config(create_database: Callable[..., dict[str, Any]], outbox_off: dict[str, str]) -> dict[str, Any]:
    """Configuration for an empty PostgreSQL database."""
    return {**create_database(), **outbox_off}


@pytest.fixture
def duckdb_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Configuration for an empty DuckDB database, whose engine is part of the tests, see `support.duckdb_engine`."""
    import duckdb

    known = sqltrack.engines._Known("support.duckdb_engine", "DuckDBEngine", has_users=False)
    monkeypatch.setitem(sqltrack.engines._ENGINES, "duckdb", known)
    path = str(tmp_path / "sqltrack.duckdb")
    # While one connection is open, more connections to the same file cost almost nothing.
    with duckdb.connect(path):
        yield {"engine": "duckdb", "dbpath": path}


@pytest.fixture
def empty_config(
    engine_name: str, request: pytest.FixtureRequest, tmp_path: Path, outbox_off: dict[str, str]
) -> dict[str, Any]:
    """Configuration for an empty database, on each engine."""
    if engine_name == "duckdb":
        return dict(request.getfixturevalue("duckdb_config"))
    if engine_name == "sqlite":
        return {"engine": "sqlite", "dbpath": str(tmp_path / "sqltrack.db"), **outbox_off}
    return dict(request.getfixturevalue("postgres_config"))


@pytest.fixture
def config(engine_name: str, request: pytest.FixtureRequest, outbox_off: dict[str, str]) -> dict[str, Any]:
    """Configuration for a database after setup, on each engine."""
    if engine_name != "postgres":
        config = dict(request.getfixturevalue("empty_config"))
        setup(sqltrack.Client(config))
        return config
    create = request.getfixturevalue("create_database")
    return {**create(request.getfixturevalue("postgres_template")), **outbox_off}


@pytest.fixture
def client(config: dict[str, Any]) -> sqltrack.Client:
    """Client of a database after setup, on each engine."""
    return sqltrack.Client(config)


@pytest.fixture
def experiment(client: sqltrack.Client) -> sqltrack.Experiment:
    """An experiment in that database."""
    return sqltrack.Experiment(client, name="experiment")


@pytest.fixture
def run(experiment: sqltrack.Experiment) -> sqltrack.Run:
    """A run of that experiment."""
    return experiment.get_run()
