"""Look at runs, curves and differences in a browser."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sqltrack.client import Client

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["create_app", "create_report", "serve"]

# The server is imported by the functions, because the program imports this package only for its options, too.


def create_app(client: Client, *, token: str, edit: bool = False) -> ASGIApp:
    """Return the page as an ASGI application, for a server of your own.

    Args:
        client: the database.
        token: secret that users give once in the address, as `?token=…`. A cookie replaces it then.
        edit: whether users can change runs, and views are saved in the database; default False: the database is only
            read, and views are saved in a file of the user who runs the server.
    """
    from sqltrack.ui._app import build_app
    from sqltrack.ui._security import Access

    return build_app(client, Access("app", token=token, edit=edit)).app


def create_report(
    client: Client,
    *,
    experiment: str | None = None,
    where: str | None = None,
    metrics: Sequence[str] = (),
    title: str | None = None,
) -> str:
    """Return a report as HTML: runs in one file, to read without a server and without a network.

    It holds a table of the runs, curves, groups of runs that differ only in seeds, and a comparison. Environment
    variables are left out.

    Args:
        client: the database, which is only read.
        experiment: name or id of an experiment, default: all experiments.
        where: SQL condition that runs must meet, as for `sqltrack runs --where`; default: all runs. The best come
            first, and a report holds the first 1,000.
        metrics: names of the metrics with curves, default: up to four that most runs have, those of validation first.
        title: the title, default: the name of the experiment.

    Raises:
        NotFoundError: the experiment does not exist.
        QueryError: (a ValueError) the database refused the condition, no run meets it, or no run has a metric.
        DatabaseError: the database is not available.
    """
    from sqltrack.ui._report import read_report

    return read_report(client, experiment=experiment, where=where, metrics=metrics, title=title)[1]


def serve(
    client: Client,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    socket_path: str | os.PathLike[str] | None = None,
    edit: bool = False,
    open_browser: bool = False,
    token: str | None = None,
    announce: Callable[[str], object] = print,
) -> None:
    """Serve the page until Ctrl-C, SIGTERM or SIGHUP, which end it at once.

    The server is the user's own: each start has a token, and without it the page cannot be seen.

    Args:
        client: the database. It is only read, except with `edit`.
        port: port to listen on, default 0: a free one.
        host: address to listen on, default "127.0.0.1": only this machine can connect.
        socket_path: path of a Unix socket to listen on instead, which gets mode 0600.
        edit: whether the page can change runs, and views are saved in the database; default False: views are saved in a
            file of the user.
        open_browser: whether to open the page in the user's browser, default False.
        token: the token, default: a random one.
        announce: called with the address, which contains the token, when the server can be reached; default: `print`.

    Raises:
        ConfigError: (a ValueError) another program uses the port or the socket, or the address is not of this machine.
    """
    from sqltrack.ui._server import run_server

    run_server(
        client,
        port=port,
        host=host,
        socket_path=socket_path,
        edit=edit,
        open_browser=open_browser,
        token=token,
        announce=announce,
    )
