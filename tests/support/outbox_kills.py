"""Kill processes at random moments around outages, send their outboxes, and count the missing rows."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqltrack
from sqltrack.outbox import SentOutbox, send_outboxes
from support.away import Outage, away, outbox_files, with_outbox
from support.processes import Script

__all__ = ["Confirmed", "count_missing", "kill_in_outage", "leave_outbox", "send_all"]

# Reports after each call what it has stored. The pipe has room for all of it.
_LOG = """
import itertools
run = Experiment(client, name="experiment").get_run().start()
confirm(f"run {run.id}")
for step in itertools.count():
    run.add_metrics({"loss": step / 2, "nan": float("nan"), "step_too": step}, step=step)
    confirm(f"step {step}")
    if step % 10 == 0:
        run.add_tags(f"tag {step}").add_args({f"arg {step}": step})
        confirm(f"item {step}")
    if step % 25 == 0:
        run.add_metrics_many([{"step": -step, "progress": part, "step_too": -step} for part in (0.25, 0.5, 0.75)])
        confirm(f"many {step}")
    time.sleep(0.002)
"""


def leave_outbox(text: str, config: dict[str, Any], database: Mapping[str, Any]) -> None:
    """Let a script log while a database is away, and then kill it.

    Args:
        text: the script, which prints a line when it is ready, waits for one, logs, and prints another line.
        config: configuration of its client.
        database: configuration of the database.
    """
    with Script(text, config) as script:
        script.read_line()
        with away(database):
            script.send_line()
            script.read_line()
            script.send_signal(signal.SIGKILL)
            script.finish()


class Confirmed:
    """The rows that a script has reported as stored.

    Attributes:
        run_id: id of its run, or None before it has created one.
        steps: steps of metrics.
        items: numbers of tags and arguments.
        many: steps of rows that were added at once.
    """

    def __init__(self, lines: list[str]) -> None:
        self.run_id: int | None = None
        self.steps: set[int] = set()
        self.items: set[int] = set()
        self.many: set[int] = set()
        for line in lines:
            kind, _, number = line.partition(" ")
            if kind == "run":
                self.run_id = int(number)
            else:
                {"step": self.steps, "item": self.items, "many": self.many}[kind].add(int(number))

    @property
    def rows(self) -> int:
        """Number of these rows."""
        return len(self.steps) + 3 * len(self.many)


def kill_in_outage(config: Mapping[str, Any], folder: Path, rng: random.Random, *, returns: bool) -> Confirmed:
    """Start a script, take the database away, and kill the script.

    Args:
        config: configuration of the database.
        folder: folder for outboxes.
        rng: chooses the moments.
        returns: kill the script shortly after the database is back, when it may be sending.
    """
    outage = Outage(config)
    settings = with_outbox(config, folder, patience=0.05)
    with Script(_LOG, settings) as script:
        script.read_line()
        time.sleep(rng.uniform(0, 0.1))
        outage.begin()
        try:
            time.sleep(rng.uniform(0, 1))
            if not returns:
                script.send_signal(signal.SIGKILL)
                script.finish()
        finally:
            outage.end()
        if returns:
            time.sleep(rng.uniform(0, 0.4))
            script.send_signal(signal.SIGKILL)
        ended = script.finish()
    assert ended.status == -signal.SIGKILL, ended.errors
    return Confirmed(ended.lines)


def send_all(config: Mapping[str, Any], folder: Path) -> list[SentOutbox]:
    """Send all outboxes of a folder, and check that it is empty afterwards."""
    client = sqltrack.Client(with_outbox(config, folder, outbox="off"))
    sent = send_outboxes(client)
    assert all(one.refused == one.outdated == 0 and one.damage is None for one in sent)
    assert not outbox_files(folder), outbox_files(folder)
    assert send_outboxes(client) == []
    return sent


def count_missing(config: Mapping[str, Any], confirmed: Confirmed) -> int:
    """Return the number of confirmed rows that are missing, and check the others."""
    client = sqltrack.Client(dict(config))
    query = "SELECT step, loss, nan, step_too FROM metrics WHERE run_id = %s AND progress = 0"
    rows = {step: values for step, *values in client.execute(query, (confirmed.run_id,))}
    assert all([loss, str(nan).lower(), too] == [step / 2, "nan", step] for step, (loss, nan, too) in rows.items())
    # The last call may have been stored but not confirmed.
    assert len(rows) <= len(confirmed.steps) + 1
    query = "SELECT step, count(*) FROM metrics WHERE run_id = %s AND progress > 0 GROUP BY step"
    many = dict(client.execute(query, (confirmed.run_id,)).fetchall())
    assert set(many.values()) <= {3}
    args, tags = client.execute("SELECT args, tags FROM runs WHERE id = %s", (confirmed.run_id,)).fetchone()
    assert {f"tag {item}" for item in confirmed.items} <= set(tags or {})
    assert {f"arg {item}" for item in confirmed.items} <= set(args or {})
    return len(confirmed.steps - set(rows)) + 3 * len(confirmed.many - {-step for step in many})
