"""Setup creates the tables, runs each script once, and leaves no trace of a script that fails."""

from __future__ import annotations

import multiprocessing
import re
import traceback
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.commands import setup
from sqltrack.errors import DatabaseLockedError, ReadOnlyDatabaseError, ScriptError

pytestmark = pytest.mark.also_on("duckdb")

DOCUMENTED_COLUMNS = {
    "experiments": ["id", "name", "comment", "tags", "extras"],
    "experiment_links": ["from_id", "kind", "to_id"],
    "runs": [
        *("id", "experiment_id", "status", "time_created", "time_started", "time_updated"),
        *("comment", "tags", "args", "env", "extras"),
    ],
    "run_links": ["from_id", "kind", "to_id"],
    "metrics": ["run_id", "step", "progress"],
}

ADD_LOSS = ("v001.sql", "ALTER TABLE metrics ADD COLUMN train_loss FLOAT")


def metric_columns(client: sqltrack.Client) -> list[str]:
    description = client.execute("SELECT * FROM metrics").description or ()
    return [column[0] for column in description][3:]


@pytest.fixture
def client(empty_config: dict[str, Any]) -> sqltrack.Client:
    return sqltrack.Client(empty_config)


def test_the_tables_have_the_documented_columns_and_no_more(client: sqltrack.Client) -> None:
    setup(client)
    for table, columns in DOCUMENTED_COLUMNS.items():
        description = client.execute(f"SELECT * FROM {table}").description or ()
        assert [column[0] for column in description] == columns


def test_lines_tell_new_scripts_from_old(client: sqltrack.Client, capsys: pytest.CaptureFixture[str]) -> None:
    setup(client)
    assert capsys.readouterr().out == "(NEW) base.sql\n"
    setup(client, [ADD_LOSS])
    assert capsys.readouterr().out == "(OK) base.sql\n(NEW) v001.sql\n"
    setup(client, [ADD_LOSS])
    assert capsys.readouterr().out == "(OK) base.sql\n(OK) v001.sql\n"
    assert metric_columns(client) == ["train_loss"]


def test_scripts_come_from_files_known_by_their_base_name(client: sqltrack.Client, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "v001.sql").write_text(f"\ufeffALTER TABLE metrics ADD COLUMN {folder} FLOAT;", "utf-8")
    setup(client, [tmp_path / "a" / "v001.sql"])
    setup(client, [str(tmp_path / "b" / "v001.sql")])
    assert metric_columns(client) == ["a"]


def test_scripts_run_in_the_given_order(client: sqltrack.Client) -> None:
    setup(client, [ADD_LOSS, ("a.sql", "ALTER TABLE metrics RENAME COLUMN train_loss TO loss")])
    assert metric_columns(client) == ["loss"]


def test_a_script_with_begin_and_end_works(client: sqltrack.Client) -> None:
    """A script may contain BEGIN and END, and is still one transaction."""
    script = """
        -- metrics; of all phases
        BEGIN;
        ALTER TABLE metrics ADD COLUMN train_start TIMESTAMP WITH TIME ZONE;
        ALTER TABLE metrics ADD COLUMN "odd;name" FLOAT DEFAULT 0.5;
        END;
    """
    setup(client, [("v001.sql", script)])
    assert metric_columns(client) == ["train_start", "odd;name"]


@pytest.mark.parametrize(
    "script", ["BEGIN; {good}; END; SELECT nonsense;", "{good}; COMMIT; SELECT nonsense", "{good}; ROLLBACK"]
)
def test_a_failing_script_leaves_no_trace_and_names_the_statement(client: sqltrack.Client, script: str) -> None:
    setup(client)
    broken = ("v001.sql", script.format(good=ADD_LOSS[1]))
    with pytest.raises(ScriptError, match=r"script 'v001\.sql' failed at '(SELECT nonsense|ROLLBACK)'") as info:
        setup(client, [broken])
    assert info.value.script == "v001.sql"
    assert metric_columns(client) == []
    setup(client, [ADD_LOSS])
    assert metric_columns(client) == ["train_loss"]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE ROLE nobody NONSENSE PASSWORD 'hunter2'",
        "CREATE ROLE nobody PASSWORD 'it's hunter2'",
        "CREATE USER MAPPING FOR nobody SERVER nowhere OPTIONS (user 'a', password 'hunter2')",
        "CREATE SUBSCRIPTION s CONNECTION 'host=nowhere password=hunter2' PUBLICATION",
        "INSERT INTO experiments (name, password) VALUES ('a', 'hunter2')",
        "UPDATE nowhere SET password = 'hunter2'",
        "SELECT 'the password is hunter2' + nonsense",
        "SELECT nonsense /* the password is hunter2 */",
        "ROLLBACK /* password: hunter2 */",
    ],
)
def test_an_error_shows_no_password_of_the_statement(client: sqltrack.Client, statement: str) -> None:
    setup(client)
    with pytest.raises(ScriptError, match=re.escape("***")) as info:
        setup(client, [("v001.sql", statement)])
    said = "".join(traceback.format_exception(info.value))
    assert "hunter2" not in said + info.value.statement + repr(vars(info.value))


