"""Each error has a place in the hierarchy, shows the wrong value, and follows the style of the others."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import pytest

import sqltrack
from sqltrack import Client, Experiment, Run, errors
from sqltrack.commands import main as commands_main
from sqltrack.commands import setup
from sqltrack.engines.admin import admin_of
from sqltrack.errors import SQLTrackError


class Mistake(NamedTuple):
    """A call that raises an error of class `error`, whose message contains the repr() of `value`."""

    error: str
    make: Callable[[dict[str, Any], pytest.MonkeyPatch], Any]
    value: str


# The builtin class that each error inherits from as well; errors below DatabaseError report errors of the database.
BUILTIN_BASES = {
    "AccessDeniedError": errors.DatabaseError,
    "ConfigError": ValueError,
    "ConflictError": ValueError,
    "DatabaseError": SQLTrackError,
    "DatabaseLockedError": errors.DatabaseError,
    "DatabaseUnavailableError": errors.DatabaseError,
    "DiskFullError": errors.DatabaseError,
    "MissingExperimentError": ValueError,
    "MissingPackageError": ModuleNotFoundError,
    "MissingRunError": ValueError,
    "NaiveDatetimeError": ValueError,
    "NotADatabaseError": errors.DatabaseError,
    "NotConnectedError": RuntimeError,
    "NotFoundError": LookupError,
    "NotSetUpError": errors.DatabaseError,
    "OutboxError": errors.DatabaseError,
    "ReadOnlyDatabaseError": errors.DatabaseError,
    "SQLTrackError": Exception,
    "ScriptError": errors.DatabaseError,
    "SlurmError": SQLTrackError,
    "StatementTimeoutError": errors.DatabaseError,
    "TooManyConnectionsError": errors.DatabaseUnavailableError,
    "UnusableValueError": ValueError,
}

SHOWN_IN_TEST_CLIENT = {"NotConnectedError"}

SHOWN_IN_TEST_CLIENT_ERRORS = {
    "ConfigError",
    "DatabaseError",
    "DatabaseUnavailableError",
    "NotADatabaseError",
    "NotSetUpError",
}

SHOWN_IN_TEST_UNAVAILABLE = {"DiskFullError", "TooManyConnectionsError"}

SHOWN_IN_TESTS_OF_OUTBOXES = {"OutboxError"}

SHOWN_IN_TESTS_OF_COMMANDS = {"NotFoundError", "SlurmError"}


def run_of(config: dict[str, Any]) -> Run:
    return Experiment(Client(config), name="a").get_run(1)


def write_while_another_does(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    impatience = {"sqlite": {"busy_timeout": 0.05}, "postgres": {"options": "-c lock_timeout=50"}}
    lock = {"sqlite": "DELETE FROM experiments", "postgres": "LOCK TABLE experiments"}
    with Client(config) as connection:
        connection.execute(lock[config["engine"]])
        Client(config, **impatience[config["engine"]]).execute("INSERT INTO experiments (name) VALUES ('a')")


def write_where_one_may_only_read(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    forbid = {"sqlite": "PRAGMA query_only = ON", "postgres": "SET TRANSACTION READ ONLY"}
    client = Client(config)
    with client:
        client.execute(forbid[config["engine"]])
        client.execute("INSERT INTO experiments (name) VALUES ('a')")


def read_for_too_long(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = (
        "WITH RECURSIVE a (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a WHERE n < 100000000) SELECT MAX(n) FROM a"
    )
    client = Client(config)
    with client as connection, admin_of(client.engine, connection).read_only(0.01):
        connection.execute(numbers).fetchall()


def run_the_program_without_the_cli(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqltrack, "__path__", sqltrack.__path__[-1:])
    monkeypatch.delitem(sys.modules, "sqltrack.cli", raising=False)
    commands_main()


def test_what_the_program_lacks_is_not_taken_for_the_program() -> None:
    code = "import sys; sys.modules['sqltrack.cli._parser'] = None; from sqltrack.commands import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "ModuleNotFoundError: import of sqltrack.cli._parser halted" in done.stderr


MISTAKES = [
    Mistake("ConflictError", lambda config, _: Experiment(Client(config), run_of(config).experiment_id, "b"), "'b'"),
    Mistake("MissingExperimentError", lambda config, _: Experiment(Client(config), 4711), "4711"),
    Mistake("MissingPackageError", run_the_program_without_the_cli, "'sqltrack-cli'"),
    Mistake("MissingRunError", lambda config, _: Run(Client(config), run_id=4711), "4711"),
    Mistake(
        "NaiveDatetimeError",
        lambda config, _: run_of(config).set_started(datetime(2024, 5, 7)),
        "datetime.datetime(2024, 5, 7, 0, 0)",
    ),
    Mistake("ReadOnlyDatabaseError", write_where_one_may_only_read, "db"),
    Mistake(
        "ScriptError", lambda config, _: setup(Client(config), [("x.sql", "SELECT nonsense")]), "'SELECT nonsense'"
    ),
    Mistake("StatementTimeoutError", read_for_too_long, "0.01"),
    Mistake("UnusableValueError", lambda config, _: run_of(config).add_tags(5), "5"),
    Mistake("UnusableValueError", lambda config, _: run_of(config).add_metrics({"": 1.0}), "''"),
    Mistake("UnusableValueError", lambda config, _: run_of(config).add_metrics({"a": 1.0}, step=0.5), "0.5"),
]

LOCKED = Mistake("DatabaseLockedError", write_while_another_does, "db")
_NOT_POOLED = pytest.mark.not_pooled("it sets the parameter options, which a pooler refuses")


def assert_reads_as_one_of_ours(message: str) -> None:
    """Check for lower case, except in names of databases, and no full stop."""
    assert message[0].islower() or message.startswith(("PostgreSQL", "SQLite")), message
    assert not message.endswith((".", "!", "\n")), message


@pytest.mark.parametrize(
    "mistake",
    [*MISTAKES, pytest.param(LOCKED, marks=_NOT_POOLED)],
    ids=lambda mistake: f"{mistake.error}-{mistake.value}",
)
def test_a_mistake_raises_its_own_error_that_shows_the_value(
    config: dict[str, Any], mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SQLTrackError) as info:
        mistake.make(config, monkeypatch)
    assert type(info.value).__name__ == mistake.error
    assert mistake.value in str(info.value)
    assert_reads_as_one_of_ours(str(info.value))


@pytest.mark.not_pooled("a pooler has its own message for a user that it does not know")
def test_a_user_whom_the_server_does_not_know_is_denied_access(postgres_config: dict[str, Any]) -> None:
    with pytest.raises(errors.AccessDeniedError, match='role "nobody else"') as info:
        Client({**postgres_config, "user": "nobody else"}).execute("SELECT 1")
    assert_reads_as_one_of_ours(str(info.value))


@pytest.mark.engines("postgres")
@pytest.mark.parametrize(
    "sql",
    [
        "ALTER ROLE nobody WITH PASSWORD hunter2",
        "ALTER ROLE nobody PASSWORD 'hunter2' SUPERSUPERUSER",
        "CREATE USER nobody ENCRYPTED PASSWORD 'hunter2'\nVALID",
        "SELECT dblink('host=x password=hunter2')",
        "SELECT 'postgresql://u:hunter2@host/db' FROM nowhere",
    ],
)
def test_an_error_of_a_statement_does_not_show_a_password(client: sqltrack.Client, sql: str) -> None:
    """The same goes for the driver's error, which is its cause. The reason is still shown."""
    with pytest.raises(SQLTrackError) as caught:
        client.execute(sql)
    told = "".join(traceback.format_exception(caught.type, caught.value, None))
    assert "hunter2" not in told
    assert re.search("syntax error|does not exist|unrecognized role option", str(caught.value))


