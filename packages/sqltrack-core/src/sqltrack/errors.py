"""The errors that SQLTrack raises, all of them subclasses of `SQLTrackError`.

Some are also a ValueError or a RuntimeError. The first line of a class' docstring is its default message. Attributes
hold the values and the advice of an error, so that callers need not parse its text.
"""

from __future__ import annotations

from typing import Any, TypeVar

__all__ = [
    "AccessDeniedError",
    "ConfigError",
    "ConflictError",
    "DatabaseError",
    "DatabaseLockedError",
    "DatabaseUnavailableError",
    "DiskFullError",
    "MissingExperimentError",
    "MissingPackageError",
    "MissingRunError",
    "NaiveDatetimeError",
    "NotADatabaseError",
    "NotConnectedError",
    "NotFoundError",
    "NotSetUpError",
    "OutboxError",
    "ReadOnlyDatabaseError",
    "SQLTrackError",
    "ScriptError",
    "SlurmError",
    "StatementTimeoutError",
    "TooManyConnectionsError",
    "UnusableValueError",
]


T = TypeVar("T")


class SQLTrackError(Exception):
    """something went wrong in sqltrack

    The text of the error is its message, followed by the advice, if any. Passwords in it are masked.

    Args:
        message: what failed, default: the first line of the class' docstring.
        advice: what to do about it, default: none.

    Attributes:
        message: the message without the advice.
        advice: what to do about it, or None.
    """

    def __init__(self, message: str | None = None, advice: str | None = None) -> None:
        usual = (type(self).__doc__ or "").partition("\n")[0]
        # A value that a message quotes may contain a password, for example if it was given in the wrong place.
        self.message: str = usual if message is None else _masked(message, f"{usual}, and Python is ending")
        self.advice: str | None = None if advice is None else _masked(advice, None)
        super().__init__(self.message if self.advice is None else f"{self.message}; {self.advice}")

    def __reduce__(self) -> tuple[Any, ...]:
        # Without calling the class: its arguments may differ from those of Exception.
        return _restore, (type(self), self.args, self.__dict__)


def _masked(text: str, otherwise: T) -> str | T:
    """Return a text without passwords, or `otherwise` if Python is exiting and can no longer look for them."""
    try:
        from sqltrack._masking import masked_text
    except ImportError:
        return otherwise
    return masked_text(text)


class ConfigError(SQLTrackError, ValueError):
    """the configuration cannot be used"""


class MissingPackageError(SQLTrackError, ModuleNotFoundError):
    """a feature needs a package that is not installed"""

    def __init__(self, feature: str, package: str, install: str, hint: str = "") -> None:
        self.feature = feature
        self.package = package
        advice = f"install it with: pip install {install}"
        super().__init__(f"{feature} requires {package!r}", f"{advice} ({hint})" if hint else advice)


class NotConnectedError(SQLTrackError, RuntimeError):
    """not connected to the database: commit and rollback belong inside 'with client:'"""


class ConflictError(SQLTrackError, ValueError):
    """the request contradicts data in the database"""


class MissingExperimentError(SQLTrackError, ValueError):
    """there is no such experiment"""

    def __init__(self, experiment_id: int, advice: str = "give a name to create it") -> None:
        self.experiment_id = experiment_id
        super().__init__(f"there is no experiment with id {experiment_id!r}", advice)


class MissingRunError(SQLTrackError, ValueError):
    """there is no such run"""

    def __init__(self, run_id: int, advice: str = "give an experiment to create it") -> None:
        self.run_id = run_id
        super().__init__(f"there is no run with id {run_id!r}", advice)


class NotFoundError(SQLTrackError, LookupError):
    """nothing has this name"""


class NaiveDatetimeError(SQLTrackError, ValueError):
    """a datetime without time zone cannot be stored"""

    def __init__(self, value: object) -> None:
        from sqltrack.engines._spelling import quote

        self.value = value
        super().__init__(
            f"a datetime must have a time zone, got {quote(value)}",
            "use datetime.now(timezone.utc), or value.astimezone() if it is in local time",
        )


class UnusableValueError(SQLTrackError, ValueError):
    """a name or value cannot be stored"""


class DatabaseError(SQLTrackError):
    """the database refused a statement

    Raised for driver errors that have no more specific class; the driver's error is its `__cause__`.
    """


class DatabaseUnavailableError(DatabaseError):
    """the database cannot be reached

    Attributes:
        may_pass: whether a retry may help; False if the configuration must be wrong, such as an unknown host.
        is_starting: whether the server was reached, but does not accept connections yet.
    """

    may_pass: bool = True
    is_starting: bool = False


class TooManyConnectionsError(DatabaseUnavailableError):
    """the server has no free connection for this client"""


class DiskFullError(DatabaseError):
    """the database cannot grow: the disk is full, or a quota or file size limit is reached"""


class AccessDeniedError(DatabaseError):
    """the database refuses access to this user"""


class NotADatabaseError(DatabaseError):
    """the file is not a SQLite database"""


class NotSetUpError(DatabaseError):
    """the database was not set up for sqltrack"""

    ADVICE = "set it up with client.setup(), or on the command line with: sqltrack setup"

    def __init__(self, message: str | None = None, advice: str | None = ADVICE) -> None:
        super().__init__(message, advice)


class OutboxError(DatabaseError):
    """an outbox cannot be used"""


class DatabaseLockedError(DatabaseError):
    """another connection has held a lock on the database for too long"""


class ReadOnlyDatabaseError(DatabaseError):
    """the database is read-only"""


class StatementTimeoutError(DatabaseError):
    """a statement exceeded its time limit"""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(
            f"the statement took longer than {seconds:g} s and was cancelled", "ask for less, or raise the time limit"
        )


class ScriptError(DatabaseError):
    """a script failed

    Attributes:
        script: name of the script.
        statement: text of the statement that failed.
        line: line number at which the statement begins, None if it was not determined.
    """

    def __init__(self, script: str, statement: str, reason: object, line: int | None = None) -> None:
        self.script = script
        self.statement = statement
        self.line = line
        place = "" if line is None else f"in line {line} "
        super().__init__(f"script {script!r} failed {place}at {_shorten(statement)!r}: {' '.join(str(reason).split())}")


class SlurmError(SQLTrackError):
    """cannot query sacct"""


def _restore(cls: type[SQLTrackError], args: tuple[Any, ...], attributes: dict[str, Any]) -> SQLTrackError:
    """Rebuild an error from a pickle or a copy."""
    error = cls.__new__(cls, *args)
    error.__dict__.update(attributes)
    return error


def _shorten(text: str, width: int = 200) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
