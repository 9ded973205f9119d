"""sqltrack ui: look at runs in a browser."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sqltrack.cli._output import print_note
from sqltrack.cli._parser import FILE, Commands, count, open_client
from sqltrack.errors import ConfigError
from sqltrack.ui import serve

__all__ = ["add_parser"]

_DESCRIPTION = """
It prints an address with a token, and opens it in your browser. The server listens on this machine only, and changes
the database only with --edit. Ctrl-C ends it. The options --host and --port of the database come before `ui`.
"""
_EXAMPLE = """sqltrack ui
         sqltrack ui --no-open --port 8080
         sqltrack ui --socket ~/sqltrack.sock
         sqltrack --host db.example.org ui"""

_SHORTEST_TOKEN = 16


def add_parser(commands: Commands) -> None:
    """Add the command."""
    # The page's own --host and --port replace those of the database.
    parser = commands.add("ui", description=" ".join(_DESCRIPTION.split()), example=_EXAMPLE, without=("host", "port"))
    parser.add_argument(
        "--port", dest="page_port", type=count, default=0, metavar="N", help="port to listen on (default: a free one)"
    )
    parser.add_argument(
        "--host",
        dest="page_host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on (default: %(default)s, which only this machine can reach)",
    )
    socket = parser.add_argument("--socket", metavar="PATH", help="listen on a Unix socket with mode 0600 instead")
    token = parser.add_argument(
        "--token-file", metavar="PATH", help="file that holds the token (default: a new token at each start)"
    )
    for action in (socket, token):
        action.complete = FILE  # type: ignore[attr-defined]
    parser.add_argument("--edit", action="store_true", help="let the page change runs, and save views in the database")
    parser.add_argument("--no-open", action="store_true", help="do not open a browser")
    parser.set_defaults(run=_run, parser=parser)


def _run(options: argparse.Namespace) -> None:
    # Starlette and uvicorn are needed only here.
    from sqltrack.ui._browser import has_screen
    from sqltrack.ui._security import is_loopback

    if options.socket is not None and (options.page_port or options.page_host != "127.0.0.1"):
        options.parser.error("--socket replaces --host and --port")
    client = open_client(options)
    if options.socket is not None:
        path = os.path.abspath(options.socket)
        print_note(f"on your own machine, run `ssh -L 8080:{path} HOST`, then open the address there")
    elif not is_loopback(options.page_host):
        print_note("other machines can connect; what they send and receive is not encrypted")
    serve(
        client,
        port=options.page_port,
        host=options.page_host,
        socket_path=options.socket,
        edit=options.edit,
        open_browser=not options.no_open and options.socket is None and has_screen(),
        token=None if options.token_file is None else _read_token(Path(options.token_file)),
        announce=_announce,
    )


def _announce(address: str) -> None:
    print(address)
    # Another program may be waiting for the line.
    sys.stdout.flush()


def _read_token(path: Path) -> str:
    """Return the token in a file.

    Raises:
        ConfigError: other users can read the file, or it holds no token.
    """
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise ConfigError(f"other users can read the token in {str(path)!r}", f"run: chmod 600 {path}")
    token = path.read_text(encoding="utf-8").strip()
    if len(token) < _SHORTEST_TOKEN or not token.isprintable() or " " in token:
        raise ConfigError(f"{str(path)!r} must hold a token of at least {_SHORTEST_TOKEN} characters without spaces")
    return token
