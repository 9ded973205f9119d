"""Read mean and standard deviation of a metric over runs that differ only in their random seeds."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

from sqltrack.client import Client
from sqltrack.commands._databases import read_only
from sqltrack.commands._lookup import find_experiment, metric_columns, near
from sqltrack.errors import NotFoundError
from sqltrack.seeds import SeedStatistics, seed_statistics

__all__ = ["read_seeds"]


def read_seeds(
    client: Client,
    metric: str,
    *,
    over: str | Iterable[str] = "seed",
    experiment: str | None = None,
    value: Literal["best", "last"] = "best",
    maximize: bool = True,
    statuses: Collection[str] | None = ("COMPLETED",),
    as_superuser: bool = False,
) -> SeedStatistics:
    """Return the same as `sqltrack.seeds.seed_statistics`, read-only, with an experiment by name or id.

    Args:
        client: client to use.
        metric: name of a metric with numbers as values.
        over: names of the arguments that may differ, default "seed".
        experiment: name or id of an experiment, default: all. A name that is a number comes before an id.
        value: value of a run to use, its best (default) or its last.
        maximize: whether the greatest value is the best (default), or the smallest.
        statuses: only runs with one of these statuses, default: "COMPLETED"; None for all.
        as_superuser: whether a superuser keeps all rights while reading, default False.

    Raises:
        NotFoundError: the experiment or metric does not exist.
        UnusableValueError: (a ValueError) the values of the metric are not numbers.
    """
    with read_only(client, as_superuser=as_superuser) as connection:
        experiment_id = None if experiment is None else find_experiment(connection, experiment)
        try:
            return seed_statistics(
                *(client, metric),
                over=over,
                experiment=experiment_id,
                value=value,
                maximize=maximize,
                statuses=statuses,
            )
        except NotFoundError as error:
            raise NotFoundError(error.message, near(metric, metric_columns(client, connection))) from None
