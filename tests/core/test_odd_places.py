"""A password in a wrong place does not appear in any error, cause, repr or log."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack import Experiment, Run, run_from_env
from sqltrack.commands import setup
from sqltrack.config import config_sources, load_config, load_config_file
from sqltrack.engines import create_engine, has_users
from sqltrack.errors import ConfigError, ConflictError, SQLTrackError, UnusableValueError

PASSWORDS = ["s3cret", "s3 cret", "s3/cret", "s3@cret", "s3'cret", 's3"cret', "s3#cret?x", "s3:cret", "12/cret"]
PARTS = ("s3cret", "s3", "cret")

# Values that contain a password, and can be mistaken for something else.
FORMS: dict[str, Callable[[str], str]] = {
    "url": lambda password: f"postgres://alice:{password}@host/db",
    "url without user": lambda password: f"postgresql://:{password}@host/db",
    "url of another": lambda password: f"mysql+pymysql://alice:{password}@host:3306/db",
    "conninfo": lambda password: f"host=h password={quoted(password)} user=u",
    "spaced conninfo": lambda password: f"user = u password = {quoted(password)}",
    "query": lambda password: f"postgresql://host/db?user=alice&password={password.replace(' ', '+')}",
}


def quoted(value: str) -> str:
    escaped = value.replace("\\", r"\\").replace("'", r"\'")
    return f"'{escaped}'" if escaped != value or " " in value else value


@pytest.fixture
def shown(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Collect all output for users, and check at the end that it contains no part of a password."""
    caplog.set_level(logging.DEBUG)
    texts: list[str] = []
    yield texts
    texts.append(caplog.text)
    assert [text for text in texts if any(part in text for part in PARTS)] == []


def refuse(shown: list[str], call: Callable[[], Any], error: type[Exception] = SQLTrackError) -> None:
    with pytest.raises(error) as info:
        call()
    current: BaseException | None = info.value
    while current is not None:
        # Without the lines of this file.
        shown += [*traceback.format_exception_only(current), str(current), repr(current), repr(current.args)]
        current = current.__cause__ or current.__context__


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["engine", "dbpath", "host", "port", "dbname", "user", "service", "schema"])
def test_a_parameter_does_not_show_the_password_that_it_holds(
    place: str, form: str, password: str, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds for any source of the parameter."""
    value = FORMS[form](password)
    engine = "sqlite" if place == "dbpath" else "postgres"
    refuse(shown, lambda: sqltrack.Client(**{"engine": engine, place: value}), ConfigError)
    refuse(shown, lambda: create_engine({"engine": engine, place: value}), ConfigError)
    monkeypatch.setenv(f"SQLTRACK_DSN_{place.upper()}", value)
    if place == "engine":
        refuse(shown, lambda: has_users({place: value}), ConfigError)
        refuse(shown, lambda: sqltrack.Client(), ConfigError)
    else:
        refuse(shown, lambda: sqltrack.Client(engine=engine), ConfigError)


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("form", FORMS)
def test_a_config_file_that_is_an_address_does_not_show_its_password(
    form: str, password: str, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    value = FORMS[form](password)
    for read in (load_config, load_config_file, config_sources, lambda path: sqltrack.Client(Path(path))):
        refuse(shown, lambda read=read: read(value), ConfigError)  # type: ignore[misc]
    if "postgres" not in value:
        refuse(shown, lambda: sqltrack.Client(value), ConfigError)
    monkeypatch.setenv("SQLTRACK_CONFIG_PATH", value)
    refuse(shown, lambda: sqltrack.Client(), ConfigError)


LINES = ["password {}", "{}", "postgresql://u:{}@h/d", "[{}]", "password = {0}\npassword = {0}", "a = b\n  c\nx{}"]


@pytest.mark.parametrize(
    ("line", "password"),
    # A line that contains only a password with a colon is a name and its value.
    [(line, password) for line in LINES for password in PASSWORDS if ":" not in password or " " in line],
)
def test_a_line_that_cannot_be_read_is_not_shown(line: str, password: str, shown: list[str]) -> None:
    Path("sqltrack.conf").write_text(f"user = a\n{line.format(password)}\n")
    refuse(shown, lambda: sqltrack.Client(), ConfigError)


@pytest.mark.parametrize("form", FORMS)
def test_a_name_that_is_an_address_does_not_show_its_password(form: str, shown: list[str]) -> None:
    value = FORMS[form]("s3cret")
    refuse(shown, lambda: sqltrack.Client(**{value: "x"}), ConfigError)
    refuse(shown, lambda: sqltrack.Client({value: "x"}), ConfigError)


@pytest.mark.parametrize("setting", ["keepalive", "reconnect", "busy_timeout", "synchronous"])
def test_a_setting_does_not_show_the_password_that_it_holds(setting: str, shown: list[str]) -> None:
    for form in FORMS.values():
        refuse(shown, lambda form=form: sqltrack.Client({"engine": "sqlite", setting: form("s3cret")}))  # type: ignore[misc]


@pytest.mark.engines("postgres")
@pytest.mark.parametrize("variable", ["PGDATABASE", "PGHOST", "PGUSER", "PGSERVICE", "PGPORT", "PGOPTIONS"])
def test_a_variable_of_libpq_does_not_show_the_password_that_it_holds(
    variable: str, config: dict[str, Any], shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = {"PGDATABASE": "dbname"}.get(variable, variable.removeprefix("PG").lower())
    monkeypatch.setenv(variable, FORMS["url"]("s3cret"))
    client = sqltrack.Client({key: value for key, value in config.items() if key != name})
    shown += [repr(client), repr(client.engine), client.engine.describe()]
    refuse(shown, lambda: client.execute("SELECT 1"))


def test_an_argument_that_cannot_be_used_does_not_show_the_password_that_it_holds(
    client: sqltrack.Client, run: Run, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    value = FORMS["url"]("s3cret")
    refuse(shown, lambda: Experiment(client, value), UnusableValueError)  # type: ignore[arg-type]
    refuse(shown, lambda: Run(client, 1, value), UnusableValueError)
    refuse(shown, lambda: Run(client, value), UnusableValueError)  # type: ignore[arg-type]
    refuse(shown, lambda: run.add_args(value), UnusableValueError)
    refuse(shown, lambda: run.add_env(["--password=s3cret"]), UnusableValueError)  # type: ignore[arg-type]
    refuse(shown, lambda: run.set_created(value), UnusableValueError)  # type: ignore[arg-type]
    refuse(shown, lambda: run.add_metrics({"loss": 1.0}, step=value), UnusableValueError)  # type: ignore[arg-type]
    refuse(shown, lambda: setup(client, [(value,)]), UnusableValueError)  # type: ignore[list-item]
    other = Experiment(client, name=value)
    refuse(shown, lambda: Experiment(client, other.id, name="b"), ConflictError)
    monkeypatch.setenv("SQLTRACK_EXPERIMENT_ID", value)
    refuse(shown, lambda: run_from_env(client), UnusableValueError)


def test_an_error_masks_what_it_is_told(shown: list[str]) -> None:
    error = SQLTrackError("cannot read redis://:s3cret@host", "try with --token s3cret")
    assert str(error) == "cannot read redis://:***@host; try with --token ***"
    shown += [repr(error), error.message, str(error.advice)]
