"""Means over random seeds as data frames."""

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
    """Return mean and standard deviation of a metric over runs that differ in nothing but their seeds.

    Args:
        client: client to use.
        metric: name of the metric, whose values are numbers.
        over: names of the arguments that may differ, default "seed"; "data.seed" is the argument `seed` in `data`.
        experiment: id or name of the only experiment to look at, default: all.
        value: which value of a run counts: its best (default), NaN left out, or its last, which may be NaN.
        maximize: whether great values are best (default), or small ones.
        statuses: only runs of these statuses, default: "COMPLETED"; None for all.
        constant: whether to include arguments that are the same in all groups, default False.

    Returns:
        A row for each group, that with the best mean first. The column experiment holds its name. The arguments in
        which groups differ come next. Nested ones are named by their path, such as "optimizer.lr"; None stands where
        a group lacks one. Then n is the number of runs, and mean, stddev, min and max describe their values. The
        deviation is that of a sample, NaN for a single run. run_ids holds lists of ids. not_finite is the number of
        runs that do not count because their value is NaN or infinite. An argument with the name of another column is
        called `args.n`, for example.

    Raises:
        NotFoundError: there is no such experiment, or no run has such a metric.
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
