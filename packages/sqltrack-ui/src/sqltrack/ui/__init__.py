"""Look at runs, curves and differences in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["create_app", "serve"]

if TYPE_CHECKING:
    from sqltrack.ui._server import create_app, serve
else:

    def __getattr__(name: str) -> object:
        """Import the server only for its functions: the program imports this package for its options, too."""
        if name in __all__:
            from sqltrack.ui import _server

            return getattr(_server, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
