"""What PostgreSQL's errors mean to users of SQLTrack."""

from __future__ import annotations

import re

import psycopg

from sqltrack._masking import MASK, holds_secret
from sqltrack.engines.postgres._connect_errors import translate_connect_error
from sqltrack.engines.postgres._connection import SilentServerError
from sqltrack.engines.schema import TABLES
from sqltrack.errors import (
    AccessDeniedError,
    ConfigError,
    DatabaseError,
    DatabaseLockedError,
    DatabaseUnavailableError,
    DiskFullError,
    NotSetUpError,
    ReadOnlyDatabaseError,
    SQLTrackError,
    TooManyConnectionsError,
    UnusableValueError,
)

__all__ = ["translate_error", "without_excerpt"]

# The line of a statement in which its error is, and a mark below.
_EXCERPT = re.compile(r"\nLINE \d+: .*(?:\n *\^)?")

# The word of a statement at which the server's parser gave up.
_NEAR = re.compile(r'(?<= at or near ").*(?=")')

# What libpq says of connection strings that it cannot read.
_UNREADABLE = re.compile(r"connection info string|percent-encoded| URI\b")
_UNREADABLE_MESSAGE = "the connection string (conninfo) cannot be understood"


def translate_error(error: Exception, target: str) -> SQLTrackError:
    """Return the SQLTrackError for a psycopg error about the database that `target` describes."""
    state = getattr(error, "sqlstate", None) or ""
    _hide_secrets(error)
    message = " ".join(str(error).split())
    if isinstance(error, SilentServerError):
        message = f"{target} did not answer for {error.seconds:.3g} s, so the connection was given up"
        return DatabaseUnavailableError(message, "the server, or the network in between, hangs")
    if not state and isinstance(error, psycopg.OperationalError):
        return translate_connect_error(error, target)
    if not state and isinstance(error, psycopg.ProgrammingError) and "connection option" in message:
        return ConfigError(message, "see the parameters of libpq, and of sqltrack's PostgreSQL engine")
    if not state and isinstance(error, psycopg.ProgrammingError) and _UNREADABLE.search(message):
        # What it says, what came before it and its frames hold what may be a password, and it stays the cause of ours.
        error.__context__ = error.__traceback__ = None
        error.args = (_UNREADABLE_MESSAGE,)
        return ConfigError(_UNREADABLE_MESSAGE, "expected 'name=value …', values with blanks in quotes, or a URI")
    # Whatever it is, such as a full disk below its log: the server ends, and starts again if it can.
    if isinstance(error, psycopg.Error) and error.diag.severity_nonlocalized == "PANIC":
        return DatabaseUnavailableError(f"{target} has crashed: {message}")
    if state == "3F000" or (state == "42P01" and _is_our_table(message) and not _is_unnamed_table(error)):
        return NotSetUpError(f"{target} has no sqltrack tables")
    if state == "42501" or state.startswith("28"):
        return AccessDeniedError(f"{target} refuses access: {message}")
    if state == "25006":
        return ReadOnlyDatabaseError(f"{target} can only be read: {message}")
    if state == "55P03":
        return DatabaseLockedError(f"{target}: somebody holds a lock for too long: {message}")
    if state == "53100":
        return DiskFullError(f"{target}: the server's disk is full: {message}")
    if state == "54000" and "index row" in message:
        return UnusableValueError(f"{target}: a name or kind is too long: {message}")
    if state == "53300":
        return TooManyConnectionsError(f"{target} has no connection left: {message}")
    if state.startswith(("08", "57P")) or state == "3D000":
        return DatabaseUnavailableError(f"{target} cannot be used: {message}")
    return DatabaseError(f"{target}: {message}")


def _hide_secrets(error: Exception) -> None:
    """Take the statement out of an error that shows the part of it where it sets a password, such as that of a role."""
    text = str(error)
    excerpt = _EXCERPT.search(text)
    if excerpt is not None and holds_secret(excerpt[0]):
        error.args = (_NEAR.sub(MASK, without_excerpt(text)),)


def without_excerpt(message: str) -> str:
    """Return what PostgreSQL says about a statement without the part of it, perhaps of a password, that it shows."""
    return _EXCERPT.sub("", message)


def _is_our_table(message: str) -> bool:
    return any(name.rpartition(".")[2] in TABLES for name in re.findall(r'"([^"]+)"', message))


def _is_unnamed_table(error: Exception) -> bool:
    """Return whether a table is missing in the FROM clause of a statement, not in the database."""
    return isinstance(error, psycopg.Error) and error.diag.source_function == "errorMissingRTE"
