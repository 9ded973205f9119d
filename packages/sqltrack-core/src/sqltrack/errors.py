"""The errors that SQLTrack raises, all below `SQLTrackError`.

Where the document promises a ValueError or RuntimeError the class inherits both. The first line of a class'
docstring is its message if none is given. What an error is about is kept in attributes, so that a caller need
not read the message.
"""

from __future__ import annotations

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
    "NotSetUpError",
    "ReadOnlyDatabaseError",
    "SQLTrackError",
    "ScriptError",
    "StatementTimeoutError",
    "TooManyConnectionsError",
    "UnusableValueError",
]


class SQLTrackError(Exception):
    """something went wrong in sqltrack"""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class ConfigError(SQLTrackError, ValueError):
    """the configuration cannot be used"""


class MissingPackageError(SQLTrackError, ImportError):
    """a feature needs a package that is not installed"""

    def __init__(self, feature: str, package: str, install: str, hint: str = "") -> None:
        self.feature = feature
        self.package = package
        message = f"{feature} requires {package!r}; install it with: pip install {install}"
        super().__init__(f"{message} ({hint})" if hint else message)


class NotConnectedError(SQLTrackError, RuntimeError):
    """not connected to the database: commit and rollback belong inside 'with client:'"""


class ConflictError(SQLTrackError, ValueError):
    """what was asked for contradicts what the database holds"""


class MissingExperimentError(SQLTrackError, ValueError):
    """there is no such experiment"""

    def __init__(self, experiment_id: int, advice: str = "give a name to create it") -> None:
        self.experiment_id = experiment_id
        super().__init__(f"there is no experiment with id {experiment_id!r}; {advice}")


class MissingRunError(SQLTrackError, ValueError):
    """there is no such run"""

    def __init__(self, run_id: int, advice: str = "give an experiment to create it") -> None:
        self.run_id = run_id
        super().__init__(f"there is no run with id {run_id!r}; {advice}")


class NaiveDatetimeError(SQLTrackError, ValueError):
    """a datetime without time zone cannot be stored"""

    def __init__(self, value: object) -> None:
        self.value = value
        super().__init__(
            f"a datetime must have a time zone, got {value!r}; "
            "use datetime.now(timezone.utc), or value.astimezone() if it is in local time"
        )


class UnusableValueError(SQLTrackError, ValueError):
    """a name or value cannot be stored"""


class DatabaseError(SQLTrackError):
    """the database refused a statement

    Raised for driver errors without a more precise class; the driver's own error is its `__cause__`.
    """


class DatabaseUnavailableError(DatabaseError):
    """the database cannot be reached"""


class TooManyConnectionsError(DatabaseUnavailableError):
    """the server has no connection left for this client"""


class DiskFullError(DatabaseError):
    """the database cannot grow: its disk is full, or a quota or a limit of the size of files is reached"""


class AccessDeniedError(DatabaseError):
    """the database refuses access to this user"""


class NotADatabaseError(DatabaseError):
    """the file is no SQLite database"""


class NotSetUpError(DatabaseError):
    """the database was not set up for sqltrack

    What to do: call `sqltrack.commands.setup(client)`, or run `sqltrack setup`.
    """

    ADVICE = "set it up with sqltrack.commands.setup(client), or on the command line with: sqltrack setup"


class DatabaseLockedError(DatabaseError):
    """somebody else holds a lock on the database for too long"""


class ReadOnlyDatabaseError(DatabaseError):
    """the database can only be read"""


class StatementTimeoutError(DatabaseError):
    """a statement took longer than it may"""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"the statement took longer than {seconds:g} s and was ended; ask for less, or allow it more")


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


def _shorten(text: str, width: int = 200) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
