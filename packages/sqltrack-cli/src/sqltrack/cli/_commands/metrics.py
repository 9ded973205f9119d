"""sqltrack metrics: show the metrics of runs, as a table or as learning curves."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from sqltrack.cli._cells import show_exact
from sqltrack.cli._edit_options import run_ranges
from sqltrack.cli._formats import add_format_options, add_short_format, print_records
from sqltrack.cli._output import print_note
from sqltrack.cli._parser import Commands, Parser, add_superuser_option, count, open_client
from sqltrack.commands.metrics import Curves, read_curves_of_runs
from sqltrack.commands.run_ranges import RunRange, names_runs
from sqltrack.wording import pluralize

__all__ = ["add_parser"]

_ROWS = 20
_KEY = ("step", "progress")
# Formats for programs: with all steps and columns.
_COMPLETE = ("csv", "json")

_DESCRIPTION = f"""
JSON and CSV show all steps, the other formats the last {_ROWS} of each run. Plots leave gaps for NaN and infinities,
and count them in the legend. Leading words of digits, commas and hyphens are runs, the others are metrics. Use --metric
for a metric with such a name.
"""
_EXAMPLE = """sqltrack metrics 12 train_loss val_loss --plot --log
         sqltrack metrics 3,20-22 val_loss --plot"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("metrics", description=" ".join(_DESCRIPTION.split()), example=_EXAMPLE)
    parser.usage = "sqltrack metrics [options] RUN [RUN ...] [METRIC ...]"
    parser.add_argument(
        "words",
        nargs="+",
        metavar="RUN … METRIC",
        help="run ids, such as 5, 5-9 or 3,7, and names of metrics (default: all)",
    )
    parser.add_argument(
        "--metric", action="append", default=[], metavar="NAME", help="name of a metric, may be repeated"
    )
    parser.add_argument(
        "--merged", action="store_true", help="join each run with the runs that it resumes, and that resume it"
    )
    parser.add_argument(
        "--limit", type=count, metavar="N", help=f"show the last N steps, 0 for all (default: {_ROWS}, or all)"
    )
    _add_formats(parser)
    parser.add_argument("--log", action="store_true", help="use a logarithmic scale in the plot")
    add_superuser_option(parser)
    parser.words = "words"
    parser.set_defaults(run=_run, parser=parser)


def _add_formats(parser: Parser) -> None:
    formats = add_format_options(parser)
    add_short_format(formats, "csv")
    formats.add_argument("--plot", action="store_true", help="draw learning curves")


def _run(options: argparse.Namespace) -> None:
    runs, metrics = _split(options)
    if options.log and not options.plot:
        parser: Parser = options.parser
        parser.error("--log needs --plot")
    found = read_curves_of_runs(
        open_client(options),
        runs,
        list(dict.fromkeys(metrics)),
        merged=options.merged,
        as_superuser=options.as_superuser,
    )
    is_for_people = options.format not in _COMPLETE
    if is_for_people:
        _note_missing(found, is_chosen=bool(metrics))
    names = list(dict.fromkeys(name for curves in found.values() for name in curves.names))
    limit = options.limit
    if limit is None:
        limit = _ROWS if is_for_people and not options.plot else 0
    shown = {run_id: Curves(curves.names, curves.points[-limit:]) for run_id, curves in found.items()}
    points = [{**dict.fromkeys(names), **point} for curves in shown.values() for point in curves.points]
    has_runs = options.merged or len(runs) > 1 or runs[0].first != runs[0].last
    columns = [*(["run_id"] if has_runs else []), *_KEY, *names]
    if points and options.plot:
        _plot({run_id: curves for run_id, curves in shown.items() if curves.points}, names, log=options.log)
    elif points or not is_for_people:
        _print(points, columns, names, options.format)
        hidden = sum(len(curves.points) for curves in found.values()) - len(points)
        if hidden and is_for_people:
            print_note(f"{pluralize(hidden, 'earlier step')}, --limit 0 shows all")


def _split(options: argparse.Namespace) -> tuple[list[RunRange], list[str]]:
    """Return the runs and the names of metrics; end the program if the first word does not name a run."""
    parser: Parser = options.parser
    words: list[str] = options.words
    number = next((index for index, word in enumerate(words) if not names_runs(word)), len(words))
    try:
        # Without a run, report the first word as the error.
        runs = [item for word in words[: number or 1] for item in run_ranges(word)]
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    return runs, [*words[number:], *options.metric]


def _note_missing(found: Mapping[int, Curves], *, is_chosen: bool) -> None:
    """Print which runs have no values, and which lack metrics that the user named."""
    names = list(dict.fromkeys(name for curves in found.values() for name in curves.names))
    for run_id, curves in found.items():
        own = set(curves.names)
        missing = [name for name in names if name not in own]
        if not curves.names:
            print_note(f"run {run_id} has no metrics yet" if not names else f"run {run_id} has none of these metrics")
        elif missing and is_chosen:
            print_note(f"run {run_id} has no {', '.join(missing)}")


def _print(points: Sequence[Mapping[str, Any]], columns: Sequence[str], names: Sequence[str], format_: str) -> None:
    # An empty column makes room for others.
    is_told = format_ in _COMPLETE or any(point["progress"] for point in points)
    shown = [name for name in columns if name != "progress" or is_told]
    left_out = print_records(points, shown, format_, cells=dict.fromkeys(shown, show_exact), optional=names)
    if left_out:
        print_note(f"no room for {', '.join(left_out)}; name the metrics to show")


def _plot(found: Mapping[int, Curves], names: Sequence[str], *, log: bool) -> None:
    from sqltrack.cli._plot import Curve, print_plot

    x = _x_axis(found)
    drawn = [
        Curve(_call(run_id, name, found, names), *_values(curves.points, x, name))
        for run_id, curves in found.items()
        for name in curves.names
    ]
    y_label = names[0] if len(names) == 1 else "value"
    print_plot(drawn, x_label=x, y_label=y_label, whole=x == "step", log=log)


def _x_axis(found: Mapping[int, Curves]) -> str:
    """Return the x axis: steps, or progress if all runs have it and not all have steps."""
    with_steps, with_progress = (
        {run_id for run_id, curves in found.items() if any(point[name] for point in curves.points)} for name in _KEY
    )
    if with_steps == found.keys():
        return "step"
    return "progress" if with_progress == found.keys() or not with_steps else "step"


def _call(run_id: int, name: str, found: Mapping[int, Curves], names: Sequence[str]) -> str:
    if len(found) == 1:
        return name
    return f"run {run_id}" if len(names) == 1 else f"run {run_id} {name}"


def _values(points: Sequence[Mapping[str, Any]], x: str, name: str) -> tuple[list[float], list[Any]]:
    """Return the x and y values of a metric; metrics that are logged less often than others have no gaps."""
    logged = [(point[x], point[name]) for point in points if point[name] is not None]
    return [place for place, _ in logged], [value for _, value in logged]
