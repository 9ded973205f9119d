"""Open the page in the user's browser, without showing the token to other users."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from html import escape
from pathlib import Path

from sqltrack.ui._state_files import state_folder

__all__ = ["has_screen", "open_in_browser"]


def has_screen() -> bool:
    """Return whether a browser of this machine can be seen by the user."""
    if os.environ.get("SSH_CONNECTION"):
        return False
    return sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.environ.get("BROWSER")
    )


@contextlib.contextmanager
def open_in_browser(address: str) -> Iterator[None]:
    """Open an address in the browser during the block.

    Other users can see the arguments of the browser. So it gets the path of a file that only the user can read, and
    that leads to the address. The file is removed at the end.

    Args:
        address: the address, with the token.
    """
    path = _write_private(
        f'<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>SQLTrack</title>'
        f'<meta http-equiv="refresh" content="0; url={escape(address)}">'
    )
    # Some browsers return only when they are closed.
    thread = threading.Thread(target=_open, args=(path,), name="sqltrack-ui-browser", daemon=True)
    thread.start()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _open(path: Path) -> None:
    # Without a browser, the printed address is enough.
    with contextlib.suppress(webbrowser.Error, OSError):
        webbrowser.open(path.as_uri())


def _write_private(text: str) -> Path:
    """Write a text into a new file with mode 0600, and return its path."""
    descriptor, name = tempfile.mkstemp(prefix="open-", suffix=".html", dir=_private_folder())
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return Path(name)


def _private_folder() -> str | None:
    """Return the folder for the file, or None for the system's folder for temporary files.

    Browsers in a sandbox cannot read the latter.
    """
    folder = state_folder()
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
