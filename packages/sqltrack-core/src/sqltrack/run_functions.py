"""Functions that describe a run, given by its id, or add metrics to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from sqltrack import _updates
from sqltrack._arguments import as_client, as_optional_text, as_row_id, as_rows, as_text
from sqltrack._descriptions import detected_args, is_auto, items_of, present_env
from sqltrack._times import Timestamp, times_to_set
from sqltrack.client import Client
from sqltrack.engines._foreign import UNKNOWN, attempt, is_instance
from sqltrack.engines._spelling import quote
from sqltrack.engines.json import Jsonb, jsonb
from sqltrack.errors import UnusableValueError

__all__ = [
    "run_add_args",
    "run_add_env",
    "run_add_extras",
    "run_add_link",
    "run_add_metrics",
    "run_add_metrics_many",
    "run_add_tags",
    "run_remove_args",
    "run_remove_env",
    "run_remove_extras",
    "run_remove_link",
    "run_remove_tags",
    "run_set_args",
    "run_set_comment",
    "run_set_created",
    "run_set_env",
    "run_set_extras",
    "run_set_started",
    "run_set_status",
    "run_set_tags",
    "run_set_updated",
]

_TABLE = "runs"
_LINKS = "run_links"


def run_add_args(client: Client, run_id: int, args: Any = "auto") -> None:
    """Add arguments to a run.

    Args:
        client: client to use.
        run_id: id of the run.
        args: a dict, or another object with names and values: an `argparse.Namespace`, a dataclass, an attrs class, a
            pydantic model, a config of OmegaConf, Hydra or ml_collections, or `absl.flags.FLAGS`. "auto" (default)
            detects the arguments of the running script if sqltrack-args is installed, see `sqltrack.args.detect_args`,
            and does nothing if it detects none. None does nothing. Values that look like credentials are masked, see
            the settings `mask` and `mask_names`.
    """
    _add_items(client, run_id, "args", detected_args(args))


def run_add_env(client: Client, run_id: int, env: Literal["auto"] | Mapping[str, Any] | None = "auto") -> None:
    """Add environment variables to a run.

    Args:
        client: client to use.
        run_id: id of the run.
        env: a dict; "auto" (default) is the environment of this process; None does nothing. Values that look like
            credentials are masked, see the settings `mask`, `mask_names`, `mask_env` and `mask_env_names`.
    """
    _add_items(client, run_id, "env", present_env(env))


def run_add_extras(client: Client, run_id: int, extras: Mapping[str, Any] | None = None) -> None:
    """Add extras to a run: a dict of values that have no column of their own; None (default) does nothing."""
    _add_items(client, run_id, "extras", extras)


def run_add_link(client: Client, from_id: int, kind: str, to_id: int) -> None:
    """Add a link between two runs; does nothing if the link exists.

    Args:
        client: client to use.
        from_id: id of the run that the link starts from.
        kind: the meaning of the link, such as "resumes".
        to_id: id of the run that the link points to.

    Raises:
        MissingRunError: (a ValueError) one of the runs does not exist.
    """
    _updates.add_link(client, _LINKS, from_id, kind, to_id)


def run_add_metrics(
    client: Client, run_id: int, metrics: Mapping[str, Any], step: int = 0, progress: float = 0.0
) -> None:
    """Add metrics to a run, and columns for metrics that have none yet.

    A row holds all metrics with the same `step` and `progress`. Adding to an existing row replaces the metrics you name
    and keeps the others.

    Args:
        client: client to use.
        run_id: id of the run.
        metrics: names and values. Values can be numbers; scalars and arrays of numpy, torch and others; str, bytes,
            date, datetime, timedelta, dict or list; any other object is stored as in arguments. None and `pandas.NA`
            are NULL.
        step: absolute point in time, such as an iteration or epoch; an integer of at most 64 bits, default 0.
        progress: relative point in time, such as a percentage, default 0.0.

    Raises:
        UnusableValueError: (a ValueError) a name or value cannot be stored; nothing of the call is stored.
        MissingRunError: (a ValueError) the run does not exist.
    """
    as_client(client).metrics.add(as_row_id(run_id, "run_id"), metrics, step, progress, "auto")


def run_add_metrics_many(
    client: Client, run_id: int, rows: Iterable[Mapping[str, Any]], updated: Timestamp = "auto"
) -> None:
    """Add many rows of metrics to a run in one transaction, for example to import them, or once per epoch.

    Args:
        client: client to use.
        run_id: id of the run.
        rows: one mapping for each row: metrics by name, and `step`, `progress` or both; otherwise as in
            `run_add_metrics`.
        updated: value for `time_updated`; see `run_set_updated`.

    Raises:
        UnusableValueError: (a ValueError) a name or value cannot be stored; nothing of the call is stored.
        MissingRunError: (a ValueError) the run does not exist.
    """
    as_client(client).metrics.add_many(as_row_id(run_id, "run_id"), as_rows(rows), updated)


def run_add_tags(client: Client, run_id: int, *tags: str) -> None:
    """Add tags to a run.

    Args:
        client: client to use.
        run_id: id of the run.
        tags: the tags.
    """
    _updates.merge_json(client, _TABLE, as_row_id(run_id, "run_id"), "tags", _updates.tags_dict(tags))


def run_remove_args(client: Client, run_id: int, *args: str | Iterable[str]) -> None:
    """Remove arguments from a run; names that it does not have are ignored.

    Args:
        client: client to use.
        run_id: id of the run.
        args: names, or dicts or iterables of names.
    """
    _updates.remove_keys(client, _TABLE, as_row_id(run_id, "run_id"), "args", _names(args))


def run_remove_env(client: Client, run_id: int, *env: str | Iterable[str]) -> None:
    """Remove environment variables from a run; see `run_remove_args`."""
    _updates.remove_keys(client, _TABLE, as_row_id(run_id, "run_id"), "env", _names(env))


def run_remove_extras(client: Client, run_id: int, *extras: str | Iterable[str]) -> None:
    """Remove extras from a run; see `run_remove_args`."""
    _updates.remove_keys(client, _TABLE, as_row_id(run_id, "run_id"), "extras", _names(extras))


def run_remove_link(client: Client, from_id: int, kind: str, to_id: int) -> None:
    """Remove a link between two runs; does nothing if the link does not exist."""
    _updates.remove_link(client, _LINKS, from_id, kind, to_id)


def run_remove_tags(client: Client, run_id: int, *tags: str | Iterable[str]) -> None:
    """Remove tags from a run; see `run_remove_args`."""
    _updates.remove_keys(client, _TABLE, as_row_id(run_id, "run_id"), "tags", _names(tags))


def run_set_args(client: Client, run_id: int, args: Any = "auto") -> None:
    """Replace the arguments of a run.

    Args:
        client: client to use.
        run_id: id of the run.
        args: as in `run_add_args`, except that None stores NULL.
    """
    found = detected_args(args)
    if found is not None or not is_auto(args):
        _set_items(client, run_id, "args", found)


def run_set_comment(client: Client, run_id: int, comment: str | None) -> None:
    """Set the comment of a run; None removes it."""
    _updates.set_columns(client, _TABLE, as_row_id(run_id, "run_id"), {"comment": as_optional_text(comment, "comment")})


def run_set_created(client: Client, run_id: int, dt: Timestamp = "auto") -> None:
    """Set `time_created` of a run.

    Args:
        client: client to use.
        run_id: id of the run.
        dt: "auto" (default) for now, a datetime with time zone, or None to do nothing.

    Raises:
        NaiveDatetimeError: (a ValueError) the datetime has no time zone.
    """
    _set_time(client, run_id, "time_created", dt)


def run_set_env(client: Client, run_id: int, env: Literal["auto"] | Mapping[str, Any] | None = "auto") -> None:
    """Replace the environment of a run; as `run_add_env`, except that None stores NULL."""
    _set_items(client, run_id, "env", present_env(env))


def run_set_extras(client: Client, run_id: int, extras: Mapping[str, Any] | None = None) -> None:
    """Replace the extras of a run; None (default) stores NULL."""
    _set_items(client, run_id, "extras", extras)


def run_set_started(client: Client, run_id: int, dt: Timestamp = "auto") -> None:
    """Set `time_started` of a run; see `run_set_created`."""
    _set_time(client, run_id, "time_started", dt)


def run_set_status(client: Client, run_id: int, status: str) -> None:
    """Set the status of a run: PLANNED, RUNNING, COMPLETED, another state of a batch system, or any other text."""
    run_id, status = as_row_id(run_id, "run_id"), as_text(status, "status")
    _updates.set_columns(client, _TABLE, run_id, {"status": status})
    client.metrics._oversights.note_status(run_id, status)


def run_set_tags(client: Client, run_id: int, *tags: str) -> None:
    """Replace the tags of a run."""
    _updates.set_columns(client, _TABLE, as_row_id(run_id, "run_id"), {"tags": jsonb(_updates.tags_dict(tags))})


def run_set_updated(client: Client, run_id: int, dt: Timestamp = "auto") -> None:
    """Set `time_updated` of a run; see `run_set_created`."""
    _set_time(client, run_id, "time_updated", dt)


def _add_items(client: Client, run_id: int, column: str, value: Any) -> None:
    if value is not None:
        _updates.merge_json(client, _TABLE, as_row_id(run_id, "run_id"), column, items_of(client, column, value))


def _set_items(client: Client, run_id: int, column: str, value: Any) -> None:
    stored = None if value is None else Jsonb(items_of(client, column, value))
    _updates.set_columns(client, _TABLE, as_row_id(run_id, "run_id"), {column: stored})


def _names(names: Iterable[Any]) -> list[str]:
    """Return a flat list of names, some of which may be given as dicts or other iterables of names."""
    flat: list[str] = []
    for name in names:
        inner = attempt(iter, name)
        if is_instance(name, str):
            flat.append(name)
        elif inner is UNKNOWN:
            raise UnusableValueError(f"a name must be a str, got {quote(name)}")
        else:
            try:
                flat += _names(inner)
            except RecursionError:
                raise UnusableValueError("names are nested too deeply") from None
    return flat


def _set_time(client: Client, run_id: int, column: str, dt: Timestamp) -> None:
    values = times_to_set(**{column: dt})
    if values:
        _updates.set_columns(client, _TABLE, as_row_id(run_id, "run_id"), values)
