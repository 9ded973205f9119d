"""Public names of `sqltrack.ui`, used as programs use them; only type checkers read this."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typing_extensions import assert_type

from sqltrack import Client
from sqltrack.ui import create_app, serve
from sqltrack.ui.queries import (
    Database,
    QueryError,
    about,
    best,
    changes,
    columns,
    compare,
    curves,
    experiments,
    export_rows,
    facets,
    live,
    metrics,
    run,
    runs,
)


def look(client: Client, printed: list[str]) -> None:
    serve(client)
    serve(client, port=8080, host="127.0.0.1", open_browser=True, announce=printed.append)
    serve(client, socket_path=Path("page.sock"), edit=True, token="long secret text")
    app = create_app(client, token="long secret text", edit=True)
    print(app)


def read(client: Client) -> None:
    source = Database(client, timeout=10.0, cache_bytes=2**20)
    assert_type(source.version(), str)
    for query in (about, experiments, live):
        assert_type(query(source), dict[str, Any])
    for asking in (best, changes, columns, compare, curves, facets, metrics, run, runs):
        assert_type(asking(source, {"runs": [1]}), dict[str, Any])
    assert_type(export_rows(source, {}), tuple[list[str], Iterator[list[Any]]])
    source.close()


def explain(error: QueryError) -> str:
    return f"{error.kind}: {error}"
