"""Answer the calls of the page: read the request, call one function of the queries, write JSON."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from importlib.metadata import version
from typing import IO, Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from sqltrack.statuses import GROUPS, OTHER
from sqltrack.ui import queries
from sqltrack.ui._edits import Edits
from sqltrack.ui._errors import RequestError, describe_error
from sqltrack.ui._export import FORMATS
from sqltrack.ui._history import History
from sqltrack.ui._json import encode, read_object, read_text
from sqltrack.ui._report import read_content, write_html
from sqltrack.ui._saved_views import SavedViews, state_id
from sqltrack.ui._state_files import user_name
from sqltrack.ui._workers import Workers
from sqltrack.util import placeholders

__all__ = ["Api"]

_logger = logging.getLogger("sqltrack.ui")

Query = Callable[[queries.Database, dict[str, Any]], Any]

# The calls that are one function of the queries each.
_QUERIES: Mapping[str, Query] = {
    "columns": queries.columns,
    "runs": queries.runs,
    "facets": queries.facets,
    "best": queries.best,
    "group_choices": queries.group_choices,
    "group_rows": queries.group_rows,
    "curves": queries.curves,
    "figure": queries.figure,
    "metrics": queries.metrics,
    "run": queries.run,
    "compare": queries.compare,
    "experiments": queries.experiments,
    "live": queries.live,
    "changes": queries.changes,
    "choices": queries.choices,
    "schema": queries.schema,
    "gone": queries.gone,
    "sweep": queries.sweep,
    "grid": queries.grid,
}

# Statements at the same time. Each has a connection; others wait.
_THREADS = 6
# Seconds between looks whether a browser still waits.
_LOOK = 0.3
# Longest body of a request, in bytes, and seconds that it may take.
_LONGEST_BODY = 1_000_000
_BODY_SECONDS = 10.0
# Long requests that are kept in memory.
_KEPT_SPECS = 256
_CHUNK = 65_536


class Api:
    """The calls of the page.

    Args:
        database: the database.
        edit: whether it may be changed, and saved views are written to it.
    """

    def __init__(self, database: queries.Database, *, edit: bool) -> None:
        self._database = database
        self._views = SavedViews(database.client, in_database=edit)
        self._history = History(database.client)
        self._edit = edit
        self._edits = Edits(database)
        self._workers = Workers(_THREADS)
        self._specs: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def routes(self) -> list[Route]:
        """Return the routes of the calls."""
        return [
            *(Route(f"/api/{name}", self._query_endpoint(query)) for name, query in _QUERIES.items()),
            Route("/api/sql", _guarded(self._run_sql)),
            Route("/api/about", self._query_endpoint(self._about)),
            Route("/api/export", _guarded(self._export)),
            Route("/api/report", _guarded(self._report)),
            Route("/api/recent", self._query_endpoint(lambda database, spec: self._edits.recent())),
            # The guard lets them pass only if the page may change the database.
            Route("/api/plan", self._edit_endpoint(self._edits.plan), methods=["POST"]),
            Route("/api/apply", self._edit_endpoint(self._edits.apply), methods=["POST"]),
            Route("/api/views", _guarded(self._list_views), methods=["GET"]),
            Route("/api/views", _guarded(self._save_view), methods=["POST"]),
            Route("/api/views", _guarded(self._delete_view), methods=["DELETE"]),
            Route("/api/defaults", _guarded(self._set_default), methods=["POST"]),
            Route("/api/history", _guarded(self._list_history), methods=["GET"]),
            Route("/api/history", _guarded(self._add_history), methods=["POST"]),
            Route("/api/history", _guarded(self._forget_history), methods=["DELETE"]),
            Route("/api/states", _guarded(self._find_state), methods=["GET"]),
            Route("/api/states", _guarded(self._save_state), methods=["POST"]),
        ]

    def close(self) -> None:
        """Cancel statements, and close the connections."""
        self._workers.close()
        self._database.close()

    def error_handlers(self) -> dict[Any, Any]:
        """Return the handlers of errors outside of the calls, such as an unknown address."""
        return {HTTPException: _answer_http_error}

    def _query_endpoint(self, query: Query) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            spec = await self._spec(request)
            return await self._workers.run(lambda: _json(query(self._database, spec)))

        return _guarded(endpoint)

    def _edit_endpoint(self, edit: Callable[[dict[str, Any]], Any]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            spec = await _read_body(request)
            return await self._workers.run(lambda: _json(edit(spec)))

        return _guarded(endpoint)

    async def _run_sql(self, request: Request) -> Response:
        """Run a query of the user, and stop it when the browser no longer waits for it."""
        spec, stop = await self._spec(request), queries.Stop()
        running = asyncio.ensure_future(self._workers.run(lambda: _json(queries.sql(self._database, spec, stop))))
        while not (await asyncio.wait({running}, timeout=_LOOK))[0]:
            if await request.is_disconnected():
                stop()
                break
        return await running

    async def _spec(self, request: Request) -> dict[str, Any]:
        """Return what a request asks for: in its address, or sent before because it is too long."""
        id_ = request.query_params.get("state")
        if id_ is None:
            return read_object(request.query_params.get("spec", "{}"))
        if id_ in self._specs:
            self._specs.move_to_end(id_)
            return self._specs[id_]
        state = await self._workers.run(self._views.find_state, id_)
        if not isinstance(state, dict):
            raise RequestError(f"the state {id_!r} is not an object")
        return state

    def _about(self, database: queries.Database, spec: dict[str, Any]) -> dict[str, Any]:
        return {
            **_fields(queries.about(database, spec)),
            "version_of_sqltrack": version("sqltrack-ui"),
            "edit": self._edit,
            "user": user_name(),
            "views_kept": "database" if self._edit else "file",
            "statuses": [group._asdict() for group in (*GROUPS, OTHER)],
        }

    async def _export(self, request: Request) -> Response:
        spec = dict(await self._spec(request))
        file_format = str(spec.pop("format", "csv"))
        if file_format not in FORMATS:
            raise RequestError(f"format must be one of {', '.join(FORMATS)}, got {file_format!r}")
        write, media_type = FORMATS[file_format]

        def export() -> IO[bytes]:
            # On disk, because there may be many runs and columns.
            with contextlib.ExitStack() as stack:
                file = stack.enter_context(tempfile.TemporaryFile())
                read = queries.export_rows if spec.get("group") is None else queries.export_groups
                write(file, *read(self._database, spec))
                file.seek(0)
                # Closed when it was sent.
                stack.pop_all()
            return file

        headers = {"Content-Disposition": f'attachment; filename="runs.{file_format}"'}
        file = await self._workers.run(export)
        return StreamingResponse(self._chunks(file), headers=headers, media_type=media_type)

    async def _report(self, request: Request) -> Response:
        spec = await self._spec(request)
        text = await self._workers.run(lambda: write_html(read_content(self._database, spec)))
        headers = {"Content-Disposition": 'attachment; filename="report.html"'}
        return Response(text, headers=headers, media_type="text/html")

    async def _chunks(self, file: IO[bytes]) -> AsyncIterator[bytes]:
        with file:
            while chunk := file.read(_CHUNK):
                yield chunk

    async def _list_views(self, request: Request) -> Response:
        page = request.query_params.get("page")

        def read() -> dict[str, Any]:
            return {"views": self._views.list_views(page), "defaults": self._named_defaults()}

        return _json(await self._workers.run(read))

    def _named_defaults(self) -> list[dict[str, Any]]:
        """Return the default views of experiments that still exist."""
        defaults = self._views.list_defaults()
        if not defaults:
            return []
        sql = f"SELECT id, name FROM experiments WHERE id IN ({placeholders(len(defaults))}) ORDER BY name"
        rows = self._database.fetch(sql, list(defaults))
        return [{"experiment": row["name"], "view": defaults[row["id"]]} for row in rows]

    async def _set_default(self, request: Request) -> Response:
        body = await _read_body(request)
        name, view = read_text(body, "experiment"), body.get("view")

        def write() -> None:
            found = self._database.fetch("SELECT id FROM experiments WHERE name = %s", (name,))
            if not found:
                raise RequestError(f"there is no experiment {name!r}", "unknown")
            self._views.set_default(found[0]["id"], None if view is None else read_text(body, "view"))

        await self._workers.run(write)
        return _json({})

    async def _save_view(self, request: Request) -> Response:
        body = await _read_body(request)
        if "id" not in body:
            name, page = read_text(body, "name"), read_text(body, "page")
            return _json({"id": await self._workers.run(self._views.save_view, name, page, body.get("state"))})
        id_, new_name = read_text(body, "id"), None if body.get("name") is None else read_text(body, "name")
        await self._workers.run(lambda: self._views.change_view(id_, name=new_name, state=body.get("state")))
        return _json({"id": id_})

    async def _delete_view(self, request: Request) -> Response:
        await self._workers.run(self._views.delete_view, request.query_params.get("id", ""))
        return _json({})

    async def _list_history(self, request: Request) -> Response:
        return _json({"queries": await self._workers.run(self._history.queries)})

    async def _add_history(self, request: Request) -> Response:
        await self._workers.run(self._history.add, await _read_body(request))
        return _json({})

    async def _forget_history(self, request: Request) -> Response:
        await self._workers.run(self._history.forget, request.query_params.get("id"))
        return _json({})

    async def _find_state(self, request: Request) -> Response:
        id_ = request.query_params.get("id", "")
        return _json({"state": await self._workers.run(self._views.find_state, id_)})

    async def _save_state(self, request: Request) -> Response:
        body = await _read_body(request)
        if request.query_params.get("keep") != "no":
            return _json({"id": await self._workers.run(self._views.save_state, body)})
        id_ = state_id(body)
        self._specs[id_] = body
        while len(self._specs) > _KEPT_SPECS:
            self._specs.popitem(last=False)
        return _json({"id": id_})


def _guarded(endpoint: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """Return an endpoint that answers errors with a sentence."""

    async def answer(request: Request) -> Response:
        try:
            response: Response = await endpoint(request)
        except HTTPException:
            raise
        except Exception as error:
            described = describe_error(error)
            if described is None:
                _logger.exception("the server could not answer %s", request.url.path)
                sentence = f"the server failed: {type(error).__name__}: {error}"
                return _json({"error": sentence, "kind": "request"}, 500)
            status, content = described
            return _json(content, status)
        return response

    return answer


def _json(value: Any, status: int = 200) -> Response:
    return Response(encode(value), status, media_type="application/json")


async def _answer_http_error(request: Request, error: HTTPException) -> Response:
    sentence = {404: "there is no such page", 405: "this address does not allow that"}.get(error.status_code, "")
    sentence = sentence or str(error.detail)
    if request.url.path.startswith("/api/"):
        kind = "unknown" if error.status_code == 404 else "request"
        return JSONResponse({"error": sentence, "kind": kind}, error.status_code, headers=error.headers)
    return PlainTextResponse(f"{sentence}\n", error.status_code, headers=error.headers)


async def _read_body(request: Request) -> dict[str, Any]:
    """Return the JSON object that a request brings."""
    try:
        text = await asyncio.wait_for(_receive_body(request), _BODY_SECONDS)
    except asyncio.TimeoutError:
        raise RequestError("the request took too long to arrive", status=408) from None
    return read_object(text)


async def _receive_body(request: Request) -> bytes:
    parts = bytearray()
    try:
        async for part in request.stream():
            parts += part
            if len(parts) > _LONGEST_BODY:
                raise RequestError(f"the request is larger than {_LONGEST_BODY:,} bytes", status=413)
    except ClientDisconnect:
        raise RequestError("the connection ended within the request") from None
    return bytes(parts)


def _fields(value: Any) -> dict[str, Any]:
    """Return the fields of a mapping or a dataclass."""
    return dict(value) if isinstance(value, Mapping) else dict(vars(value))
