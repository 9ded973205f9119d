"""Check who sends a request, and from where, before it reaches the page."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Iterable
from html import escape
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HEADER", "Access", "Guard"]

#: A header that requests to write must have. Forms cannot send it, and scripts of other sites may not.
HEADER = "X-SQLTrack"

_PARAMETER = "token"
_READING = ("GET", "HEAD")
# Requests that write only what belongs to the page itself, which is allowed without `--edit`.
_OWN_WRITES = {
    *(("POST", f"api/{name}") for name in ("views", "states", "defaults", "history")),
    *(("DELETE", f"api/{name}") for name in ("views", "history")),
}
_STRICT_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
_HEADERS = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": _STRICT_POLICY,
    "Cache-Control": "no-store",
}
# Bytes of a refused request that are read, and seconds to wait for them.
_DROPPED_BODY = 65_536
_DROPPING = 1.0
_DEFAULT_PORTS = (":80", ":443")

_UNKNOWN_USER = "open the address that `sqltrack ui` has printed, which contains the token"
_FOREIGN_HOST = "this host name is not the server's: open the address that `sqltrack ui` has printed"
_FOREIGN_ORIGIN = "the request comes from a page of another site"
_READ_ONLY = "the page is read-only: start `sqltrack ui --edit` to change the database"
_NO_HEADER = f"requests that write must have the header {HEADER}"


class Access:
    """Who may use a server.

    The token in the address proves once that a browser belongs to the user, and a cookie does from then on. The cookie
    contains another secret, so that a copied address does not tell the cookie, nor a cookie the token.

    Args:
        name: distinguishes the cookie from those of other servers on the same host, for example the port.
        token: the token, default: a random one.
        hosts: host names under which users reach the server, in addition to those of the own machine.
        edit: whether requests may change the database.

    Attributes:
        token, edit: the same.
        cookie: name of the cookie.
    """

    def __init__(self, name: str, *, token: str | None = None, hosts: Iterable[str] = (), edit: bool = False) -> None:
        self.token: str = secrets.token_urlsafe(24) if token is None else token
        self.edit = edit
        self.cookie = f"sqltrack-{name}"
        self._hosts = {host.lower() for host in hosts}
        # Derived from the token, so that a server that is started again with the same token knows its users.
        self._session = hmac.new(self.token.encode(), b"sqltrack ui session", hashlib.sha256).hexdigest()

    def is_token(self, text: str) -> bool:
        """Return whether a text is the token."""
        return hmac.compare_digest(text.encode("utf-8", "replace"), self.token.encode())

    def has_cookie(self, headers: Headers) -> bool:
        """Return whether a request has the valid cookie."""
        return any(
            hmac.compare_digest(value.encode("utf-8", "replace"), self._session.encode())
            for text in headers.getlist("cookie")
            for value in _cookie_values(text, self.cookie)
        )

    def set_cookie(self, response: Response, *, secure: bool) -> None:
        """Add the cookie to a response.

        Args:
            response: the response.
            secure: whether the browser may send the cookie only over HTTPS.
        """
        # For all paths: the server does not know below which prefix a proxy serves it.
        response.set_cookie(self.cookie, self._session, path="/", httponly=True, samesite="strict", secure=secure)

    def knows_host(self, host: str) -> bool:
        """Return whether a host, with or without port, is this machine or a name of the server."""
        name = _without_port(host).lower()
        return is_loopback(name) or name in self._hosts


def is_loopback(name: str) -> bool:
    """Return whether the name of a host is this machine."""
    name = name.strip("[]").rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Guard:
    """Let only permitted requests reach an application, and add headers to all responses.

    Args:
        app: the application.
        access: who may use it.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # Start and end of the server; the application has no websockets.
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        response = self._refusal(scope, Headers(scope=scope))
        if response is not None and scope["method"] not in _READING:
            await _drop_body(receive)
        await (self._app if response is None else response)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """Return the response to a request that the application does not get, or None."""
        query = parse_qsl(scope["query_string"].decode("ascii", "replace"), keep_blank_values=True)
        has_token = any(name == _PARAMETER and self._access.is_token(value) for name, value in query)
        if not has_token and not self._access.has_cookie(headers):
            if not self._access.knows_host(headers.get("host", "")):
                return _refuse(scope, 403, _FOREIGN_HOST)
            return _again_from_here(headers) or _refuse(scope, 401, _UNKNOWN_USER)
        if not _is_own_origin(headers):
            return _refuse(scope, 403, _FOREIGN_ORIGIN)
        if scope["method"] not in _READING:
            return self._writing_refusal(scope, headers)
        if has_token:
            return self._exchange(scope, headers, query)
        return None

    def _writing_refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """Return the response to a request that may not write, or None."""
        is_own = any(scope["method"] == method and scope["path"].endswith(f"/{path}") for method, path in _OWN_WRITES)
        if not (is_own or self._access.edit):
            response = _refuse(scope, 405, _READ_ONLY)
            response.headers["Allow"] = ", ".join(_READING)
            return response
        if HEADER not in headers or not self._access.has_cookie(headers):
            return _refuse(scope, 403, _NO_HEADER)
        return None

    def _exchange(self, scope: Scope, headers: Headers, query: list[tuple[str, str]]) -> Response:
        """Return the response that gives the cookie, and leads to the same address without the token."""
        rest = urlencode([(name, value) for name, value in query if name != _PARAMETER])
        page = scope["path"].rpartition("/")[2]
        # Relative, because a proxy may serve the page below a prefix; with ./, because the name may contain a colon.
        address = f"./{quote(page, safe='')}{f'?{rest}' if rest else ''}"
        response = _again_from_here(headers, address, 200) or RedirectResponse(address, 303)
        self._access.set_cookie(response, secure=headers.get("x-forwarded-proto", "").startswith("https"))
        return response