@pytest.mark.engines("postgres")
def test_an_error_of_a_statement_shows_where_it_is(client: sqltrack.Client) -> None:
    with pytest.raises(SQLTrackError, match=r"LINE 1: SELECT nmae FROM runs"):
        client.execute("SELECT nmae FROM runs")


def test_every_error_has_a_place_in_the_family_and_a_test() -> None:
    assert set(BUILTIN_BASES) == set(errors.__all__)
    for name, base in BUILTIN_BASES.items():
        assert issubclass(getattr(errors, name), base)
        assert issubclass(getattr(errors, name), SQLTrackError)
    raised = {mistake.error for mistake in [*MISTAKES, LOCKED]} | {"AccessDeniedError"}
    raised |= SHOWN_IN_TEST_CLIENT | SHOWN_IN_TEST_CLIENT_ERRORS | SHOWN_IN_TEST_UNAVAILABLE
    raised |= SHOWN_IN_TESTS_OF_COMMANDS | SHOWN_IN_TESTS_OF_OUTBOXES
    assert raised == set(BUILTIN_BASES) - {"SQLTrackError"}


@pytest.mark.parametrize("name", errors.__all__)
def test_the_first_line_of_an_errors_docstring_is_a_message(name: str) -> None:
    assert_reads_as_one_of_ours((getattr(errors, name).__doc__ or "").partition("\n")[0])


def test_an_error_without_a_message_says_what_its_class_stands_for() -> None:
    assert str(errors.NotConnectedError()) == str(errors.NotConnectedError.__doc__)
    assert str(errors.ConfigError("it's 'x'")) == "it's 'x'"


def test_advice_is_kept_apart_from_the_message_whatever_that_holds() -> None:
    error = errors.ConfigError("no file 'a; b'; none at all", "create it; or name another")
    assert error.message == "no file 'a; b'; none at all"
    assert error.advice == "create it; or name another"
    assert str(error) == "no file 'a; b'; none at all; create it; or name another"
    assert errors.ConfigError("no file 'a; b'").advice is None


@pytest.mark.parametrize(
    ("error", "message", "advice"),
    [
        (errors.NotSetUpError(), "the database was not set up for sqltrack", errors.NotSetUpError.ADVICE),
        (errors.MissingRunError(1, "look; again"), "there is no run with id 1", "look; again"),
        (errors.MissingPackageError("a; b", "c", "d"), "a; b requires 'c'", "install it with: pip install d"),
        (errors.ScriptError("a; b.sql", "SELECT 1; 2", "no"), "script 'a; b.sql' failed at 'SELECT 1; 2': no", None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_with_arguments_of_their_own_tell_message_and_advice(
    error: SQLTrackError, message: str, advice: str | None
) -> None:
    assert (error.message, error.advice) == (message, advice)


@pytest.mark.parametrize(
    "error",
    [
        errors.ConfigError("wrong", "right it"),
        errors.MissingPackageError("feature", "package", "it", hint="or not"),
        errors.MissingRunError(5),
        errors.NaiveDatetimeError(datetime(2024, 5, 7)),
        errors.NotConnectedError(),
        errors.ScriptError("a.sql", "SELECT 1", "no", line=3),
        errors.StatementTimeoutError(5.0),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_arrives_whole_in_another_process(error: SQLTrackError) -> None:
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert vars(other) == vars(error)
