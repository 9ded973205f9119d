"""Addresses of PostgreSQL databases hold known parameters, ours among them, and no error shows their passwords."""

from __future__ import annotations

import traceback

import pytest

import sqltrack
from sqltrack.engines.postgres.addresses import address_config
from sqltrack.errors import ConfigError

SIGNS = "hunter2S3cret"


@pytest.mark.parametrize("address", ["postgresql://h/d?{}", "host=h dbname=d {}"])
@pytest.mark.parametrize(
    ("parameter", "meant"),
    [
        ("passwrd=1", "password"),
        ("conect_timeout=1", "connect_timeout"),
        ("shema=a", "schema"),
        ("keepaliv=1", "keepalive"),
        ("mask_nams=a", "mask_names"),
        ("username=a", "user"),
    ],
)
def test_an_unknown_parameter_in_an_address_is_an_error_with_the_nearest(
    address: str, parameter: str, meant: str
) -> None:
    name = parameter.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"unknown parameter '{name}' in the address.*did you mean '{meant}'\?"):
        address_config(address.format(parameter))


@pytest.mark.parametrize("name", ["engine", "dbpath", "busy_timeout"])
def test_what_belongs_to_another_engine_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot hold '{name}'"):
        sqltrack.Client(f"postgresql://h/d?{name}=1")


@pytest.mark.parametrize("separator", ["&", " "])
def test_settings_of_the_client_may_stand_in_an_address(separator: str) -> None:
    parameters = separator.join(["keepalive=1", "reconnect=2", "mask=false", "schema=s", "sslmode=disable"])
    address = f"postgresql://h/d?{parameters}" if separator == "&" else f"host=h dbname=d {parameters}"
    config = address_config(address)
    expected = {"keepalive": "1", "reconnect": "2", "mask": "false", "schema": "s", "sslmode": "disable", "host": "h"}
    assert {**config, **expected} == config


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://u:%zz{SIGNS}@h:1/d",
        f"postgresql://u:{SIGNS}@[::1/db",
        f"postgresql://u:a?{SIGNS}=b@h:x:y/d?q=%zz",
        f"postgresql://u:{SIGNS}@h/d?a%zz=1",
        f"host=h password=a {SIGNS}=b",
        f"host=h password='{SIGNS}",
    ],
)
def test_no_part_of_an_error_has_the_password_of_an_address(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        address_config(address)
    error = caught.value
    shown = [*traceback.format_exception_only(error), repr(error.__context__), repr(error.__cause__), repr(error.args)]
    assert not any(SIGNS in text for text in shown)


@pytest.mark.parametrize("name", ["mask_names", "mask_env_names"])
@pytest.mark.parametrize("value", [5, True, ["a"]])
def test_names_to_mask_are_a_text(client: sqltrack.Client, name: str, value: object) -> None:
    run = sqltrack.Experiment(sqltrack.Client({**client.config, name: value}), name="experiment").get_run()
    with pytest.raises(ConfigError, match=f"{name} must be a text"):
        run.add_env({"A": "b"})


def test_a_client_takes_its_settings_from_an_address() -> None:
    client = sqltrack.Client("postgresql://h/d?keepalive=1")
    assert client.config["keepalive"] == "1"
    with pytest.raises(ConfigError, match="did you mean 'password'"):
        sqltrack.Client("postgresql://h/d?passwrd=1")


def test_a_question_mark_may_be_part_of_a_password() -> None:
    assert "a?b=c" in address_config("postgresql://u:a?b=c@h/d").values()
