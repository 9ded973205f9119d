"""Passwords are found wherever users store them, and missing or wrong ones are recognized in any language."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from plugins.secure_server import PASSWORD, SecureServer, answering_in_german
from sqltrack.errors import AccessDeniedError, DatabaseUnavailableError, SQLTrackError
from support.connections import WHO_CONNECTED, who_connects
from support.password_files import escaped, write_passwords
from support.platforms import needs_posix
from support.refusals import WRONG_OR_EXPIRED, assert_hides, failed, message_of, refusal

pytestmark = needs_posix

PASSWORDS = {
    "percent": "50%(x)s %s %%",
    "quotes": 'it\'s "quoted"',
    "in_quotes": "'quoted'",
    "blanks": " two  words",
    "backslash": "back\\slash\\'",
    "colon": "a:b=c#d;e@f/g",
    "unicode": "pä ßwörd 密码 🔑",
}

LINE = "a line HOST:PORT:DBNAME:USER:PASSWORD"

NOT_SUPPLIED = "fe_sendauth: no password supplied"


@pytest.fixture(scope="module")
def secure(secure: SecureServer) -> SecureServer:
    """The server, with a user for each of these passwords."""
    for name, password in PASSWORDS.items():
        secure.create_user(name, password)
    return secure


# Sources of passwords


def by_argument(config: dict[str, Any], password: str, monkeypatch: pytest.MonkeyPatch) -> sqltrack.Client:
    return sqltrack.Client(config, password=password)


def by_config_file(config: dict[str, Any], password: str, monkeypatch: pytest.MonkeyPatch) -> sqltrack.Client:
    lines = [f"{name} = {value}" for name, value in config.items()]
    Path("sqltrack.conf").write_text("\n".join([*lines, f"password = '{password}'"]), encoding="utf-8")
    return sqltrack.Client()


def by_variable(config: dict[str, Any], password: str, monkeypatch: pytest.MonkeyPatch) -> sqltrack.Client:
    for name, value in {**config, "password": password}.items():
        monkeypatch.setenv(f"SQLTRACK_DSN_{name.upper()}", str(value))
    return sqltrack.Client()


def by_variable_of_libpq(config: dict[str, Any], password: str, monkeypatch: pytest.MonkeyPatch) -> sqltrack.Client:
    monkeypatch.setenv("PGPASSWORD", password)
    return sqltrack.Client(config)


def by_passfile(config: dict[str, Any], password: str, monkeypatch: pytest.MonkeyPatch) -> sqltrack.Client:
    path = write_passwords(Path("my passwords"), f"localhost:{config['port']}:*:{config['user']}:{escaped(password)}")
    return sqltrack.Client(config, passfile=str(path))


def by_passfile_variable(config: dict[str, Any], password: str, monkeypatch: pytest.MonkeyPatch) -> sqltrack.Client:
    path = write_passwords(Path("others"), f"*:*:postgres:{config['user']}:{escaped(password)}")
    monkeypatch.setenv("PGPASSFILE", str(path))
    return sqltrack.Client(config)


def by_default_passfile(config: dict[str, Any], password: str, monkeypatch: pytest.MonkeyPatch) -> sqltrack.Client:
    write_passwords(Path.home() / ".pgpass", f"*:*:*:someone:wrong\n*:*:*:*:{escaped(password)}")
    return sqltrack.Client(config)


def by_service(config: dict[str, Any], password: str, monkeypatch: pytest.MonkeyPatch) -> sqltrack.Client:
    parameters = {name: value for name, value in config.items() if name != "engine"}
    write_service(Path.home() / ".pg_service.conf", **parameters, password=password)
    return sqltrack.Client(service="tracking")


def by_service_variable(config: dict[str, Any], password: str, monkeypatch: pytest.MonkeyPatch) -> sqltrack.Client:
    parameters = {name: value for name, value in config.items() if name != "engine"}
    write_service(Path("services"), **parameters)
    monkeypatch.setenv("PGSERVICEFILE", "services")
    monkeypatch.setenv("PGSERVICE", "tracking")
    return by_default_passfile({}, password, monkeypatch)


def write_service(path: Path, **parameters: Any) -> None:
    lines = [f"{name}={value}" for name, value in parameters.items()]
    path.write_text("\n".join(["[tracking]", *lines]) + "\n", encoding="utf-8")


WAYS: list[Callable[[dict[str, Any], str, pytest.MonkeyPatch], sqltrack.Client]] = [
    by_argument,
    by_config_file,
    by_variable,
    by_variable_of_libpq,
    by_passfile,
    by_passfile_variable,
    by_default_passfile,
    by_service,
    by_service_variable,
]


@pytest.mark.parametrize("user", PASSWORDS)
@pytest.mark.parametrize("way", WAYS)
def test_every_password_opens_the_database_however_it_is_given(
    way: Callable[[dict[str, Any], str, pytest.MonkeyPatch], sqltrack.Client],
    user: str,
    secure: SecureServer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    password = PASSWORDS[user]
    client = way(secure.config(user), password, monkeypatch)
    assert client.execute(WHO_CONNECTED).fetchone() == (user, True)
    assert password not in repr(client)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("way", WAYS)
def test_a_wrong_password_is_not_shown_however_it_is_given(
    way: Callable[[dict[str, Any], str, pytest.MonkeyPatch], sqltrack.Client],
    secure: SecureServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "psycopg")
    wrong = "wr0ng: 100% pä\\ß"
    client = way(secure.config("alice"), wrong, monkeypatch)
    with pytest.raises(
        AccessDeniedError, match='password authentication failed for user "alice".*; check user'
    ) as info:
        client.execute("SELECT 1")
    assert_hides(info.value, wrong)
    output = capfd.readouterr()
    assert not [
        text for text in (caplog.text, output.out, output.err, repr(client), repr(client.engine)) if wrong in text
    ]


# Missing passwords


def test_a_missing_password_is_an_error_that_names_the_file_to_put_it_into(secure: SecureServer) -> None:
    config = secure.config("alice")
    path = str(Path.home() / ".pgpass")
    advice = f"add {LINE} to the password file {path!r}, which cannot be read: No such file or directory"
    error = refusal(config)
    assert type(error) is AccessDeniedError
    assert str(error) == message_of(config, NOT_SUPPLIED, advice)


def test_a_password_file_of_others_passwords_is_named(secure: SecureServer, tmp_path: Path) -> None:
    path = write_passwords(tmp_path / "mine", f"*:*:*:bob:{escaped(PASSWORD)}")
    config = secure.config("alice", passfile=str(path))
    advice = f"the password file {str(path)!r} has no password for this host, port, dbname and user, add {LINE}"
    assert str(refusal(config)) == message_of(config, NOT_SUPPLIED, advice)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_password_file_that_others_may_use_is_ignored_and_the_error_says_so(
    mode: int, secure: SecureServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_passwords(tmp_path / "my file", f"*:*:*:*:{escaped(PASSWORD)}", mode)
    config = secure.config("alice", passfile=str(path))
    advice = f"the password file {str(path)!r} is ignored because others may use it, do: chmod 600 '{path}'"
    assert str(refusal(config)) == message_of(config, NOT_SUPPLIED, advice)
    assert "has group or world access" in capfd.readouterr().err
    path.chmod(0o600)
    assert who_connects(config) == ("alice", True)


def test_a_password_file_must_be_a_file(secure: SecureServer, tmp_path: Path) -> None:
    config = secure.config("alice", passfile=str(tmp_path))
    advice = f"the password file {str(tmp_path)!r} must be a plain file"
    assert str(refusal(config)) == message_of(config, NOT_SUPPLIED, advice)


def test_a_wrong_password_of_a_file_is_an_error_that_names_the_file(secure: SecureServer, tmp_path: Path) -> None:
    path = write_passwords(tmp_path / "mine", "*:*:*:*:wrong")
    config = secure.config("alice", passfile=str(path))
    reason = f'{failed("alice")} password retrieved from file "{path}"'
    # The second answer is for the attempt without SSL.
    expected = message_of(config, reason, WRONG_OR_EXPIRED)
    assert str(refusal(config)) == expected


# Servers with other languages


def german_refusal(state: str, message: str, *, asks_for_password: bool, **parameters: Any) -> SQLTrackError:
    with answering_in_german(state, message, asks_for_password=asks_for_password) as port:
        return refusal(
            {"engine": "postgres", "host": "127.0.0.1", "port": port, "user": "alice", "dbname": "db", **parameters}
        )


def test_a_server_that_answers_in_unknown_words_is_not_taken_for_one_that_is_down() -> None:
    error = german_refusal("53300", "tut mir leid, schon zu viele Verbindungen", asks_for_password=False)
    assert type(error) is DatabaseUnavailableError
    assert str(error).endswith(
        "failed: FATAL: tut mir leid, schon zu viele Verbindungen; "
        "the server runs, but refuses the connection for the reason that it gives"
    )


def test_a_missing_password_is_known_whatever_the_language() -> None:
    error = german_refusal("28P01", "wird nicht gesagt", asks_for_password=True)
    assert type(error) is AccessDeniedError
    assert f"{NOT_SUPPLIED}; add {LINE} to the password file " in str(error)


def test_a_wrong_password_of_a_file_is_known_whatever_the_language(tmp_path: Path) -> None:
    path = write_passwords(tmp_path / "mine", "*:*:*:*:wrong")
    message = "Passwort-Authentifizierung fehlgeschlagen"
    error = german_refusal("28P01", message, asks_for_password=True, passfile=str(path))
    assert type(error) is AccessDeniedError
    assert str(error).endswith(
        f'FATAL: {message} password retrieved from file "{path}"; check user and password in that file'
    )


def test_the_error_of_a_copied_client_says_that_pickle_leaves_the_password_out(secure: SecureServer) -> None:
    client = sqltrack.Client(secure.config("alice", password=PASSWORD))
    copied = pickle.loads(pickle.dumps(client))  # noqa: S301
    with pytest.raises(AccessDeniedError, match="loses its password when it is pickled"):
        copied.execute("SELECT 1")
    assert copy.deepcopy(client).execute("SELECT 1").fetchall() == [(1,)]
