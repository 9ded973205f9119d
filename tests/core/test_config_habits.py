"""Unambiguous variants in a configuration are accepted; unknown names are errors that suggest the right name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sqltrack import Client
from sqltrack.config import load_config
from sqltrack.engines import engine_name
from sqltrack.errors import ConfigError

ALONE: list[dict[str, Any]] = [{"dbpath": "x.db"}, {"dbpath": "x.db", "keepalive": 1, "synchronous": "FULL"}]
WITH_SERVER: list[dict[str, Any]] = [
    {"dbpath": "x.db", "host": "example.org"},
    {"dbpath": "x.db", "user": "alice"},
    {"dbpath": "x.db", "sslmode": "require"},
    {"keepalive": 1},
]


@pytest.mark.parametrize("parameters", ALONE)
@pytest.mark.parametrize("how", ["arguments", "dict", "file", "environment"])
def test_a_path_without_an_engine_is_that_of_a_sqlite_file(
    monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any], how: str
) -> None:
    client = _client(monkeypatch, parameters, how)
    assert (client.engine.name, client.config["dbpath"]) == ("sqlite", "x.db")


def _client(monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any], how: str) -> Client:
    if how == "arguments":
        return Client(**parameters)
    if how == "dict":
        return Client(parameters)
    if how == "file":
        Path("sqltrack.conf").write_text("".join(f"{name} = {value}\n" for name, value in parameters.items()))
        return Client()
    for name, value in parameters.items():
        monkeypatch.setenv(f"SQLTRACK_DSN_{name.upper()}", str(value))
    return Client()


@pytest.mark.parametrize("parameters", WITH_SERVER)
def test_a_path_with_a_server_is_ambiguous_and_stays_postgres(parameters: dict[str, Any]) -> None:
    assert (load_config(**parameters)["engine"], engine_name(parameters)) == ("postgres", "postgres")


@pytest.mark.parametrize("engine", ["postgres", "PostgreSQL"])
def test_an_engine_that_is_named_wins_over_a_path(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    monkeypatch.setenv("SQLTRACK_DSN_ENGINE", engine)
    assert load_config(dbpath="x.db")["engine"] == engine
    assert engine_name({"engine": engine, "dbpath": "x.db"}) == "postgres"


VARIABLES = {
    "SQLTRACK_ENGINE": "did you mean 'SQLTRACK_DSN_ENGINE'?",
    "SQLTRACK_DBPATH": "did you mean 'SQLTRACK_DSN_DBPATH'?",
    "SQLTRACK_DB": "did you mean 'SQLTRACK_DSN_DBPATH'?",
    "SQLTRACK_HOST": "did you mean 'SQLTRACK_DSN_HOST'?",
    "SQLTRACK_PASSWORD": "did you mean 'SQLTRACK_DSN_PASSWORD'?",
    "SQLTRACK_RECONNECT": "did you mean 'SQLTRACK_DSN_RECONNECT'?",
    "SQLTRACK_DNS_ENGINE": "did you mean 'SQLTRACK_DSN_ENGINE'?",
    "SQLTRACK_URL": "pass an address as Client('postgresql://…')",
    "SQLTRACK_DSN": "pass an address as Client('postgresql://…')",
    "SQLTRACK_TRACKING_URI": "pass an address as Client('postgresql://…')",
}


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_variable_that_nothing_reads_is_an_error(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "secret value")
    with pytest.raises(ConfigError) as raised:
        Client()
    assert str(raised.value) == f"environment variable {variable!r} is not read; {VARIABLES[variable]}"


@pytest.mark.parametrize(
    "variables",
    [
        {"SQLTRACK_ENGINE": "postgres", "SQLTRACK_DSN_ENGINE": "sqlite"},
        {
            "SQLTRACK_DSN_ENGINE": "sqlite",
            "SQLTRACK_RUN_ID": "3",
            "SQLTRACK_EXPERIMENT_NAME": "x",
            "SQLTRACK_DEBUG": "1",
        },
        {"SQLTRACK_DSN_ENGINE": "sqlite", "SQLTRACK_TEST_SEED": "3", "SQLTRACK_MINE": "x", "MY_ENGINE": "x"},
    ],
)
def test_other_variables_are_left_alone(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Client().engine.name == "sqlite"


def test_slips_in_names_and_capitals_are_understood_or_told(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("sqltrack.conf").write_text("engin = sqlite\n")
    with pytest.raises(
        ConfigError, match="unknown parameter 'engin' in config file 'sqltrack.conf'; did you mean 'engine'"
    ):
        Client()
    Path("sqltrack.conf").write_text("engine = SQLite\n")
    assert Client().engine.name == "sqlite"
    monkeypatch.setenv("SQLTRACK_DSN_ENGNE", "sqlite")
    with pytest.raises(ConfigError, match="'engne' in environment variable SQLTRACK_DSN_ENGNE; did you mean 'engine'"):
        Client()
