"""sqltrack seeds: show means over random seeds."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqltrack.cli._cells import Cell, show_exact, show_value, styled
from sqltrack.cli._edit_options import add_experiment, statuses
from sqltrack.cli._formats import add_format_options, print_records
from sqltrack.cli._output import print_json, print_note
from sqltrack.cli._parser import Commands, Parser, add_superuser_option, open_client
from sqltrack.commands._lookup import near
from sqltrack.commands.seeds import read_seeds
from sqltrack.seeds import SeedGroup, SeedStatistics
from sqltrack.wording import pluralize

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["add_parser"]

_STATISTICS = ("n", "mean", "stddev", "min", "max")
_MISSING = object()
# Digits of the deviation in Markdown and LaTeX, which decide the decimals of the mean.
_DIGITS = 2
# Maximum number of ids and names in a note.
_SHOWN = 5

_DESCRIPTION = """
A group holds the runs of an experiment that have the same arguments, apart from those of --over. The group with the
best mean comes first. The standard deviation is that of a sample (n - 1), and missing for a single run. Runs with a NaN
or infinite value are left out and counted in a note. Arguments that are the same in all groups are hidden.
"""
_EXAMPLE = """sqltrack seeds accuracy --experiment digits
         sqltrack seeds val_loss --min --over seed --over fold
         sqltrack seeds accuracy --format latex"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("seeds", description=" ".join(_DESCRIPTION.split()), example=_EXAMPLE)
    parser.add_argument("metric", metavar="METRIC", help="name of the metric")
    parser.add_argument(
        "--over",
        action="append",
        metavar="ARG",
        help="argument that may differ within a group, such as data.seed, may be repeated (default: seed)",
    )
    add_experiment(parser, "only runs of this experiment (name or id)")
    _add_value(parser)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--status",
        type=statuses,
        default=("COMPLETED",),
        metavar="STATUS,…",
        help="only runs with one of these statuses (default: COMPLETED)",
    )
    chosen.add_argument(
        "--any-status", action="store_const", const=None, dest="status", help="include runs with any status"
    )
    parser.add_argument("--wide", action="store_true", help="also show arguments that are the same in all groups")
    add_format_options(parser)
    add_superuser_option(parser)
    parser.set_defaults(run=_run)


def _add_value(parser: Parser) -> None:
    direction = parser.add_mutually_exclusive_group()
    direction.add_argument(
        "--max", dest="maximize", action="store_true", default=True, help="the greatest value is the best (default)"
    )
    direction.add_argument("--min", dest="maximize", action="store_false", help="the smallest value is the best")
    parser.add_argument("--last", action="store_true", help="use the last value of each run instead of its best")


def _run(options: argparse.Namespace) -> None:
    over = options.over or ["seed"]
    found = read_seeds(
        open_client(options),
        options.metric,
        over=over,
        experiment=options.experiment,
        value="last" if options.last else "best",
        maximize=options.maximize,
        statuses=options.status,
        as_superuser=options.as_superuser,
    )
    if options.format == "json":
        print_json([_record(group) for group in found.groups])
    elif found.groups or options.format == "csv":
        _print(found, options)
    _add_notes(found, options, over)


def _record(group: SeedGroup) -> dict[str, Any]:
    record = group._asdict()
    return {**{name: record.pop(name) for name in ("experiment_id", "experiment", "args")}, "n": group.n, **record}


def _print(found: SeedStatistics, options: argparse.Namespace) -> None:
    format_: str = options.format
    groups = found.groups
    settings = found.settings()
    if options.wide:
        settings.update(found.settings(constant=True))
    # An argument may have the name of a column.
    args = {f"args.{name}": name for name in settings}
    has_several = len({group.experiment_id for group in groups}) > 1
    described = ["experiment", *args] if has_several else list(args)
    records = [
        {
            "experiment": group.experiment,
            **{key: settings[name].get(index, _MISSING) for key, name in args.items()},
            **{name: getattr(group, name) for name in _STATISTICS},
            "not finite": len(group.not_finite),
            "mean ± stddev": _Mean(group),
        }
        for index, group in enumerate(groups)
    ]
    if format_ == "csv":
        _print_csv(records, described, args)
        return
    statistics = ["n", "mean ± stddev"]
    if format_ == "table":
        statistics = ["n", "mean", "stddev", *(["not finite"] if any(group.not_finite for group in groups) else [])]
    cells: dict[str, Cell] = {**dict.fromkeys(args, _cell), "mean ± stddev": lambda mean: styled(str(mean))}
    heads = {**args, "mean ± stddev": options.metric}
    left_out = print_records(
        records, [*described, *statistics], format_, cells=cells, texts=cells, optional=described, headers=heads
    )
    if left_out:
        print_note(f"no room for {', '.join(args.get(name, name) for name in left_out)}")


