"""Waits for a frozen PostgreSQL server, or over a network that discards acknowledged data, end in time."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

import sqltrack
from plugins.postgres_server import PostgresServer
from sqltrack.engines.postgres import PostgresEngine
from sqltrack.engines.postgres._backend import ServerBackend
from sqltrack.engines.postgres._connection import BoundedConnection, SilentServerError
from sqltrack.errors import DatabaseUnavailableError
from support.cut_proxy import CutProxy
from support.databases import connect_to_postgres
from support.frozen import frozen, frozen_server
from support.logging_threads import wait_until
from support.processes import Script

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it needs /proc to find the server's processes")

# Seconds after which a call counts as hanging. The longest limit here ends a wait after five.
_BOUND = 20.0

_LONG_SQL = "SELECT pg_sleep(60)"


class _Call(threading.Thread):
    """A call in a thread, which the test may wait for."""

    def __init__(self, function: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._function = function
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._function()
        except Exception as error:
            self.error = error

    def finish(self) -> Exception | None:
        """Return the exception of the call, which must end."""
        self.join(_BOUND)
        assert not self.is_alive(), "the call waits without end"
        return self.error


def expect_given_up(engine: PostgresEngine, connection: BoundedConnection, call: _Call) -> None:
    """Check that the call has failed because the server was silent, and that its connection cannot be used again."""
    error = call.finish()
    assert isinstance(error, psycopg.OperationalError), repr(error)
    translated = engine.translate_error(error)
    assert isinstance(translated, DatabaseUnavailableError)
    assert "did not answer for" in str(translated)
    assert connection.closed
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")


def quick_engine(config: dict[str, Any], **settings: Any) -> PostgresEngine:
    """An engine that soon notices that its server is silent."""
    engine = sqltrack.Client({"connect_timeout": 2, **config, **settings}).engine
    assert isinstance(engine, PostgresEngine)
    engine.answer_limit = 0.3
    engine.probe_interval = 0.1
    return engine


@pytest.fixture
def engine(own_config: dict[str, Any]) -> PostgresEngine:
    return quick_engine(own_config)


@pytest.fixture
def connection(engine: PostgresEngine) -> Iterator[BoundedConnection]:
    connection = engine.connect()
    yield connection
    engine.abort(connection)


@pytest.fixture
def proxy(own_server: PostgresServer) -> Iterator[CutProxy]:
    """A proxy to the server that can be cut."""
    with CutProxy(f"{own_server.socket_dir}/.s.PGSQL.{own_server.port}") as proxy:
        yield proxy


def through(proxy: CutProxy, config: dict[str, Any], **settings: Any) -> PostgresEngine:
    return quick_engine(config, host="127.0.0.1", port=proxy.port, **settings)


# Short work


def _copy_in(connection: BoundedConnection) -> Iterator[None]:
    with connection.cursor().copy("COPY numbers FROM STDIN") as copy:
        copy.write_row((1,))
        yield


def _copy_out(connection: BoundedConnection) -> Iterator[None]:
    with connection.cursor().copy("COPY (SELECT repeat('x', 10000), pg_sleep(0.01) FROM numbers) TO STDOUT") as copy:
        copy.read()
        yield
        list(copy)


def _fetch(connection: BoundedConnection) -> Iterator[None]:
    with connection.cursor("fetched") as cursor:
        cursor.execute("SELECT * FROM numbers")
        cursor.fetchone()
        yield
        cursor.fetchall()


def _close_cursor(connection: BoundedConnection) -> Iterator[None]:
    cursor = connection.cursor("named")
    cursor.execute("SELECT * FROM numbers")
    yield
    try:
        cursor.close()
    finally:
        # A connection that could not be closed warns later.
        cursor.close()


def _stream(connection: BoundedConnection) -> Iterator[None]:
    rows = connection.cursor().stream("SELECT repeat('x', 10000), pg_sleep(0.01) FROM numbers")
    next(rows)
    yield
    list(rows)


def _pipeline(connection: BoundedConnection) -> Iterator[None]:
    with connection.pipeline():
        connection.execute("SELECT 1")
        yield


def _savepoint(connection: BoundedConnection) -> Iterator[None]:
    with connection.transaction():
        yield


def _simply(call: Callable[[BoundedConnection], object]) -> Callable[[BoundedConnection], Iterator[None]]:
    def work(connection: BoundedConnection) -> Iterator[None]:
        connection.execute("INSERT INTO numbers VALUES (0)")
        yield
        call(connection)

    return work


_WORK = {
    "execute": _simply(lambda connection: connection.execute("SELECT 1")),
    "executemany": _simply(
        lambda connection: connection.cursor().executemany("INSERT INTO numbers VALUES (%s)", [(1,), (2,)])
    ),
    "commit": _simply(lambda connection: connection.commit()),
    "rollback": _simply(lambda connection: connection.rollback()),
    "copy in": _copy_in,
    "copy out": _copy_out,
    "server-side cursor": _fetch,
    "close of a cursor": _close_cursor,
    "stream": _stream,
    "pipeline": _pipeline,
    "end of a savepoint": _savepoint,
}


def test_short_work_is_given_up_when_the_server_is_frozen(own_server: PostgresServer, engine: PostgresEngine) -> None:
    """Whatever psycopg waits for, at any stage of the work."""
    connections = {name: engine.connect() for name in _WORK}
    works = {}
    for name, connection in connections.items():
        connection.execute("CREATE TEMP TABLE numbers AS SELECT n FROM generate_series(1, 100) AS n")
        works[name] = _WORK[name](connection)
        next(works[name])

    def end(name: str) -> None:
        with engine.bounded(connections[name]):
            next(works[name], None)

    with frozen_server(own_server):
        calls = {name: _Call(lambda name=name: end(name)) for name in _WORK}  # type: ignore[misc]
        for name, call in calls.items():
            expect_given_up(engine, connections[name], call)


def test_the_end_of_a_transaction_is_short_work_of_its_own_accord(
    own_server: PostgresServer, engine: PostgresEngine
) -> None:
    connections = {name: engine.connect() for name in ("commit", "rollback")}
    for connection in connections.values():
        connection.execute("SELECT 1")
        # Nothing else ends the wait.
        connection.backend = None
    with frozen_server(own_server):
        calls = {name: _Call(getattr(connection, name)) for name, connection in connections.items()}
        for name, call in calls.items():
            expect_given_up(engine, connections[name], call)


def test_short_work_is_given_up_when_its_backend_alone_is_frozen(
    engine: PostgresEngine, connection: BoundedConnection
) -> None:
    def work() -> None:
        with engine.bounded(connection):
            connection.execute("SELECT 1")

    with frozen(connection.info.backend_pid):
        expect_given_up(engine, connection, _Call(work))
        engine.connect().close()


def test_the_lowest_of_nested_limits_counts(engine: PostgresEngine, connection: BoundedConnection) -> None:
    """Calls within an impatient call are no more patient."""
    with engine.bounded(connection, 5):
        with engine.bounded(connection, 0.05), engine.bounded(connection, 10):
            assert connection.limit == 0.05
        assert connection.limit == 5
        connection.execute("SELECT pg_sleep(0.5)")
    assert connection.limit is None


def test_a_limit_ends_silence_and_not_work(engine: PostgresEngine, connection: BoundedConnection) -> None:
    """A steady flow of data may take longer altogether than the limit."""
    with engine.bounded(connection):
        rows = connection.cursor().stream("SELECT pg_sleep(0.15), repeat('x', 10000) FROM generate_series(1, 5)")
        assert len(list(rows)) == 5


def test_on_every_engine_short_work_can_be_bounded(client: sqltrack.Client) -> None:
    with client as connection, client.engine.bounded(connection), client.engine.bounded(connection, 5):
        assert client.execute("SELECT 1").fetchone()[0] == 1


def test_forked_children_do_not_keep_a_connection_that_was_given_up(
    engine: PostgresEngine, connection: BoundedConnection, own_config: dict[str, Any]
) -> None:
    """The server sees the end of the connection, although workers of a data loader have inherited the socket."""
    pid, sql = connection.info.backend_pid, "SELECT FROM pg_stat_activity WHERE pid = %s"
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[connection.pgconn.socket]) as child:
        connection.give_up()
        with connect_to_postgres(own_config) as administrator:
            wait_until(lambda: administrator.execute(sql, (pid,)).fetchone() is None)
        child.communicate(b"\n")


# Statements of any length


def test_a_statement_that_is_being_executed_may_take_as_long_as_it_wants(
    engine: PostgresEngine, connection: BoundedConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server must repeatedly report that it works on the statement, as for waits for locks."""
    questions = []
    is_working = ServerBackend.is_working

    def ask(backend: ServerBackend, silent: BoundedConnection) -> bool:
        questions.append(is_working(backend, silent))
        return questions[-1]

    monkeypatch.setattr(ServerBackend, "is_working", ask)
    with engine.connect() as other:
        other.execute("SELECT pg_advisory_lock(1)")
        call = _Call(lambda: connection.execute("SELECT pg_advisory_lock(1)"))
        wait_until(lambda: len(questions) == 3)
    assert call.finish() is None
    assert all(questions)


