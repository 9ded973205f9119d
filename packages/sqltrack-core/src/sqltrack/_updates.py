"""Change one row of experiments or runs, and the links between them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqltrack._arguments import as_client, as_optional_text, as_row_id, as_text
from sqltrack.client import Client
from sqltrack.engines._foreign import UNKNOWN, attempt, is_instance
from sqltrack.engines._spelling import quote
from sqltrack.engines.json import Jsonb, escape_text
from sqltrack.errors import UnusableValueError

__all__ = [
    "RUN_VARIABLE",
    "add_link",
    "as_run_id",
    "experiment_from_env",
    "id_from_env",
    "merge_json",
    "remove_keys",
    "remove_link",
    "set_columns",
    "tags_dict",
]

# Environment variables that name a run and its experiment.
RUN_VARIABLE = "SQLTRACK_RUN_ID"
_EXPERIMENT_NAME_VARIABLE = "SQLTRACK_EXPERIMENT_NAME"
_EXPERIMENT_ID_VARIABLE = "SQLTRACK_EXPERIMENT_ID"

# Columns of text; of these only `comment` may be NULL.
_TEXTS: Mapping[str, Callable[[Any, str], str | None]] = {
    "comment": as_optional_text,
    "name": as_text,
    "status": as_text,
}


def id_from_env(variable: str) -> int:
    """Return the id in an environment variable.

    Raises:
        UnusableValueError: the variable is not set, or does not contain an id.
    """
    # Names with lone surrogates cannot be looked up, and are not set.
    value = attempt(os.environ.get, variable)
    if value is None or value is UNKNOWN:
        raise UnusableValueError(f"environment variable {variable!r}, which should hold an id, is not set")
    # int() would read 12_3, a possible name of a task in a job array, as 123.
    if not (value.isascii() and value.strip().isdecimal()):
        raise UnusableValueError(f"environment variable {variable!r} should hold an id, got {value!r}")
    return int(value)


def as_run_id(value: Any) -> int | None:
    """Return the id of a run, or None unchanged; a str names the environment variable that holds the id.

    Raises:
        UnusableValueError: it is not an id.
    """
    if is_instance(value, str):
        return as_row_id(id_from_env(str(value)), f"environment variable {value!r}")
    return None if value is None else as_row_id(value, "run_id")


def experiment_from_env() -> tuple[int | None, str | None]:
    """Return id and name of the experiment from environment variables, None for those that are not set.

    An empty name counts as not set.

    Raises:
        UnusableValueError: the id is not an integer.
    """
    experiment_id = id_from_env(_EXPERIMENT_ID_VARIABLE) if _EXPERIMENT_ID_VARIABLE in os.environ else None
    return experiment_id, os.environ.get(_EXPERIMENT_NAME_VARIABLE) or None


def tags_dict(tags: Iterable[str]) -> dict[str, bool]:
    """Return tags in the form in which they are stored.

    Raises:
        UnusableValueError: a tag is not a str.
    """
    for tag in tags:
        if not is_instance(tag, str):
            raise UnusableValueError(f"a tag must be a str, got {quote(tag)}", _tag_advice(tag))
    return dict.fromkeys(tags, True)


def _tag_advice(tag: Any) -> str | None:
    """Return advice for several tags, or a tag with a value, given as one tag."""
    if is_instance(tag, Mapping):
        return "names with values are arguments or extras: add_extras({'name': 'value'})"
    return "give tags one by one: add_tags('a', 'b'), or add_tags(*tags)" if is_instance(tag, Iterable) else None


def set_columns(client: Client, table: str, row_id: int, values: Mapping[str, Any], **limits: Any) -> None:
    """Set columns of one row with one statement; `limits` are those of `Session.call`.

    Raises:
        MissingExperimentError, MissingRunError: the row does not exist.
    """
    stored = {column: _TEXTS[column](value, column) if column in _TEXTS else value for column, value in values.items()}
    client = as_client(client)
    row_id = _row_id(client, table, row_id)
    if client._session.outbox is not None and table == "runs":
        client._session.outbox.note_times(row_id, [values.get("time_started"), values.get("time_updated")])
    client._session.submit(client._rows.set_columns, table, row_id, stored, limits)


def merge_json(client: Client, table: str, row_id: int, column: str, items: Mapping[str, Any]) -> None:
    """Add keys to a JSON column, or replace them, in the database, so that concurrent calls lose no keys."""
    client = as_client(client)
    client._session.submit(client._rows.merge_json, table, _row_id(client, table, row_id), column, Jsonb(dict(items)))


def remove_keys(client: Client, table: str, row_id: int, column: str, keys: Iterable[str]) -> None:
    """Remove keys from a JSON column; keys that it does not have are ignored."""
    stored = Jsonb([escape_text(key) for key in keys])
    client = as_client(client)
    client._session.submit(client._rows.remove_keys, table, _row_id(client, table, row_id), column, stored)


def add_link(client: Client, table: str, from_id: int, kind: str, to_id: int) -> None:
    """Add a link to a table of links; does nothing if the link exists."""
    client = as_client(client)
    link = _link(client, table, from_id, kind, to_id)
    client._session.submit(client._rows.add_link, table, *link)


def remove_link(client: Client, table: str, from_id: int, kind: str, to_id: int) -> None:
    """Remove a link from a table of links; does nothing if the link does not exist."""
    client = as_client(client)
    link = _link(client, table, from_id, kind, to_id)
    client._session.submit(client._rows.remove_link, table, *link)


def _link(client: Client, table: str, from_id: Any, kind: Any, to_id: Any) -> tuple[int, str, int]:
    """Return a link as it is stored."""
    from_id, kind, to_id = as_row_id(from_id, "from_id"), as_text(kind, "kind"), as_row_id(to_id, "to_id")
    if table == "experiment_links":
        real_id = client._session.real_experiment_id
        return real_id(from_id), kind, real_id(to_id)
    return from_id, kind, to_id


def _row_id(client: Client, table: str, row_id: Any) -> int:
    row_id = as_row_id(row_id, f"{table.removesuffix('s')}_id")
    return client._session.real_experiment_id(row_id) if table == "experiments" else row_id
