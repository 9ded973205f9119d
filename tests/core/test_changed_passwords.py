"""A tracked run whose user's password changes, or whose user is locked out."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import sqltrack
from plugins.secure_server import PASSWORD, SecureServer
from sqltrack import Experiment
from sqltrack.commands import setup
from sqltrack.errors import AccessDeniedError
from support.password_files import escaped, write_passwords
from support.platforms import needs_posix
from support.refusals import assert_hides

pytestmark = [pytest.mark.no_outbox, needs_posix]


class Tracker(NamedTuple):
    """A user who tracks runs in a separate schema, and a client that reads the password from a file."""

    name: str
    passfile: Path
    client: sqltrack.Client
    run: sqltrack.Run


@pytest.fixture
def tracker(secure: SecureServer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Tracker]:
    name = "tracker"
    secure.create_user(name, PASSWORD)
    with secure.as_superuser() as connection:
        connection.execute("CREATE SCHEMA tracker AUTHORIZATION tracker")
    passfile = write_passwords(tmp_path / "passwords", f"*:*:*:{name}:{escaped(PASSWORD)}")
    client = sqltrack.Client(secure.config(name, passfile=str(passfile), schema=name))
    setup(client)
    yield Tracker(name, passfile, client, Experiment(client, name="experiment").get_run())
    secure.set_password(name, PASSWORD)
    with secure.as_superuser() as connection:
        connection.execute("DROP OWNED BY tracker CASCADE")
        connection.execute("DROP ROLE tracker")


def stored(secure: SecureServer) -> tuple[list[int], str]:
    """Return the steps and the status of the tracker's run."""
    with secure.as_superuser() as connection:
        steps = [step for (step,) in connection.execute("SELECT step FROM tracker.metrics ORDER BY step")]
        return steps, connection.execute("SELECT status FROM tracker.runs").fetchall()[0][0]


def add_metrics_in_vain(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add metrics, which fails at once: a retry would be refused as well."""
    attempts: list[None] = []
    connect = tracker.client.engine.connect

    def counting() -> Any:
        attempts.append(None)
        return connect()

    with monkeypatch.context() as patch:
        patch.setattr(tracker.client.engine, "connect", counting)
        try:
            tracker.run.add_metrics({"loss": 2.0}, step=2)
        finally:
            # One to write them, one to find out why that failed. A server that is away is tried for 30 seconds.
            assert 1 <= len(attempts) <= 2


def test_a_password_that_changes_while_a_run_is_tracked_is_a_clear_error_at_once(
    secure: SecureServer,
    tracker: Tracker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(AccessDeniedError) as info, tracker.run.track():
        tracker.run.add_metrics({"loss": 1.0}, step=1)
        secure.set_password(tracker.name, "new")
        add_metrics_in_vain(tracker, monkeypatch)
    assert re.search(r'password authentication failed for user "tracker".*; check user and password', str(info.value))
    assert_hides(info.value, PASSWORD)
    assert stored(secure) == ([1], "RUNNING")
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert re.search(
        r"run 1 ended as .*, which could not be stored: cannot connect to .* password authentic", errors[0]
    )
    assert PASSWORD not in caplog.text


def test_the_programs_own_exception_is_not_hidden_by_a_password_that_changed(
    secure: SecureServer, tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ZeroDivisionError), tracker.run.track():
        secure.set_password(tracker.name, "new")
        raise ZeroDivisionError
    assert stored(secure) == ([], "RUNNING")
    assert "which could not be stored: cannot connect to" in caplog.text


def test_a_run_continues_when_the_new_password_is_in_the_password_file(secure: SecureServer, tracker: Tracker) -> None:
    with tracker.run.track():
        tracker.run.add_metrics({"loss": 1.0}, step=1)
        write_passwords(tracker.passfile, f"*:*:*:*:{escaped('new: password')}")
        secure.set_password(tracker.name, "new: password")
        tracker.run.add_metrics({"loss": 2.0}, step=2)
    assert stored(secure) == ([1, 2], "COMPLETED")


def test_a_role_that_is_locked_while_a_run_is_tracked_is_not_tried_again(
    secure: SecureServer, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with secure.as_superuser() as connection, pytest.raises(AccessDeniedError) as info, tracker.run.track():
        connection.execute("ALTER ROLE tracker NOLOGIN")
        secure.set_password(tracker.name, PASSWORD)
        add_metrics_in_vain(tracker, monkeypatch)
    assert str(info.value).endswith("is not permitted to log in; an administrator can permit it: ALTER ROLE … LOGIN")
