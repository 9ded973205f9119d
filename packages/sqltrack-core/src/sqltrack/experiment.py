"""Experiments: named groups of runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sqltrack import _updates
from sqltrack._arguments import as_client, as_optional_text, as_row_id, as_text
from sqltrack._creation import get_or_create_experiment
from sqltrack.client import Client
from sqltrack.engines._foreign import is_instance
from sqltrack.engines._spelling import quote
from sqltrack.engines.json import jsonb
from sqltrack.errors import UnusableValueError
from sqltrack.run import Run

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "Experiment",
    "experiment_add_link",
    "experiment_add_tags",
    "experiment_remove_link",
    "experiment_remove_tags",
    "experiment_set_comment",
    "experiment_set_name",
    "experiment_set_tags",
    "run_from_env",
]

_TABLE = "experiments"
_LINKS = "experiment_links"


class Experiment:
    """An experiment in the database, which is created if no experiment has this name.

    All methods except `get_run` return the experiment itself, so you can chain calls.

    Args:
        client: client to use.
        experiment_id: id of the experiment; may be None if `name` is given.
        name: name of the experiment; may be None if `experiment_id` is given.

    Attributes:
        client: the client.
        id: the experiment's id. During an outage this is a new id, which is kept unless the database turns out to have
            an experiment of this name.

    Raises:
        ValueError: neither id nor name is given, or they belong to different experiments (ConflictError), or no
            experiment has this id and no name is given to create it with (MissingExperimentError).
    """

    def __init__(self, client: Client, experiment_id: int | None = None, name: str | None = None) -> None:
        if is_instance(client, str):
            raise UnusableValueError(
                f"client must be a Client, got {quote(client)}", f"use: Experiment(client, name={quote(client)})"
            )
        self.client: Client = as_client(client)
        if experiment_id is None and name is None:
            raise UnusableValueError("an experiment needs an id or a name, got neither")
        if experiment_id is not None:
            experiment_id = _as_experiment_id(experiment_id)
        if name is not None:
            name = as_text(name, "name")
        engine, session = client.engine, client._session
        if experiment_id is not None:
            experiment_id = session.real_experiment_id(experiment_id)
        self.id: int = session.create(
            lambda: session.ask(lambda connection: get_or_create_experiment(engine, connection, experiment_id, name)),
            lambda outbox, reason: outbox.begin_experiment(experiment_id, name, reason),
        )

    # Hidden from type checkers, which find wrong names themselves.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            from sqltrack._habits import missing_attribute

            raise missing_attribute(self, name)

    def __repr__(self) -> str:
        return f"Experiment(id={self.id!r})"

    def add_link(self, kind: str, to_id: int) -> Self:
        """Add a link to another experiment; see `experiment_add_link`."""
        experiment_add_link(self.client, self.id, kind, to_id)
        return self

    def add_tags(self, *tags: str) -> Self:
        """Add tags; see `experiment_add_tags`."""
        experiment_add_tags(self.client, self.id, *tags)
        return self

    def get_run(self, run_id: int | str | None = None) -> Run:
        """Return a run of this experiment, which is created if it does not exist.

        Args:
            run_id: id of the run; a str names the environment variable that holds it; default: a new run.
        """
        return Run(self.client, self.id, run_id)

    def remove_link(self, kind: str, to_id: int) -> Self:
        """Remove a link to another experiment; see `experiment_remove_link`."""
        experiment_remove_link(self.client, self.id, kind, to_id)
        return self

    def remove_tags(self, *tags: str) -> Self:
        """Remove tags; see `experiment_remove_tags`."""
        experiment_remove_tags(self.client, self.id, *tags)
        return self

    def set_comment(self, comment: str | None) -> Self:
        """Set the comment; see `experiment_set_comment`."""
        experiment_set_comment(self.client, self.id, comment)
        return self

    def set_name(self, name: str) -> Self:
        """Set the name; see `experiment_set_name`."""
        experiment_set_name(self.client, self.id, name)
        return self

    def set_tags(self, *tags: str) -> Self:
        """Replace the tags; see `experiment_set_tags`."""
        experiment_set_tags(self.client, self.id, *tags)
        return self


def experiment_add_link(client: Client, from_id: int, kind: str, to_id: int) -> None:
    """Add a link between two experiments; does nothing if the link exists.

    Args:
        client: client to use.
        from_id: id of the experiment that the link starts from.
        kind: the meaning of the link, such as "continues".
        to_id: id of the experiment that the link points to.

    Raises:
        MissingExperimentError: (a ValueError) one of the experiments does not exist.
    """
    _updates.add_link(client, _LINKS, from_id, kind, to_id)


def experiment_add_tags(client: Client, experiment_id: int, *tags: str) -> None:
    """Add tags to an experiment.

    Args:
        client: client to use.
        experiment_id: id of the experiment.
        tags: the tags.

    Raises:
        MissingExperimentError: (a ValueError) the experiment does not exist.
    """
    _updates.merge_json(client, _TABLE, as_row_id(experiment_id, "experiment_id"), "tags", _updates.tags_dict(tags))


def experiment_remove_link(client: Client, from_id: int, kind: str, to_id: int) -> None:
    """Remove a link between two experiments; does nothing if the link does not exist."""
    _updates.remove_link(client, _LINKS, from_id, kind, to_id)


def experiment_remove_tags(client: Client, experiment_id: int, *tags: str) -> None:
    """Remove tags from an experiment; tags that it does not have are ignored."""
    _updates.remove_keys(client, _TABLE, as_row_id(experiment_id, "experiment_id"), "tags", _updates.tags_dict(tags))


def experiment_set_comment(client: Client, experiment_id: int, comment: str | None) -> None:
    """Set the comment of an experiment; None removes it."""
    _updates.set_columns(
        client, _TABLE, as_row_id(experiment_id, "experiment_id"), {"comment": as_optional_text(comment, "comment")}
    )


def experiment_set_name(client: Client, experiment_id: int, name: str) -> None:
    """Rename an experiment.

    Raises:
        ConflictError: (a ValueError) another experiment has this name.
        MissingExperimentError: (a ValueError) the experiment does not exist.
    """
    experiment_id, name = as_row_id(experiment_id, "experiment_id"), as_text(name, "name")
    client = as_client(client)
    client._session.submit(client._rows.set_name, _TABLE, experiment_id, name)


def experiment_set_tags(client: Client, experiment_id: int, *tags: str) -> None:
    """Replace the tags of an experiment."""
    _updates.set_columns(
        client, _TABLE, as_row_id(experiment_id, "experiment_id"), {"tags": jsonb(_updates.tags_dict(tags))}
    )


def run_from_env(client: Client) -> Run:
    """Return the run that environment variables name, which is created if it does not exist.

    SQLTRACK_EXPERIMENT_NAME, SQLTRACK_EXPERIMENT_ID or both give the experiment. An empty name counts as not set.
    SQLTRACK_RUN_ID gives the run; if it is not set, the run is a new one.

    Args:
        client: client to use.

    Raises:
        UnusableValueError: (a ValueError) no variable gives the experiment, or an id is not an integer.
    """
    experiment_id, name = _updates.experiment_from_env()
    if name is None and experiment_id is None:
        raise UnusableValueError(
            "no environment variable names the experiment of the run",
            "set SQLTRACK_EXPERIMENT_NAME or SQLTRACK_EXPERIMENT_ID",
        )
    run_id = _updates.RUN_VARIABLE if _updates.RUN_VARIABLE in os.environ else None
    return Experiment(client, experiment_id, name).get_run(run_id)


def _as_experiment_id(value: Any) -> int:
    if is_instance(value, str):
        raise UnusableValueError(f"experiment_id must be an int, got {quote(value)}", "give a name as name=…")
    return as_row_id(value, "experiment_id")
