"""How users prove to PostgreSQL who they are, and what they are told when it does not work."""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

import sqltrack
from sqltrack import Experiment
from sqltrack.cli import main
from sqltrack.commands import setup
from sqltrack.commands.doctor import examine
from sqltrack.errors import (
    AccessDeniedError,
    ConfigError,
    DatabaseUnavailableError,
    SQLTrackError,
    TooManyConnectionsError,
)
from support.secure_server import PASSWORD, SecureServer, answering_in_german, secure_server

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the server of the tests needs POSIX")

WHO_CONNECTED = """
    SELECT session_user::text, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()
"""

PASSWORDS = {
    "percent": "50%(x)s %s %%",
    "quotes": 'it\'s "quoted"',
    "in_quotes": "'quoted'",
    "blanks": " two  words",
    "backslash": "back\\slash\\'",
    "colon": "a:b=c#d;e@f/g",
    "unicode": "pä ßwörd 密码 🔑",
}

WRONG_OR_EXPIRED = (
    "check user and password, the server says the same of unknown users, and of passwords that have expired "
    "(VALID UNTIL) or were never set"
)
PAGE = Path(__file__).parents[2] / "docs" / "authentication.md"
LINE = "a line HOST:PORT:DBNAME:USER:PASSWORD"


@pytest.fixture(scope="module")
def secure(server_binaries: Path) -> Iterator[SecureServer]:
    """A server that wants passwords, by SCRAM, and has a certificate."""
    with secure_server(server_binaries) as server:
        for name, password in PASSWORDS.items():
            server.create_user(name, password)
        yield server


@pytest.fixture
def secure_without_ssl(secure: SecureServer) -> Iterator[SecureServer]:
    """The same server with SSL turned off."""
    with secure.without_ssl():
        yield secure


def who_connects(config: dict[str, Any]) -> tuple[str, bool]:
    """Return the name of the user that a client connects as, and whether by SSL."""
    name, ssl = sqltrack.Client(config).execute(WHO_CONNECTED).fetchone()
    return name, ssl


def refusal(config: dict[str, Any]) -> SQLTrackError:
    """Return the error that a client gets, after looking for passwords in all that belongs to it."""
    with pytest.raises(SQLTrackError) as info:
        sqltrack.Client(config).execute("SELECT 1")
    assert isinstance(info.value.__cause__, psycopg.Error)
    assert_hides(info.value, str(config.get("password") or PASSWORD))
    return info.value


def assert_hides(error: BaseException, secret: str) -> None:
    """Check that neither an error, nor its causes, nor the variables of sqltrack's functions hold a secret."""
    shown = traceback.format_exception(error)
    current: BaseException | None = error
    while current is not None:
        shown += [str(current), repr(current), repr(current.args)]
        for frame, _ in traceback.walk_tb(current.__traceback__):
            if frame.f_code.co_filename != __file__:
                shown += [repr(value) for value in frame.f_locals.values()]
        current = current.__cause__ or current.__context__
    assert not [text for text in shown if secret in text or repr(secret)[1:-1] in text]


def message_of(config: dict[str, Any], reason: str, advice: str) -> str:
    target = " ".join(f"{name}={config[name]}" for name in ("host", "port", "dbname", "user"))
    where = f'connection to server at "127.0.0.1", port {config["port"]} failed'
    return f"cannot connect to PostgreSQL database {target!r}: {where}: {reason}; {advice}"


def write_passwords(path: Path, line: str, mode: int = 0o600) -> Path:
    path.write_text(line + "\n", encoding="utf-8")
    path.chmod(mode)
    return path


def escaped(password: str) -> str:
    return password.replace("\\", "\\\\").replace(":", "\\:")


# -- where passwords come from ----------------------------------------------------------------------------------------


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
    assert caplog.records
    assert not [
        text for text in (caplog.text, output.out, output.err, repr(client), repr(client.engine)) if wrong in text
    ]


# -- what is refused --------------------------------------------------------------------------------------------------


class Refusal(NamedTuple):
    """Why the server refuses or is refused.

    Attributes:
        cls: class of the error.
        reason: pattern of what server and libpq say.
        advice: what we say.
        user: name of the user.
        parameters: what else is configured; CERTIFICATES/ stands for their folder.
    """

    cls: type[SQLTrackError]
    reason: str
    advice: str
    user: str = "alice"
    parameters: dict[str, Any] = {}  # noqa: RUF012


def failed(user: str) -> str:
    return f'FATAL: password authentication failed for user "{user}"'


