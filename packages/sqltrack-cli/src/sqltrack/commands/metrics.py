"""Read the metrics of runs."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._databases import read_only
from sqltrack.commands._lookup import find_runs, near, require_runs
from sqltrack.commands._points import Chunk, Places, find_places, logged_metrics, read_chunks
from sqltrack.commands._rows import fetch
from sqltrack.commands.run_ranges import RunRange
from sqltrack.engines.schema import KEY
from sqltrack.errors import NotFoundError

__all__ = ["Curves", "read_curves", "read_curves_of_runs"]


# Maximum number of ids in an error.
_SHOWN_IDS = 5


class Curves(NamedTuple):
    """The metrics of a run, or of a chain of runs.

    Attributes:
        names: names of the metrics in the points. A metric with the name `run_id`, `step` or `progress` has a prefix
            there, for example `metrics.step`.
        points: dicts with run_id, step, progress and the metrics, sorted by step and progress; None for missing values.
    """

    names: list[str]
    points: list[dict[str, Any]]


def read_curves(
    client: Client, run_id: int, names: Sequence[str] = (), *, merged: bool = False, as_superuser: bool = False
) -> Curves:
    """Return the metrics of a run, for each step with a value.

    Args:
        client: client to use.
        run_id: id of the run.
        names: names of metrics, with or without the prefix in the points, default: all that the run has values of.
        merged: whether to follow links of the kind "resumes", to join the runs of a chain to one curve.
        as_superuser: whether a superuser keeps all rights while reading, default False.

    Raises:
        NotFoundError: the run does not exist, or does not have the metric.
    """
    with read_only(client, as_superuser=as_superuser) as connection:
        require_runs(connection, [run_id])
        return _read(client, connection, [run_id], names, merged)[run_id]


def read_curves_of_runs(
    client: Client,
    runs: Iterable[int | RunRange],
    names: Sequence[str] = (),
    *,
    merged: bool = False,
    as_superuser: bool = False,
) -> dict[int, Curves]:
    """Return the metrics of several runs by id, in the given order.

    Each run has only the metrics that it has values of, perhaps none. A metric has the same name in all runs.

    Args:
        client: client to use.
        runs: ids of runs, or ranges of ids.
        names: names of metrics, default: all that a run has values of; see `read_curves`.
        merged: whether to follow links of the kind "resumes". The first named run of a chain then stands for all of
            them.
        as_superuser: whether a superuser keeps all rights while reading, default False.

    Raises:
        NotFoundError: a run does not exist, or no run has the metric.
    """
    with read_only(client, as_superuser=as_superuser) as connection:
        return _read(client, connection, find_runs(connection, runs), names, merged)


def _read(
    client: Client, connection: Any, run_ids: Sequence[int], names: Sequence[str], merged: bool
) -> dict[int, Curves]:
    """Return the curves of runs by id."""
    places = find_places(client, connection)
    if not names and not merged:
        read = {run_id: list(read_chunks(client, connection, run_id, places)) for run_id in run_ids}
        logged = {run_id: _names(chunks, places) for run_id, chunks in read.items()}
        heads = _heads(dict.fromkeys(itertools.chain.from_iterable(logged.values())))
        return {run_id: _curves(read[run_id], {name: heads[name] for name in logged[run_id]}) for run_id in run_ids}
    chains = _chains(connection, run_ids) if merged else {run_id: [run_id] for run_id in run_ids}
    members = list(dict.fromkeys(itertools.chain.from_iterable(chains.values())))
    of_member = logged_metrics(client, connection, members, places)
    logged = {
        run_id: places.sort(itertools.chain.from_iterable(map(of_member.__getitem__, chain)))
        for run_id, chain in chains.items()
    }
    known = {name: None for metrics in logged.values() for name in metrics}
    names = [_named(name, known) for name in names] or list(known)
    for name in names:
        if name not in known:
            raise NotFoundError(f"{_call(run_ids)} no metric {name!r}", near(name, known))
    heads = _heads(names)
    found = {}
    for run_id, metrics in logged.items():
        chosen = [name for name in heads if name in metrics]
        chunks = read_chunks(client, connection, run_id, places, chosen, merged=merged) if chosen else ()
        found[run_id] = _curves(list(chunks), {name: heads[name] for name in chosen})
    return found


def _names(chunks: Iterable[Chunk], places: Places) -> list[str]:
    """Return the metrics in chunks, in order."""
    return places.sort(itertools.chain.from_iterable(chunk.values for chunk in chunks))


def _curves(chunks: Iterable[Chunk], heads: Mapping[str, str]) -> Curves:
    """Return the points with a value of a metric.

    Args:
        chunks: rows of metrics.
        heads: the names of the metrics in the points.
    """
    names = (*KEY, *heads.values())
    points = []
    for chunk in chunks:
        nothing = [None] * len(chunk.keys)
        rows = zip(*(chunk.values.get(name, nothing) for name in heads))
        points += [dict(zip(names, (*key, *row))) for key, row in zip(chunk.keys, rows) if row.count(None) < len(row)]
    return Curves(list(heads.values()), points)


def _call(run_ids: Sequence[int]) -> str:
    if len(run_ids) == 1:
        return f"run {run_ids[0]!r} has"
    shown = ", ".join(map(str, run_ids[:_SHOWN_IDS]))
    return f"runs {shown}{' and more' if len(run_ids) > _SHOWN_IDS else ''} have"


def _heads(names: Iterable[str]) -> dict[str, str]:
    """Return the names of metrics in points, distinct from the key columns."""
    heads = {name: name for name in names}
    for name in heads.keys() & set(KEY):
        while heads[name] in (*KEY, *(heads.keys() - {name})):
            heads[name] = f"metrics.{heads[name]}"
    return heads


def _named(name: str, logged: Collection[str]) -> str:
    """Return the metric for a name, which may be its name in points."""
    meant = {head: name for name, head in _heads(logged).items()}
    return name if name in logged else meant.get(name, name)


def _chains(connection: Any, run_ids: Sequence[int]) -> dict[int, list[int]]:
    """Return the chains of runs, by the first run of each."""
    chains: dict[int, list[int]] = {}
    seen: set[int] = set()
    for run_id in run_ids:
        if run_id not in seen:
            chains[run_id] = _chain(connection, run_id)
            seen.update(chains[run_id])
    return chains


def _chain(connection: Any, run_id: int) -> list[int]:
    """Return the runs that are linked to a run by "resumes" in either direction."""
    sql = """
        WITH RECURSIVE chain (run_id) AS (
            SELECT id FROM runs WHERE id = %s
            UNION
            SELECT CASE WHEN run_links.from_id = chain.run_id THEN run_links.to_id ELSE run_links.from_id END
            FROM chain
            JOIN run_links ON run_links.kind = 'resumes' AND chain.run_id IN (run_links.from_id, run_links.to_id)
        )
        SELECT run_id FROM chain ORDER BY run_id
    """
    return [row["run_id"] for row in fetch(connection, sql, (run_id,))]
