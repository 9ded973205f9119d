"""Processes that are killed at any moment, and many that start at the same time."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import pytest

import sqltrack
from sqltrack.commands import setup
from support.databases import ask, connect_to_postgres
from support.processes import Script

pytestmark = pytest.mark.faults

_KILLS = 200
_JOBS = 500
_ALIVE = 50

# Does everything that a training script does, and reports the stored values after each call.
BUSY = """
import random
rng = random.Random(SEED)
confirm(json.dumps(["began"]))
setup(client)
run = Experiment(client, name="experiment").get_run()
confirm(json.dumps(["run", run.id]))
step = 0

def log():
    global step
    run.add_metrics({"loss": 0.5, "step_too": step}, step=step)
    confirm(json.dumps(["steps", step, step + 1]))
    step += 1

def log_new():
    global step
    name = f"new {run.id} {step}" if rng.random() < 0.2 else f"new {rng.randrange(60)}"
    run.add_metrics({name: 0.5, "step_too": step}, step=step)
    confirm(json.dumps(["steps", step, step + 1]))
    step += 1

def log_many():
    global step
    rows = [{"step": step + i, "loss": 0.5, "step_too": step + i} for i in range(rng.choice([10, 300]))]
    run.add_metrics_many(rows)
    confirm(json.dumps(["steps", step, step + len(rows)]))
    step += len(rows)

def log_in_block():
    global step
    with client:
        run.add_metrics({"loss": 0.5, "step_too": step}, step=step)
        run.add_metrics({"loss": 0.5, "step_too": step + 1}, step=step + 1)
    confirm(json.dumps(["steps", step, step + 2]))
    step += 2

def add_items():
    run.add_args({f"arg {step}": step}).add_tags(f"tag {step}")
    confirm(json.dumps(["item", step]))

def start_anew():
    run.stop().start()
    confirm(json.dumps(["status", "RUNNING"]))

def set_up():
    setup(client, [("more.sql", "CREATE TABLE IF NOT EXISTS more (id INTEGER)")])
    confirm(json.dumps(["set up"]))

calls, weights = [log, log_new, log_many, log_in_block, add_items, start_anew, set_up], [20, 5, 3, 5, 3, 1, 1]
run.start()
confirm(json.dumps(["status", "RUNNING"]))
while True:
    rng.choices(calls, weights)[0]()