WITHOUT_SSL = r"(no encryption|SSL off)"
WITH_SSL = r"(SSL encryption|SSL on)"
THEN = r", then connection to server at .* failed: "
SIGNED = "the server's certificate must be signed by an authority in the file sslrootcert, and be valid today"
TWO_FILES = "sslcert and sslkey must be the files of a client certificate and its key in PEM format"
BINDING = "channel_binding=require needs SSL, and a server that stores and asks for passwords by scram-sha-256"
SSL_AND_KEY = {"sslmode": "require", "sslcert": "CERTIFICATES/certified.pem", "sslkey": "CERTIFICATES/certified.key"}
CLIENT_CERTIFICATE = "name a client certificate of this user and its key with sslcert and sslkey"
ANY_NAME = "host must be a name in the certificate (hostaddr may be the address), sslmode=verify-ca accepts any name"
AUTHORITY = (
    "store the certificate of the authority that signed the server's there, or name another file with sslrootcert "
    "(sslrootcert=system for the authorities that the system trusts)"
)

REFUSALS = {
    "a wrong password": Refusal(AccessDeniedError, failed("alice"), WRONG_OR_EXPIRED, parameters={"password": "wrong"}),
    "a user who does not exist": Refusal(AccessDeniedError, failed("stranger"), WRONG_OR_EXPIRED, "stranger"),
    "a password that has expired": Refusal(AccessDeniedError, failed("expired"), WRONG_OR_EXPIRED, "expired"),
    "a user without a password": Refusal(AccessDeniedError, failed("no_password"), WRONG_OR_EXPIRED, "no_password"),
    "a wrong password where SSL is a must": Refusal(
        AccessDeniedError,
        rf"{failed('only_ssl')}{THEN}FATAL: no pg_hba.conf entry for .*{WITHOUT_SSL}",
        WRONG_OR_EXPIRED,
        "only_ssl",
        {"password": "wrong"},
    ),
    "a role that may not log in": Refusal(
        AccessDeniedError,
        'FATAL: role "closed_out" is not permitted to log in',
        "an administrator can permit it: ALTER ROLE … LOGIN",
        "closed_out",
    ),
    "a role's limit of connections": Refusal(
        TooManyConnectionsError,
        'FATAL: too many connections for role "limited"',
        "end other programs that use it, or have the limit raised: ALTER ROLE or ALTER DATABASE … CONNECTION LIMIT",
        "limited",
        {"reconnect": 0},
    ),
    "a database for others": Refusal(
        AccessDeniedError,
        'FATAL: permission denied for database "private" DETAIL: User does not have CONNECT privilege.',
        "ask its owner for: GRANT CONNECT ON DATABASE",
        parameters={"dbname": "private"},
    ),
    "a closed database": Refusal(
        DatabaseUnavailableError,
        'FATAL: database "closed" is not currently accepting connections',
        "its owner has closed it, and opens it with: ALTER DATABASE … ALLOW_CONNECTIONS true",
        parameters={"dbname": "closed"},
    ),
    "a user whom pg_hba.conf rejects": Refusal(
        AccessDeniedError,
        rf"FATAL: pg_hba.conf rejects connection .*{WITH_SSL}{THEN}FATAL: pg_hba.conf rejects .*{WITHOUT_SSL}",
        "whoever runs the server has excluded this user, database or host",
        "rejected",
    ),
    "a user whom pg_hba.conf does not know": Refusal(
        AccessDeniedError,
        rf"FATAL: no pg_hba.conf entry for .*{WITH_SSL}{THEN}FATAL: no pg_hba.conf entry for .*{WITHOUT_SSL}",
        "the server's pg_hba.conf must allow this user, database and host",
        "nobody else",
    ),
    "no SSL where SSL is a must": Refusal(
        AccessDeniedError,
        rf'FATAL: no pg_hba.conf entry for host "127.0.0.1", user "only_ssl", database "postgres", {WITHOUT_SSL}',
        "the server's pg_hba.conf must allow this user, database and host, perhaps it does with SSL: sslmode=require",
        "only_ssl",
        {"sslmode": "disable"},
    ),
    "verify-full, another authority": Refusal(
        DatabaseUnavailableError,
        "SSL error: certificate verify failed",
        SIGNED,
        parameters={"sslmode": "verify-full", "sslrootcert": "CERTIFICATES/other_authority.pem"},
    ),
    "verify-ca, another authority": Refusal(
        DatabaseUnavailableError,
        "SSL error: certificate verify failed",
        SIGNED,
        parameters={"sslmode": "verify-ca", "sslrootcert": "CERTIFICATES/other_authority.pem"},
    ),
    "verify-full, an authority unknown to the system": Refusal(
        DatabaseUnavailableError, "SSL error: certificate verify failed", SIGNED, parameters={"sslrootcert": "system"}
    ),
    "verify-full, another host": Refusal(
        DatabaseUnavailableError,
        'server certificate for "localhost" does not match host name "db.example.org"',
        ANY_NAME,
        parameters={
            "host": "db.example.org",
            "sslmode": "verify-full",
            "sslrootcert": "CERTIFICATES/authority.pem",
        },
    ),
    "verify-full, no certificate of an authority": Refusal(
        ConfigError,
        r'root certificate file ".*/\.postgresql/root\.crt" does not exist',
        AUTHORITY,
        parameters={"sslmode": "verify-full"},
    ),
    "verify-full, not the file of an authority": Refusal(
        ConfigError,
        r'root certificate file ".*/nowhere\.pem" does not exist',
        AUTHORITY,
        parameters={"sslmode": "verify-full", "sslrootcert": "CERTIFICATES/nowhere.pem"},
    ),
    "verify-full, a file of something else": Refusal(
        ConfigError,
        'could not read root certificate file ".*/authority.key": .*',
        "sslrootcert must be a file of certificates in PEM format",
        parameters={"sslmode": "verify-full", "sslrootcert": "CERTIFICATES/authority.key"},
    ),
    "no client certificate": Refusal(
        AccessDeniedError,
        "FATAL: connection requires a valid client certificate",
        CLIENT_CERTIFICATE,
        "certified",
        {"sslmode": "require"},
    ),
    "no client certificate, and then no SSL": Refusal(
        AccessDeniedError,
        f"FATAL: connection requires a valid client certificate{THEN}FATAL: no pg_hba.conf entry .*{WITHOUT_SSL}",
        CLIENT_CERTIFICATE,
        "certified",
    ),
    "a client certificate of another user": Refusal(
        AccessDeniedError,
        'FATAL: certificate authentication failed for user "certified"',
        "the client certificate (sslcert) must be of this user, by its common name or by pg_ident.conf",
        "certified",
        {"sslmode": "require", "sslcert": "CERTIFICATES/someone.pem", "sslkey": "CERTIFICATES/someone.key"},
    ),
    "the key of another certificate": Refusal(
        ConfigError,
        'could not load private key file ".*/someone.key": .*',
        TWO_FILES,
        "certified",
        {**SSL_AND_KEY, "sslkey": "CERTIFICATES/someone.key"},
    ),
    "a certificate without its key": Refusal(
        ConfigError,
        'certificate present, but not private key file ".*/nowhere.key"',
        TWO_FILES,
        "certified",
        {**SSL_AND_KEY, "sslkey": "CERTIFICATES/nowhere.key"},
    ),
    "a key that others can read": Refusal(
        ConfigError,
        'private key file ".*/loose.key" has group or world access; file must have permissions .*',
        "let nobody else read it: chmod 600",
        "certified",
        {**SSL_AND_KEY, "sslkey": "CERTIFICATES/loose.key"},
    ),
    "channel binding without SSL": Refusal(
        DatabaseUnavailableError,
        "channel binding required, but SSL not in use",
        BINDING,
        parameters={"channel_binding": "require", "sslmode": "disable"},
    ),
    "channel binding with a client certificate": Refusal(
        DatabaseUnavailableError,
        "channel binding required, but server authenticated client without channel binding",
        BINDING,
        "certified",
        {**SSL_AND_KEY, "channel_binding": "require"},
    ),
    "another method than is required": Refusal(
        DatabaseUnavailableError,
        'authentication method requirement "md5" failed: server requested SASL authentication',
        "require_auth must allow what the server asks for",
        parameters={"require_auth": "md5"},
    ),
}


