"""Run the sqltrack program as `python -m sqltrack`."""

from __future__ import annotations

import sys

from sqltrack.commands import main
from sqltrack.errors import MissingPackageError

__all__: list[str] = []


def _run() -> int:
    try:
        return main()
    except MissingPackageError as error:
        print(f"sqltrack: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(_run())