def test_a_statement_is_given_up_when_the_server_cannot_be_asked(
    own_server: PostgresServer, own_config: dict[str, Any]
) -> None:
    """By the client's own calls, in a block and outside."""
    clients = [sqltrack.Client(own_config, connect_timeout=2, reconnect=0) for _ in range(3)]
    for client in clients:
        assert isinstance(client.engine, PostgresEngine)
        client.engine.probe_interval = 0.1

    def in_a_block() -> None:
        with clients[1].cursor() as cursor:
            cursor.execute(_LONG_SQL)

    def in_another_block() -> None:
        with clients[2]:
            clients[2].execute(_LONG_SQL)

    calls = [_Call(lambda: clients[0].execute(_LONG_SQL)), _Call(in_a_block), _Call(in_another_block)]
    with connect_to_postgres(own_config) as administrator:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE query = %s AND state = 'active'"
        wait_until(lambda: administrator.execute(sql, (_LONG_SQL,)).fetchone() == (3,))
    with frozen_server(own_server):
        for call in calls:
            error = call.finish()
            # A cursor is psycopg's own, and so are its errors.
            assert isinstance(error, (DatabaseUnavailableError, SilentServerError)), repr(error)
            assert "did not answer for" in str(error)


def test_a_statement_is_given_up_that_has_never_arrived(own_config: dict[str, Any], proxy: CutProxy) -> None:
    """Other connections can ask the server, and it does not know the statement."""
    engine = through(proxy, own_config)
    connection = engine.connect()
    proxy.swallow(new=False)
    expect_given_up(engine, connection, _Call(lambda: connection.execute(_LONG_SQL)))