@pytest.fixture
def certificates(secure: SecureServer, tmp_path: Path) -> Path:
    """A copy of the server's folder of certificates, with files that are none."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    for file in secure.certificates.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
        (folder / file.name).chmod(0o600)
    (folder / "authority.key").write_bytes((folder / "certified.key").read_bytes())
    (folder / "loose.key").write_bytes((folder / "certified.key").read_bytes())
    (folder / "loose.key").chmod(0o644)
    return folder


def complete(secure: SecureServer, certificates: Path, user: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a case."""
    paths = {
        name: value.replace("CERTIFICATES", str(certificates)) if isinstance(value, str) else value
        for name, value in parameters.items()
    }
    return secure.config(user, **{"password": PASSWORD, **paths})


@pytest.mark.parametrize("name", REFUSALS)
def test_an_error_says_what_was_refused_and_what_to_do(name: str, secure: SecureServer, certificates: Path) -> None:
    cls, reason, advice, user, parameters = REFUSALS[name]
    config = complete(secure, certificates, user, parameters)
    error = refusal(config)
    assert type(error) is cls
    before, after = message_of(config, "REASON", advice).split("REASON")
    message = str(error)
    assert (message[: len(before)], message[-len(after) :]) == (before, after)
    assert re.fullmatch(reason, message[len(before) : -len(after)])


