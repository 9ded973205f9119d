"""Translate errors of connecting to PostgreSQL, with advice."""

from __future__ import annotations

import re
import shlex

import psycopg

from sqltrack._masking import masked_text
from sqltrack.engines.postgres._passwords import advise_on_password_file
from sqltrack.errors import (
    AccessDeniedError,
    ConfigError,
    DatabaseUnavailableError,
    SQLTrackError,
    TooManyConnectionsError,
)

__all__ = ["is_answer", "translate_connect_error"]

# Text that psycopg puts before the message, and advice of libpq after it; ours is better.
_UNWANTED = re.compile(
    r"^connection (?:failed|is bad): (?!$)|\n\s*Is the server running .*\?|\nEither provide the file\b.*", re.M
)

# libpq writes two blanks after the severity, a word in the server's language.
_SERVER_ANSWER = re.compile(r"(?:^|failed: )[^\s:][^:\n]*:  ", re.M)

_Advice = tuple[str, type[SQLTrackError], str]

# While connecting there is no SQLSTATE, only messages of libpq, in English, and of the server, perhaps in English. With
# sslmode=prefer there may be two messages, so the more specific patterns come first.
_WRONG_PARAMETERS: tuple[_Advice, ...] = (
    (
        r"definition of service|service file",
        ConfigError,
        "services are defined in ~/.pg_service.conf, or in the file that PGSERVICEFILE names",
    ),
    (
        r"root certificate file .* does not exist",
        ConfigError,
        "set sslrootcert to the file of the server's authority, or to 'system' for those that the system trusts",
    ),
    (r"could not read root certificate file", ConfigError, "sslrootcert must be a file of certificates in PEM format"),
    (r"private key file .* has group or world access", ConfigError, "make it readable only by you: chmod 600"),
    (
        r"private key file|could not (?:open|read) certificate file",
        ConfigError,
        "sslcert and sslkey must be the files of a client certificate and its key in PEM format",
    ),
    (
        r"^weak sslmode|^invalid \w+ value|^invalid .*\bport\b|^could not match",
        ConfigError,
        "see the parameters of libpq",
    ),
    (
        r'database "[^"]*://.*" does not exist',
        ConfigError,
        "dbname takes the name of a database, give host, port, user and passfile as parameters of their own",
    ),
)

_WRONG_CREDENTIALS: tuple[_Advice, ...] = (
    (
        r"(?:Peer|Ident) authentication failed",
        AccessDeniedError,
        "leave out user to connect under your operating system name, or connect to host=localhost with a password",
    ),
    (
        r"certificate authentication failed",
        AccessDeniedError,
        "the client certificate (sslcert) must be of this user, by its common name or by pg_ident.conf",
    ),
    (
        r"requires a valid client certificate",
        AccessDeniedError,
        "name a client certificate of this user and its key with sslcert and sslkey",
    ),
    (
        r"password authentication failed",
        AccessDeniedError,
        "check user and password (a user that does not exist and an expired password look the same)",
    ),
    # Servers translate their messages, but libpq adds this one, for wrong passwords only.
    (r"password retrieved from file", AccessDeniedError, "check user and password in that file"),
    (r"authentication failed", AccessDeniedError, "check user and password"),
    (r"is not permitted to log in", AccessDeniedError, "an administrator can permit it: ALTER ROLE … LOGIN"),
    (r'role "([^"]*)" does not exist', AccessDeniedError, "create it as shown by: sqltrack create --user {}"),
    (r"no such user", AccessDeniedError, "the pooler must know this user, by its auth_file or auth_query"),
    (r"pg_hba\.conf rejects", AccessDeniedError, "the server's administrator has excluded this user, database or host"),
    (
        r"^(?!.*SSL (?:encryption|on)\b).*no pg_hba\.conf entry",
        AccessDeniedError,
        "the server's pg_hba.conf must allow this user, database and host, or try sslmode=require",
    ),
    (r"no pg_hba\.conf entry", AccessDeniedError, "the server's pg_hba.conf must allow this user, database and host"),
    (r"permission denied for database", AccessDeniedError, "ask its owner for: GRANT CONNECT ON DATABASE"),
)

