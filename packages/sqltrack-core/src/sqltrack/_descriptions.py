"""Prepare the description of a run for storage: arguments, environment, tags and a comment."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from sqltrack import _updates
from sqltrack._arguments import as_client
from sqltrack._logging import get_logger
from sqltrack.client import Client
from sqltrack.engines._foreign import is_instance
from sqltrack.engines._spelling import quote
from sqltrack.engines.json import Jsonb, plain
from sqltrack.errors import UnusableValueError

__all__ = ["describe", "detected_args", "is_auto", "items_of", "present_env"]

# Columns in which values that look like credentials are masked.
_MASKED = frozenset({"args", "env"})


def describe(client: Client, args: Any, env: Any, tags: Iterable[str], comment: str | None) -> dict[str, Any]:
    """Return the columns that describe a run, with values to bind; columns without a value are left out.

    Args:
        client: client with the settings for masking.
        args: arguments as in `run_add_args`.
        env: environment as in `run_add_env`.
        tags: the tags.
        comment: the comment, if any.
    """
    items = {"args": detected_args(args), "env": present_env(env)}
    described = {column: Jsonb(items_of(client, column, value)) for column, value in items.items() if value is not None}
    tags = _updates.tags_dict(tags)
    if tags:
        described["tags"] = Jsonb(tags)
    return described if comment is None else {**described, "comment": comment}


def detected_args(args: Any) -> Any:
    """Return arguments unchanged; "auto" returns those of the running script, or None if they cannot be detected.

    Detection never raises or exits.
    """
    if not is_auto(args):
        return args
    try:
        from sqltrack.args import detect_args
    except ImportError:
        return None
    try:
        return detect_args()
    # docopt raises SystemExit if the command line asks for help or is invalid.
    except (Exception, SystemExit) as error:
        get_logger("run").info("no arguments detected: %r", error)
        return None


def present_env(env: Any) -> Any:
    """Return an environment unchanged; "auto" returns that of this process."""
    return dict(os.environ) if is_auto(env) else env


def is_auto(value: Any) -> bool:
    """Return whether an argument is "auto"."""
    return is_instance(value, str) and value == "auto"


def items_of(client: Client, column: str, value: Any) -> dict[str, Any]:
    """Return the names and values in an object, with credentials masked according to the client's settings.

    Args:
        client: client with the settings for masking.
        column: the column of runs.
        value: the object with names and values.

    Raises:
        UnusableValueError: it does not have names and values.
    """
    items = plain(value)
    if not isinstance(items, dict):
        raise UnusableValueError(f"{column} must be a dict, or an object with names and values, got {quote(value)}")
    if column not in _MASKED:
        return items
    from sqltrack._masked_items import masked_items

    return masked_items(as_client(client).config, column, items)
