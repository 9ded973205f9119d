"""One call tracks a run: it sets up the database, describes the run, and leaves nothing behind on failure."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import multiprocessing
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sqltrack import Client, Experiment, start, track, track_functions
from sqltrack.errors import (
    ConflictError,
    DatabaseUnavailableError,
    MissingExperimentError,
    NotSetUpError,
    ReadOnlyDatabaseError,
    UnusableValueError,
)
from support.databases import ask, connect_to_postgres, experiments, statuses, steps
from support.processes import Script
from support.unprivileged import UNPRIVILEGED, needs_permissions


@pytest.fixture(autouse=True)
def _no_runs_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the runs that other tests have taken from their environment."""
    monkeypatch.setattr(track_functions, "_taken", set())


def use(monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]) -> None:
    """Let the environment name a database, as a configuration does."""
    for name, value in config.items():
        monkeypatch.setenv(f"SQLTRACK_DSN_{name.upper()}", str(value))


def stored(config: dict[str, Any], column: str) -> list[Any]:
    return [value for (value,) in Client(config).execute(f"SELECT {column} FROM runs ORDER BY id")]


# Effects


def test_one_call_creates_tables_experiment_and_run_and_describes_it(
    empty_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, empty_config)
    monkeypatch.setenv("HF_TOKEN", "hunter2")
    with track("digits", args={"lr": 0.1}, tags=["paper", "seeds"], comment="first") as run:
        assert statuses(empty_config) == ["RUNNING"]
        run.add_metrics({"loss": 0.5}, step=3)
    query = "SELECT status, args, tags, comment, env FROM runs WHERE id = %s"
    *described, env = Client(empty_config).execute(query, (run.id,)).fetchone()
    assert described == ["COMPLETED", {"lr": 0.1}, {"paper": True, "seeds": True}, "first"]
    assert env["SQLTRACK_DSN_ENGINE"] == empty_config["engine"]
    assert "hunter2" not in str(env)
    assert (experiments(empty_config), steps(empty_config)) == (["digits"], [3])


def test_a_second_call_adds_a_run_to_the_same_experiment(client: Client, config: dict[str, Any]) -> None:
    for _ in range(2):
        with track("digits", client=client):
            pass
    assert (experiments(config), statuses(config)) == (["digits"], ["COMPLETED"] * 2)


@pytest.mark.parametrize(
    ("error", "status"),
    [(ZeroDivisionError(), "FAILED"), (KeyboardInterrupt(), "CANCELLED"), (SystemExit(0), "COMPLETED")],
    ids=repr,
)
def test_an_exception_travels_on_and_gives_the_status(
    error: BaseException, status: str, client: Client, config: dict[str, Any]
) -> None:
    with pytest.raises(type(error)) as info, track("digits", client=client):
        raise error
    assert info.value is error
    assert statuses(config) == [status]


def test_statuses_are_those_of_the_call(client: Client, config: dict[str, Any]) -> None:
    own = {"normal": "DONE", "exception": "BROKEN", "interrupt": "STOPPED"}
    for error in (None, ZeroDivisionError(), KeyboardInterrupt()):
        with (
            contextlib.suppress(ZeroDivisionError, KeyboardInterrupt),
            track("digits", client=client, **own, started=None),
        ):
            if error is not None:
                raise error
    assert statuses(config) == ["DONE", "BROKEN", "STOPPED"]
    assert stored(config, "time_started") == [None] * 3


def test_start_returns_a_run_that_is_tracked_until_it_is_stopped(client: Client, config: dict[str, Any]) -> None:
    run = start("digits", client=client, args={"lr": 1}, tags="notebook", comment="by hand")
    run.add_metrics({"loss": 1.0}, step=1)
    assert statuses(config) == ["RUNNING"]
    assert run.stop() is run
    assert (statuses(config), stored(config, "tags")) == (["COMPLETED"], [{"notebook": True}])


def test_a_started_run_gets_its_status_at_the_end_of_the_process(config: dict[str, Any]) -> None:
    with Script("sqltrack.start('digits', client=client)\n1 / 0", config) as script:
        assert "ZeroDivisionError" in script.finish().errors
    assert statuses(config) == ["FAILED"]


