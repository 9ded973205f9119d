"""The application: the page at any prefix, its files, and its calls."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sqltrack.client import Client
from sqltrack.ui._api import Api
from sqltrack.ui._security import Access, Guard
from sqltrack.ui._static import StaticFiles
from sqltrack.ui.queries import Database

__all__ = ["PAGES", "Application", "build_app"]

#: The views of the page, by their path below the prefix.
PAGES = ("", "curves", "compare", "experiments", "live", "sql", "sweep", "run/{id}")

# The end of a path that this application serves. A proxy may leave its own prefix in front.
_KNOWN_END = re.compile(r"/(?:api/[a-z_]+|static/.+|curves|compare|experiments|live|sql|sweep|run/[^/]+)?\Z", re.DOTALL)


class Application(NamedTuple):
    """The application, and what ends it.

    Attributes:
        app: the application, which closes at the end of its lifespan, if the server has that.
        close: cancels statements and closes connections; harmless if it was called before.
    """

    app: ASGIApp
    close: Callable[[], None]


def build_app(client: Client, access: Access) -> Application:
    """Return the application.

    Args:
        client: the database.
        access: who may use it.
    """
    files = StaticFiles()
    api = Api(Database(client), edit=access.edit)

    async def page(request: Request) -> Response:
        return _page(request, files)

    async def file(request: Request) -> Response:
        return files.respond(request, request.path_params["path"])

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        api.close()

    app = Starlette(
        lifespan=lifespan,
        routes=[
            *(Route(f"/{path}", page) for path in PAGES),
            Route("/static/{path:path}", file),
            *api.routes(),
        ],
        middleware=[
            Middleware(Guard, access=access),
            Middleware(_AnyPrefix),
            # Numbers become hardly smaller with a higher level, which takes five times as long.
            Middleware(GZipMiddleware, minimum_size=1_000, compresslevel=1),
        ],
        exception_handlers=api.error_handlers(),
    )
    return Application(app, api.close)


class _AnyPrefix:
    """Remove the prefix of a proxy from paths, so that the application need not know it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = _KNOWN_END.search(scope["path"]) if scope["type"] == "http" else None
        await self._app({**scope, "path": found.group(), "root_path": ""} if found else scope, receive, send)


def _page(request: Request, files: StaticFiles) -> Response:
    """Return the page; its scripts read the view from the address."""
    nonce = secrets.token_urlsafe(16)
    # From the view's path to the prefix.
    base = "./" if request.url.path.count("/") == 1 else "../"
    policy = (
        f"default-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data: blob:; font-src 'self' data:; "
        "object-src 'none'; base-uri 'self'; form-action 'none'; frame-ancestors 'self'"
    )
    return HTMLResponse(files.index(base, nonce), headers={"Content-Security-Policy": policy})
