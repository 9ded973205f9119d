"""The errors that SQLTrack raises, all below `SQLTrackError`.

An error that is also a ValueError or a RuntimeError inherits from both. The first line of a class' docstring is its
message if none is given. Attributes say what an error is about and what to do, so a caller need not read its text.
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

    The text of the error is its message, followed by the advice if there is any. Passwords in it are masked.

    Args:
        message: what went wrong, default: the first line of the class' docstring.
        advice: what to do about it, default: none.

    Attributes:
        message: what went wrong, without the advice.
        advice: what to do about it, None if there is no advice.
    """

    def __init__(self, message: str | None = None, advice: str | None = None) -> None:
        usual = (type(self).__doc__ or "").partition("\n")[0]
        # Whatever a message quotes may have been given in place of something else, and be or hold a password.
        self.message: str = usual if message is None else _masked(message, f"{usual}, and Python is ending")
        self.advice: str | None = None if advice is None else _masked(advice, None)
        super().__init__(self.message if self.advice is None else f"{self.message}; {self.advice}")

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by calling the class, whose arguments may be others than those of Exception.
        return _restore, (type(self), self.args, self.__dict__)


def _masked(text: str, otherwise: T) -> str | T:
    """Return a text without passwords, and `otherwise` when Python is ending and nothing tells where those are."""
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
    """what was asked for contradicts what the database holds"""


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
    """there is nothing of that name"""


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

    Raised for driver errors without a more precise class; the driver's own error is its `__cause__`.
    """


class DatabaseUnavailableError(DatabaseError):
    """the database cannot be reached

    Attributes: `may_pass` is False if the configuration must be wrong, as with a host that has no address;
    `is_starting` tells that the server is there, and will serve soon.
    """

    may_pass: bool = True
    is_starting: bool = False


class TooManyConnectionsError(DatabaseUnavailableError):
    """the server has no connection left for this client"""


class DiskFullError(DatabaseError):
    """the database cannot grow: its disk is full, or a quota or a limit of the size of files is reached"""


class AccessDeniedError(DatabaseError):
    """the database refuses access to this user"""


class NotADatabaseError(DatabaseError):
    """the file is no SQLite database"""


class NotSetUpError(DatabaseError):
    """the database was not set up for sqltrack"""

    ADVICE = "set it up with client.setup(), or on the command line with: sqltrack setup"

    def __init__(self, message: str | None = None, advice: str | None = ADVICE) -> None:
        super().__init__(message, advice)


class OutboxError(DatabaseError):
    """an outbox cannot be used"""


class DatabaseLockedError(DatabaseError):
    """somebody else holds a lock on the database for too long"""


class ReadOnlyDatabaseError(DatabaseError):
    """the database can only be read"""


class StatementTimeoutError(DatabaseError):
    """a statement took longer than it may"""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(
            f"the statement took longer than {seconds:g} s and was ended", "ask for less, or allow it more"
        )


class ScriptError(DatabaseError):
    """a script failed

    Attributes: `script` is its name, `statement` the text of the statement that failed, `line` the number of the line
    in which that begins, None if it was not asked for.
    """

    def __init__(self, script: str, statement: str, reason: object, line: int | None = None) -> None:
        self.script = script
        self.statement = statement
        self.line = line
        place = "" if line is None else f"in line {line} "
        super().__init__(f"script {script!r} failed {place}at {_shorten(statement)!r}: {' '.join(str(reason).split())}")


class SlurmError(SQLTrackError):
    """sacct cannot be asked"""


def _restore(cls: type[SQLTrackError], args: tuple[Any, ...], attributes: dict[str, Any]) -> SQLTrackError:
    """Make an error again that was pickled or copied."""
    error = cls.__new__(cls, *args)
    error.__dict__.update(attributes)
    return error


def _shorten(text: str, width: int = 200) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
