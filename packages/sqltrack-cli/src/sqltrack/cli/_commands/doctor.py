"""sqltrack doctor: check the installation and the database, and suggest fixes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqltrack.cli._cells import styled
from sqltrack.cli._output import fit_encoding, print_json, printable, progress_bar, stdout
from sqltrack.cli._parser import Commands, add_superuser_option, open_client
from sqltrack.commands.doctor import Finding, examine, examine_installation
from sqltrack.errors import ConfigError, MissingPackageError
from sqltrack.wording import pluralize

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["add_parser"]

_SIGNS: Mapping[str, tuple[str, str]] = {"ok": ("✔", "green"), "note": ("!", "yellow"), "problem": ("✖", "red")}


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "doctor",
        description="Changes nothing. The exit status is 1 if there is a problem; a note does not count as one.",
        example="sqltrack doctor --stale-after 2",
    )
    parser.add_argument(
        "--stale-after",
        type=_hours,
        default=24.0,
        metavar="HOURS",
        help="hours without an update after which a RUNNING run counts as dead (default: 24)",
    )
    parser.add_argument("--full", action="store_true", help="SQLite: check the integrity of the whole file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_superuser_option(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    findings = _examine(options)
    if options.json:
        print_json([finding._asdict() for finding in findings])
    else:
        _show(findings)
    return 1 if any(finding.result == "problem" for finding in findings) else 0


def _examine(options: argparse.Namespace) -> list[Finding]:
    try:
        client = open_client(options)
    except (ConfigError, MissingPackageError) as error:
        advice = "see each value and its source with: sqltrack config"
        return [*examine_installation(), Finding("configuration", "problem", str(error), advice)]
    with progress_bar("examining") as progress:
        return examine(
            client,
            stale_after=options.stale_after,
            full=options.full,
            as_superuser=options.as_superuser,
            progress=progress,
        )


def _show(findings: Sequence[Finding]) -> None:
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        sign, color = _SIGNS[finding.result]
        table.add_row(styled(sign, color), styled(finding.check), styled(_shown(finding.found)))
        if finding.advice is not None:
            table.add_row("", "", styled(f"→ {_shown(finding.advice)}", "cyan"))
    console = stdout()
    console.print(table)
    console.print(_summary([finding.result for finding in findings]))


def _shown(text: str) -> str:
    return fit_encoding(printable(text))


def _summary(results: Sequence[str]) -> Text:
    parts = []
    for result in ("problem", "note"):
        count = results.count(result)
        if count:
            parts.append(styled(pluralize(count, result), _SIGNS[result][1]))
    return styled(", ").join(parts) if parts else styled("no problems", "green")


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = -1.0
    # A larger number would be out of range for a date.
    if not 0 <= hours <= 1_000_000:
        raise argparse.ArgumentTypeError(f"must be a number of hours from 0 to 1,000,000, got {text!r}")
    return hours