@dataclasses.dataclass
class Settings:
    lr: float = 0.1


@pytest.mark.parametrize(
    "args", [{"lr": 0.1}, argparse.Namespace(lr=0.1), Settings()], ids=lambda args: type(args).__name__
)
def test_arguments_are_taken_from_all_that_add_args_takes(args: Any, client: Client, config: dict[str, Any]) -> None:
    with track("digits", client=client, args=args, env=None):
        pass
    assert (stored(config, "args"), stored(config, "env")) == ([{"lr": 0.1}], [None])


def test_env_may_be_given(client: Client, config: dict[str, Any]) -> None:
    with track("digits", client=client, env={"NODE": "a"}, args=None):
        pass
    assert (stored(config, "args"), stored(config, "env")) == ([None], [{"NODE": "a"}])


USAGE = '"""usage: script.py [options]\n\noptions:\n  --lr=R  [default: 0.1]\n  -h --help\n"""\n'


@pytest.mark.parametrize(
    ("text", "argv"),
    [(None, ["-c"]), (None, ["ipykernel_launcher.py"]), ("", []), (USAGE, ["--nonsense"]), (USAGE, ["--help"])],
    ids=["code", "notebook", "no help text", "wrong command line", "help"],
)
def test_without_detected_arguments_tracking_continues(
    text: str | None, argv: list[str], client: Client, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        Path("script.py").write_text(text, encoding="utf-8")
        argv = ["script.py", *argv]
    monkeypatch.setattr("sys.argv", argv)
    with track("digits", client=client):
        pass
    assert (statuses(config), stored(config, "args")) == (["COMPLETED"], [None])


def test_arguments_are_detected_in_the_script(
    client: Client, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("script.py").write_text(USAGE, encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["script.py", "--lr", "0.3"])
    with track("digits", client=client):
        pass
    assert stored(config, "args") == [{"lr": 0.3, "help": False}]


def test_an_experiment_may_be_an_id_or_an_experiment(client: Client, config: dict[str, Any]) -> None:
    experiment = Experiment(client, name="digits")
    for given in (experiment.id, experiment):
        with track(given, client=client if given is experiment.id else None):
            pass
    assert stored(config, "experiment_id") == [experiment.id] * 2
    with pytest.raises(MissingExperimentError):
        start(experiment.id + 1, client=client)
    other = Client({"engine": "sqlite", "dbpath": "other.db"})
    with pytest.raises(UnusableValueError, match="the experiment belongs to .*, client to "):
        start(experiment, client=other)


def test_a_run_is_resumed_by_its_id(client: Client, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    planned = Experiment(client, name="digits").get_run().add_args({"lr": 1, "seed": 2})
    for experiment in (None, "digits"):
        with track(experiment, client=client, run_id=planned.id, args={"lr": 3}) as run:
            assert run.id == planned.id
    assert stored(config, "args") == [{"lr": 3, "seed": 2}]
    with pytest.raises(ConflictError):
        start("other", client=client, run_id=planned.id)
    monkeypatch.setenv("SLURM_JOB_ID", "1234")
    with track("digits", client=client, run_id="SLURM_JOB_ID") as run:
        assert run.id == 1234


def test_a_nested_call_tracks_a_run_of_its_own(client: Client, config: dict[str, Any]) -> None:
    with track("outer", client=client), track("inner", client=client, normal="INNER"):
        pass
    assert statuses(config) == ["COMPLETED", "INNER"]


def test_it_works_in_an_open_block_and_is_part_of_its_transaction(
    empty_config: dict[str, Any], engine_name: str
) -> None:
    client = Client(empty_config)
    with client, track("digits", client=client):
        client.execute("UPDATE runs SET comment = 'in the block'")
    assert (statuses(empty_config), stored(empty_config, "comment")) == (["COMPLETED"], ["in the block"])


# The environment


def test_the_environment_names_experiment_and_run(
    client: Client, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = Experiment(client, name="sweep").get_run()
    monkeypatch.setenv("SQLTRACK_EXPERIMENT_NAME", "sweep")
    monkeypatch.setenv("SQLTRACK_RUN_ID", str(planned.id))
    with track("digits", client=client) as run:
        assert run.id == planned.id
    assert (experiments(config), statuses(config)) == (["sweep"], ["COMPLETED"])


def test_a_run_of_the_environment_is_taken_once_and_not_overwritten_by_later_calls(
    client: Client, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that tracks several runs may be started for one planned run."""
    planned = Experiment(client, name="sweep").get_run()
    monkeypatch.setenv("SQLTRACK_EXPERIMENT_ID", str(planned.experiment_id))
    monkeypatch.setenv("SQLTRACK_RUN_ID", str(planned.id))
    with pytest.raises(UnusableValueError, match="args must be a dict"):
        start("digits", client=client, args=5)
    for seed in range(3):
        with track("digits", client=client, args={"seed": seed}):
            pass
    assert stored(config, "args") == [{"seed": seed} for seed in range(3)]
    assert stored(config, "experiment_id") == [planned.experiment_id] * 3


def test_an_experiment_of_the_environment_gets_a_new_run(
    client: Client, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLTRACK_EXPERIMENT_NAME", "sweep")
    with track(client=client), track("digits", client=client):
        pass
    assert (experiments(config), len(statuses(config))) == (["sweep"], 2)


def test_a_run_of_the_environment_needs_no_variable_of_the_experiment(
    client: Client, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLTRACK_RUN_ID", "7")
    with track("digits", client=client) as run:
        assert run.id == 7
    planned = Experiment(client, name="digits").get_run()
    monkeypatch.setenv("SQLTRACK_RUN_ID", str(planned.id))
    with track(client=client) as run:
        assert run.id == planned.id
    monkeypatch.setenv("SQLTRACK_RUN_ID", "7_1")
    with pytest.raises(UnusableValueError, match="'SQLTRACK_RUN_ID' should hold an id, got '7_1'"):
        start("digits", client=client)


def test_a_run_id_of_the_call_wins_over_the_environment(
    client: Client, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLTRACK_EXPERIMENT_NAME", "sweep")
    monkeypatch.setenv("SQLTRACK_RUN_ID", "7")
    with track("digits", client=client, run_id=5) as run:
        assert run.id == 5
    assert experiments(config) == ["digits"]


# Errors


# Arguments, and the text of the error.
UNUSABLE: list[tuple[dict[str, Any], str]] = [
    ({}, r"a run needs an experiment, got none; name it, as in track\('digits'\)"),
    ({"experiment": 0.5}, r"experiment must be a name or an id, got 0\.5"),
    ({"experiment": object}, "experiment must be a name or an id"),
    ({"experiment": "a", "client": "x.db"}, r"client must be a Client, got 'x\.db'"),
    ({"experiment": "a", "tags": 5}, "tags must be texts"),
    ({"experiment": "a", "tags": [5]}, "a tag must be a str, got 5"),
    ({"experiment": "a", "comment": 5}, "comment must be a str or None, got 5"),
    ({"experiment": "a", "args": "lr=0.1"}, "args must be a dict"),
    ({"experiment": "a", "env": 5}, "env must be a dict"),
    ({"experiment": "a", "run_id": 0.5}, "run_id must be an integer"),
    ({"experiment": "a", "terminated": None}, "terminated must be a str, got None"),
    ({"experiment": "a", "normal": 5}, "normal must be a str, got 5"),
    ({"experiment": "a", "started": datetime(2026, 1, 1)}, "a datetime must have a time zone"),
    ({"experiment": "a", "updated": 5}, "a timestamp must be .auto., a datetime or None, got 5"),
    ({"experiment": "a", "run_id": "NO_SUCH"}, "environment variable 'NO_SUCH'"),
]


def test_a_run_that_cannot_be_tracked_is_an_error_and_leaves_nothing_behind(empty_config: dict[str, Any]) -> None:
    client = Client(empty_config)
    for arguments, says in UNUSABLE:
        with pytest.raises(ValueError, match=says), track(**{"client": client, **arguments}):
            pass
        if "normal" not in arguments:
            with pytest.raises(ValueError, match=says):
                start(**{"client": client, **arguments})
        assert not client.engine.exists() or _tables(client) == []


def _tables(client: Client) -> list[str]:
    with client as connection:
        return [name for name in ("experiments", "setup_scripts") if client.engine.table_columns(connection, name)]


def test_a_database_of_another_program_stays_as_it_is(empty_config: dict[str, Any]) -> None:
    """MLflow has tables of the same names; other tables do not matter."""
    client = Client(empty_config)
    client.execute("CREATE TABLE runs (run_uuid TEXT)")
    with pytest.raises(NotSetUpError, match=r"cannot be created: .*already exists.*choose another database"):
        start("digits", client=client)
    assert _tables(client) == []
    client.execute("ALTER TABLE runs RENAME TO others")
    start("digits", client=client).stop()
    assert ask(empty_config, "SELECT COUNT(*) FROM others") == 0


@needs_permissions
def test_a_file_that_may_only_be_read_is_an_error_that_says_so(tmp_path: Path) -> None:
    code = """
from sqltrack.errors import DatabaseError
for name in ("full.db", "empty.db"):
    try:
        sqltrack.start("digits", client=Client(engine="sqlite", dbpath=name))
    except DatabaseError as error:
        confirm(f"{type(error).__name__} {error}")
"""
    for name in ("full.db", "empty.db"):
        Path(name).touch()
    Client({"engine": "sqlite", "dbpath": "full.db"}).setup()
    for name in ("full.db", "empty.db"):
        Path(name).chmod(0o444)
    with Script(UNPRIVILEGED + code, {"engine": "sqlite"}) as script:
        full, empty = script.succeed()
    assert full == f"ReadOnlyDatabaseError database {str(tmp_path / 'full.db')!r} is read-only, check its permissions"
    assert empty.startswith("NotSetUpError")
    assert "has no sqltrack tables, and they cannot be created" in empty


@pytest.mark.no_outbox
@pytest.mark.not_pooled("it sets the parameter options, which a pooler refuses")
def test_a_server_that_only_lets_read_is_an_error_that_says_so(postgres_config: dict[str, Any]) -> None:
    reading = Client(postgres_config, options="-c default_transaction_read_only=on")
    with pytest.raises(NotSetUpError, match="cannot be created: .*is read-only"):
        start("digits", client=reading)
    Client(postgres_config).setup()
    with pytest.raises(ReadOnlyDatabaseError, match="is read-only"):
        start("digits", client=reading)


@pytest.mark.not_pooled("a pooler knows only the tests' own users")
def test_a_user_who_may_not_create_tables_uses_those_that_are_there(postgres_config: dict[str, Any]) -> None:
    role = f"{postgres_config['dbname']}_writer"
    client = Client(postgres_config, user=role)
    with connect_to_postgres(postgres_config) as administrator:
        administrator.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        administrator.execute(f'CREATE ROLE "{role}" LOGIN')
        try:
            with pytest.raises(NotSetUpError, match="permission denied.*let a user who may create tables"):
                start("digits", client=client)
            Client(postgres_config).setup()
            administrator.execute(f'GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO "{role}"')
            administrator.execute(f'GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO "{role}"')
            with track("digits", client=client):
                pass
        finally:
            administrator.execute(f'DROP OWNED BY "{role}"')
            administrator.execute(f'DROP ROLE "{role}"')
    assert statuses(postgres_config) == ["COMPLETED"]


@pytest.mark.no_outbox
def test_a_database_that_cannot_be_reached_is_an_error_at_once(tmp_path: Path, engine_name: str) -> None:
    missing = str(tmp_path / "missing")
    configs = {
        "sqlite": {"engine": "sqlite", "dbpath": f"{missing}/x.db"},
        "postgres": {"engine": "postgres", "host": missing, "dbname": "x", "user": "x"},
    }
    with pytest.raises(DatabaseUnavailableError):
        start("digits", client=Client(configs[engine_name]))


# Many at once


def _track_in_process(config: dict[str, Any], barrier: Any) -> None:
    client = Client(config)
    barrier.wait()
    with track("digits", client=client, args={"lr": 0.1}) as run:
        run.add_metrics({"loss": 0.5}, step=1)


def test_processes_may_begin_at_once_in_an_empty_database(empty_config: dict[str, Any]) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    processes = [context.Process(target=_track_in_process, args=(empty_config, barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 3
    assert (experiments(empty_config), statuses(empty_config)) == (["digits"], ["COMPLETED"] * 3)


def test_many_clients_may_begin_at_once_in_an_empty_database(empty_config: dict[str, Any], engine_name: str) -> None:
    """Only one creates the tables, and none fails, even if the server has too few connections for all."""
    count = 150 if engine_name == "postgres" else 20
    barrier, failures = threading.Barrier(count), []

    def begin() -> None:
        try:
            _track_in_process(empty_config, barrier)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=begin) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (experiments(empty_config), statuses(empty_config)) == (["digits"], ["COMPLETED"] * count)


# The printed line


LINE = "sqltrack: run {id} of experiment 'digits' in {database}"


@pytest.mark.parametrize(
    ("configured", "shows"),
    [
        ("", True),
        ("import logging", True),
        ("import logging; logging.getLogger('sqltrack').setLevel('INFO')", True),
        ("import logging; logging.getLogger('sqltrack').setLevel('WARNING')", False),
        ("import logging; logging.getLogger('sqltrack.track').setLevel('ERROR')", False),
        ("import logging; logging.getLogger('sqltrack').addHandler(logging.NullHandler())", False),
        ("import logging; logging.disable(logging.INFO)", False),
        ("import logging; logging.basicConfig()", False),
        ("sys.stderr = None", False),
        ("sys.stderr.close()", False),
        ("os.close(2)", False),
    ],
)
def test_a_line_tells_database_and_run_unless_logging_is_told_otherwise(
    configured: str, shows: bool, sqlite_config: dict[str, Any]
) -> None:
    code = f"{configured}\nsqltrack.start('digits', client=client).stop()"
    with Script(code, sqlite_config) as script:
        ended = script.finish()
    line = LINE.format(id=1, database=Client(sqlite_config).engine.describe())
    assert (ended.status, ended.errors.splitlines()) == (0, [line] if shows else [])


def test_the_line_goes_to_the_log_of_a_program_that_has_one(
    empty_config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(empty_config)
    with caplog.at_level("INFO"):
        for _ in range(2):
            with track("digits", client=client):
                pass
    where = f"of experiment 'digits' in {client.engine.describe()}"
    expected = [f"run 1 {where}, whose tables were created just now", f"run 2 {where}"]
    assert [(record.name, record.getMessage()) for record in caplog.records] == [
        ("sqltrack.track", line) for line in expected
    ]


def test_the_line_shows_no_password(config: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        start("digits", client=Client(config, **_password(config))).stop()
    assert caplog.records
    assert "hunter2" not in caplog.text


def _password(config: dict[str, Any]) -> dict[str, Any]:
    return {"password": "hunter2"} if config["engine"] == "postgres" else {}


# Costs


def test_a_run_does_not_load_logging(sqlite_config: dict[str, Any]) -> None:
    code = """
with sqltrack.track("digits", client=client, args=None):
    pass
confirm("logging" in sys.modules)
"""
    with Script(code, sqlite_config) as script:
        assert script.succeed() == ["False"]


# Setup by a method


def test_a_client_sets_its_database_up(empty_config: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    client = Client(empty_config)
    with pytest.raises(NotSetUpError, match=r"set it up with client\.setup\(\).* sqltrack setup"):
        Experiment(client, name="digits")
    client.setup()
    assert capsys.readouterr().out == "(NEW) base.sql\n"
    Path("v002.sql").write_text("ALTER TABLE metrics ADD COLUMN accuracy FLOAT", encoding="utf-8")
    scripts = ("v001.sql", "ALTER TABLE metrics ADD COLUMN loss FLOAT"), Path("v002.sql")
    client.setup(*scripts)
    assert capsys.readouterr().out == "(OK) base.sql\n(NEW) v001.sql\n(NEW) v002.sql\n"
    client.setup(list(scripts))
    client.setup(scripts[0])
    assert capsys.readouterr().out.split().count("(OK)") == 5
    with pytest.raises(UnusableValueError, match="expected|must be"):
        client.setup(5)  # type: ignore[arg-type]
