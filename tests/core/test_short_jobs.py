"""A job starts and ends on one connection, with few statements, and leaves no connection open."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

import sqltrack
from sqltrack import Experiment, _connections
from sqltrack.errors import DatabaseUnavailableError
from support.connections import count_connections, record_connections
from support.databases import ask, connect_to_postgres, experiments, statuses, steps
from support.logging_threads import wait_until
from support.platforms import needs_movable_files
from support.processes import Script


def plain(client: sqltrack.Client) -> None:
    with Experiment(client, name="experiment").get_run().track() as run:
        run.add_metrics({"loss": 1.0})


def described(client: sqltrack.Client) -> None:
    run = Experiment(client, name="experiment").get_run()
    run.add_args({"lr": 0.1}).add_env({"HOME": "/"}).add_tags("a").set_comment("c")
    run.start().add_metrics({"loss": 1.0}).stop()


def untracked(client: sqltrack.Client) -> None:
    run = Experiment(client, name="experiment").get_run()
    run.set_status("RUNNING").add_metrics({"loss": 1.0}).set_status("COMPLETED")


def many_rows(client: sqltrack.Client) -> None:
    run = Experiment(client, name="experiment").get_run().set_status("RUNNING")
    run.add_metrics_many([{"step": 0, "loss": 1.0}]).set_status("COMPLETED")


def tracked_at_once(client: sqltrack.Client) -> None:
    with sqltrack.track("experiment", args={"lr": 0.1}, env={}, tags="a", comment="c", client=client) as run:
        run.add_metrics({"loss": 1.0})


def started_at_once(client: sqltrack.Client) -> None:
    sqltrack.start("experiment", args=None, env=None, client=client).add_metrics({"loss": 1.0}).stop()


JOBS = (plain, described, untracked, many_rows, tracked_at_once, started_at_once)

jobs = pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__)
some_jobs = pytest.mark.parametrize("job", [described, many_rows, tracked_at_once], ids=lambda job: job.__name__)

# The statements of a job after the first one. These are six: find the experiment, create the run, start it, read the
# columns, store the metrics, and stop. On PostgreSQL one more checks that the server still knows the connection, before
# a run is created, because that must not be repeated.
STATEMENTS: dict[tuple[str, str], int] = {
    **dict.fromkeys(
        [(engine, job) for engine in ("sqlite", "postgres") for job in ("plain", "tracked_at_once", "started_at_once")],
        6,
    ),
    ("postgres", "plain"): 7,
    ("sqlite", "described"): 10,
    ("postgres", "described"): 11,
    # It updates the run by a separate statement, not by that of the metrics.
    ("sqlite", "untracked"): 7,
    ("postgres", "untracked"): 7,
}


@pytest.fixture
def first_job(client: sqltrack.Client) -> sqltrack.Client:
    """The client with which a first job has created the experiment and the column."""
    plain(client)
    return client


class Sent:
    """The statements that clients have sent to their database, each a round trip.

    PostgreSQL's driver records each of its messages, SQLite's driver calls a function for each statement.
    """

    def __init__(self, config: dict[str, Any], file: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        self._texts: list[str] = []
        self._file = file
        self._is_server = config["engine"] == "postgres"
        engine_class = type(sqltrack.Client(config).engine)
        connect = engine_class.connect

        def noting(engine: Any) -> Any:
            connection: Any = connect(engine)
            if self._is_server:
                connection.pgconn.trace(file.fileno())
            else:
                connection.set_trace_callback(self._texts.append)
            return connection

        monkeypatch.setattr(engine_class, "connect", noting)

    def count(self) -> int:
        """Return the number of statements since the last call."""
        if not self._is_server:
            number = len([text for text in self._texts if not text.startswith("--")])
            self._texts.clear()
            return number
        lines = [line.split("\t") for line in Path(self._file.name).read_text().splitlines()]
        os.ftruncate(self._file.fileno(), 0)
        return sum(line[1:2] == ["F"] and line[3].split(" ")[0] in ("Query", "Sync") for line in lines)


@pytest.fixture
def sent(config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sent]:
    """Statements that are sent to the database from now on."""
    with (tmp_path / "messages").open("wb") as file:
        yield Sent(config, file, monkeypatch)


@pytest.mark.no_outbox
@pytest.mark.not_pooled("behind a pooler the schema and transactions take round trips of their own")
@jobs
def test_a_job_is_one_connection_and_few_statements(
    first_job: sqltrack.Client,
    config: dict[str, Any],
    sent: Sent,
    job: Callable[[sqltrack.Client], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A job of one run opens one connection and sends the statements that are counted above."""
    client = sqltrack.Client(config)
    opened = record_connections(client, monkeypatch)
    job(client)
    assert len(opened) == 1
    expected = STATEMENTS.get((config["engine"], job.__name__))
    assert expected in (None, sent.count())
    assert statuses(config) == ["COMPLETED"] * 2
    assert steps(config) == [0, 0]


