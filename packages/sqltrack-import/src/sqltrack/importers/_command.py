"""sqltrack import: import runs of other trackers."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

from sqltrack.cli._output import print_error, print_json, print_note, printable, progress_bar
from sqltrack.cli._parser import FILE, Commands, Parser, open_client
from sqltrack.importers import KINDS, ImportReport, LeftOut, RunReport, apply_import, plan_import
from sqltrack.wording import pluralize

__all__ = ["add_parser"]

_DESCRIPTION = """
A run is found again by its id in the source, so you can repeat an import: it adds new runs, and data that runs got in
the meantime. Other runs stay as they are here, including your changes. After an interruption, repeat the import. A
damaged run is named and skipped, and the exit status is 1. At the end, the command compares the numbers of values and
the first and last steps of both sides, and lists data that it did not import. The source is never changed.
"""
_EXAMPLE = """sqltrack import mlflow sqlite:///mlflow.db --dry-run
         sqltrack import mlruns
         sqltrack import tensorboard runs --experiment baseline
         sqltrack import csv metrics.csv --step epoch --run seed"""

_FAILED = 1
# Places that a line names; --json names more.
_PLACES = 3


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("import", description=" ".join(_DESCRIPTION.split()), example=_EXAMPLE)
    kinds = "; ".join(f"{name}: {text}" for name, text in KINDS.items())
    words: Any = parser.add_argument(
        "words",
        nargs="+",
        metavar="[KIND] SOURCE",
        help=f"kind and path or address of the source; the kind may be left out if the source tells. {kinds}",
    )
    words.complete = FILE
    # argparse would show "[KIND] SOURCE [[KIND] SOURCE ...]".
    parser.usage = "%(prog)s [OPTION ...] [KIND] SOURCE"
    parser.words = "words"
    parser.add_argument(
        "--experiment", metavar="NAME", help="experiment for all runs (default: the names in the source)"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="import only this experiment or project of the source, may be repeated (default: all)",
    )
    parser.add_argument(
        "--status",
        default="COMPLETED",
        help="status of runs for which the source has none, as in TensorBoard and Trackio (default: %(default)s)",
    )
    parser.add_argument(
        "--step", metavar="COLUMN", help="csv, jsonl, parquet: column with the step (default: step, or count the rows)"
    )
    parser.add_argument(
        "--run",
        dest="run_column",
        metavar="COLUMN",
        help="csv, jsonl, parquet: column that tells runs apart (default: run, or one run for each file)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="read the source, show what would be imported, and change nothing"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with all runs and their metrics")
    parser.set_defaults(run=lambda options: _run(parser, options))


def _run(parser: Parser, options: argparse.Namespace) -> int:
    kind, source = _kind_and_source(parser, options.words)
    act = plan_import if options.dry_run else apply_import
    with progress_bar("values") as progress:
        report = act(
            open_client(options),
            kind,
            source,
            experiment=options.experiment,
            only=options.only,
            status=options.status,
            step=options.step,
            run=options.run_column,
            progress=progress,
        )
    if options.json:
        print_json({**dataclasses.asdict(report), "dry_run": options.dry_run})
    else:
        for line in _summary(report, dry_run=options.dry_run):
            print(printable(line))
    for run in report.runs:
        for note in run.notes:
            print_note(note)
        for problem in run.problems:
            print_error(f"{'skipped ' if run.outcome == 'broken' else ''}{run.name!r}: {problem}")
    return _FAILED if report.has_problems else 0


def _kind_and_source(parser: Parser, words: Sequence[str]) -> tuple[str | None, str | None]:
    if len(words) > 2:
        parser.error(f"expected KIND and SOURCE, got {' '.join(words)!r}; quote a path with blanks")
    if len(words) == 2:
        return words[0], words[1]
    # A folder may be called like a kind.
    is_kind = words[0] in KINDS and not os.path.exists(words[0])
    return (words[0], None) if is_kind else (None, words[0])


def _summary(report: ImportReport, *, dry_run: bool) -> Iterator[str]:
    would = "would be " if dry_run else ""
    added = [
        pluralize(report.count("new"), "new run"),
        f"{report.count('continued')} continued",
        f"{report.count('unchanged')} unchanged",
    ]
    broken = report.count("broken")
    if broken:
        added.append(f"{broken} skipped")
    yield ", ".join(added)
    metrics = {metric.name for run in report.runs for metric in run.metrics}
    if report.added:
        yield f"{would}added: {pluralize(report.added, 'value')} of {pluralize(len(metrics), 'metric')}"
    written = [run for run in report.runs if run.stored]
    if written and all(_agrees(run) for run in written):
        yield "source and database agree: numbers of values, first and last steps"
    yield from _left_out([*report.skipped, *(left for run in report.runs for left in run.left_out)])


def _agrees(run: RunReport) -> bool:
    return run.metrics == run.stored


def _left_out(items: Sequence[LeftOut]) -> Iterator[str]:
    found: dict[str, tuple[int, dict[str, None]]] = {}
    for left in items:
        count, places = found.setdefault(left.what, (0, {}))
        places.update(dict.fromkeys(left.where))
        found[left.what] = (count + left.count, places)
    for what, (count, places) in found.items():
        shown = ", ".join(list(places)[:_PLACES])
        more = f" and {len(places) - _PLACES} more" if len(places) > _PLACES else ""
        yield f"not imported: {what}: {count} ({shown}{more})"
