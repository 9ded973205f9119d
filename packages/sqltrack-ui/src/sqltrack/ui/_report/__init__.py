"""A report: runs as one HTML file to send, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqltrack.client import Client
from sqltrack.commands._lookup import find_experiment
from sqltrack.ui._report._content import Content, read_content
from sqltrack.ui._report._html import write_html
from sqltrack.ui.queries import Database

__all__ = ["Content", "read_content", "read_report", "write_html"]


def read_report(
    client: Client,
    *,
    experiment: str | None = None,
    where: str | None = None,
    metrics: Sequence[str] = (),
    title: str | None = None,
) -> tuple[Content, str]:
    """Return what a report shows, and its HTML; see `sqltrack.ui.create_report` for the arguments and errors."""
    with Database(client) as source:
        facets: list[dict[str, Any]] = []
        if experiment is not None:
            found = source.ask(lambda connection: find_experiment(connection, experiment))
            facets.append({"column": ["experiment", "id"], "values": [found]})
        spec = {"filter": {"facets": facets, "where": where}, "metrics": list(metrics), "title": title}
        content = read_content(source, spec)
    return content, write_html(content)