def test_a_statement_is_given_up_whose_answer_never_arrives(own_config: dict[str, Any], proxy: CutProxy) -> None:
    engine = through(proxy, own_config)
    connection = engine.connect()
    call = _Call(lambda: connection.execute("SELECT pg_sleep(0.5)"))
    pid, sql = connection.info.backend_pid, "SELECT state FROM pg_stat_activity WHERE pid = %s"
    with connect_to_postgres(own_config) as administrator:
        wait_until(lambda: administrator.execute(sql, (pid,)).fetchone() == ("active",))
        proxy.swallow(new=False)
    expect_given_up(engine, connection, call)


def test_copying_is_given_up_whose_rows_never_arrive(own_config: dict[str, Any], proxy: CutProxy) -> None:
    """The server calls it active, because it waits for the rows."""
    engine = through(proxy, own_config)
    connection = engine.connect()
    connection.execute("CREATE TEMP TABLE numbers (n int)")
    work = _copy_in(connection)
    next(work)
    proxy.swallow(new=False)
    expect_given_up(engine, connection, _Call(lambda: next(work, None)))


def test_a_statement_is_given_up_whose_backend_is_gone(own_config: dict[str, Any], proxy: CutProxy) -> None:
    """A server that was restarted elsewhere under the same address does not know the connection."""
    engine = through(proxy, own_config)
    connection = engine.connect()
    proxy.swallow(new=False)
    with connect_to_postgres(own_config) as administrator:
        pid = connection.info.backend_pid
        administrator.execute("SELECT pg_terminate_backend(%s)", (pid,))
        # Only from PostgreSQL 14 on does the function itself wait.
        is_there = "SELECT FROM pg_stat_activity WHERE pid = %s"
        wait_until(lambda: administrator.execute(is_there, (pid,)).fetchone() is None)
    expect_given_up(engine, connection, _Call(lambda: connection.execute(_LONG_SQL)))


def test_a_server_that_refuses_all_connections_is_alive(own_config: dict[str, Any]) -> None:
    """A connection limit must not end long statements."""
    with connect_to_postgres(own_config) as administrator:
        administrator.execute("CREATE ROLE single LOGIN CONNECTION LIMIT 1")
        connection = quick_engine(own_config, user="single").connect()
        with connection:
            with pytest.raises(DatabaseUnavailableError, match="too many connections"):
                quick_engine(own_config, user="single").connect()
            connection.execute("SELECT pg_sleep(1)")
        administrator.execute("DROP ROLE single")


