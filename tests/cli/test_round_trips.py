"""Commands that read make few round trips, and queries in one round trip have no more rights than single ones."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands import runs as runs_command
from sqltrack.commands.runs import list_runs
from sqltrack.engines.admin import Question, admin_of
from sqltrack.errors import DatabaseError, ReadOnlyDatabaseError, SQLTrackError, StatementTimeoutError
from support.connections import on_one_connection
from support.counting_proxy import CountingProxy
from support.databases import connect_to_postgres, temporary_role

from .conftest import connection as options_of

SERVER = pytest.mark.engines("postgres", reason="SQLite has no network, no users and no read-only transactions")
NOT_POOLED = pytest.mark.not_pooled("a pooler gets no pipelines, and has users of its own")

LONG_NAME = "loss of " + "x" * 60


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Runs of two experiments, with metrics in columns and in extras."""
    with on_one_connection(client):
        for name in ("one", "two"):
            experiment = sqltrack.Experiment(client, name=name)
            for number in range(4):
                run = experiment.get_run().set_args({"lr": number / 10, "optimizer": "sgd"}).set_status("COMPLETED")
                run.add_metrics({"loss": 4.0 - number, LONG_NAME: number}, step=number)
    return client


@pytest.fixture
def plain_config(client: sqltrack.Client, config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Configuration of a user who may change the whole database, and cannot become a superuser."""
    if not str(config.get("host", "")).startswith("/"):
        pytest.skip("the server has no socket that accepts any user")
    name = f"plain_{config['dbname']}"
    with closing(connect_to_postgres(config)) as connection, temporary_role(connection, name, "LOGIN"):
        connection.execute(f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{name}"')
        yield {**config, "user": name}


@pytest.fixture
def plain_client(plain_config: dict[str, Any]) -> sqltrack.Client:
    return sqltrack.Client(plain_config)


@contextmanager
def reading(client: sqltrack.Client, seconds: float = 10, **options: Any) -> Iterator[Any]:
    with client as connection:
        admin = admin_of(client.engine, connection)
        with admin.read_only(seconds, **options):
            yield admin


COMMANDS = {
    ("ls",): 1,
    ("runs", "--json"): 1,
    ("runs",): 2,
    ("runs", "one"): 2,
    ("runs", "--limit", "0"): 2,
    ("runs", "--where", "status = 'COMPLETED' AND CAST(args->>'lr' AS FLOAT) > 0.1"): 2,
    ("runs", "--sort", "lr"): 2,
    ("runs", "--sort", "args.lr", "--reverse"): 2,
    ("runs", "--sort", "runtime"): 2,
    ("runs", "--best", "loss"): 3,
    ("runs", "--best", "loss", "--min", "--sort", "started"): 2,
    ("runs", "--best", LONG_NAME): 3,
    ("runs", "two", "--best", "loss", "--where", "id > 1", "--sort", "at step"): 3,
}
# Each run adds some of these.
MORE_COMMANDS = {
    ("show", "1"): 9,
    ("show", "1-3"): 21,
    ("diff", "1", "2"): 15,
    ("metrics", "1"): 7,
    ("metrics", "1", "loss"): 10,
    ("link", "1", "resumes", "2", "--dry-run"): 4,
}


@SERVER
@NOT_POOLED
def test_reading_takes_at_most_three_round_trips_after_connecting(
    plain_config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    expected = {**COMMANDS, **MORE_COMMANDS}
    with CountingProxy(f"{plain_config['host']}/.s.PGSQL.{plain_config['port']}") as proxy:
        options = options_of({**plain_config, "host": "127.0.0.1", "port": proxy.port})
        counted = {}
        for command, number in expected.items():
            # On a busy machine an answer may come before all queries are sent, which counts as one more.
            for _ in range(5):
                connections = proxy.connections
                assert main([*command, *options]) == 0
                assert proxy.connections == connections + 1
                counted[command] = proxy.round_trips
                if counted[command] == number:
                    break
        assert counted == expected
    assert max(COMMANDS.values()) <= 3


@SERVER
@NOT_POOLED
@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"experiment": "one", "limit": 2, "reverse": True},
        {"where": "args->>'lr' <> '0.1' AND comment IS NULL AND status LIKE '%%'", "sort": "lr"},
        {"best": "loss", "maximize": False},
        {"best": LONG_NAME, "experiment": "two", "limit": 1},
        {"best": "loss", "sort": "at step"},
        {"sort": "duration", "limit": 0},
    ],
    ids=str,
)
def test_a_superuser_gets_the_same_runs_one_query_after_the_other(
    client: sqltrack.Client, plain_client: sqltrack.Client, chosen: dict[str, Any]
) -> None:
    together = list_runs(plain_client, with_args=True, **chosen)
    assert together == list_runs(client, with_args=True, **chosen)
    assert together.runs


@pytest.mark.parametrize("chosen", [{"sort": "lr"}, {"best": "loss"}, {"limit": 0}], ids=str)
def test_a_run_that_is_deleted_in_between_is_left_out(
    client: sqltrack.Client, chosen: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ids are read before the rows, and another process may delete a run in between."""
    ask, calls = runs_command.ask, []
    path = client.config

    def ask_and_delete(*args: Any, **options: Any) -> Any:
        answers = ask(*args, **options)
        if not calls and client.engine.name == "postgres":
            sqltrack.Client(path).execute("DELETE FROM runs WHERE id = 3")
        calls.append(len(answers))
        return answers

    monkeypatch.setattr(runs_command, "ask", ask_and_delete)
    ids = {run["id"] for run in list_runs(client, **chosen).runs}
    assert ids == set(range(1, 9)) - ({3} if client.engine.name == "postgres" else set())
    assert len(calls) >= 2


REFUSED = [
    "DELETE FROM runs",
    "WITH gone AS (DELETE FROM runs RETURNING id) SELECT * FROM gone",
    "COMMIT",
    "SELECT 1; DELETE FROM runs",
    "COPY runs TO STDOUT",
    "LOCK TABLE runs",
    "SET TRANSACTION READ WRITE",
    "DO $$ BEGIN DELETE FROM runs; END $$",
    "SELECT * FROM runs FOR UPDATE",
    "SELECT nextval('runs_id_seq')",
]


@SERVER
@NOT_POOLED
@pytest.mark.parametrize("is_last", [False, True])
def test_queries_asked_together_can_only_read(plain_client: sqltrack.Client, is_last: bool) -> None:
    for sql in REFUSED:
        with pytest.raises(SQLTrackError), reading(plain_client) as admin:
            admin.ask_together([Question("SELECT 1"), Question(sql), Question("SELECT 2")], are_last=is_last)
        assert plain_client.execute("SELECT COUNT(*) FROM runs").fetchone() == (8,), sql


@SERVER
@NOT_POOLED
def test_statements_after_combined_queries_are_read_only(plain_client: sqltrack.Client) -> None:
    """After the last of them the transaction has ended, and after an error it was rolled back."""
    lifted = Question("SELECT set_config('statement_timeout', '0', false), set_config('search_path', 'nowhere', false)")
    for questions, is_last in (([Question("SELECT 1")], True), ([lifted], False), ([lifted], True)):
        with pytest.raises(ReadOnlyDatabaseError), reading(plain_client) as admin:
            admin.ask_together(questions, are_last=is_last)
            admin.connection.execute("DELETE FROM runs")
    with reading(plain_client) as admin:
        with pytest.raises(Exception, match="division by zero"):
            admin.ask_together([Question("SELECT 1"), Question("SELECT 1 / %s", (0,))])
        admin.connection.rollback()
        with pytest.raises(Exception, match="read-only"):
            admin.connection.execute("DELETE FROM runs")
    assert plain_client.execute("SELECT COUNT(*) FROM runs").fetchone() == (8,)


@SERVER
@NOT_POOLED
def test_single_queries_of_the_program_are_read_only(plain_client: sqltrack.Client) -> None:
    """Each is sent with its guard, and a refused query is checked again by itself."""
    for sql in REFUSED:
        with pytest.raises(SQLTrackError), reading(plain_client, own_sql=True) as admin:
            assert admin.connection.execute("SELECT %(two)s - %(one)s", {"one": 1, "two": 2}).fetchone() == (1,)
            assert admin.connection.execute("SELECT %s", [b"bytes"]).fetchone() == (b"bytes",)
            assert admin.connection.execute(b"SELECT '%'").fetchone() == ("%",)
            admin.connection.execute(sql)
        assert plain_client.execute("SELECT COUNT(*) FROM runs").fetchone() == (8,), sql


@SERVER
@NOT_POOLED
def test_no_lock_outlasts_queries_asked_together(plain_config: dict[str, Any], plain_client: sqltrack.Client) -> None:
    for is_last in (False, True):
        with closing(connect_to_postgres(plain_config)) as other, on_one_connection(plain_client):
            with reading(plain_client) as admin:
                admin.ask_together([Question("SELECT pg_advisory_lock(4711)")], are_last=is_last)
            assert other.execute("SELECT pg_try_advisory_lock(4711)").fetchone() == (True,)


@SERVER
@NOT_POOLED
def test_who_becomes_able_to_be_a_superuser_is_noticed_by_the_next_query(
    plain_config: dict[str, Any], plain_client: sqltrack.Client, config: dict[str, Any]
) -> None:
    boss = f"boss_{config['dbname']}"
    unsafe = Question("SELECT set_config('role', 'none', true)")
    with ExitStack() as stack:
        connection = stack.enter_context(closing(connect_to_postgres(config)))
        if connection.info.server_version < 140000:
            pytest.skip("PostgreSQL before 14 has no role that only reads")
        stack.enter_context(temporary_role(connection, boss, "SUPERUSER"))
        admin = stack.enter_context(reading(plain_client))
        assert admin.ask_together([unsafe])[0].fetchall() == [("none",)]
        connection.execute(f'GRANT "{boss}" TO "{plain_config["user"]}"')
        with pytest.raises(ReadOnlyDatabaseError):
            admin.ask_together([Question("SELECT 1"), unsafe])


@SERVER
@pytest.mark.parametrize("wrong", ["SELECT 1 / 0", "SELECT nothing", "DELETE FROM runs"])
def test_nothing_but_the_error_is_told_of_queries_that_fail_together(
    client: sqltrack.Client, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        with pytest.raises(SQLTrackError), reading(client) as admin:
            # The answer to the first queries may arrive while others are being sent.
            admin.ask_together([Question("SELECT 1"), Question(wrong), *[Question("SELECT repeat('x', 9999)")] * 5])
    assert [record for record in caplog.records if record.name.startswith("psycopg")] == []


@SERVER
@NOT_POOLED
def test_each_query_has_the_time_of_one(plain_client: sqltrack.Client) -> None:
    slow = Question("SELECT pg_sleep(0.4)")
    with reading(plain_client, 0.6) as admin:
        assert [cursor.fetchall() for cursor in admin.ask_together([slow, slow])] == [[("",)], [("",)]]
    begin = time.monotonic()
    with pytest.raises(StatementTimeoutError), reading(plain_client, 0.3) as admin:
        admin.ask_together([Question("SELECT 1"), Question("SELECT pg_sleep(30)"), Question("SELECT 1")])
    assert time.monotonic() - begin < 20
    assert plain_client.execute("SELECT 1").fetchone() == (1,)


@SERVER
@NOT_POOLED
def test_ctrl_c_ends_queries_asked_together(plain_client: sqltrack.Client) -> None:
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt), reading(plain_client) as admin:
        timer.start()
        admin.ask_together([Question("SELECT pg_sleep(9)"), Question("SELECT 1")], are_last=True)
    timer.join()
    assert plain_client.execute("SELECT COUNT(*) FROM runs").fetchone() == (8,)


@SERVER
@NOT_POOLED
def test_a_connection_that_is_lost_meanwhile_is_an_error(
    plain_config: dict[str, Any], plain_client: sqltrack.Client, config: dict[str, Any]
) -> None:
    def end_session() -> None:
        with closing(connect_to_postgres(config)) as other:
            activity = "pg_stat_activity WHERE usename = %s AND query LIKE '%%pg_sleep%%'"
            sql = f"SELECT pg_terminate_backend(pid) FROM {activity}"
            while not other.execute(sql, (plain_config["user"],)).fetchall():
                time.sleep(0.02)

    thread = threading.Thread(target=end_session)
    with pytest.raises(DatabaseError), reading(plain_client) as admin:
        thread.start()
        admin.ask_together([Question("SELECT pg_sleep(9)"), Question("SELECT 1")])
    thread.join()
    assert plain_client.execute("SELECT COUNT(*) FROM runs").fetchone() == (8,)
