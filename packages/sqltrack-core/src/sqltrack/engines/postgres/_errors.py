"""Translate PostgreSQL's errors into SQLTrack's."""

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

# The erroneous line of a statement, and the mark below it.
_EXCERPT = re.compile(r"\nLINE \d+: .*(?:\n *\^)?")

# The word of a statement at which the server's parser failed.
_NEAR = re.compile(r'(?<= at or near ").*(?=")')

# Classes of SQLSTATE and states after which a new connection is needed: connection exceptions, operator intervention,
# missing databases, and sessions that the server has ended because their transactions took too long.
_LOST = ("08", "57P", "3D000", "25P03", "25P04")

# libpq's messages about connection strings that it cannot parse.
_UNREADABLE = re.compile(r"connection info string|percent-encoded| URI\b")
_UNREADABLE_MESSAGE = "cannot parse the connection string (conninfo)"


def translate_error(error: Exception, target: str) -> SQLTrackError:
    """Return the SQLTrackError for a psycopg error about the database that `target` describes."""
    state = getattr(error, "sqlstate", None) or ""
    _hide_secrets(error)
    message = " ".join(str(error).split())
    if isinstance(error, SilentServerError):
        message = f"{target} did not answer for {error.seconds:.3g} s, so the connection was closed"
        return DatabaseUnavailableError(message, "another transaction holds a lock, or the server or the network hangs")
    if not state and isinstance(error, psycopg.OperationalError):
        return translate_connect_error(error, target)
    if not state and isinstance(error, psycopg.ProgrammingError) and "connection option" in message:
        return ConfigError(message, "see the parameters of libpq, and of sqltrack's PostgreSQL engine")
    if not state and isinstance(error, psycopg.ProgrammingError) and _UNREADABLE.search(message):
        # It stays the cause of ours, but its message, context and frames may hold a password.
        error.__context__ = error.__traceback__ = None
        error.args = (_UNREADABLE_MESSAGE,)
        return ConfigError(_UNREADABLE_MESSAGE, "expected 'name=value …', values with blanks in quotes, or a URI")
    # On any PANIC, such as a full disk for the WAL, the server crashes and restarts if it can.
    if isinstance(error, psycopg.Error) and error.diag.severity_nonlocalized == "PANIC":
        return DatabaseUnavailableError(f"{target} has crashed: {message}")
    if state == "3F000" or (state == "42P01" and _is_our_table(message) and not _is_unnamed_table(error)):
        return NotSetUpError(f"{target} has no sqltrack tables")
    if state == "42501" or state.startswith("28"):
        return AccessDeniedError(f"{target} refuses access: {message}")
    if state == "25006" or _has_no_new_ids(error):
        return ReadOnlyDatabaseError(f"{target} is read-only: {message}")
    if state == "55P03":
        return DatabaseLockedError(f"{target}: another transaction holds a lock for too long: {message}")
    if state == "53100":
        return DiskFullError(f"{target}: the server's disk is full: {message}")
    if state == "54000" and "index row" in message:
        return UnusableValueError(f"{target}: a name or kind is too long: {message}")
    if state == "53300":
        return TooManyConnectionsError(f"{target} has no connection left: {message}")
    if state.startswith(_LOST):
        return DatabaseUnavailableError(f"{target} cannot be used: {message}")
    return DatabaseError(f"{target}: {message}")


def _hide_secrets(error: Exception) -> None:
    """Remove the excerpt of a statement from an error if it sets a password, for example of a role."""
    text = str(error)
    excerpt = _EXCERPT.search(text)
    if excerpt is not None and holds_secret(excerpt[0]):
        error.args = (_NEAR.sub(MASK, without_excerpt(text)),)


def without_excerpt(message: str) -> str:
    """Return a message of PostgreSQL without its excerpt of the statement, which may contain a password."""
    return _EXCERPT.sub("", message)


def _is_our_table(message: str) -> bool:
    return any(name.rpartition(".")[2] in TABLES for name in re.findall(r'"([^"]+)"', message))


def _has_no_new_ids(error: Exception) -> bool:
    """Return whether the server refuses changes until it was vacuumed, so that its transaction ids do not repeat."""
    functions = ("GetNewTransactionId", "GetNewMultiXactId")
    return isinstance(error, psycopg.Error) and error.diag.source_function in functions


def _is_unnamed_table(error: Exception) -> bool:
    """Return whether a table is missing from the FROM clause of a statement, not from the database."""
    return isinstance(error, psycopg.Error) and error.diag.source_function == "errorMissingRTE"
