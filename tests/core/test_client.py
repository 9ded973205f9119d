"""A client connects when it must, and `with` blocks are transactions."""

from __future__ import annotations

import contextlib
import os
import re
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
from sqltrack.commands import setup
from sqltrack.errors import (
    AccessDeniedError,
    ConfigError,
    DatabaseError,
    DatabaseLockedError,
    DatabaseUnavailableError,
    DiskFullError,
    MissingRunError,
    NaiveDatetimeError,
    NotADatabaseError,
    NotConnectedError,
    NotSetUpError,
    ReadOnlyDatabaseError,
    SQLTrackError,
    TooManyConnectionsError,
)
from support.refusing_proxy import refusing_proxy


@pytest.fixture
def connections(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All connections that the client opens from now on."""
    opened: list[Any] = []
    connect = client.engine.connect

    def recording() -> Any:
        opened.append(connect())
        return opened[-1]

    monkeypatch.setattr(client.engine, "connect", recording)
    return opened


def is_closed(connection: Any) -> bool:
    if not isinstance(connection, sqlite3.Connection):
        return bool(connection.closed)
    try:
        connection.total_changes  # noqa: B018
    except sqlite3.ProgrammingError:
        return True
    return False


def count_experiments(config: dict[str, Any]) -> int:
    row = sqltrack.Client(config).execute("SELECT count(*) FROM experiments").fetchone()
    return int(row[0])


INSERT = "INSERT INTO experiments (name) VALUES (%s)"


def test_nothing_connects_before_it_must(client: sqltrack.Client, connections: list[Any]) -> None:
    repr(client)
    assert connections == []


def test_nested_blocks_share_a_connection_that_the_outermost_closes(
    client: sqltrack.Client, connections: list[Any]
) -> None:
    """Ruling 9."""
    with client as outer:
        with client as inner, client.cursor() as cursor:
            assert inner is outer
            cursor.execute("SELECT 1")
            client.execute("SELECT 1")
        assert not is_closed(outer)
    assert is_closed(outer)
    assert connections == [outer]


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


def test_an_exception_caught_between_nested_blocks_does_not_roll_back(
    client: sqltrack.Client, config: dict[str, Any]
) -> None:
    with client:
        client.execute(INSERT, ("a",))
        with pytest.raises(ZeroDivisionError), client:
            raise ZeroDivisionError
    assert count_experiments(config) == 1


def test_commit_and_rollback_end_what_was_done_so_far(client: sqltrack.Client, config: dict[str, Any]) -> None:
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
    """Let a commit wait: for a deferred trigger, or for a reader of a database without write-ahead log."""
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
def test_what_a_signal_raises_during_a_commit_reaches_the_program(
    empty_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interruption(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interruption

    monkeypatch.setattr("sqltrack.engines.sqlite.is_network_file_system", lambda path: True)
    client = sqltrack.Client(empty_config, busy_timeout=60)
    setup(client)
    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        with commits_that_take_a_minute(client, empty_config):
            with pytest.raises(Interruption), client:
                client.execute(INSERT, ("a",))
                signal.setitimer(signal.ITIMER_REAL, 0.2)
            assert not client.in_block
    finally:
        signal.signal(signal.SIGALRM, previous)
    client.execute(INSERT, ("b",))
    assert client.execute("SELECT name FROM experiments").fetchall() == [("b",)]


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
    """Ruling 10."""
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
    """Ruling 11."""
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


def test_instances_of_subclasses_are_bound_as_what_they_are(client: sqltrack.Client) -> None:
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


def test_threads_that_share_a_client_have_transactions_of_their_own(
    client: sqltrack.Client, config: dict[str, Any]
) -> None:
    """Ruling 9."""
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


# -- wrong input ----------------------------------------------------------------------------------------------------


def test_an_unknown_engine_is_an_error_that_names_the_known() -> None:
    with pytest.raises(ConfigError, match="unknown engine 'mysql', expected 'postgres' or 'sqlite'"):
        sqltrack.Client(engine="mysql")


@pytest.mark.parametrize("setting", ["keepalive", "reconnect", "busy_timeout"])
@pytest.mark.parametrize("value", ["soon", -1, float("nan")])
def test_a_setting_that_is_no_number_is_an_error_that_names_it(setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{setting} must be a number"):
        sqltrack.Client({"engine": "sqlite", setting: value})


@pytest.mark.parametrize("dbpath", ["", ":memory:", "file::memory:?cache=shared"])
def test_a_dbpath_that_names_no_file_is_refused(dbpath: str) -> None:
    with pytest.raises(ConfigError, match="dbpath must name a file"):
        sqltrack.Client(engine="sqlite", dbpath=dbpath)


def test_an_old_sqlite_is_refused_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(ConfigError, match=f"3.35 or newer, this Python has {sqlite3.sqlite_version}"):
        sqltrack.Client(engine="sqlite")


def test_an_unknown_synchronous_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match="synchronous must be one of OFF, NORMAL, FULL, EXTRA, got 'maybe'"):
        sqltrack.Client(engine="sqlite", synchronous="maybe")


def test_a_database_that_was_not_set_up_is_an_error_that_says_what_to_do(empty_config: dict[str, Any]) -> None:
    client = sqltrack.Client(empty_config)
    for use in (
        lambda: sqltrack.Experiment(client, name="x"),
        lambda: client.execute("SELECT * FROM runs"),
        lambda: sqltrack.run_add_metrics(client, 1, {"loss": 1.0}),
        lambda: sqltrack.run_set_status(client, 1, "RUNNING"),
    ):
        with pytest.raises(NotSetUpError, match=r"set it up with sqltrack\.commands\.setup\(client\)"):
            use()


def test_a_file_that_is_no_database_is_an_error_that_names_it() -> None:
    Path("notes.txt").write_text("no database " * 100)
    client = sqltrack.Client(engine="sqlite", dbpath="notes.txt")
    with pytest.raises(NotADatabaseError, match=r"notes\.txt' is no SQLite database"):
        setup(client)
    assert Path("notes.txt").read_text() == "no database " * 100


@pytest.mark.parametrize(
    ("dbpath", "reason"), [("no/folder/x.db", "folder '.*no/folder' does not exist"), (".", "it is a folder")]
)
def test_a_file_that_cannot_be_opened_is_an_error_that_says_why(dbpath: str, reason: str) -> None:
    with pytest.raises(DatabaseUnavailableError, match=f"cannot open SQLite database .*{reason}"):
        setup(sqltrack.Client(engine="sqlite", dbpath=dbpath))


def test_a_server_that_is_not_there_is_one_clear_error() -> None:
    psycopg = pytest.importorskip("psycopg")
    client = sqltrack.Client(host="127.0.0.1", port=1, user="alice", dbname="db", password="secret")
    with pytest.raises(DatabaseUnavailableError) as info:
        client.execute("SELECT 1")
    message = str(info.value)
    assert re.search(r"cannot connect to PostgreSQL database 'host=127\.0\.0\.1 port=1 .*check host and port", message)
    assert "\n" not in message
    assert isinstance(info.value.__cause__, psycopg.Error)


def test_passwords_are_nowhere_to_be_seen(postgres_config: dict[str, Any]) -> None:
    """Ruling 17."""
    client = sqltrack.Client({**postgres_config, "password": "s3cret", "port": 1})
    shown = [repr(client), repr(client.engine), str(client)]
    with pytest.raises(SQLTrackError) as info:
        client.execute("SELECT 1")
    shown += [str(info.value), repr(info.value), str(info.value.__cause__)]
    assert not any("s3cret" in text for text in shown)


def test_a_missing_database_or_role_says_how_to_create_it(postgres_config: dict[str, Any]) -> None:
    with pytest.raises(DatabaseUnavailableError, match='database "nowhere" does not exist; create it'):
        sqltrack.Client({**postgres_config, "dbname": "nowhere"}).execute("SELECT 1")
    with pytest.raises(SQLTrackError, match='role "nobody else" does not exist; create it'):
        sqltrack.Client({**postgres_config, "user": "nobody else"}).execute("SELECT 1")


def test_a_wrong_connection_parameter_is_named(postgres_config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match='"hots"'):
        sqltrack.Client({**postgres_config, "hots": "typo"}).execute("SELECT 1")


def test_errors_of_statements_keep_the_drivers_error(client: sqltrack.Client) -> None:
    with pytest.raises(DatabaseError) as info:
        client.execute("SELEC 1")
    assert isinstance(info.value.__cause__, client.engine.driver_error)
    with pytest.raises(DatabaseError) as info:
        client.executemany("SELEC %s", [(1,)])
    assert isinstance(info.value.__cause__, client.engine.driver_error)


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ("25006", ReadOnlyDatabaseError),
        ("42501", AccessDeniedError),
        ("53100", DiskFullError),
        ("53300", TooManyConnectionsError),
        ("55P03", DatabaseLockedError),
        ("57P03", DatabaseUnavailableError),
        ("P0001", DatabaseError),
    ],
)
def test_the_state_of_a_servers_error_tells_which_one_it_is(
    postgres_config: dict[str, Any], state: str, error: type[Exception]
) -> None:
    client = sqltrack.Client(postgres_config)
    with pytest.raises(error, match="no luck today") as info:
        client.execute(f"DO $$ BEGIN RAISE 'no luck today' USING ERRCODE = '{state}'; END $$")
    assert type(info.value) is error


def test_a_server_that_gives_up_is_one_that_may_come_back(postgres_config: dict[str, Any]) -> None:
    import psycopg

    severity: dict[int, bytes | None] = {psycopg.pq.DiagnosticField.SEVERITY_NONLOCALIZED: b"PANIC"}
    panic = psycopg.errors.DiskFull("could not write to its log", info=severity)
    error = sqltrack.Client(postgres_config).engine.translate_error(panic)
    assert type(error) is DatabaseUnavailableError
    assert "has crashed: could not write to its log" in str(error)


def test_the_schema_parameter_chooses_the_schema_also_with_odd_names(postgres_config: dict[str, Any]) -> None:
    """Ruling 18."""
    for schema in ("plain", 'My "odd" schéma, \\ with blanks', "select"):
        client = sqltrack.Client(postgres_config, schema=schema)
        setup(client)
        sqltrack.Experiment(client, name="x").get_run().add_metrics({"loss": 1.0})
        tables = client.execute("SELECT count(*) FROM pg_tables WHERE schemaname = %s", (schema,)).fetchone()
        assert tables == (7,)
        assert client.execute("SELECT current_schema()").fetchone() == (schema,)
    with pytest.raises(NotSetUpError):
        sqltrack.Client(postgres_config).execute("SELECT * FROM metrics")


def test_the_schema_parameter_works_where_start_up_options_are_refused(postgres_config: dict[str, Any]) -> None:
    """Ruling 18."""
    import psycopg

    with psycopg.connect(**{name: value for name, value in postgres_config.items() if name != "engine"}) as connection:
        port = connection.info.port
    with refusing_proxy(port) as proxy_port:
        pooled = {**postgres_config, "host": "127.0.0.1", "port": proxy_port}
        with pytest.raises(SQLTrackError, match="unsupported startup parameter"):
            sqltrack.Client(pooled, options="-c work_mem=8MB").execute("SELECT 1")
        client = sqltrack.Client(pooled, schema='odd "schema"')
        setup(client)
        run = sqltrack.Experiment(client, name="x").get_run()
        with run.track():
            for step in range(10):
                run.add_metrics({"loss": 1.0, f"metric {step}": 1.0}, step=step)
            with client.cursor() as cursor:
                cursor.executemany("INSERT INTO experiments (name) VALUES (%s)", [("a",), ("b",)])
                client.commit()
                cursor.execute("SELECT count(*) FROM experiments")
                assert cursor.fetchone() == (3,)
        assert client.execute("SELECT count(*) FROM metrics").fetchone() == (10,)
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'odd \"schema\"'"
    direct = sqltrack.Client(postgres_config)
    assert direct.execute(tables).fetchone() == (7,)


def test_statements_that_fail_leave_such_a_connection_usable(postgres_config: dict[str, Any]) -> None:
    """Ruling 18."""
    import psycopg

    with psycopg.connect(**{name: value for name, value in postgres_config.items() if name != "engine"}) as connection:
        port = connection.info.port
    with refusing_proxy(port) as proxy_port:
        client = sqltrack.Client(postgres_config, host="127.0.0.1", port=proxy_port, schema="odd")
        setup(client)
        run = sqltrack.Experiment(client, name="x").get_run()
        with run.track():
            with pytest.raises(MissingRunError):
                sqltrack.run_add_metrics(client, 4711, {"loss": 1.0})
            with client:
                for sql, message in (("SELEC 1", "SELEC"), ("SELECT 1", "current transaction is aborted")):
                    with pytest.raises(DatabaseError, match=message):
                        client.execute(sql)
                client.rollback()
                client.execute("UPDATE runs SET comment = 'goes on'")
            run.add_metrics({"loss": 1.0})
        assert client.execute("SELECT comment, loss FROM runs JOIN metrics ON run_id = id").fetchall() == [
            ("goes on", 1.0)
        ]


WITHOUT_PSYCOPG = """
import sys
sys.modules["psycopg"] = None
import sqltrack
try:
    sqltrack.Client().execute("SELECT 1")
except sqltrack.SQLTrackError as error:
    print(type(error).__mro__[1].__name__, isinstance(error, ImportError), error)
"""


def test_without_psycopg_the_error_says_what_to_install_and_how_to_choose_sqlite() -> None:
    """Ruling 1."""
    output = subprocess.run([sys.executable, "-c", WITHOUT_PSYCOPG], capture_output=True, text=True, check=True).stdout
    assert "True engine 'postgres' requires 'psycopg'" in output
    assert "pip install 'sqltrack-core[postgres]'" in output
    assert "SQLTRACK_DSN_ENGINE=sqlite" in output


def test_importing_sqltrack_loads_the_standard_library_alone() -> None:
    code = "import sys; before = set(sys.modules); import sqltrack; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    foreign = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names - {"sqltrack"}
    assert foreign == set()
    assert "sqlite3" not in loaded
    assert os.environ.get("PYTHONPATH") is None


@pytest.mark.engines("sqlite")
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_what_a_signal_raises_inside_of_a_statement_is_no_error_of_the_database(
    client: sqltrack.Client, run: sqltrack.Run, interruption: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(old: str | None, new: str) -> str:
        raise interruption

    with monkeypatch.context() as patch:
        patch.setattr("sqltrack.engines.sqlite._functions._merge_json", interrupt)
        with pytest.raises(interruption):
            run.add_args({"lr": 0.1})
        with pytest.raises(interruption):
            client.executemany("UPDATE runs SET tags = sqltrack_merge_json(tags, %s)", [("{}",)])
    run.add_args({"lr": 0.2})
    assert client.execute("SELECT args FROM runs").fetchone() == ({"lr": 0.2},)
