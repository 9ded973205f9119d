"""Check the errors of users whom PostgreSQL refuses, and that they hide passwords."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import psycopg
import pytest

import sqltrack
from plugins.secure_server import PASSWORD
from sqltrack.errors import SQLTrackError

__all__ = ["WRONG_OR_EXPIRED", "assert_hides", "failed", "message_of", "refusal"]

WRONG_OR_EXPIRED = "check user and password (a user that does not exist and an expired password look the same)"

# Their functions know the secrets.
_TESTS = Path(__file__).parents[1]


def refusal(config: dict[str, Any]) -> SQLTrackError:
    """Return the error that a client gets, after searching it and its context for passwords."""
    with pytest.raises(SQLTrackError) as info:
        sqltrack.Client(config).execute("SELECT 1")
    assert isinstance(info.value.__cause__, psycopg.Error)
    assert_hides(info.value, str(config.get("password") or PASSWORD))
    return info.value


def assert_hides(error: BaseException, secret: str) -> None:
    """Check that neither an error, nor its causes, nor the variables of sqltrack's functions hold a secret."""
    shown = traceback.format_exception(error)
    current: BaseException | None = error
    while current is not None:
        shown += [str(current), repr(current), repr(current.args)]
        for frame, _ in traceback.walk_tb(current.__traceback__):
            if not Path(frame.f_code.co_filename).is_relative_to(_TESTS):
                shown += [repr(value) for value in frame.f_locals.values()]
        current = current.__cause__ or current.__context__
    assert not [text for text in shown if secret in text or repr(secret)[1:-1] in text]


def message_of(config: dict[str, Any], reason: str, advice: str) -> str:
    target = " ".join(f"{name}={config[name]}" for name in ("host", "port", "dbname", "user"))
    where = f'connection to server at "127.0.0.1", port {config["port"]} failed'
    return f"cannot connect to PostgreSQL database {target!r}: {where}: {reason}; {advice}"


def failed(user: str) -> str:
    return f'FATAL: password authentication failed for user "{user}"'