def test_behind_a_pooler_it_counts_that_the_pooler_lives(own_config: dict[str, Any], proxy: CutProxy) -> None:
    """The server's processes have other numbers there, and a query of ours might have to queue."""
    engine = through(proxy, own_config)
    engine.has_pooler = True
    with contextlib.closing(engine.connect()) as connection:
        assert connection.backend is not None
        assert connection.backend.is_working(connection)
        proxy.swallow()
        assert not connection.backend.is_working(connection)


def test_a_connection_that_listens_is_not_expected_to_work(
    engine: PostgresEngine, connection: BoundedConnection
) -> None:
    connection.autocommit = True
    connection.execute("LISTEN news")
    assert list(connection.notifies(timeout=1)) == []
    with engine.connect() as other:
        other.execute("NOTIFY news")
    assert len(list(connection.notifies(timeout=_BOUND, stop_after=1))) == 1


def test_the_server_is_asked_where_the_connection_leads(own_server: PostgresServer, own_config: dict[str, Any]) -> None:
    """Not at the first of several hosts, which may be another server that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts = f"127.0.0.1,{own_server.socket_dir}"
        engine = quick_engine(own_config, host=hosts, port=f"{silent.getsockname()[1]},{own_server.port}")
        connection = engine.connect()
    with contextlib.closing(connection):
        connection.execute("SELECT pg_sleep(0.5)")


# Connecting


def test_connecting_to_a_server_that_never_answers_takes_no_longer_than_it_may(
    own_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither at the start, nor after SSL was agreed on, nor with a name that cannot be resolved."""
    answer, end = socket.getaddrinfo, threading.Event()

    def resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "lost.example":
            end.wait(60)
        return answer(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with _SilentListener() as silent, _SilentListener(b"S") as agreeing:
        addresses: list[dict[str, Any]] = [
            {"host": "127.0.0.1", "port": silent.port, "sslmode": "disable"},
            {"host": "127.0.0.1", "port": silent.port, "sslmode": "require"},
            {"host": "127.0.0.1", "port": agreeing.port, "sslmode": "require"},
            {"host": "lost.example", "port": silent.port},
        ]
        calls = [_Call(quick_engine(own_config, **address).connect) for address in addresses]
        second = _Call(lambda: quick_engine(own_config, host="lost.example,127.0.0.1").connect().close())
        errors = [call.finish() for call in calls]
        assert second.finish() is None
        end.set()
    assert all(isinstance(error, DatabaseUnavailableError) for error in errors), errors
    assert "failed to resolve host 'lost.example': no answer within 2 s" in str(errors[3])


class _SilentListener:
    """Accepts connections, and sends at most one message."""

    def __init__(self, answer: bytes = b"") -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._clients: list[socket.socket] = []
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> _SilentListener:
        return self

    def __exit__(self, *args: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._clients:
            client.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._clients.append(client)
                client.sendall(self._answer)


def test_the_names_of_hosts_are_resolved_as_psycopg_does(
    own_server: PostgresServer, own_config: dict[str, Any]
) -> None:
    """Names that are not found do not matter if others are."""
    for host, port in (
        ("localhost", str(own_server.port)),
        ("nowhere.invalid,localhost", str(own_server.port)),
        (f"localhost,{own_server.socket_dir}", f"{own_server.port},{own_server.port}"),
        (f"{own_server.socket_dir},nowhere.invalid", str(own_server.port)),
    ):
        quick_engine(own_config, host=host, port=port).connect().close()


@pytest.mark.parametrize("host", ["nowhere.invalid", "nowhere.invalid,neither.invalid", "x" * 64 + ".invalid"])
def test_a_name_that_is_not_found_is_an_error_that_says_so(own_config: dict[str, Any], host: str) -> None:
    """Even a text that cannot be a name."""
    with pytest.raises(DatabaseUnavailableError, match=f"failed to resolve host '{host.partition(',')[0]}'"):
        quick_engine(own_config, host=host).connect()


# Closing, cancelling, signals, and the end of the interpreter


def test_neither_closing_nor_cancelling_waits_for_a_frozen_server(
    own_server: PostgresServer, engine: PostgresEngine
) -> None:
    closed, cancelled, aborted = (engine.connect() for _ in range(3))
    for connection in (closed, cancelled, aborted):
        connection.pgconn.send_query(_LONG_SQL.encode())
        connection.pgconn.flush()
    with frozen_server(own_server):
        errors = [_Call(call).finish() for call in (closed.close, cancelled.cancel, lambda: engine.abort(aborted))]
        cancelled.close()
    assert errors[0] is None
    # The server has not received it, which a newer libpq notices.
    assert isinstance(errors[1], psycopg.OperationalError) or not psycopg.capabilities.has_cancel_safe()
    assert errors[2] is None


def test_sending_is_given_up_when_no_more_fits_into_the_socket(
    own_server: PostgresServer, engine: PostgresEngine, connection: BoundedConnection
) -> None:
    """Closing does not wait for the rest to be sent either."""

    def copy_in() -> None:
        with connection.cursor().copy("COPY texts FROM STDIN") as copy, frozen_server(own_server):
            while not connection.closed:
                copy.write(b"x" * 100_000 + b"\n")

    connection.execute("CREATE TEMP TABLE texts (text text)")
    with engine.bounded(connection):
        error = _Call(copy_in).finish()
    # In older versions of psycopg the end of copying has its own error.
    assert isinstance(error, psycopg.OperationalError)
    assert connection.closed


def test_cancelling_with_an_older_libpq_does_not_wait_either(
    own_server: PostgresServer, engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a libpq waits until the server disconnects, and blocks all other Python threads."""
    monkeypatch.setattr(type(psycopg.capabilities), "has_cancel_safe", lambda *args, **kwargs: False)
    cancelled, aborted = engine.connect(), engine.connect()
    call = _Call(lambda: cancelled.execute(_LONG_SQL))
    wait_until(lambda: cancelled.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE)
    cancelled.cancel()
    assert isinstance(call.finish(), psycopg.errors.QueryCanceled)
    aborted.pgconn.send_query(_LONG_SQL.encode())
    aborted.pgconn.flush()
    with frozen_server(own_server):
        assert _Call(lambda: engine.abort(aborted)).finish() is None
    cancelled.close()


_QUICK = """
client = Client({**config, "connect_timeout": 2, "reconnect": 0})
client.engine.answer_limit = 0.3
client.engine.probe_interval = 0.2
"""


def test_signal_handlers_run_while_a_frozen_server_is_waited_for_and_ctrl_c_ends_the_wait(
    own_server: PostgresServer, own_config: dict[str, Any]
) -> None:
    text = """
client = Client(config)
signal.signal(signal.SIGUSR1, lambda *args: confirm("handled"))
try:
    with client as connection:
        confirm("ready")
        client.execute("SELECT pg_sleep(60)")
except KeyboardInterrupt:
    confirm("interrupted")
"""
    with Script(text, own_config) as script:
        assert script.read_line() == "ready"
        wait_for_statement(own_config)
        with frozen_server(own_server):
            script.send_signal(signal.SIGUSR1)
            assert script.read_line() == "handled"
            script.send_signal(signal.SIGINT)
            assert script.read_line() == "interrupted"
            assert script.finish().seconds < _BOUND


def wait_for_statement(config: dict[str, Any]) -> None:
    """Wait until the server works on the statement that a script executes."""
    sql = "SELECT FROM pg_stat_activity WHERE query = %s AND state = 'active'"
    with connect_to_postgres(config) as administrator:
        wait_until(lambda: administrator.execute(sql, (_LONG_SQL,)).fetchone() is not None)


# Without a call of the user, in a block, and while a thread waits.
_EXITS = [
    "sys.exit(0)",
    "context = client.__enter__(); sys.exit(0)",
    "threading.Thread(target=lambda: client.execute('SELECT pg_sleep(60)'), daemon=True).start(); time.sleep(0.1)",
]


@pytest.mark.parametrize("ends", [_EXITS, pytest.param(["run.stop()"], marks=pytest.mark.faults)], ids=["exit", "stop"])
def test_a_script_ends_although_its_server_is_frozen(
    own_server: PostgresServer, own_config: dict[str, Any], ends: list[str]
) -> None:
    text = (
        _QUICK
        + """
run = Experiment(client, name="experiment").get_run()
run.start()
run.add_metrics({"loss": 1.0})
confirm("ready")
input()
"""
    )
    with contextlib.ExitStack() as stack:
        scripts = [stack.enter_context(Script(text + end, own_config)) for end in ends]
        assert [script.read_line() for script in scripts] == ["ready"] * len(ends)
        with frozen_server(own_server):
            for script in scripts:
                script.send_line()
            for end, script in zip(ends, scripts):
                ended = script.finish()
                assert ended.seconds < _BOUND, (end, ended)
                assert "killed by the test" not in ended.errors, end
