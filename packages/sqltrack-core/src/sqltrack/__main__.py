"""The sqltrack program, for `python -m sqltrack`."""

from __future__ import annotations

import sys

from sqltrack.commands import main
from sqltrack.errors import MissingPackageError

__all__: list[str] = []

if __name__ == "__main__":
    try:
        sys.exit(main())
    except MissingPackageError as error:
        sys.exit(f"sqltrack: {error}")