@pytest.mark.parametrize("name", REFUSALS)
def test_the_doctor_tells_apart_what_was_refused_and_what_to_do(
    name: str, secure: SecureServer, certificates: Path
) -> None:
    _, reason, advice, user, parameters = REFUSALS[name]
    (finding,) = (
        finding
        for finding in examine(sqltrack.Client(complete(secure, certificates, user, parameters)))
        if finding.check == "connection"
    )
    assert (finding.result, finding.advice) == ("problem", advice)
    assert re.search(f"failed: {reason}$", finding.found)


@pytest.mark.parametrize(
    ("user", "parameters", "ssl"),
    [
        ("alice", {"sslmode": "disable"}, False),
        ("alice", {"sslmode": "require"}, True),
        ("alice", {"sslmode": "verify-ca", "sslrootcert": "CERTIFICATES/authority.pem"}, True),
        (
            "alice",
            {"sslmode": "verify-ca", "sslrootcert": "CERTIFICATES/authority.pem", "host": "db.example.org"},
            True,
        ),
        ("alice", {"sslmode": "verify-full", "sslrootcert": "CERTIFICATES/authority.pem"}, True),
        ("alice", {"channel_binding": "require", "require_auth": "scram-sha-256"}, True),
        ("only_ssl", {}, True),
        ("other_scram", {}, True),
        ("certified", {**SSL_AND_KEY, "password": None}, True),
    ],
)
def test_who_can_be_trusted_is_let_in(
    user: str, parameters: dict[str, Any], ssl: bool, secure: SecureServer, certificates: Path
) -> None:
    assert who_connects(complete(secure, certificates, user, parameters)) == (user, ssl)


def test_a_server_without_ssl_is_not_trusted_where_ssl_is_required(secure_without_ssl: SecureServer) -> None:
    config = secure_without_ssl.config("alice", password=PASSWORD)
    advice = "turn SSL on in the server (ssl = on), or do without: sslmode=prefer"
    error = refusal({**config, "sslmode": "require"})
    assert type(error) is DatabaseUnavailableError
    assert str(error) == message_of(config, "server does not support SSL, but SSL was required", advice)
    error = refusal({**config, "channel_binding": "require"})
    assert str(error) == message_of(config, "channel binding required, but SSL not in use", BINDING)
    assert who_connects(config) == ("alice", False)


def test_the_user_of_the_operating_system_counts_where_the_server_asks_for_it(secure: SecureServer) -> None:
    error = refusal(secure.config("peer", host=str(secure.server.socket_dir), hostaddr=None, password=PASSWORD))
    assert type(error) is AccessDeniedError
    assert str(error).endswith(
        'failed: FATAL: Peer authentication failed for user "peer"; '
        "the server asks the operating system who you are, connect as that user, or have it mapped in pg_ident.conf"
    )


def test_the_page_on_refusals_quotes_what_is_said(secure: SecureServer, certificates: Path) -> None:
    errors = [refusal(complete(secure, certificates, case.user, case.parameters)) for case in REFUSALS.values()]
    errors.append(refusal(secure.config("alice")))
    errors.append(refusal(secure.config("peer", host=str(secure.server.socket_dir), hostaddr=None)))
    errors.append(refusal({"engine": "postgres", "service": "nowhere"}))
    with secure.without_ssl():
        errors.append(refusal(secure.config("alice", sslmode="require")))
    rows = re.findall(r"^\| (`.*?) \| (\w+Error) \|", PAGE.read_text(encoding="utf-8"), re.M)
    assert len(rows) > 15
    for message, error_name in rows:
        phrases = re.findall("`([^`]+)`", message)
        named = {type(error).__name__ for error in errors if all(phrase in str(error) for phrase in phrases)}
        assert named == {error_name}, phrases


