"""Errors of connections that PostgreSQL refuses, or that the client refuses, and connections that succeed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import sqltrack
from plugins.secure_server import PASSWORD, SecureServer
from sqltrack.cli import main
from sqltrack.commands.doctor import examine
from sqltrack.engines.postgres import _connect_errors
from sqltrack.errors import (
    AccessDeniedError,
    ConfigError,
    DatabaseUnavailableError,
    SQLTrackError,
    TooManyConnectionsError,
)
from support.connections import who_connects
from support.password_files import escaped, write_passwords
from support.platforms import needs_posix
from support.refusals import WRONG_OR_EXPIRED, failed, message_of, refusal

pytestmark = needs_posix

PAGE = Path(__file__).parents[2] / "docs" / "authentication.md"


@pytest.fixture
def secure_without_ssl(secure: SecureServer) -> Iterator[SecureServer]:
    """The same server with SSL turned off."""
    with secure.without_ssl():
        yield secure


class Refusal(NamedTuple):
    """Why the server or the client refuses a connection.

    Attributes:
        cls: class of the error.
        reason: pattern of the message from server and libpq.
        advice: our advice.
        user: name of the user.
        parameters: further configuration; CERTIFICATES/ stands for their folder.
    """

    cls: type[SQLTrackError]
    reason: str
    advice: str
    user: str = "alice"
    parameters: dict[str, Any] = {}  # noqa: RUF012


WITHOUT_SSL = r"(no encryption|SSL off)"
WITH_SSL = r"(SSL encryption|SSL on)"
THEN = r", then connection to server at .* failed: "
SIGNED = "its certificate must be valid today, and signed by an authority in the file sslrootcert"
TWO_FILES = "sslcert and sslkey must be the files of a client certificate and its key in PEM format"
BINDING = "channel_binding=require needs SSL, and passwords in the form scram-sha-256"
SSL_AND_KEY = {"sslmode": "require", "sslcert": "CERTIFICATES/certified.pem", "sslkey": "CERTIFICATES/certified.key"}
CLIENT_CERTIFICATE = "name a client certificate of this user and its key with sslcert and sslkey"
ANY_NAME = "set host to a name in the certificate (and hostaddr to the address), or sslmode=verify-ca"
AUTHORITY = "set sslrootcert to the file of the server's authority, or to 'system' for those that the system trusts"

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
        "end other programs that use it, or raise the limit: ALTER ROLE or DATABASE … CONNECTION LIMIT",
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
        "its owner can open it: ALTER DATABASE … ALLOW_CONNECTIONS true",
        parameters={"dbname": "closed"},
    ),
    "a user whom pg_hba.conf rejects": Refusal(
        AccessDeniedError,
        rf"FATAL: pg_hba.conf rejects connection .*{WITH_SSL}{THEN}FATAL: pg_hba.conf rejects .*{WITHOUT_SSL}",
        "the server's administrator has excluded this user, database or host",
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
        "the server's pg_hba.conf must allow this user, database and host, or try sslmode=require",
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
        "make it readable only by you: chmod 600",
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
    """A copy of the server's folder of certificates, with files that are not certificates."""
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
        "leave out user to connect under your operating system name, or connect to host=localhost with a password"
    )


def test_the_page_on_refusals_quotes_the_messages(secure: SecureServer, certificates: Path) -> None:
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


# The program


def configure(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in config.items():
        monkeypatch.setenv(f"SQLTRACK_DSN_{name.upper()}", str(value))


@pytest.mark.parametrize(
    ("parameters", "advice"),
    [
        ({"password": "wr0ng"}, WRONG_OR_EXPIRED),
        ({"password": "wr0ng", "user": "closed_out"}, WRONG_OR_EXPIRED),
        ({"password": "wr0ng", "sslmode": "verify-full"}, AUTHORITY),
        (
            {"dbname": "postgresql://alice:wr0ng@localhost/x"},
            "give host, port, user, dbname and passfile as parameters",
        ),
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


def test_every_advice_is_one_short_sentence() -> None:
    """The reason is one sentence, the advice another, and each fits into a line or two of a terminal."""
    tables = (_connect_errors._WRONG_PARAMETERS, _connect_errors._WRONG_CREDENTIALS, _connect_errors._UNAVAILABLE)
    advices = [advice for table in tables for _, _, advice in table]
    for advice in (*advices, _connect_errors._REFUSED, _connect_errors._NOT_REACHED):
        assert len(advice) <= 105, advice
        assert re.search(r"[;\n]|[.!?]( |$)", advice) is None, advice
