"""Public names of `sqltrack.ui`, used as programs use them; only type checkers read this."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typing_extensions import assert_type

from sqltrack import Client
from sqltrack.ui import create_app, create_report, serve
from sqltrack.ui.queries import (
    Database,
    QueryError,
    StatementError,
    Stop,
    about,
    best,
    changes,
    choices,
    columns,
    compare,
    curves,
    experiments,
    export_groups,
    export_rows,
    facets,
    figure,
    gone,
    grid,
    group_choices,
    group_rows,
    live,
    metrics,
    run,
    runs,
    schema,
    sql,
    sweep,
)


def look(client: Client, printed: list[str]) -> None:
    serve(client)
    serve(client, port=8080, host="127.0.0.1", open_browser=True, announce=printed.append)
    serve(client, socket_path=Path("page.sock"), edit=True, token="long secret text")
    app = create_app(client, token="long secret text", edit=True)
    print(app)


def report(client: Client) -> None:
    assert_type(create_report(client), str)
    page = create_report(client, experiment="digits", where="id > 3", metrics=["loss"], title="Digits")
    assert_type(page, str)


def read(client: Client) -> None:
    source = Database(client, timeout=10.0, cache_bytes=2**20)
    assert_type(source.version(), str)
    for query in (about, experiments, live):
        assert_type(query(source), dict[str, Any])
    for asking in (best, changes, choices, columns, compare, curves, facets, figure, gone, grid, metrics, run, runs):
        assert_type(asking(source, {"runs": [1]}), dict[str, Any])
    for grouping in (group_choices, group_rows, sweep):
        assert_type(grouping(source, {"group": "all_but_seed"}), dict[str, Any])
    for export in (export_groups, export_rows):
        assert_type(export(source, {}), tuple[list[str], Iterator[list[Any]]])
    assert_type(schema(source), dict[str, Any])
    assert_type(sql(source, {"sql": "SELECT 1"}), dict[str, Any])
    stop = Stop()
    assert_type(sql(source, {"sql": "SELECT 1"}, stop), dict[str, Any])
    stop()
    assert_type(stop.is_stopped, bool)
    source.close()


def explain(error: QueryError) -> str:
    return f"{error.kind}: {error}"


def locate(error: StatementError) -> dict[str, int]:
    return error.details
