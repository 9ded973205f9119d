"""Compute means over random seeds as data frames."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

import pandas as pd

from sqltrack import seeds
from sqltrack.client import Client

__all__ = ["seed_statistics"]

_STATISTICS = ("n", "mean", "stddev", "min", "max")


def seed_statistics(
    client: Client,
    metric: str,
    over: str | Iterable[str] = "seed",
    *,
    experiment: int | str | None = None,
    value: Literal["best", "last"] = "best",
    maximize: bool = True,
    statuses: Collection[str] | None = ("COMPLETED",),
    constant: bool = False,
) -> pd.DataFrame:
    """Return mean and standard deviation of a metric over runs that differ only in their seeds.

    Args:
        client: client to use.
        metric: name of a metric with numbers.
        over: names of the arguments that may differ, default "seed"; "data.seed" is the argument `seed` in `data`.
        experiment: id or name of an experiment, default: all experiments.
        value: the value of a run to use: "best" (default), which ignores NaN, or "last", which may be NaN.
        maximize: whether the best value is the greatest (default) or the smallest.
        statuses: use only runs with these statuses, default: "COMPLETED"; None for all.
        constant: whether to include arguments that are the same in all groups, default False.

    Returns:
        A row for each group, with the best mean first, and these columns:

        - experiment: name of the experiment;
        - the arguments in which groups differ, nested ones as "optimizer.lr"; None if a group lacks the argument;
        - n: number of runs;
        - mean, stddev, min, max: statistics of their values; stddev is the sample standard deviation, NaN for one run;
        - run_ids: lists of ids;
        - not_finite: number of runs that do not count because their value is NaN or infinite.

        An argument with the name of another column is called `args.n`, for example.

    Raises:
        NotFoundError: the experiment does not exist, or no run has the metric.
        UnusableValueError: (a ValueError) the values of the metric are not numbers.
    """
    found = seeds.seed_statistics(
        *(client, metric),
        over=over,
        experiment=experiment,
        value=value,
        maximize=maximize,
        statuses=statuses,
    )
    settings = found.settings()
    if constant:
        settings.update(found.settings(constant=True))
    groups = found.groups
    others = {
        "run_ids": pd.Series([group.run_ids for group in groups], dtype=object),
        "not_finite": pd.Series([len(group.not_finite) for group in groups], dtype="int64"),
    }
    taken = {"experiment", *_STATISTICS, *others}
    columns = {"experiment": pd.Series([group.experiment for group in groups], dtype=object)}
    for name, values in settings.items():
        cells = pd.Series([values.get(index) for index in range(len(groups))], dtype=object)
        columns[f"args.{name}" if name in taken else name] = cells.infer_objects()
    for name in _STATISTICS:
        column = [getattr(group, name) for group in groups]
        columns[name] = pd.Series(column, dtype="int64" if name == "n" else "float64")
    frame: pd.DataFrame = pd.DataFrame({**columns, **others})
    return frame
