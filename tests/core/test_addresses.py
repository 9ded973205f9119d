"""Addresses of PostgreSQL databases may contain known parameters, including ours; errors hide their passwords."""

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
def test_settings_of_another_engine_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot contain '{name}'"):
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
def test_names_to_mask_are_a_text(engine_name: str, name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be a text"):
        sqltrack.Client({"engine": engine_name, name: value})


def test_a_client_takes_its_settings_from_an_address() -> None:
    client = sqltrack.Client("postgresql://h/d?keepalive=1")
    assert client.config["keepalive"] == "1"
    with pytest.raises(ConfigError, match="did you mean 'password'"):
        sqltrack.Client("postgresql://h/d?passwrd=1")


def test_a_question_mark_may_be_part_of_a_password() -> None:
    assert "a?b=c" in address_config("postgresql://u:a?b=c@h/d").values()


@pytest.mark.parametrize("signs", ["x@hunter2S3cret", "x/hunter2S3cret", "12/hunter2S3cret", "a/b@hunter2S3cret"])
@pytest.mark.parametrize("address", ["postgresql://u:{}@h:1/d", "postgres://:{}@h", "PostgreSQL://u:{}@h,i/d?user=v"])
def test_a_password_whose_signs_are_not_escaped_is_refused(address: str, signs: str) -> None:
    """libpq would take a part of it for the host or the database, which messages show."""
    with pytest.raises(ConfigError, match=r"write @ as %40, / as %2F") as caught:
        sqltrack.Client(address.format(signs))
    assert SIGNS not in "".join(traceback.format_exception_only(caught.value))


@pytest.mark.parametrize("address", ["postgresql://u:{}/d", "postgres://u:{}", "postgres://h:1,i:{}/d"])
def test_an_address_that_lacks_its_host_does_not_show_the_password_as_a_port(address: str) -> None:
    with pytest.raises(ConfigError, match="where libpq expects no password") as caught:
        sqltrack.Client(address.format(SIGNS))
    assert SIGNS not in "".join(traceback.format_exception_only(caught.value))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("postgresql://u:x%40y%2Fz@h/d", {"user": "u", "password": "x@y/z", "host": "h", "dbname": "d"}),
        ("postgresql://u:a:b@[::1]:5,h:6,i/d", {"password": "a:b", "host": "::1,h,i", "port": "5,6,"}),
        ("postgresql://%2Frun%2Fa:5/d?user=a@b", {"host": "/run/a", "port": "5", "user": "a@b"}),
        ("postgresql:///d?host=@/run/a", {"host": "@/run/a"}),
    ],
)
def test_other_addresses_mean_what_libpq_makes_of_them(address: str, expected: dict[str, str]) -> None:
    config = address_config(address)
    assert {**config, **expected} == config


@pytest.mark.parametrize("name", ["host", "hostaddr", "port", "user"])
def test_a_parameter_that_is_a_part_of_an_address_with_a_password_is_refused(name: str) -> None:
    value = {"host": f"{SIGNS}@h", "hostaddr": f"{SIGNS}@::1", "port": SIGNS, "user": f"u:{SIGNS}"}[name]
    with pytest.raises(ConfigError, match=f"{name} takes .*, got an address or a password") as caught:
        sqltrack.Client(engine="postgres", **{name: value})
    assert SIGNS not in "".join(traceback.format_exception_only(caught.value))
