"""A pytest plugin: PostgreSQL servers, databases and poolers as fixtures, and marks for tests that depend on a pooler.

The session has one server. It starts when a test or `postgres_session.start_server` first requests it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plugins.pgbouncer import NoPoolerError, find_pgbouncer
from plugins.postgres_binaries import find_binaries
from plugins.postgres_databases import Databases
from plugins.postgres_server import NoServerError, PostgresServer, RunningServer, requested_major
from plugins.postgres_session import LEASE, ServerLease

if TYPE_CHECKING:
    from plugins.secure_server import SecureServer


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pooler", action="store_true", help="reach PostgreSQL through a PgBouncer in transaction mode")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "pooler: needs a PgBouncer, so it runs only with --pooler or -m pooler")
    config.addinivalue_line("markers", "not_pooled(reason): does not run behind a pooler, and why")
    config.stash[LEASE] = ServerLease(behind_pooler=_uses_pooler(config))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the server first: pytest-xdist then gives its processes only ten seconds, which coverage needs."""
    session.config.stash[LEASE].close()


def pytest_unconfigure(config: pytest.Config) -> None:
    if LEASE in config.stash:
        config.stash[LEASE].close()


def _uses_pooler(config: pytest.Config) -> bool:
    """Return whether the session's databases are behind a pooler; then the pooler must be available."""
    if not config.getoption("--pooler"):
        return False
    try:
        find_pgbouncer()
    except NoPoolerError as error:
        raise pytest.UsageError(f"--pooler: {error}") from error
    return True


# Marks


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests that need a pooler if the session has none, and tests that cannot run behind its pooler."""
    for item in items:
        _check_reason(item)
    left_out = [item for item in items if _is_left_out(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not _is_left_out(item)]


def _check_reason(item: pytest.Item) -> None:
    for mark in item.iter_markers("not_pooled"):
        if mark.kwargs or len(mark.args) != 1 or not isinstance(mark.args[0], str) or not mark.args[0]:
            raise pytest.UsageError(
                f'{item.nodeid}: the mark not_pooled needs a reason, as in @pytest.mark.not_pooled("it …"), '
                f"got {mark.args!r}"
            )


def _is_left_out(item: pytest.Item) -> bool:
    if _uses_pooler(item.config):
        return item.get_closest_marker("not_pooled") is not None
    is_chosen = "pooler" in item.config.getoption("markexpr")
    return item.get_closest_marker("pooler") is not None and not is_chosen


# Fixtures


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> RunningServer:
    """The PostgreSQL server of this session; without one the test fails and says how to install it."""
    try:
        return pytestconfig.stash[LEASE].server()
    except NoServerError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def server_binaries(postgres_server: RunningServer) -> Path:
    """The programs of that server, for tests that start their own."""
    own = postgres_server.server
    return find_binaries(requested_major()) if own is None else Path(own.binaries)


@pytest.fixture(scope="module")
def own_server(server_binaries: Path) -> Iterator[PostgresServer]:
    """A server that a test may stop, because no other module uses it."""
    with PostgresServer(server_binaries) as server:
        yield server


@pytest.fixture(scope="module")
def secure(server_binaries: Path) -> Iterator[SecureServer]:
    """A server with passwords, by SCRAM, and a certificate."""
    # Imported here, because some sessions run without its packages.
    from plugins.secure_server import secure_server

    with secure_server(server_binaries) as server:
        yield server


@pytest.fixture(scope="session")
def pooler_address(pytestconfig: pytest.Config, postgres_server: RunningServer) -> dict[str, str]:
    """The address of the session's pooler, empty without a pooler."""
    pooler = pytestconfig.stash[LEASE].pooler
    return {} if pooler is None else {"host": pooler.host, "port": str(pooler.port)}


@pytest.fixture(scope="session")
def postgres_databases(postgres_server: RunningServer, pooler_address: dict[str, str]) -> Iterator[Databases]:
    """Databases of the session's server, behind its pooler if it has one."""
    with Databases(postgres_server, pooler_address) as databases:
        yield databases
