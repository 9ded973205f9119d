"""The doctor's findings."""

from __future__ import annotations

from typing import Any

import sqltrack
from sqltrack.commands.doctor import Finding, examine

__all__ = ["INSTALLATION", "found_by", "results"]

INSTALLATION = ["python", "distributions", "drivers"]


def found_by(client: sqltrack.Client, **options: Any) -> dict[str, Finding]:
    findings = examine(client, **options)
    names = [finding.check for finding in findings]
    assert len(names) == len(set(names))
    assert names[:4] == [*INSTALLATION, "outbox"]
    assert all("cannot be checked" not in finding.found for finding in findings)
    return {finding.check: finding for finding in findings}


def results(findings: dict[str, Finding]) -> dict[str, str]:
    return {name: finding.result for name, finding in findings.items() if finding.result != "ok"}