@pytest.mark.engines("postgres")
@pytest.mark.not_pooled("it counts the server's sessions, which are the pooler's")
@some_jobs
def test_the_server_counts_one_session_for_a_job(
    first_job: sqltrack.Client, config: dict[str, Any], job: Callable[[sqltrack.Client], None]
) -> None:
    """Each session records its number, by a trigger of the tables."""
    with connect_to_postgres(config) as connection:
        connection.execute("CREATE TABLE sessions (pid INT)")
        connection.execute(
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN INSERT INTO sessions VALUES (pg_backend_pid()); RETURN NULL; END'"
        )
        for table in ("experiments", "runs", "metrics"):
            connection.execute(
                f"CREATE TRIGGER note AFTER INSERT OR UPDATE ON {table} EXECUTE FUNCTION note()".encode()
            )
    job(sqltrack.Client(config))
    assert ask(config, "SELECT count(DISTINCT pid) FROM sessions") == 1


@pytest.mark.engines("sqlite")
@some_jobs
def test_a_job_waits_for_one_checkpoint_at_its_end(
    first_job: sqltrack.Client, config: dict[str, Any], job: Callable[[sqltrack.Client], None]
) -> None:
    """The write-ahead log exists from the first change to the last, and never restarts."""
    log = Path(config["dbpath"] + "-wal")
    wait_until(lambda: not log.exists())
    beginnings = set()

    def look(statement: str) -> None:
        if log.exists() and log.stat().st_size:
            # The salts in its header change when it restarts.
            beginnings.add(log.read_bytes()[16:24])

    connect = first_job.engine.connect

    def watched() -> Any:
        connection = connect()
        connection.set_trace_callback(look)
        return connection

    client = sqltrack.Client(config)
    client.engine.connect = watched  # type: ignore[method-assign,assignment]
    job(client)
    assert len(beginnings) == 1
    # A job that reports its end does not wait; otherwise the log is removed a moment later.
    assert log.exists() is (job is many_rows)
    wait_until(lambda: not log.exists())


