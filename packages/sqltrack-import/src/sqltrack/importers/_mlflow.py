"""Read MLflow's database or its folder mlruns."""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqltrack.importers._foreign import Found, Request, SourceError, as_time

__all__ = ["STATUSES", "comment_and_tags", "parameter", "read_runs", "time_of", "unlimited"]

STATUSES: Mapping[str, str] = {"FINISHED": "COMPLETED", "KILLED": "CANCELLED", "SCHEDULED": "PLANNED"}
PARENT = "mlflow.parentRunId"
_NAME, _NOTE = "mlflow.runName", "mlflow.note.content"
# A longer text is not a Python value that is worth parsing.
_PARSED = 10_000


def read_runs(request: Request) -> Found:
    """Return the runs of a database or of a folder, without deleted ones."""
    # Imported here, because they use this module.
    from sqltrack.importers._mlflow_database import read_database
    from sqltrack.importers._mlflow_files import read_folder

    scheme, mark, rest = request.source.partition("://")
    if mark and scheme == "file":
        request = request._replace(source=rest)
    elif mark and scheme.startswith("http"):
        raise SourceError("a server of MLflow cannot be imported", "import its database or its folder mlruns")
    is_folder = not request.is_address and request.path.is_dir()
    return read_folder(request) if is_folder else read_database(request)


def comment_and_tags(tags: Mapping[str, str], name: str | None = None) -> tuple[str | None, tuple[str, ...]]:
    """Return the comment and the tags of a run for MLflow's tags, which have values."""
    own = {key: value for key, value in tags.items() if not key.startswith("mlflow.")}
    names = tuple(key if value.lower() in ("", "true") else f"{key}={value}" for key, value in own.items())
    return tags.get(_NOTE) or tags.get(_NAME) or name or None, names


def unlimited(value: float) -> float:
    """Return infinity for the largest float, which MLflow's databases store instead."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def parameter(text: str) -> Any:
    """Return the number, bool, None, list, tuple or dict that Python prints as this text, else the text.

    MLflow stores parameters as texts. A commit such as "12345e7" stays text, because Python would print 123450000000.0.
    """
    if len(text) > _PARSED:
        return text
    try:
        value = ast.literal_eval(text)
        return value if not isinstance(value, (str, bytes)) and repr(value) == text else text
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def time_of(milliseconds: int | None) -> datetime | None:
    """Return the time of a timestamp of MLflow."""
    return None if milliseconds is None else as_time(milliseconds / 1000)