# -- passwords that are not found -------------------------------------------------------------------------------------

NOT_SUPPLIED = "fe_sendauth: no password supplied"


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
    # The second answer is that to the attempt without SSL.
    expected = message_of(config, reason, WRONG_OR_EXPIRED)
    assert str(refusal(config)) == expected


# -- parameters that make no sense ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "reason", "advice"),
    [
        ({"sslmode": "maybe"}, 'invalid sslmode value: "maybe"', "see the parameters of libpq"),
        ({"channel_binding": "maybe"}, 'invalid channel_binding value: "maybe"', "see the parameters of libpq"),
        ({"port": "70000"}, 'invalid port number: "70000"', "see the parameters of libpq"),
        ({"port": "x"}, 'invalid integer value "x" for connection option "port"', "see the parameters of libpq"),
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
        "postgresql://u:my s3cret@h/d",
        "postgresql://u:s3cret@[h",
    ],
)
def test_a_connection_string_that_cannot_be_read_is_not_quoted(conninfo: str) -> None:
    with pytest.raises(ConfigError) as info:
        sqltrack.Client({"engine": "postgres", "conninfo": conninfo}).execute("SELECT 1")
    assert str(info.value) == (
        "the connection string (conninfo) cannot be understood; "
        "expected 'name=value …', values with blanks in quotes, or a URI"
    )
    assert_hides(info.value, "s3cret")


def test_an_address_in_place_of_a_name_is_an_error_that_does_not_show_its_password(secure: SecureServer) -> None:
    config = secure.config("alice", password=PASSWORD, dbname="postgresql://alice:hush@localhost/postgres")
    with pytest.raises(ConfigError, match="dbname takes the name of a database, give host, port, user") as info:
        sqltrack.Client(config).execute("SELECT 1")
    assert "postgresql://alice:***@localhost/postgres" in str(info.value)
    shown = traceback.format_exception(info.value)
    assert not [text for text in shown if "hush" in text]

    assert "hush" not in repr(sqltrack.Client(config))


@pytest.mark.parametrize("password", ["p\udce4ssword-hush", "hush\0x"])
def test_a_password_that_libpq_cannot_take_is_an_error_that_does_not_show_it(password: str) -> None:
    """It would be cut off, or shown by Python together with all that stands beside it."""
    with pytest.raises(ConfigError, match="parameter 'password' must be text that can be encoded as UTF-8") as info:
        sqltrack.Client({"engine": "postgres", "user": "alice", "password": password})
    assert not [text for text in traceback.format_exception(info.value) if "hush" in text]


# -- servers that speak other languages -------------------------------------------------------------------------------


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


# -- passwords that change --------------------------------------------------------------------------------------------


class Tracker(NamedTuple):
    """A user who tracks runs in a schema of his own, and a client that has his password from a file."""

    name: str
    passfile: Path
    client: sqltrack.Client
    run: sqltrack.Run


@pytest.fixture
def tracker(secure: SecureServer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Tracker]:
    name = "tracker"
    secure.create_user(name, PASSWORD)
    with secure.as_superuser() as connection:
        connection.execute("CREATE SCHEMA tracker AUTHORIZATION tracker")
    passfile = write_passwords(tmp_path / "passwords", f"*:*:*:{name}:{escaped(PASSWORD)}")
    client = sqltrack.Client(secure.config(name, passfile=str(passfile), schema=name))
    setup(client)
    yield Tracker(name, passfile, client, Experiment(client, name="experiment").get_run())
    secure.set_password(name, PASSWORD)
    with secure.as_superuser() as connection:
        connection.execute("DROP OWNED BY tracker CASCADE")
        connection.execute("DROP ROLE tracker")


def stored(secure: SecureServer) -> tuple[list[int], str]:
    """Return the steps and the status of the tracker's run."""
    with secure.as_superuser() as connection:
        steps = [step for (step,) in connection.execute("SELECT step FROM tracker.metrics ORDER BY step")]
        return steps, connection.execute("SELECT status FROM tracker.runs").fetchall()[0][0]