_NOT_REACHED = "check host and port and whether it runs, or choose SQLite: sqltrack init --engine sqlite"

# Errors that a retry does not help with.
_WRONG_SERVER: tuple[_Advice, ...] = (
    (
        r"certificate verify failed",
        DatabaseUnavailableError,
        "its certificate must be valid today, and signed by an authority in the file sslrootcert",
    ),
    (
        r"server certificate for .* does not match host name",
        DatabaseUnavailableError,
        "set host to a name in the certificate (and hostaddr to the address), or sslmode=verify-ca",
    ),
    (
        r"server does not support SSL",
        DatabaseUnavailableError,
        "turn SSL on in the server (ssl = on), or do without: sslmode=prefer",
    ),
    (
        r"channel binding",
        DatabaseUnavailableError,
        "channel_binding=require needs SSL, and passwords in the form scram-sha-256",
    ),
    (
        r"authentication method requirement",
        DatabaseUnavailableError,
        "require_auth must allow what the server asks for",
    ),
    (r"failed to resolve host", DatabaseUnavailableError, _NOT_REACHED),
    (
        r'database "([^"]*)" does not exist',
        DatabaseUnavailableError,
        "create it as shown by: sqltrack create --dbname {}",
    ),
    (
        r"not currently accepting connections",
        DatabaseUnavailableError,
        "its owner can open it: ALTER DATABASE … ALLOW_CONNECTIONS true",
    ),
)

_STARTING = r"the database system is"

_UNAVAILABLE: tuple[_Advice, ...] = (
    (
        r"too many connections for (?:role|database)",
        TooManyConnectionsError,
        "end other programs that use it, or raise the limit: ALTER ROLE or DATABASE … CONNECTION LIMIT",
    ),
    (r"max_client_conn", TooManyConnectionsError, "raise max_client_conn in the pooler"),
    (
        r"too many (?:clients|connections)|connection slots|no more connections allowed",
        TooManyConnectionsError,
        "raise max_connections, or use a pooler",
    ),
    # The connection queue of the Unix socket is full.
    (r"Resource temporarily unavailable", TooManyConnectionsError, "raise max_connections, or use a pooler"),
    (_STARTING, DatabaseUnavailableError, "try again when the server has started"),
)

_REFUSED = "the server runs, but refuses the connection for the reason that it gives"


def translate_connect_error(error: psycopg.OperationalError, target: str) -> SQLTrackError:
    """Return the SQLTrackError for a failed connection to the database `target`."""
    text = _UNWANTED.sub("", str(error))
    # Show equal answers, with SSL and without, only once.
    answers = "\n".join(dict.fromkeys(text.splitlines())).replace("\nconnection to", ", then connection to")
    message = " ".join(answers.split())
    cls, advice = _find_advice(error, text, message)
    # It stays the cause of ours. Its frames hold the parameters with the password, and some tools show variables.
    error.__traceback__ = None
    error.args = (masked_text(str(error)),)
    translated = cls(f"cannot connect to {target}: {message}", advice)
    if isinstance(translated, DatabaseUnavailableError):
        translated.may_pass = not any(re.search(pattern, message) for pattern, _, _ in _WRONG_SERVER)
        translated.is_starting = re.search(_STARTING, message) is not None
    return translated


def is_answer(error: psycopg.OperationalError) -> bool:
    """Return whether the server or a pooler answered and refused the connection."""
    return _SERVER_ANSWER.search(_UNWANTED.sub("", str(error))) is not None


def _find_advice(error: psycopg.OperationalError, text: str, message: str) -> tuple[type[SQLTrackError], str]:
    if error.pgconn is not None and error.pgconn.needs_password:
        return AccessDeniedError, advise_on_password_file(error.pgconn)
    for pattern, cls, advice in _WRONG_PARAMETERS + _WRONG_CREDENTIALS + _WRONG_SERVER + _UNAVAILABLE:
        if match := re.search(pattern, message):
            return cls, advice.format(shlex.quote(match[1])) if match.groups() else advice
    # An unknown message may mean too many connections, so that a retry may help.
    return DatabaseUnavailableError, _REFUSED if _SERVER_ANSWER.search(text) else _NOT_REACHED