def test_a_call_outside_of_a_tracked_run_connects_once(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    client = sqltrack.Client(config)
    opened = record_connections(client, monkeypatch)
    run = Experiment(client, name="experiment").get_run()
    for step in range(5):
        run.add_metrics({"loss": 1.0, f"metric_{step}": 2.0}, step=step)
    assert len(opened) == 1


# The experiment, and the description of the run


@pytest.mark.no_outbox
@pytest.mark.not_pooled("behind a pooler the schema and transactions take round trips of their own")
def test_existing_rows_take_one_statement_and_new_ones_two(config: dict[str, Any], sent: Sent) -> None:
    """A run with a generated id takes one. PostgreSQL first checks that it still knows the connection."""
    asked = 1 if config["engine"] == "postgres" else 0
    client = sqltrack.Client(config)
    experiment = Experiment(client, name="new")
    assert sent.count() == 2
    Experiment(client, name="new")
    assert sent.count() == 1
    experiment.get_run()
    assert sent.count() == 1 + asked
    experiment.get_run(77)
    assert sent.count() == 2 + asked
    experiment.get_run(77)
    assert sent.count() == 1 + asked


@pytest.mark.parametrize("run_id", [None, 77])
@pytest.mark.parametrize("is_known", [True, False])
def test_track_describes_new_runs_as_the_methods_do(
    client: sqltrack.Client, config: dict[str, Any], run_id: int | None, is_known: bool
) -> None:
    """With or without an existing experiment, and with or without a chosen id, the same is stored."""
    columns = "status, args, env, tags, comment, extras, time_created IS NULL"
    if is_known:
        Experiment(client, name="experiment")
    args, env = {"lr": 0.1, "nested": {"a": [1, None]}, "odd\0": float("nan"), "password": "x"}, {"API_KEY": "y"}
    with sqltrack.track(
        "experiment", args=args, env=env, tags=["a", "b\0"], comment="c\0", client=client, run_id=run_id
    ) as run:
        stored = client.execute(f"SELECT {columns} FROM runs WHERE id = %s", (run.id,)).fetchone()
    other = Experiment(client, name="other").get_run()
    other.add_args(args).add_env(env).add_tags("a", "b\0").set_comment("c\0").start()
    assert client.execute(f"SELECT {columns} FROM runs WHERE id = %s", (other.id,)).fetchone() == stored
    other.stop()
    assert run_id in (None, run.id)


def test_track_leaves_out_missing_arguments(client: sqltrack.Client) -> None:
    with sqltrack.track("experiment", args=None, env=None, client=client) as run:
        sql = "SELECT args, env, tags, comment, extras FROM runs WHERE id = %s"
        assert client.execute(sql, (run.id,)).fetchone() == (None,) * 5


def test_track_adds_to_an_existing_run(client: sqltrack.Client) -> None:
    """Existing arguments and tags stay unless the call names them."""
    Experiment(client, name="experiment").get_run(77).add_args({"a": 1, "b": 2}).add_tags("x").set_comment("old")
    with sqltrack.track("experiment", args={"b": 3}, env=None, tags="y", client=client, run_id=77):
        pass
    sql = "SELECT args, env, tags, comment FROM runs WHERE id = 77"
    assert client.execute(sql).fetchone() == ({"a": 1, "b": 3}, None, {"x": True, "y": True}, "old")


def test_track_in_a_block_is_part_of_it(client: sqltrack.Client, config: dict[str, Any]) -> None:
    """After a rollback of the block, there is neither a run nor an experiment."""
    with pytest.raises(ZeroDivisionError), client:
        sqltrack.start("experiment", args={"lr": 0.1}, env=None, client=client).stop()
        raise ZeroDivisionError
    assert experiments(config) == []
    assert ask(config, "SELECT count(*) FROM runs") == 0


def test_an_experiment_that_many_create_at_once_is_one(config: dict[str, Any]) -> None:
    """Each thread has its own client, and all get the same id."""
    ready = threading.Barrier(8)
    ids: list[tuple[int, int]] = []

    def create() -> None:
        client = sqltrack.Client(config)
        ready.wait()
        with sqltrack.track("new", args=None, env=None, client=client) as run:
            ids.append((run.experiment_id, run.id))

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({experiment for experiment, _ in ids}) == 1
    assert len({run for _, run in ids}) == 8
    assert statuses(config) == ["COMPLETED"] * 8


# Connections that stay open for a moment


def test_unused_connections_are_closed_in_a_moment(config: dict[str, Any]) -> None:
    """Without a tracked run even a long `keepalive` keeps a connection for only about a second."""
    client = sqltrack.Client(config, keepalive=600)
    Experiment(client, name="experiment").get_run()
    wait_until(lambda: count_connections(config) == 0)
    assert steps(config) == []


@pytest.mark.not_pooled("it counts the server's sessions, which are the pooler's")
@pytest.mark.parametrize(
    "last_call",
    [
        lambda client: client.execute("SELECT 1"),
        lambda client: client.__enter__() and client.__exit__(None, None, None),
        lambda client: Experiment(client, name="experiment").get_run().start().stop(),
    ],
    ids=["execute", "block", "stop"],
)
def test_calls_with_an_end_of_their_own_close_their_connection(config: dict[str, Any], last_call: Any) -> None:
    client = sqltrack.Client(config, keepalive=600)
    Experiment(client, name="experiment").get_run()
    last_call(client)
    assert not client._session._keeper._parked
    wait_until(lambda: count_connections(config) == 0)


def test_with_a_keepalive_of_zero_each_call_closes_its_connection(config: dict[str, Any]) -> None:
    client = sqltrack.Client(config, keepalive=0)
    run = Experiment(client, name="experiment").get_run().add_tags("a")
    run.add_metrics_many([{"step": 1, "loss": 1.0}])
    assert not client._session._keeper._parked
    assert steps(config) == [1]


@pytest.mark.filterwarnings("error")
def test_a_client_that_goes_takes_its_connection_with_it(config: dict[str, Any]) -> None:
    def job() -> None:
        Experiment(sqltrack.Client(config, keepalive=600), name="experiment").get_run()

    job()
    gc.collect()
    wait_until(lambda: count_connections(config) == 0)


@pytest.mark.not_pooled("a temporary table stays in the server's session, which is the pooler's")
def test_the_settings_of_a_statement_of_the_users_do_not_meet_later_calls(config: dict[str, Any]) -> None:
    """The connection that the user's own SQL has used is closed after it."""
    client = sqltrack.Client(config)
    Experiment(client, name="experiment")
    client.execute("CREATE TEMPORARY TABLE runs (id BIGINT)")
    with client:
        client.execute("CREATE TEMPORARY TABLE experiments (id BIGINT)")
    run = Experiment(client, name="experiment").get_run()
    assert ask(config, "SELECT id FROM runs") == run.id


def test_short_calls_share_one_thread_that_closes_connections(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not started for each of them."""
    started = []
    start = _connections.watch

    def counting(keeper: Any) -> bool:
        started.append(keeper)
        return start(keeper)

    monkeypatch.setattr(_connections, "watch", counting)
    monkeypatch.setattr(_connections, "_LINGER", 600.0)
    client = sqltrack.Client(config, keepalive=600)
    run = Experiment(client, name="experiment").get_run()
    for number in range(20):
        run.add_tags(f"tag {number}")
        time.sleep(0.001)
    assert len(started) == 1


@pytest.mark.not_pooled("it counts the server's sessions, which are the pooler's")
def test_threads_share_no_connection_that_stays_open(config: dict[str, Any]) -> None:
    client = sqltrack.Client(config)
    experiment = Experiment(client, name="experiment")
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(10):
                experiment.get_run(number * 10 + step + 1).add_tags("a").set_status("COMPLETED")
        except BaseException as error:  # pragma: no cover
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert statuses(config) == ["COMPLETED"] * 40
    wait_until(lambda: count_connections(config) == 0)


# Connections that the server has ended


class _Ending:
    """Ends the connections of a client between calls, and hides that from the next checks of a connection."""

    def __init__(self, client: sqltrack.Client, looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._client = client
        self._looks = looks
        self._hides = 0
        is_usable = client.engine.is_usable

        def hiding(connection: Any) -> bool:
            self._hides -= 1
            return self._hides >= 0 or is_usable(connection)

        monkeypatch.setattr(client.engine, "is_usable", hiding)
        monkeypatch.setattr(client.engine, "answers", hiding)

    def __call__(self) -> None:
        parked = [connection for connection, _ in self._client._session._keeper._parked]
        assert parked
        with connect_to_postgres(self._client.config) as administrator:
            for connection in parked:
                pid = connection.info.backend_pid
                administrator.execute("SELECT pg_terminate_backend(%s)", (pid,))
                self._wait_for_end(administrator, pid)
        self._hides = self._looks

    def _wait_for_end(self, administrator: Any, pid: int) -> None:
        sql = "SELECT FROM pg_stat_activity WHERE pid = %s"
        wait_until(lambda: administrator.execute(sql, (pid,)).fetchone() is None)


@pytest.mark.engines("postgres")
@pytest.mark.not_pooled("it ends the server's sessions, which a pooler replaces")
@pytest.mark.parametrize("looks", [0, 1])
def test_a_connection_that_has_ended_meanwhile_is_no_error(
    client: sqltrack.Client, config: dict[str, Any], looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if nothing reveals that before a statement fails, which is then executed again."""
    end = _Ending(client, looks, monkeypatch)
    experiment = Experiment(client, name="experiment")
    end()
    assert Experiment(client, name="experiment").id == experiment.id
    run = experiment.get_run()
    end()
    run.add_metrics({"loss": 1.0})
    end()
    run.stop("FAILED")
    assert steps(config) == [0]
    assert statuses(config) == ["FAILED"]


@pytest.mark.no_outbox
@pytest.mark.engines("postgres")
@pytest.mark.not_pooled("it ends the server's sessions, which a pooler replaces")
def test_a_run_is_never_created_twice(
    client: sqltrack.Client, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is known to be dead is replaced; but a statement that has failed may have been executed."""
    end = _Ending(client, 0, monkeypatch)
    experiment = Experiment(client, name="experiment")
    end()
    experiment.get_run()
    end_unnoticed = _Ending(client, 2, monkeypatch)
    end_unnoticed()
    with pytest.raises(DatabaseUnavailableError):
        experiment.get_run()
    experiment.get_run()
    assert ask(config, "SELECT count(*) FROM runs") == 2


@pytest.mark.engines("postgres")
@pytest.mark.not_pooled("it ends the server's sessions, which a pooler replaces")
@pytest.mark.parametrize(
    "call",
    [
        lambda run: Experiment(run.client, run.experiment_id).get_run(),
        lambda run: run.client.execute("SELECT 1"),
        lambda run: run.add_metrics_many([{"step": 1, "loss": 0.5}]),
        lambda run: run.client.__enter__() and run.client.__exit__(None, None, None),
    ],
    ids=["get_run", "execute", "add_metrics_many", "block"],
)
def test_the_server_is_asked_before_statements_that_must_not_repeat(
    client: sqltrack.Client, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message that the server has ended a connection may still be on its way."""
    run = Experiment(client, name="experiment").get_run()
    _Ending(client, 0, monkeypatch)()
    monkeypatch.undo()
    engine = importlib.import_module(type(client.engine).__module__)
    monkeypatch.setattr(engine, "is_readable", lambda socket: False)
    call(run)


@pytest.mark.no_outbox
@pytest.mark.engines("postgres")
@pytest.mark.not_pooled("it ends the server's sessions, which a pooler replaces")
def test_a_database_that_is_away_meanwhile_is_not_waited_for(
    client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for all calls outside of tracked runs, there is one attempt to connect, and the error says why it fails."""
    attempts: list[None] = []

    def refuse() -> Any:
        attempts.append(None)
        raise DatabaseUnavailableError("the database cannot be reached")

    end = _Ending(client, 1, monkeypatch)
    run = Experiment(client, name="experiment").get_run()
    end()
    monkeypatch.setattr(client.engine, "connect", refuse)
    with pytest.raises(DatabaseUnavailableError, match="cannot be reached"):
        run.set_status("RUNNING")
    assert len(attempts) == 1


@pytest.mark.engines("sqlite")
@needs_movable_files
def test_a_file_that_takes_the_place_of_another_between_two_calls_is_used(
    config: dict[str, Any], tmp_path: Path
) -> None:
    """Nothing is written to the old file, and closing it does not change the new one."""
    client = sqltrack.Client(config)
    first = Experiment(client, name="first").get_run()
    os.rename(config["dbpath"], tmp_path / "old.db")
    for end in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.rename(config["dbpath"] + end, tmp_path / f"old.db{end}")
    other = sqltrack.Client(config)
    other.setup()
    with other:
        Experiment(client, name="second").get_run(first.id + 5).add_metrics({"loss": 1.0}, step=7)
    assert experiments(config) == ["second"]
    assert steps(config) == [7]
    assert ask(config, "PRAGMA integrity_check") == "ok"
    assert experiments({**config, "dbpath": str(tmp_path / "old.db")}) == ["first"]


@pytest.mark.no_outbox
@pytest.mark.engines("sqlite")
def test_a_file_that_was_removed_between_two_calls_is_an_error_as_ever(config: dict[str, Any]) -> None:
    client = sqltrack.Client(config)
    run = Experiment(client, name="experiment").get_run()
    os.remove(config["dbpath"])
    with pytest.raises(sqltrack.errors.NotSetUpError):
        run.set_status("RUNNING")


# Ends of processes


@pytest.mark.parametrize("ending", ["pass", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_confirmed_rows_outlive_the_process(config: dict[str, Any], ending: str) -> None:
    """However the process ends while a connection is still open."""
    text = f"""
import signal
run = Experiment(client, name="experiment").get_run()
run.set_status("PLANNED").add_metrics({{"loss": 1.0}}, step=3)
confirm("done")
{ending}
"""
    with Script(text, config) as script:
        assert script.finish().lines == ["done"]
    assert steps(config) == [3]
    assert statuses(config) == ["PLANNED"]
    if config["engine"] == "sqlite" and ending == "pass":
        assert not os.path.exists(config["dbpath"] + "-wal")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_child_has_no_connection_of_its_parents(config: dict[str, Any]) -> None:
    text = """
experiment = Experiment(client, name="experiment")
child = os.fork()
assert not client._session._keeper._parked
for _ in range(5):
    experiment.get_run().add_tags("a").set_status("PLANNED")
if child:
    confirm(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    experiment.get_run().set_status("PLANNED")
"""
    with Script(text, config) as script:
        assert script.succeed() == ["0"]
    assert statuses(config) == ["PLANNED"] * 11
