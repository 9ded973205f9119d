"""Invalid connection parameters are errors that show no password."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import psycopg
import pytest

import sqltrack
from plugins.secure_server import PASSWORD, SecureServer
from sqltrack.errors import ConfigError
from support.platforms import needs_posix
from support.refusals import assert_hides, refusal

pytestmark = needs_posix
refuses_blanks = pytest.mark.skipif(psycopg.pq.version() < 180000, reason="this libpq accepts blanks in URIs")


@pytest.mark.parametrize(
    ("parameters", "reason", "advice"),
    [
        ({"sslmode": "maybe"}, 'invalid sslmode value: "maybe"', "see the parameters of libpq"),
        ({"channel_binding": "maybe"}, 'invalid channel_binding value: "maybe"', "see the parameters of libpq"),
        ({"port": "70000"}, 'invalid port number: "70000"', "see the parameters of libpq"),
        ({"port": "1-"}, 'invalid integer value "1-" for connection option "port"', "see the parameters of libpq"),
        (
            {"sslmode": "require", "sslrootcert": "system"},
            'weak sslmode "require" may not be used with sslrootcert=system (use "verify-full")',
            "see the parameters of libpq",
        ),
        (
            {"service": "nowhere"},
            'definition of service "nowhere" not found',
            "services are defined in ~/.pg_service.conf, or in the file that PGSERVICEFILE names",
        ),
    ],
)
def test_a_parameter_that_cannot_be_used_is_an_error_of_the_configuration(
    parameters: dict[str, Any], reason: str, advice: str
) -> None:
    error = refusal({"engine": "postgres", "host": "127.0.0.1", "port": "1", "password": PASSWORD, **parameters})
    assert type(error) is ConfigError
    assert str(error).endswith(f"': {reason}; {advice}")


def test_a_service_file_that_is_not_there_or_broken_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "services"
    monkeypatch.setenv("PGSERVICEFILE", str(path))
    config = {"engine": "postgres", "service": "tracking"}
    before, after = (
        "cannot connect to PostgreSQL database 'service=tracking': ",
        "; services are defined in ~/.pg_service.conf, or in the file that PGSERVICEFILE names",
    )
    assert str(refusal(config)) == f'{before}service file "{path}" not found{after}'
    path.write_text(f"[tracking]\n{PASSWORD}\n", encoding="utf-8")
    assert str(refusal(config)) == f'{before}syntax error in service file "{path}", line 2{after}'


@pytest.mark.parametrize(
    "conninfo",
    [
        "host=x password=my s3cret",
        "host=x password='my s3cret",
        "postgresql://u:my%zzs3cret@h/d",
        pytest.param("postgresql://u:my s3cret@h/d", marks=refuses_blanks),
        "postgresql://u:s3cret@[h",
    ],
)
def test_a_connection_string_that_cannot_be_read_is_not_quoted(conninfo: str) -> None:
    with pytest.raises(ConfigError) as info:
        sqltrack.Client({"engine": "postgres", "conninfo": conninfo}).execute("SELECT 1")
    assert str(info.value) == (
        "cannot parse the connection string (conninfo); expected 'name=value …', values with blanks in quotes, or a URI"
    )
    assert_hides(info.value, "s3cret")


def test_an_address_in_place_of_a_name_is_an_error_that_does_not_show_its_password(secure: SecureServer) -> None:
    config = secure.config("alice", password=PASSWORD, dbname="postgresql://alice:hush@localhost/postgres")
    with pytest.raises(ConfigError, match="dbname takes the name of a database, got an address.*; give host") as info:
        sqltrack.Client(config)
    shown = traceback.format_exception(info.value)
    assert not [text for text in shown if "hush" in text]


@pytest.mark.parametrize("password", ["p\udce4ssword-hush", "hush\0x"])
def test_a_password_that_libpq_cannot_take_is_an_error_that_does_not_show_it(password: str) -> None:
    """Otherwise it would be cut off, or Python would show it with the other parameters."""
    with pytest.raises(ConfigError, match="parameter 'password' must be text that can be encoded as UTF-8") as info:
        sqltrack.Client({"engine": "postgres", "user": "alice", "password": password})
    assert not [text for text in traceback.format_exception(info.value) if "hush" in text]