def _print_csv(records: Sequence[Mapping[str, Any]], described: Sequence[str], args: Mapping[str, str]) -> None:
    # Headings of CSV are unique.
    taken = {"experiment", *_STATISTICS}
    heads = {key: name for key, name in args.items() if name not in taken}
    known = [{key: value for key, value in record.items() if value is not _MISSING} for record in records]
    print_records(known, [*described, *_STATISTICS], "csv", headers=heads)


class _Mean(float):
    """A mean with its standard deviation, which decides how many decimals are printed."""

    _text: str

    def __new__(cls, group: SeedGroup) -> _Mean:
        self = super().__new__(cls, math.nan if group.mean is None else group.mean)
        self._text = _mean(group)
        return self

    def __str__(self) -> str:
        return self._text


def _cell(value: Any) -> Text:
    if value is _MISSING:
        return show_value(None)
    # A null differs from a missing value.
    return styled("null") if value is None else show_exact(value)


def _mean(group: SeedGroup) -> str:
    """Return mean and standard deviation, with the decimals that the deviation justifies."""
    mean, stddev = group.mean, group.stddev
    if mean is None:
        return "--"
    if not stddev:
        return f"{mean:.5g}" if stddev is None else f"{mean:.5g} ± 0"
    decimals = max(_DIGITS - 1 - math.floor(math.log10(stddev)), 0)
    if decimals > 9 or abs(mean) >= 1e9:
        return f"{mean:.5g} ± {stddev:.{_DIGITS}g}"
    return f"{mean:.{decimals}f} ± {stddev:.{decimals}f}"


def _add_notes(found: SeedStatistics, options: argparse.Namespace, over: Sequence[str]) -> None:
    """Print notes about runs and arguments that the table leaves out, and about unusual groups."""
    groups = found.groups
    if not groups:
        print_note(f"no run {_of(options.status)}has a value of {options.metric!r}")
    constant = len(found.settings(constant=True))
    if constant and groups and options.format != "json" and not options.wide:
        print_note(f"{pluralize(constant, 'argument is', 'arguments are')} the same in all groups, --wide shows them")
    if found.other_statuses:
        number = sum(found.other_statuses.values())
        counts = ", ".join(f"{count:,} {status}" for status, count in sorted(found.other_statuses.items()))
        print_note(f"{pluralize(number, 'run')} with other statuses left out ({counts}), --any-status counts all")
    if found.without_value and groups:
        number = len(found.without_value)
        print_note(f"{pluralize(number, 'run has', 'runs have')} no value of {options.metric!r}")
    _note_runs([run_id for group in groups for run_id in group.not_finite], "left out, with NaN or an infinite value")
    _note_runs(
        [run_id for group in groups for run_id in group.repeated], f"with the same {' and '.join(over)} as another"
    )
    known = list(dict.fromkeys(name for group in groups for name in group.args))
    for name in found.unknown if groups else ():
        print_note(f"no run has an argument {name!r}; {near(name, known)}")
    if len(groups) > 1 and all(group.n + len(group.not_finite) == 1 for group in groups):
        names = list(found.settings())
        shown = f"{', '.join(names[:_SHOWN])}{' and more' if len(names) > _SHOWN else ''}"
        print_note(
            f"each group has only one run: they also differ in {shown}; add --over for arguments that may differ"
        )


def _of(chosen: Sequence[str] | None) -> str:
    return "" if chosen is None else f"with the status {' or '.join(chosen)} "


def _note_runs(run_ids: Sequence[int], what: str) -> None:
    if run_ids:
        shown = f"{', '.join(map(str, run_ids[:_SHOWN]))}{' and more' if len(run_ids) > _SHOWN else ''}"
        print_note(f"{pluralize(len(run_ids), 'run')} {what}: {shown}")
