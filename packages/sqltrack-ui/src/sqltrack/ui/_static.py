"""Serve the files of the page, with an address that changes when a file changes."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import threading
from pathlib import Path
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

__all__ = ["StaticFiles"]

_FOLDER = Path(__file__).parent / "static"
_INDEX = "index.html"
# The system's table may lack these, or say something else.
_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".txt": "text/plain",
}
# Smaller files are sent as they are.
_LEAST_TO_COMPRESS = 1_000
_YEAR = "public, max-age=31536000, immutable"


class _File(NamedTuple):
    """A file in memory.

    Attributes:
        plain: its content.
        compressed: the content compressed with gzip, or None if that is not worth it.
        etag: identifies the content.
        media_type: its media type.
    """

    plain: bytes
    compressed: bytes | None
    etag: str
    media_type: str


class StaticFiles:
    """The files of a folder, in memory, and read again for the next page after they have changed.

    Only files that were found in the folder can be requested, so no path leads out of it.

    Args:
        folder: the folder, default: that of the page.
    """

    def __init__(self, folder: Path = _FOLDER) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._stamp: object = None
        self._files: dict[str, _File] = {}
        self._version = ""
        self._refresh()

    def index(self, base: str, nonce: str) -> str:
        """Return the text of the page.

        Args:
            base: relative address of the folder that the addresses in the page start from.
            nonce: value that permits style sheets in the page.
        """
        self._refresh()
        page = self._files[_INDEX].plain.decode("utf-8")
        for name, value in (("base", base), ("nonce", nonce), ("static", f"static/{self._version}")):
            page = page.replace("{{" + name + "}}", value)
        return page

    def respond(self, request: Request, path: str) -> Response:
        """Return the answer to the request for a file.

        Args:
            request: the request.
            path: path of the file, with or without the version in front.
        """
        version, _, rest = path.partition("/")
        is_versioned = version == self._version
        # A page that was loaded before the files changed gets the new ones.
        file = self._files.get(path) or self._files.get(rest)
        if file is None:
            return Response("there is no such file\n", 404, media_type="text/plain")
        headers = {"ETag": file.etag, "Cache-Control": _YEAR if is_versioned else "no-cache", "Vary": "Accept-Encoding"}
        if file.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        content = file.plain
        if file.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            content = file.compressed
            headers["Content-Encoding"] = "gzip"
        return Response(content, headers=headers, media_type=file.media_type)

    def _refresh(self) -> None:
        """Read the files again if one of them has changed."""
        paths = sorted(path for path in self._folder.rglob("*") if path.is_file())
        stamp = [(path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths]
        with self._lock:
            if stamp == self._stamp:
                return
            self._files = {path.relative_to(self._folder).as_posix(): _load(path) for path in paths}
            etags = "".join(file.etag for file in self._files.values())
            self._version = hashlib.sha256(etags.encode()).hexdigest()[:12]
            self._stamp = stamp


def _load(path: Path) -> _File:
    content = path.read_bytes()
    # Without the time, so that the same content has the same bytes.
    compressed = gzip.compress(content, 6, mtime=0) if len(content) >= _LEAST_TO_COMPRESS else None
    if compressed is not None and len(compressed) > 0.9 * len(content):
        compressed = None
    media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return _File(content, compressed, f'"{hashlib.sha256(content).hexdigest()[:32]}"', media_type)
