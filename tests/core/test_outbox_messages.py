"""Messages that a training sees during an outage and after it: each once, and none of internal matters."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.errors import DatabaseUnavailableError
from support.away import away, with_outbox
from support.logging_threads import wait_until

pytestmark = pytest.mark.not_pooled("the database refuses connections, after which a pooler refuses them for a while")


@pytest.fixture
def run(config: dict[str, Any], tmp_path: Path) -> sqltrack.Run:
    """Run of a client with an outbox."""
    client = sqltrack.Client(with_outbox(config, tmp_path / "outbox"))
    return sqltrack.Experiment(client, name="experiment").get_run().start()


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_metric_is_warned_of_once(
    config: dict[str, Any], run: sqltrack.Run, caplog: pytest.LogCaptureFixture
) -> None:
    """Not once more by the thread that sends it."""
    run.add_metrics({"big": 2**70})
    with away(config):
        run.add_metrics({"big": 2**71, "bigger": 2**72}, step=1)
    assert run.flush(20)
    warned = [message for message in messages(caplog) if "metrics.extras" in message]
    assert ["'big'" in message for message in warned] == [True, False]
    assert "'bigger'" in warned[1]


def test_the_end_of_an_outage_is_told_even_if_the_file_was_removed(
    config: dict[str, Any], run: sqltrack.Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with away(config):
        run.add_metrics({"loss": 1.0}, step=1)
        for path in (tmp_path / "outbox").glob("*.db"):
            path.unlink()
        run.add_metrics({"loss": 0.5}, step=2)
    assert run.flush(20)
    # The thread says so a moment later.
    wait_until(lambda: messages(caplog)[-1] == "the database is there again, and all calls have arrived")


@pytest.mark.engines("postgres", reason="connections to files are not lost")
def test_a_block_that_loses_its_connection_raises_and_logs_nothing(
    config: dict[str, Any], run: sqltrack.Run, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DatabaseUnavailableError), run.client, away(config):
        run.client.execute("SELECT 1")
    assert messages(caplog) == []
