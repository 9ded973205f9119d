"""Checks of accessibility by axe-core."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe

__all__ = ["violations"]

_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]


def violations(page: Any) -> list[str]:
    """Return what axe-core finds wrong with a playwright page: the rule, the element, and what to do."""
    answer = Axe().run(page, options={"runOnly": {"type": "tag", "values": _RULES}, "resultTypes": ["violations"]})
    return [
        f"{found['id']}: {node['html'][:120]}: {node['failureSummary']}"
        for found in answer.response["violations"]
        for node in found["nodes"]
    ]
