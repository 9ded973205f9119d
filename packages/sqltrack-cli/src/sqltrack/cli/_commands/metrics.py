"""sqltrack metrics: show the metrics of a run, as a table or as learning curves."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from sqltrack.cli._cells import show_exact
from sqltrack.cli._formats import add_format_options, add_short_format, print_records
from sqltrack.cli._output import print_note
from sqltrack.cli._parser import Commands, Parser, add_superuser_option, count, open_client
from sqltrack.commands.metrics import Curves, read_curves
from sqltrack.wording import pluralize

__all__ = ["add_parser"]

_ROWS = 20
_KEY = ("step", "progress")
# Formats for programs, which get all steps and all columns.
_COMPLETE = ("csv", "json")


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "metrics",
        "show the metrics of a run",
        description=f"JSON and CSV show all steps, the other formats the last {_ROWS}. In a plot what is no finite "
        "number leaves a gap.",
        example="sqltrack metrics 12 train_loss val_loss --plot --log",
    )
    parser.add_argument("run_id", type=int, metavar="RUN", help="id of the run")
    parser.add_argument("metrics", nargs="*", metavar="METRIC", help="name of a metric, default: all")
    parser.add_argument("--merged", action="store_true", help="with the runs that it resumes, and that resume it")
    parser.add_argument(
        "--limit", type=count, metavar="N", help=f"show the last N steps, 0 for all (default: {_ROWS}, or all)"
    )
    _add_formats(parser)
    parser.add_argument("--log", action="store_true", help="logarithmic scale of the plot")
    add_superuser_option(parser)
    parser.set_defaults(run=_run)


def _add_formats(parser: Parser) -> None:
    formats = add_format_options(parser)
    add_short_format(formats, "csv")
    formats.add_argument("--plot", action="store_true", help="draw learning curves")


def _run(options: argparse.Namespace) -> None:
    names = list(dict.fromkeys(options.metrics))
    curves = read_curves(
        open_client(options), options.run_id, names, merged=options.merged, as_superuser=options.as_superuser
    )
    if not curves.points and options.format not in _COMPLETE:
        print_note(f"run {options.run_id} has no metrics yet")
        return
    limit = options.limit
    if limit is None:
        limit = 0 if options.plot or options.format in _COMPLETE else _ROWS
    points = curves.points[-limit:] if limit else curves.points
    if options.plot:
        _plot(Curves(curves.names, points), log=options.log)
        return
    columns = [*(["run_id"] if options.merged else []), *_KEY, *curves.names]
    _print(points, columns, curves, options.format)


def _print(points: Sequence[Mapping[str, Any]], columns: Sequence[str], curves: Curves, format_: str) -> None:
    # A column that says nothing makes room for others.
    is_told = format_ in _COMPLETE or any(point["progress"] for point in points)
    shown = [name for name in columns if name != "progress" or is_told]
    left_out = print_records(points, shown, format_, cells=dict.fromkeys(shown, show_exact), optional=curves.names)
    if format_ in _COMPLETE:
        return
    if len(points) < len(curves.points):
        print_note(f"{pluralize(len(curves.points) - len(points), 'earlier step')}, --limit 0 shows all")
    if left_out:
        print_note(f"no room for {', '.join(left_out)}; name metrics to choose")


def _plot(curves: Curves, *, log: bool) -> None:
    from sqltrack.cli._plot import Curve, print_plot

    # Who counts no steps may tell progress.
    x = "step" if any(point["step"] for point in curves.points) else "progress"
    places = [point[x] for point in curves.points]
    drawn = [Curve(name, *_values(curves.points, places, name)) for name in curves.names]
    print_plot(drawn, x_label=x, log=log)


def _values(points: Sequence[Mapping[str, Any]], places: Sequence[float], name: str) -> tuple[list[float], list[Any]]:
    """Return where a metric was logged, and what; metrics that are logged more rarely than others have no gaps."""
    logged = [(place, point[name]) for place, point in zip(places, points) if point[name] is not None]
    return [place for place, _ in logged], [value for _, value in logged]
