"""What describes a run: arguments, environment, tags and a comment, in the form in which they are stored."""

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

# The columns whose values may be credentials that nobody meant to store.
_MASKED = frozenset({"args", "env"})


def describe(client: Client, args: Any, env: Any, tags: Iterable[str], comment: str | None) -> dict[str, Any]:
    """Return the columns of runs that describe a run, with values to bind; columns without a value are absent.

    Args:
        client: client with the settings for masking.
        args: arguments as `run_add_args` takes them.
        env: environment as `run_add_env` takes it.
        tags: the tags.
        comment: the comment, None for none.
    """
    items = {"args": detected_args(args), "env": present_env(env)}
    described = {column: Jsonb(items_of(client, column, value)) for column, value in items.items() if value is not None}
    tags = _updates.tags_dict(tags)
    if tags:
        described["tags"] = Jsonb(tags)
    return described if comment is None else {**described, "comment": comment}


def detected_args(args: Any) -> Any:
    """Return arguments as they are; "auto" stands for those of the running script, None if they cannot be detected.

    Detecting them never raises or exits.
    """
    if not is_auto(args):
        return args
    try:
        from sqltrack.args import detect_args
    except ImportError:
        return None
    try:
        return detect_args()
    # docopt ends the program by SystemExit where the command line asks for help, or is wrong.
    except (Exception, SystemExit) as error:
        get_logger("run").info("no arguments detected: %r", error)
        return None


def present_env(env: Any) -> Any:
    """Return an environment as it is; "auto" stands for that of this process."""
    return dict(os.environ) if is_auto(env) else env


def is_auto(value: Any) -> bool:
    """Return whether an argument is "auto"."""
    return is_instance(value, str) and value == "auto"


def items_of(client: Client, column: str, value: Any) -> dict[str, Any]:
    """Return names and values, however `value` holds them, with credentials masked as the client is told.

    Args:
        client: client with the settings for masking.
        column: the column of runs.
        value: the object that holds names and values.

    Raises:
        UnusableValueError: it holds no names and values.
    """
    items = plain(value)
    if not isinstance(items, dict):
        raise UnusableValueError(f"{column} must be a dict, or hold names and values as one does, got {quote(value)}")
    if column not in _MASKED:
        return items
    from sqltrack._masked_items import masked_items

    return masked_items(as_client(client).config, column, items)