"""


class Confirmed:
    """The rows that a script has reported as stored."""

    def __init__(self) -> None:
        self.run_id: int | None = None
        self.steps: set[int] = set()
        self.items: list[int] = []
        self.status: str | None = None

    def add(self, line: str) -> None:
        """Add the content of a line; setup() prints its own lines."""
        if not line.startswith("["):
            return
        kind, *values = json.loads(line)
        if kind == "run":
            self.run_id = values[0]
        elif kind == "steps":
            self.steps.update(range(*values))
        elif kind == "item":
            self.items.append(values[0])
        elif kind == "status":
            self.status = values[0]

    def count_missing(self, client: sqltrack.Client) -> int:
        """Return the number of missing rows, and check the others."""
        if self.run_id is None:
            return 0
        rows = client.execute("SELECT step, step_too FROM metrics WHERE run_id = %s", (self.run_id,)).fetchall()
        assert all(step == step_too for step, step_too in rows)
        query = "SELECT status, args, tags FROM runs WHERE id = %s"
        status, args, tags = client.execute(query, (self.run_id,)).fetchone()
        assert {f"arg {item}" for item in self.items} <= set(args or {})
        assert {f"tag {item}" for item in self.items} <= set(tags or {})
        # The last call may be between stop and start.
        assert status in (("RUNNING", "COMPLETED") if self.status else ("PLANNED", "RUNNING"))
        return len(self.steps - {step for step, _ in rows})


def kill_somewhere(config: dict[str, Any], rng: random.Random) -> tuple[Confirmed, float]:
    """Run the script and kill it; return its confirmed rows, and the duration of its first calls."""
    confirmed = Confirmed()
    with Script(BUSY.replace("SEED", str(rng.random())), config, patience=300) as script:
        script.read_line()
        start = time.monotonic()
        # Every tenth is killed while it sets up the database, or shortly after.
        for _ in range(0 if rng.random() < 0.1 else rng.randrange(1, 60)):
            confirmed.add(script.read_line())
        seconds = time.monotonic() - start
        time.sleep(rng.uniform(0, 0.02))
        script.send_signal(signal.SIGKILL)
        ended = script.finish()
        assert ended.status == -signal.SIGKILL, ended.errors
    for line in ended.lines:
        confirmed.add(line)
    return confirmed, seconds


def check_integrity(config: dict[str, Any]) -> None:
    """Check the integrity of the database."""
    if config["engine"] == "sqlite":
        assert ask(config, "PRAGMA integrity_check") == "ok"
        assert sqltrack.Client(config).execute("PRAGMA foreign_key_check").fetchall() == []
        return
    with connect_to_postgres(config) as connection:
        tables = [name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        for table in tables:
            connection.execute(f'SELECT * FROM "{table}"'.encode()).fetchall()
        available = connection.execute("SELECT FROM pg_available_extensions WHERE name = 'amcheck'").fetchall()
        if available:
            connection.execute("CREATE EXTENSION amcheck")
            connection.execute("""
                SELECT bt_index_check(pg_index.indexrelid, true)
                FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
                WHERE indrelid IN ('runs'::regclass, 'metrics'::regclass, 'experiments'::regclass) AND amname = 'btree'
            """)


def test_processes_killed_anywhere_lose_no_confirmed_row(
    empty_config: dict[str, Any], record: Callable[..., None], rng: random.Random
) -> None:
    """They leave no lock either: the next process starts with the same database at once."""
    client = sqltrack.Client(empty_config)
    number_confirmed = number_missing = 0
    slowest = 0.0
    for _ in range(_KILLS):
        confirmed, seconds = kill_somewhere(empty_config, rng)
        number_confirmed += len(confirmed.steps)
        number_missing += confirmed.count_missing(client)
        slowest = max(slowest, seconds)
    record(faults=_KILLS, confirmed=number_confirmed, missing=number_missing, errors=0, slowest=slowest)
    assert number_missing == 0
    # SQLite's busy timeout: a wait for a lock that is never released takes this long.
    assert slowest < 60
    check_integrity(empty_config)
    setup(client)
    with sqltrack.Experiment(client, name="experiment").get_run().track() as run:
        run.add_metrics({"one more": 1.0})


SHORT_JOB = """
setup(client)
run = Experiment(client, name="experiment").get_run()
run.add_args({"number": NUMBER, "pid": os.getpid()})
with run.track():
    for step in range(5):
        run.add_metrics({"loss": 1.0 / (step + 1), f"metric {NUMBER % 7}": step}, step=step)
confirm(run.id)
"""


def test_hundreds_of_short_jobs_at_once_are_all_there(
    empty_config: dict[str, Any], record: Callable[..., None]
) -> None:
    """They start as fast as the machine can, with 50 of them running, at first on an empty database."""
    alive: deque[Script] = deque()
    ids: list[int] = []
    errors = Counter[str]()
    slowest = 0.0

    def finish_oldest() -> None:
        nonlocal slowest
        with alive.popleft() as script:
            ended = script.finish()
        slowest = max(slowest, ended.seconds)
        if ended.status == 0:
            ids.append(int(ended.lines[-1]))
        else:
            errors[ended.errors] += 1

    for number in range(_JOBS):
        if len(alive) == _ALIVE:
            finish_oldest()
        alive.append(Script(SHORT_JOB.replace("NUMBER", str(number)), empty_config, patience=300))
    while alive:
        finish_oldest()
    stored = ask(empty_config, "SELECT count(*) FROM metrics")
    record(confirmed=5 * len(ids), missing=5 * len(ids) - stored, errors=errors.total(), slowest=slowest)
    assert not errors
    assert len(set(ids)) == _JOBS
    assert stored == 5 * _JOBS
    rows = sqltrack.Client(empty_config).execute("SELECT args, status FROM runs").fetchall()
    assert sorted(args["number"] for args, _ in rows) == list(range(_JOBS))
    assert {status for _, status in rows} == {"COMPLETED"}
    assert ask(empty_config, "SELECT count(*) FROM experiments") == 1
    check_integrity(empty_config)