@pytest.mark.engines("postgres")
def test_an_error_shows_no_password_of_the_row_that_the_server_quotes(client: sqltrack.Client) -> None:
    setup(client)
    script = """
        CREATE TABLE accounts (name TEXT NOT NULL, password TEXT CHECK (length(password) > 99));
        INSERT INTO accounts (name, password) VALUES ('a', 'hunter2');
    """
    with pytest.raises(ScriptError, match="violates check constraint") as info:
        setup(client, [("v001.sql", script)])
    assert "hunter2" not in "".join(traceback.format_exception(info.value))


@pytest.mark.engines("sqlite", "postgres", reason="DuckDB has no savepoints")
def test_a_failing_script_leaves_the_callers_transaction_usable(client: sqltrack.Client) -> None:
    setup(client)
    with client:
        client.execute("INSERT INTO experiments (name) VALUES ('kept')")
        with pytest.raises(ScriptError):
            setup(client, [("v001.sql", f"{ADD_LOSS[1]}; SELECT nonsense")])
    assert metric_columns(client) == []
    assert client.execute("SELECT name FROM experiments").fetchall() == [("kept",)]


@pytest.mark.not_pooled("it sets the parameter options, which a pooler refuses")
@pytest.mark.engines("sqlite", "postgres", reason="DuckDB has no locks to wait for")
def test_a_schema_that_cannot_be_locked_or_created_is_a_clear_error(
    empty_config: dict[str, Any], engine_name: str
) -> None:
    if engine_name == "postgres":
        client = sqltrack.Client(empty_config, schema="new", options="-c default_transaction_read_only=on")
        with pytest.raises(ReadOnlyDatabaseError, match="is read-only"):
            setup(client)
    else:
        with sqltrack.Client(empty_config) as connection:
            connection.begin_write()
            with pytest.raises(DatabaseLockedError, match=r"busy_timeout = 0\.1 s"):
                setup(sqltrack.Client(empty_config, busy_timeout=0.1))
    setup(sqltrack.Client(empty_config))


@pytest.mark.engines("sqlite", "postgres", reason="DuckDB has neither triggers nor procedures")
def test_a_script_that_needs_semicolons_in_a_body_works(client: sqltrack.Client, engine_name: str) -> None:
    bodies = {
        "sqlite": "CREATE TRIGGER t AFTER INSERT ON experiments BEGIN "
        "UPDATE experiments SET comment = 'a;b' WHERE id = NEW.id; END;",
        "postgres": "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.comment := 'a;b'; "
        "RETURN NEW; END $$; CREATE TRIGGER t BEFORE INSERT ON experiments FOR EACH ROW EXECUTE FUNCTION f();",
    }
    setup(client, [("trigger.sql", bodies[engine_name])])
    sqltrack.Experiment(client, name="x")
    assert client.execute("SELECT comment FROM experiments").fetchone() == ("a;b",)


def test_the_name_of_the_included_script_and_double_names_are_refused(client: sqltrack.Client) -> None:
    with pytest.raises(ValueError, match=r"cannot be called 'base\.sql'"):
        setup(client, [("folder/base.sql", "SELECT 1")])
    with pytest.raises(ValueError, match=r"another script has this name"):
        setup(client, [ADD_LOSS, ("v001.sql", "SELECT 1")])
    with pytest.raises(FileNotFoundError):
        setup(client, ["no.sql"])


def _setup_in_process(config: dict[str, Any], barrier: Any, errors: Any) -> None:
    client = sqltrack.Client(config)
    barrier.wait()
    try:
        setup(client, [ADD_LOSS])
    except Exception as error:
        errors.put(repr(error))


@pytest.mark.engines("sqlite", "postgres", reason="other processes do not know the engine of the tests")
def test_many_processes_may_set_up_at_once(empty_config: dict[str, Any]) -> None:
    """Each process that sets up at the same time succeeds, and each script is applied once."""
    context = multiprocessing.get_context("spawn")
    barrier, errors = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_setup_in_process, args=(empty_config, barrier, errors)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert errors.empty()
    assert metric_columns(sqltrack.Client(empty_config)) == ["train_loss"]
