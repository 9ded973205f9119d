"""A client connects on demand, and `with` blocks are transactions."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack import Run
from sqltrack.commands import setup
from sqltrack.errors import DatabaseError, NaiveDatetimeError, NotConnectedError
from support.connections import close_lingering, record_connections
from support.databases import ask, steps
from support.platforms import needs_sigterm
from support.signals import let_statements_signal


@pytest.fixture
def connections(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All connections that the client opens from now on."""
    return record_connections(client, monkeypatch)


def is_closed(connection: Any) -> bool:
    if not isinstance(connection, sqlite3.Connection):
        return bool(connection.closed)
    try:
        connection.total_changes  # noqa: B018
    except sqlite3.ProgrammingError:
        return True
    return False


def count_experiments(config: dict[str, Any]) -> int:
    return int(ask(config, "SELECT count(*) FROM experiments"))


INSERT = "INSERT INTO experiments (name) VALUES (%s)"


def test_nothing_connects_before_it_must(client: sqltrack.Client, connections: list[Any]) -> None:
    repr(client)
    assert connections == []


def test_nested_blocks_share_a_connection_that_the_outermost_closes(
    client: sqltrack.Client, connections: list[Any]
) -> None:
    with client as outer:
        with client as inner, client.cursor() as cursor:
            assert inner is outer
            cursor.execute("SELECT 1")
            client.execute("SELECT 1")
        assert not is_closed(outer)
    assert is_closed(outer)
    assert connections == [outer]


@pytest.mark.also_on("duckdb")
def test_a_block_commits_at_its_end_and_rolls_back_on_an_exception(
    client: sqltrack.Client, config: dict[str, Any]
) -> None:
    with client:
        client.execute(INSERT, ("a",))
        assert count_experiments(config) == 0
    assert count_experiments(config) == 1
    with pytest.raises(ZeroDivisionError), client:
        client.execute(INSERT, ("b",))
        raise ZeroDivisionError
    assert count_experiments(config) == 1


@pytest.mark.also_on("duckdb")
def test_an_exception_caught_between_nested_blocks_does_not_roll_back(
    client: sqltrack.Client, config: dict[str, Any]
) -> None:
    with client:
        client.execute(INSERT, ("a",))
        with pytest.raises(ZeroDivisionError), client:
            raise ZeroDivisionError
    assert count_experiments(config) == 1


@pytest.mark.also_on("duckdb")
def test_commit_and_rollback_end_the_changes_so_far(client: sqltrack.Client, config: dict[str, Any]) -> None:
    with client:
        client.execute(INSERT, ("a",))
        client.commit()
        client.execute(INSERT, ("b",))
        client.rollback()
        client.execute(INSERT, ("c",))
        assert count_experiments(config) == 1
    assert count_experiments(config) == 2


def test_an_exception_is_not_replaced_by_that_of_rolling_back(
    client: sqltrack.Client, config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ZeroDivisionError), client as connection:
        client.execute(INSERT, ("a",))
        connection.close()
        raise ZeroDivisionError
    assert ["rolling back failed" in record.getMessage() for record in caplog.records] == [True]
    assert count_experiments(config) == 0
    client.execute(INSERT, ("b",))
    assert count_experiments(config) == 1


