"""sqltrack show: show all details of runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from sqltrack.capture._summary import summarize_capture
from sqltrack.cli._cells import show_exact, show_status, show_tags, show_time, show_value, styled
from sqltrack.cli._edit_options import add_runs, named_runs
from sqltrack.cli._formats import add_format_options, print_records
from sqltrack.cli._output import print_json, printable, stdout
from sqltrack.cli._parser import Commands, add_superuser_option, open_client
from sqltrack.cli._table import print_pairs, print_table
from sqltrack.commands.diff import compare_descriptions
from sqltrack.commands.show import describe_runs
from sqltrack.wording import pluralize

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["add_parser"]

_METRIC_COLUMNS = ("metric", "last", "min", "min_step", "max", "max_step", "values", "nan", "last_step")


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "show",
        description="Metrics are summarized: their last, smallest and greatest values with the steps, the number of "
        "values, and how many of them are NaN. JSON is a list if you name several runs or a range.",
        example="sqltrack show 12\n         sqltrack show 12,20-22 --json",
    )
    add_runs(parser, nargs="+")
    parser.add_argument("--env", action="store_true", help="also show the environment variables")
    parser.add_argument("--capture", action="store_true", help="also show captured packages, diff and output in full")
    add_format_options(parser)
    add_superuser_option(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    runs = named_runs(options.runs)
    is_one = len(runs) == 1 and runs[0].first == runs[0].last
    described = describe_runs(open_client(options), runs, as_superuser=options.as_superuser)
    if options.format not in ("table", "json"):
        _print_rows(described, options, is_one=is_one)
        return
    if not options.env:
        for run in described:
            run["env_number"] = len(run.pop("env") or {})
    if options.format == "json":
        print_json(described[0] if is_one else described)
        return
    for number, run in enumerate(described):
        if number:
            stdout().print()
        _print(run)
        if options.capture:
            _print_capture(run.get("capture", {}))


def _print_rows(described: Sequence[Mapping[str, Any]], options: argparse.Namespace, *, is_one: bool) -> None:
    """Print a row for each value, with the run id in front unless only one run is named."""
    rows = [row for row in compare_descriptions(described) if options.env or row["section"] != "env"]
    records = [
        {"run_id": run["id"], **row, "value": row["values"][run["id"]]}
        for run in described
        for row in rows
        if run["id"] in row["values"]
    ]
    columns = ("section", "name", "value")
    print_records(records, columns if is_one else ("run_id", *columns), options.format)


def _print(run: Mapping[str, Any]) -> None:
    pairs = {
        "run": run["id"],
        "experiment": f"{run['experiment']} (id {run['experiment_id']})",
        "status": run["status"],
        **{name: run[name] for name in ("created", "started", "updated", "runtime", "tags", "comment")},
    }
    times = dict.fromkeys(("created", "started", "updated"), _time)
    print_pairs(pairs, cells={**times, "status": show_status, "tags": _tags})
    _print_links(run)
    for section in ("args", "extras", "env"):
        _print_section(section, run.get(section))
    _print_section("captured", summarize_capture(run.get("capture", {})))
    if "env" not in run:
        stdout().print(styled(f"env         {pluralize(run['env_number'], 'variable')}, --env shows them"))
    _print_metrics(run["metrics"])


def _print_links(run: Mapping[str, Any]) -> None:
    for link in run["links"]:
        is_own = link["from_id"] == run["id"]
        text = f"this {link['kind']} {link['to_id']}" if is_own else f"{link['from_id']} {link['kind']} this"
        stdout().print(styled(f"link        {printable(text)}"))


def _print_section(name: str, items: Any) -> None:
    if not items:
        return
    stdout().print(styled(name, "bold"))
    print_pairs(items if isinstance(items, dict) else {"": items}, indent=2)


def _print_metrics(metrics: Sequence[Mapping[str, Any]]) -> None:
    if not metrics:
        stdout().print(styled("metrics     none"))
        return
    stdout().print(styled("\nmetrics", "bold"))
    headers = {"last_step": "last step", "min_step": "at step", "max_step": "at step"}
    cells = {"last": show_exact}
    print_table(metrics, _METRIC_COLUMNS, cells=cells, optional=_METRIC_COLUMNS[-3:], headers=headers)


def _print_capture(capture: Mapping[str, Any]) -> None:
    """Print the parts of a captured context that are long."""
    packages = capture.get("packages")
    if isinstance(packages, dict):
        _print_section("packages", packages)
    for name, text in (("diff", _text(capture, "git", "diff")), ("output", _text(capture, "output", "text"))):
        if text:
            stdout().print(styled(f"\n{name}", "bold"))
            for line in text.splitlines():
                stdout().print(styled(printable(line)))


def _text(capture: Mapping[str, Any], name: str, key: str) -> str:
    part = capture.get(name)
    value = part.get(key) if isinstance(part, dict) else None
    return value if isinstance(value, str) else ""


def _time(time: datetime | None) -> Text:
    """Return a time in UTC, with its distance from now."""
    if time is None or time.tzinfo is None:
        return show_value(time)
    return styled(f"{time.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC, ").append_text(show_time(time))


def _tags(tags: Mapping[str, Any] | None) -> Text:
    return show_tags(tags) if tags else show_value(None)
