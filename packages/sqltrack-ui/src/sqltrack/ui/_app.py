"""The application: the page at any prefix, its files, and its calls."""

from __future__ import annotations

import re
import secrets

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sqltrack.ui._api import Api
from sqltrack.ui._security import Access, Guard
from sqltrack.ui._static import StaticFiles
from sqltrack.ui.queries import Database

__all__ = ["PAGES", "build_app"]

#: The views of the page, by their path below the prefix.
PAGES = ("", "curves", "compare", "experiments", "live", "run/{id}")

# The end of a path that this application serves. A proxy may leave its own prefix in front.
_KNOWN_END = re.compile(r"/(?:api/[a-z]+|static/.+|curves|compare|experiments|live|run/[^/]+)?\Z", re.DOTALL)


def build_app(database: Database, access: Access) -> ASGIApp:
    """Return the application.

    Args:
        database: the database.
        access: who may use it.
    """
    files = StaticFiles()
    api = Api(database, edit=access.edit)

    async def page(request: Request) -> Response:
        return _page(request, files)

    async def file(request: Request) -> Response:
        return files.respond(request, request.path_params["path"])

    return Starlette(
        routes=[
            *(Route(f"/{path}", page) for path in PAGES),
            Route("/static/{path:path}", file),
            *api.routes(),
        ],
        middleware=[
            Middleware(Guard, access=access),
            Middleware(_AnyPrefix),
            Middleware(GZipMiddleware, minimum_size=1_000, compresslevel=5),
        ],
        exception_handlers=api.error_handlers(),
    )


class _AnyPrefix:
    """Remove what is in front of a known path, so that the application works below any prefix without knowing it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = _KNOWN_END.search(scope["path"])
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
