"""What PostgreSQL's errors mean to users of SQLTrack."""

from __future__ import annotations

import re

import psycopg

from sqltrack.errors import (
    AccessDeniedError,
    ConfigError,
    DatabaseError,
    DatabaseLockedError,
    DatabaseUnavailableError,
    NotSetUpError,
    ReadOnlyDatabaseError,
    SQLTrackError,
)

__all__ = ["translate_error", "without_excerpt"]

# libpq's own advice, on a line of its own; ours says more.
_LIBPQ_QUESTION = re.compile(r"\n\s*Is the server running .*\?")

# The line of a statement in which its error is, and a mark below.
_EXCERPT = re.compile(r"\nLINE \d+: .*(?:\n *\^)?")

_TABLES = frozenset({"experiments", "experiment_links", "runs", "run_links", "metrics"})

# While connecting there is no SQLSTATE, only what libpq and the server say (in English, before a locale is known).
_CONNECT_ADVICE: tuple[tuple[str, type[SQLTrackError], str], ...] = (
    (r"authentication failed|no password supplied", AccessDeniedError, "check user and password (or passfile)"),
    (r"no pg_hba\.conf entry", AccessDeniedError, "the server's pg_hba.conf must allow this user, database and host"),
    (r"permission denied for database", AccessDeniedError, "ask its owner for: GRANT CONNECT ON DATABASE"),
    (r'role ".*" does not exist', AccessDeniedError, "create it, the command 'sqltrack create' prints how"),
    (r'database ".*" does not exist', DatabaseUnavailableError, "create it, the command 'sqltrack create' prints how"),
    (
        r"too many (clients|connections)|connection slots",
        DatabaseUnavailableError,
        "raise max_connections, or use a pooler",
    ),
    (r"", DatabaseUnavailableError, "check host and port and whether it runs; or choose SQLite with engine=sqlite"),
)


def translate_error(error: Exception, target: str) -> SQLTrackError:
    """Return the SQLTrackError for a psycopg error about the database that `target` describes."""
    state = getattr(error, "sqlstate", None) or ""
    message = _one_line(_LIBPQ_QUESTION.sub("", str(error)))
    if not state and isinstance(error, psycopg.OperationalError):
        return _connection_error(message, target)
    if not state and isinstance(error, psycopg.ProgrammingError) and "connection option" in message:
        return ConfigError(f"{message}; see the parameters of libpq, and of sqltrack's PostgreSQL engine")
    if state == "3F000" or (state == "42P01" and _is_our_table(message)):
        return NotSetUpError(f"{target} has no sqltrack tables; {NotSetUpError.ADVICE}")
    if state == "42501" or state.startswith("28"):
        return AccessDeniedError(f"{target} refuses access: {message}")
    if state == "25006":
        return ReadOnlyDatabaseError(f"{target} can only be read: {message}")
    if state == "55P03":
        return DatabaseLockedError(f"{target}: somebody holds a lock for too long: {message}")
    if state.startswith(("08", "57P")) or state in ("53300", "3D000"):
        return DatabaseUnavailableError(f"{target} cannot be used: {message}")
    return DatabaseError(f"{target}: {message}")


def without_excerpt(message: str) -> str:
    """Return what PostgreSQL says about a statement without the part of it, perhaps of a password, that it shows."""
    return _EXCERPT.sub("", message)


def _connection_error(message: str, target: str) -> SQLTrackError:
    cls, advice = next((cls, advice) for pattern, cls, advice in _CONNECT_ADVICE if re.search(pattern, message))
    return cls(f"cannot connect to {target}: {message}; {advice}")


def _is_our_table(message: str) -> bool:
    return any(name.rpartition(".")[2] in _TABLES for name in re.findall(r'"([^"]+)"', message))


def _one_line(text: str) -> str:
    return " ".join(text.split())