@contextlib.contextmanager
def commits_that_take_a_minute(client: sqltrack.Client, config: dict[str, Any]) -> Iterator[None]:
    """Delay a commit: by a deferred trigger, or by a reader of a database without write-ahead log."""
    if config["engine"] == "postgres":
        client.executescript(SLOW_TRIGGER)
        yield
        client.execute("DROP TRIGGER sleep_long ON experiments")
    else:
        with contextlib.closing(sqlite3.connect(config["dbpath"], isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM experiments").fetchall()
            yield


SLOW_TRIGGER = """
CREATE FUNCTION sleep_long() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(60);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER sleep_long AFTER INSERT ON experiments DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION sleep_long();
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no timer that sends signals")
def test_an_exception_from_a_signal_during_a_commit_reaches_the_program(
    empty_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interruption(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interruption

    monkeypatch.setattr("sqltrack.engines.sqlite._engine.is_network_file_system", lambda path: True)
    client = sqltrack.Client(empty_config, busy_timeout=60)
    setup(client)
    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        with commits_that_take_a_minute(client, empty_config):
            with pytest.raises(Interruption), client:
                client.execute(INSERT, ("a",))
                signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(NotConnectedError):
                client.commit()
    finally:
        signal.signal(signal.SIGALRM, previous)
    client.execute(INSERT, ("b",))
    assert client.execute("SELECT name FROM experiments").fetchall() == [("b",)]


DEFERRED_CONSTRAINT = """
CREATE TABLE parents (id INTEGER PRIMARY KEY);
CREATE TABLE children (parent_id INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED);
"""


@pytest.mark.parametrize("is_tracked", [False, True])
def test_a_commit_that_fails_raises_and_leaves_the_client_usable(
    run: Run, config: dict[str, Any], is_tracked: bool
) -> None:
    client = run.client
    client.executescript(DEFERRED_CONSTRAINT)
    with run.track() if is_tracked else contextlib.nullcontext():
        with pytest.raises(DatabaseError, match="(?i)foreign key"), client:
            client.execute("INSERT INTO children VALUES (1)")
        assert ask(config, "SELECT count(*) FROM children") == 0
        with pytest.raises(DatabaseError, match="(?i)foreign key"):
            client.execute("INSERT INTO children VALUES (1)")
        with client:
            client.execute("INSERT INTO children VALUES (2)")
            with pytest.raises(DatabaseError, match="(?i)foreign key"):
                client.commit()
            client.rollback()
            client.execute("INSERT INTO parents VALUES (3)")
            client.execute("INSERT INTO children VALUES (3)")
        run.add_metrics({"loss": 1.0})
    assert client.execute("SELECT parent_id FROM children").fetchall() == [(3,)]
    assert steps(config) == [0]


@pytest.mark.parametrize("action", ["commit", "rollback"])
def test_commit_and_rollback_need_a_connection(client: sqltrack.Client, action: str) -> None:
    with pytest.raises(RuntimeError, match="not connected"):
        getattr(client, action)()
    with client:
        pass
    with pytest.raises(NotConnectedError):
        getattr(client, action)()


def test_changes_of_tables_are_part_of_the_transaction(client: sqltrack.Client) -> None:
    with pytest.raises(ZeroDivisionError), client:
        client.execute("CREATE TABLE extra (x INT)")
        raise ZeroDivisionError
    with pytest.raises(DatabaseError):
        client.execute("SELECT * FROM extra")


def test_results_outlive_the_connection(client: sqltrack.Client) -> None:
    """A result keeps its rows, description and row count after the call has closed its connection."""
    inserted = client.executemany(INSERT, [("a",), ("b",), ("c",), ("d",)])
    assert (inserted.rowcount, inserted.description) == (4, None)
    result = client.execute("SELECT id, name AS n FROM experiments ORDER BY name")
    assert [column[0] for column in result.description or ()] == ["id", "n"]
    assert result.rowcount == 4
    assert result.fetchone()[1] == "a"
    assert [name for _, name in result.fetchmany(2)] == ["b", "c"]
    assert [name for _, name in result] == ["d"]
    assert result.fetchone() is None
    assert result.fetchall() == []
    with client:
        inside = client.execute("SELECT name FROM experiments WHERE name = %(n)s", {"n": "a"})
    assert inside.fetchall() == [("a",)]
    closed = client.execute("SELECT id FROM experiments")
    closed.close()
    assert closed.fetchall() == []


def test_scripts_hold_several_statements(client: sqltrack.Client, config: dict[str, Any]) -> None:
    client.executescript("INSERT INTO experiments (name) VALUES ('a;%s'); INSERT INTO experiments (name) VALUES ('b');")
    assert count_experiments(config) == 2
    with pytest.raises(ZeroDivisionError), client:
        client.executescript("DELETE FROM experiments; SELECT 1;")
        raise ZeroDivisionError
    assert count_experiments(config) == 2
    with pytest.raises(ZeroDivisionError), client:
        client.execute("DELETE FROM experiments WHERE name = 'b'")
        client.executescript("BEGIN; DELETE FROM experiments")
        raise ZeroDivisionError
    assert count_experiments(config) == 2
    client.executescript("BEGIN; DELETE FROM experiments; COMMIT;")
    assert count_experiments(config) == 0


def test_one_style_of_placeholders_serves_both_engines(client: sqltrack.Client) -> None:
    """`%s`, `%(name)s` and `%%` also work on SQLite; without parameters nothing is replaced."""
    with client.cursor() as cursor:
        cursor.execute("SELECT %s, '100%%', 5 %% 3", (1,))
        assert cursor.fetchone() == (1, "100%", 2)
        cursor.execute("SELECT %(b)s, %(a)s, %(b)s", {"a": 1, "b": 2})
        assert cursor.fetchone() == (2, 1, 2)
        cursor.execute("SELECT '%s', 5 % 3")
        assert cursor.fetchone() == ("%s", 2)
        cursor.executemany(INSERT, [("a",), ("b",)])
        cursor.executemany("INSERT INTO experiments (name) VALUES (%(name)s)", [{"name": "c"}])
    assert client.execute("SELECT count(*) FROM experiments").fetchone() == (3,)


@pytest.mark.parametrize(
    ("sql", "parameters", "error", "message"),
    [
        ("SELECT %(a)s", {"b": 1}, DatabaseError, "query parameter missing: a"),
        ("SELECT %(a)s", (1,), TypeError, "named placeholders .* a mapping of parameters"),
        ("SELECT %s, %(a)s", {"a": 1}, DatabaseError, "positional .* named .* cannot be mixed"),
    ],
)
def test_parameters_that_do_not_fit_their_placeholders_are_errors(
    client: sqltrack.Client, sql: str, parameters: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        client.execute(sql, parameters)
    assert client.execute("SELECT %s", (1,)).fetchone() == (1,)


def test_instances_of_subclasses_are_bound_like_their_base(client: sqltrack.Client) -> None:
    class Name(str):
        pass

    class Number(float):
        pass

    assert client.execute("SELECT %s, %s", (Name("a"), Number(0.5))).fetchone() == ("a", 0.5)


@pytest.mark.engines("sqlite")
def test_placeholders_of_sqlites_own_take_the_same_values(client: sqltrack.Client) -> None:
    time = datetime(2024, 5, 7, 14, tzinfo=timezone(timedelta(hours=2)))
    row = client.execute("SELECT :time, :flag", {"time": time, "flag": True}).fetchone()
    assert row == ("2024-05-07 12:00:00.000000+00:00", 1)
    with pytest.raises(NaiveDatetimeError, match="must have a time zone"):
        client.execute("SELECT ?", (datetime(2024, 5, 7),))
    with client as connection:
        connection.executemany("INSERT INTO experiments (name, comment) VALUES (%s, %s)", [("a", time), ("b", None)])
    assert client.execute("SELECT comment FROM experiments").fetchall() == [(row[0],), (None,)]


@pytest.mark.also_on("duckdb")
def test_threads_that_share_a_client_have_transactions_of_their_own(
    client: sqltrack.Client, config: dict[str, Any]
) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(10):
                with client:
                    client.execute(INSERT, (f"{number} {i}",))
                    client.execute(INSERT, (f"{number} {i} again",))
                    if i % 2:
                        client.rollback()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert count_experiments(config) == 4 * 5 * 2


def test_a_dict_is_the_whole_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SQLTRACK_DSN_ENGINE", "postgres")
    Path("sqltrack.conf").write_text("engine = nonsense")
    client = sqltrack.Client({"engine": "sqlite"}, dbpath="a.db")
    assert client.config == {"engine": "sqlite", "dbpath": "a.db"}
    pytest.importorskip("psycopg")
    assert sqltrack.Client({}).engine.name == "postgres"


def test_a_path_is_a_config_file(tmp_path: Path) -> None:
    path = tmp_path / "my.conf"
    path.write_text("engine = sqlite\ndbpath = my.db\n")
    assert sqltrack.Client(path).config["dbpath"] == "my.db"
    assert sqltrack.Client(str(path), dbpath="other.db").config["dbpath"] == "other.db"


def test_the_database_file_stays_the_same_when_the_working_directory_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = sqltrack.Client(engine="sqlite")
    setup(client)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert client.execute("SELECT count(*) FROM runs").fetchone() == (0,)


@pytest.mark.engines("sqlite")
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_exception_from_a_signal_in_a_statement_is_not_a_database_error(
    client: sqltrack.Client, run: sqltrack.Run, interruption: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(old: str | None, new: str) -> str:
        raise interruption

    # A function belongs to its connection.
    close_lingering(client)
    with monkeypatch.context() as patch:
        patch.setattr("sqltrack.engines.sqlite._functions._merge_json", interrupt)
        with pytest.raises(interruption):
            run.add_args({"lr": 0.1})
        with pytest.raises(interruption):
            client.executemany("UPDATE runs SET tags = sqltrack_merge_json(tags, %s)", [("{}",)])
    close_lingering(client)
    run.add_args({"lr": 0.2})
    assert client.execute("SELECT args FROM runs").fetchone() == ({"lr": 0.2},)


@needs_sigterm
@pytest.mark.engines("sqlite")
@pytest.mark.parametrize(("signum", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_just_before_a_function_of_a_statement_is_no_error_of_the_database(
    client: sqltrack.Client, run: sqltrack.Run, signum: int, error: type[BaseException]
) -> None:
    with pytest.raises(error), run.track(), client as connection:
        let_statements_signal(connection, signum)
        connection.execute("UPDATE runs SET comment = strike(), tags = sqltrack_merge_json(tags, '{}')")
    assert client.execute("SELECT status, comment FROM runs").fetchone() == ("CANCELLED", None)


@pytest.mark.engines("sqlite")
def test_values_that_a_function_of_a_statement_cannot_read_are_an_error(
    client: sqltrack.Client, run: sqltrack.Run
) -> None:
    with pytest.raises(DatabaseError, match="raised exception"):
        client.execute("SELECT sqltrack_merge_json('{', '{}')")
    run.add_args({"lr": 0.2})
    assert client.execute("SELECT args FROM runs").fetchone() == ({"lr": 0.2},)


def test_importing_sqltrack_loads_the_standard_library_alone() -> None:
    code = "import sys; before = set(sys.modules); import sqltrack; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    foreign = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names - {"sqltrack"}
    assert foreign == set()
    assert "sqlite3" not in loaded
    assert os.environ.get("PYTHONPATH") is None
