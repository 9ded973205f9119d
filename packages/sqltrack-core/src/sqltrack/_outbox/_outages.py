"""Tell which errors mean that a database is away, or temporarily refuses changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqltrack.errors import (
    AccessDeniedError,
    DatabaseError,
    DatabaseLockedError,
    DatabaseUnavailableError,
    DiskFullError,
    NotADatabaseError,
    NotSetUpError,
    ReadOnlyDatabaseError,
)

if TYPE_CHECKING:
    from sqltrack.engines.engine import Engine

__all__ = ["is_outage"]

# Before the first call has succeeded, these mean that the configuration is wrong, or the database not ready.
_LATER = (
    AccessDeniedError,
    DatabaseLockedError,
    DatabaseUnavailableError,
    DiskFullError,
    NotADatabaseError,
    NotSetUpError,
    ReadOnlyDatabaseError,
)


def is_outage(engine: Engine, error: BaseException, *, has_written: bool = True) -> bool:
    """Return whether an error means that the same call may succeed later.

    Args:
        engine: engine of the database.
        error: the error.
        has_written: whether an earlier call has succeeded, or a run was created.
    """
    if not has_written:
        # Without a configured database, a missing server is a mistake.
        return isinstance(error, DatabaseUnavailableError) and error.may_pass and not engine.is_default_target()
    if isinstance(error, _LATER):
        return True
    cause = error.__cause__
    return type(error) is DatabaseError and isinstance(cause, Exception) and engine.may_pass(cause)