async def _drop_body(receive: Receive) -> None:
    """Read the short body of a request that is refused.

    Otherwise the connection is closed while a proxy still writes, which then reports an error of its own.
    """

    async def read() -> None:
        length, has_more = 0, True
        while has_more and length < _DROPPED_BODY:
            message = await receive()
            length += len(message.get("body", b""))
            has_more = message.get("more_body", False)

    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(read(), _DROPPING)


def _again_from_here(headers: Headers, address: str = "", status: int = 401) -> Response | None:
    """Return a page that loads an address again, or None if the request does not come from another site.

    A browser does not send a strict cookie when another site, or a file, has led to the page, not even after a
    redirect. It does when the page then leads to itself.

    Args:
        headers: headers of the request.
        address: the address, default: that of the request.
        status: status of HTTP.
    """
    if headers.get("sec-fetch-site") != "cross-site" or headers.get("sec-fetch-mode") != "navigate":
        return None
    target = f"; url={address}" if address else ""
    return HTMLResponse(
        f'<!doctype html><meta http-equiv="refresh" content="{escape("0" + target)}"><title>SQLTrack</title>', status
    )


def _refuse(scope: Scope, status: int, sentence: str) -> Response:
    """Return the response to a request that is not permitted."""
    if "/api/" in scope["path"]:
        return JSONResponse({"error": sentence, "kind": "request"}, status)
    text = (
        f"<!doctype html><title>SQLTrack</title><h1>SQLTrack</h1><p>{escape(sentence[0].upper() + sentence[1:])}.</p>"
    )
    return HTMLResponse(text, status)


def _is_own_origin(headers: Headers) -> bool:
    """Return whether a request comes from a page of this server, or does not say where it comes from."""
    origin = headers.get("origin")
    if origin is None:
        return True
    # Behind a proxy, the browser knows the server by the proxy's name.
    forwarded = headers.get("x-forwarded-host", "").split(",")[0]
    names = {_plain_host(name) for name in (headers.get("host", ""), forwarded) if name.strip()}
    scheme, mark, host = origin.partition("://")
    return bool(mark) and scheme in ("http", "https") and _plain_host(host) in names


def _plain_host(host: str) -> str:
    host = host.strip().lower()
    return next((host.removesuffix(port) for port in _DEFAULT_PORTS if host.endswith(port)), host)


def _without_port(host: str) -> str:
    return re.sub(r":\d*$", "", host.strip()) if not host.endswith("]") else host.strip()


def _cookie_values(text: str, name: str) -> list[str]:
    """Return the values of a cookie in a header."""
    pairs = (part.strip().partition("=") for part in text.split(";"))
    return [value for key, _, value in pairs if key == name]
