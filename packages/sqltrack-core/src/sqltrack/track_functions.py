"""Track a run with one call, which creates tables, experiment and run as needed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqltrack import _updates
from sqltrack._arguments import as_client, as_optional_text, as_row_id, as_text
from sqltrack._creation import NewId, create_run, get_or_create_run
from sqltrack._descriptions import describe
from sqltrack._logging import announce
from sqltrack._times import Timestamp, times_to_set
from sqltrack.client import Client
from sqltrack.engines._foreign import UNKNOWN, attempt, is_instance
from sqltrack.engines._spelling import quote
from sqltrack.errors import DatabaseError, DatabaseLockedError, DatabaseUnavailableError, UnusableValueError
from sqltrack.experiment import Experiment
from sqltrack.run import Run

if TYPE_CHECKING:
    from sqltrack._outbox._outbox import Outbox

__all__ = ["start", "track"]

# Runs that this process has taken from the environment, by database and id. The next call creates another run.
_taken: set[tuple[str, int]] = set()


# Ends the line about a run that begins in the outbox.
_LATER = ", which is away; the run waits in the outbox"


class _Target(NamedTuple):
    """Names and ids from the arguments or the environment, None where neither has one.

    Attributes:
        experiment_id: id of the experiment.
        name: name of the experiment.
        run_id: id of the run, or the environment variable that holds it.
    """

    experiment_id: int | None
    name: str | None
    run_id: int | str | None


class _Tracked(contextlib.AbstractContextManager[Run]):
    """The `with` block of `track`, whose attribute errors explain how to get the run."""

    def __init__(self, block: contextlib.AbstractContextManager[Run]) -> None:
        self._block = block

    def __enter__(self) -> Run:
        return self._block.__enter__()

    def __exit__(self, *exception: Any) -> bool | None:
        return self._block.__exit__(*exception)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            advice = "" if name.startswith("_") else "; use: with sqltrack.track(…) as run: or run = sqltrack.start(…)"
            raise AttributeError(f"sqltrack.track has no attribute {name!r}{advice}", name=name, obj=self)


def track(
    experiment: str | int | Experiment | None = None,
    *,
    args: Any = "auto",
    env: Literal["auto"] | Mapping[str, Any] | None = "auto",
    tags: str | Iterable[str] = (),
    comment: str | None = None,
    client: Client | None = None,
    run_id: int | str | None = None,
    normal: str = "COMPLETED",
    exception: str = "FAILED",
    interrupt: str = "CANCELLED",
    terminated: str = "CANCELLED",
    started: Timestamp = "auto",
    updated: Timestamp = "auto",
) -> contextlib.AbstractContextManager[Run]:
    """Create a run and track it in a `with` block, which returns the run.

    If the database has no tables yet, they are created. One line names the run and its database, on stderr, or in the
    log if the program has configured logging.

    Unless you give `run_id`, the environment variables that `run_from_env` reads win over `experiment`. The first call
    of a process takes the run that SQLTRACK_RUN_ID names; later calls create new runs in the same experiment.

    Args:
        experiment: name of the experiment, which is created if it does not exist, or id of an existing one; may be None
            if the environment or `run_id` names the run.
        args: arguments of the run; "auto" (default) detects those of the script, or stores none if that fails; None
            stores none; see `run_add_args`.
        env: environment of the run; "auto" (default) is that of this process; None stores none; see `run_add_env`.
        tags: tags to add: one str, or several in an iterable.
        comment: comment to set, default: none.
        client: client to use, default: a new one, for the configured database.
        run_id: id of a run to resume, which is created if it does not exist; a str names the environment variable that
            holds the id; default: a new run.
        normal: status if the block ends normally, as in `Run.track`.
        exception: status if it ends with an exception.
        interrupt: status if it ends with KeyboardInterrupt.
        terminated: status if SIGTERM arrives.
        started: value for `time_started`; see `run_set_started`.
        updated: value for `time_updated`, at start and stop; see `run_set_updated`.

    Raises:
        UnusableValueError: (a ValueError) neither argument nor environment names the experiment, or an argument has
            the wrong type.
        ConflictError: (a ValueError) the run belongs to another experiment.
        NotSetUpError: the database has no tables, and this user cannot create them.
        DatabaseError: the database cannot be reached, or refuses a statement.
    """
    # Checked before the run exists, so that an error leaves none behind.
    _check(started, updated, normal=normal, exception=exception, interrupt=interrupt, terminated=terminated)

    @contextlib.contextmanager
    def block() -> Iterator[Run]:
        run, line = _begin(experiment, client, run_id, args, env, tags, comment)
        with run.track(normal, exception, interrupt, terminated, started, updated):
            announce("track", line)
            yield run

    return _Tracked(block())


def start(
    experiment: str | int | Experiment | None = None,
    *,
    args: Any = "auto",
    env: Literal["auto"] | Mapping[str, Any] | None = "auto",
    tags: str | Iterable[str] = (),
    comment: str | None = None,
    client: Client | None = None,
    run_id: int | str | None = None,
    terminated: str = "CANCELLED",
    started: Timestamp = "auto",
    updated: Timestamp = "auto",
) -> Run:
    """Create a run, start it and return it, for notebooks and callbacks, where a `with` block does not fit.

    Call `Run.stop` at the end. If you do not, the run gets its status when Python exits, see `Run.start`.

    Args:
        experiment: as in `track`, like all arguments up to `run_id`.
        args: arguments of the run.
        env: environment of the run.
        tags: tags to add.
        comment: comment to set.
        client: client to use.
        run_id: id of a run to resume.
        terminated: status if SIGTERM arrives before `Run.stop`.
        started: value for `time_started`; see `run_set_started`.
        updated: value for `time_updated`; see `run_set_updated`.

    Raises:
        SQLTrackError: see `track`.
    """
    _check(started, updated, terminated=terminated)
    run, line = _begin(experiment, client, run_id, args, env, tags, comment)
    run.start(terminated, started, updated)
    announce("track", line)
    return run


def _check(started: Any, updated: Any, **statuses: Any) -> None:
    times_to_set(time_started=started, time_updated=updated)
    for name, status in statuses.items():
        as_text(status, name)


def _begin(
    experiment: Any, client: Client | None, run_id: int | str | None, args: Any, env: Any, tags: Any, comment: Any
) -> tuple[Run, str]:
    """Return a described run, and a line that names it; if a part fails, nothing is stored."""
    tags, comment = _as_tags(tags), as_optional_text(comment, "comment")
    client = _client_for(experiment, client)
    target = _find_target(client, experiment, run_id)
    if target.experiment_id is not None:
        target = target._replace(experiment_id=client._session.real_experiment_id(target.experiment_id))
    description = describe(client, args, env, tags, comment)
    new_id = None if client._session.outbox is None else NewId()
    run, created = client._session.create(
        lambda: _begin_directly(client, target, description, new_id),
        lambda outbox, reason: (_begin_later(client, outbox, target, description, new_id, reason), _LATER),
    )
    if target.run_id == _updates.RUN_VARIABLE:
        _taken.add((client.engine.describe(), run.id))
    name = run.experiment_id if target.name is None else target.name
    return run, f"run {run.id} of experiment {name!r} in {client.engine.describe()}{created}"


def _begin_directly(
    client: Client, target: _Target, description: Mapping[str, Any], new_id: NewId | None
) -> tuple[Run, str]:
    """Return a run in the database, and a note on tables that were created for it."""
    run = _begin_at_once(client, target, description, new_id)
    if run is not None:
        return run, ""
    run, has_created_tables = _begin_anew(client, target, description)
    return run, ", whose tables were created just now" if has_created_tables else ""


def _begin_at_once(client: Client, target: _Target, description: Mapping[str, Any], new_id: NewId | None) -> Run | None:
    """Return a new run of an existing experiment, created without a transaction; None if more is needed."""
    if target.run_id is not None or None not in (target.experiment_id, target.name) or client._session.is_at_work:
        return None
    experiment_id, name, _ = target
    try:
        return Run._find(
            client,
            lambda connection: create_run(client.engine, connection, experiment_id, name, description, new_id),
        )
    except (DatabaseLockedError, DatabaseUnavailableError):
        raise
    except DatabaseError:
        # Most likely the tables are missing. Otherwise the next attempt fails as well.
        return None


def _begin_anew(client: Client, target: _Target, description: Mapping[str, Any]) -> tuple[Run, bool]:
    """Return a run, created with all that it needs, and whether that includes the tables."""
    # Imported here because programs that track runs in another way do not need it.
    from sqltrack.commands.setup import create_missing_tables

    run_id, experiment_id = _updates.as_run_id(target.run_id), target.experiment_id
    with client:
        client._session.let_linger()
        has_created_tables = create_missing_tables(client)
        if experiment_id is not None or target.name is not None:
            experiment_id = Experiment(client, experiment_id, target.name).id
        run = Run._find(
            client,
            lambda connection: get_or_create_run(client.engine, connection, experiment_id, run_id, description),
        )
    assert run is not None
    return run, has_created_tables


def _begin_later(
    client: Client,
    outbox: Outbox,
    target: _Target,
    description: Mapping[str, Any],
    new_id: NewId | None,
    reason: DatabaseError | None,
) -> Run:
    """Return a run in the outbox, which is created with all that it needs once the outage is over."""
    run_id, experiment_id = _updates.as_run_id(target.run_id), target.experiment_id
    outbox.begin_database(reason)
    if experiment_id is not None or target.name is not None:
        experiment_id = outbox.begin_experiment(experiment_id, target.name, reason)
    return Run._of(client, outbox.begin_run(experiment_id, run_id, description, reason, new_id))


def _as_tags(tags: Any) -> list[str]:
    given = UNKNOWN if is_instance(tags, (bytes, int)) else attempt(list, [tags] if is_instance(tags, str) else tags)
    if given is UNKNOWN:
        raise UnusableValueError(f"tags must be texts, such as ['baseline'], got {quote(tags)}")
    return list(_updates.tags_dict(given))


def _client_for(experiment: Any, client: Client | None) -> Client:
    """Return the client to use: the given one, that of the experiment, or a new one for the configured database.

    Raises:
        UnusableValueError: it is not a client, or the experiment belongs to another database.
    """
    if client is not None:
        as_client(client)
    if not is_instance(experiment, Experiment):
        return Client() if client is None else client
    if client is not None and client.engine.describe() != experiment.client.engine.describe():
        raise UnusableValueError(
            f"the experiment belongs to {experiment.client.engine.describe()}, client to {client.engine.describe()}"
        )
    return as_client(experiment.client) if client is None else client


def _find_target(client: Client, experiment: Any, run_id: int | str | None) -> _Target:
    """Return the names and ids that arguments and environment give for the run.

    Raises:
        UnusableValueError: there are none, or they are not names and ids.
    """
    if run_id is not None:
        return _Target(*_as_experiment(experiment), run_id)
    experiment_id, name = _updates.experiment_from_env()
    if experiment_id is None and name is None:
        experiment_id, name = _as_experiment(experiment)
    if _updates.RUN_VARIABLE in os.environ:
        key = client.engine.describe(), _updates.id_from_env(_updates.RUN_VARIABLE)
        run_id = None if key in _taken else _updates.RUN_VARIABLE
    if experiment_id is None and name is None and run_id is None:
        raise UnusableValueError("a run needs an experiment, got none", "name it, as in track('digits')")
    return _Target(experiment_id, name, run_id)


def _as_experiment(experiment: Any) -> tuple[int | None, str | None]:
    """Return id and name of an experiment, None for the one that was not given."""
    if experiment is None:
        return None, None
    if is_instance(experiment, str):
        return None, as_text(experiment, "experiment")
    if is_instance(experiment, Experiment):
        return experiment.id, None
    try:
        return as_row_id(experiment, "experiment"), None
    except UnusableValueError:
        raise UnusableValueError(f"experiment must be a name or an id, got {quote(experiment)}") from None