def add_metrics_in_vain(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add metrics, which fails at once: who is refused is so again however often one tries."""
    attempts: list[None] = []
    connect = tracker.client.engine.connect

    def counting() -> Any:
        attempts.append(None)
        return connect()

    with monkeypatch.context() as patch:
        patch.setattr(tracker.client.engine, "connect", counting)
        try:
            tracker.run.add_metrics({"loss": 2.0}, step=2)
        finally:
            # One to write them, one to look for what went wrong. A server that is away is tried for 30 seconds.
            assert 1 <= len(attempts) <= 2


def test_a_password_that_changes_while_a_run_is_tracked_is_a_clear_error_at_once(
    secure: SecureServer,
    tracker: Tracker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(AccessDeniedError) as info, tracker.run.track():
        tracker.run.add_metrics({"loss": 1.0}, step=1)
        secure.set_password(tracker.name, "new")
        add_metrics_in_vain(tracker, monkeypatch)
    assert re.search(r'password authentication failed for user "tracker".*; check user and password', str(info.value))
    assert_hides(info.value, PASSWORD)
    assert stored(secure) == ([1], "RUNNING")
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert re.search(
        r"run 1 ended as .*, which could not be stored: cannot connect to .* password authentic", errors[0]
    )
    assert PASSWORD not in caplog.text


def test_the_programs_own_exception_is_not_hidden_by_a_password_that_changed(
    secure: SecureServer, tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ZeroDivisionError), tracker.run.track():
        secure.set_password(tracker.name, "new")
        raise ZeroDivisionError
    assert stored(secure) == ([], "RUNNING")
    assert "which could not be stored: cannot connect to" in caplog.text


def test_a_run_goes_on_when_the_new_password_is_in_the_password_file(secure: SecureServer, tracker: Tracker) -> None:
    with tracker.run.track():
        tracker.run.add_metrics({"loss": 1.0}, step=1)
        write_passwords(tracker.passfile, f"*:*:*:*:{escaped('new: password')}")
        secure.set_password(tracker.name, "new: password")
        tracker.run.add_metrics({"loss": 2.0}, step=2)
    assert stored(secure) == ([1, 2], "COMPLETED")


def test_a_role_that_is_locked_while_a_run_is_tracked_is_not_tried_again(
    secure: SecureServer, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with secure.as_superuser() as connection, pytest.raises(AccessDeniedError) as info, tracker.run.track():
        connection.execute("ALTER ROLE tracker NOLOGIN")
        secure.set_password(tracker.name, PASSWORD)
        add_metrics_in_vain(tracker, monkeypatch)
    assert str(info.value).endswith("is not permitted to log in; an administrator can permit it: ALTER ROLE … LOGIN")


# -- the program ------------------------------------------------------------------------------------------------------


def configure(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in config.items():
        monkeypatch.setenv(f"SQLTRACK_DSN_{name.upper()}", str(value))


@pytest.mark.parametrize(
    ("parameters", "advice"),
    [
        ({"password": "wr0ng"}, WRONG_OR_EXPIRED),
        ({"password": "wr0ng", "user": "closed_out"}, WRONG_OR_EXPIRED),
        ({"password": "wr0ng", "sslmode": "verify-full"}, AUTHORITY),
        ({"password": "wr0ng", "dbname": "postgresql://alice:wr0ng@localhost/x"}, WRONG_OR_EXPIRED),
        ({"passfile": "PASSFILE"}, "is ignored because others may use it, do: chmod 600 "),
    ],
)
def test_the_program_says_what_to_do_and_shows_no_password(
    parameters: dict[str, str],
    advice: str,
    secure: SecureServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = write_passwords(tmp_path / "passwords", "*:*:*:*:wr0ng", 0o644)
    paths = {name: value.replace("PASSFILE", str(path)) for name, value in parameters.items()}
    configure(secure.config(**{"user": "alice", **paths}), monkeypatch)
    assert main(["doctor"]) == 1
    doctor = capfd.readouterr()
    assert advice in " ".join(doctor.out.split())
    assert main(["doctor", "--json"]) == 1
    assert main(["runs"]) == 1
    assert main(["config"]) == 0
    assert main(["config", "--json"]) == 0
    others = capfd.readouterr()
    assert advice in others.err
    assert not [text for text in (*doctor, *others) if "wr0ng" in text]


def test_the_doctor_is_content_with_a_password_file_and_a_certificate(
    secure: SecureServer, certificates: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_passwords(Path.home() / ".pgpass", f"*:*:*:*:{escaped(PASSWORD)}")
    config = secure.config("alice", sslmode="verify-full", sslrootcert=str(certificates / "authority.pem"))
    configure(config, monkeypatch)
    main(["doctor"])
    output = capfd.readouterr()
    assert re.search(r"connection +PostgreSQL database .* answers after", output.out)
    assert PASSWORD not in output.out + output.err
    assert os.environ["SQLTRACK_DSN_SSLMODE"] == "verify-full"
