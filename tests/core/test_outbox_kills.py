"""A process that is killed at any moment of an outage loses no confirmed row, and stores no row twice."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from plugins.postgres_server import PostgresServer
from sqltrack.outbox import find_outboxes
from support.away import away, outbox_files, with_outbox
from support.cut_proxy import CutProxy
from support.outbox_kills import count_missing, kill_in_outage, leave_outbox, send_all
from support.processes import Script

pytestmark = pytest.mark.not_pooled("the database refuses connections, after which a pooler refuses them for a while")

# On each engine.
_KILLS = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder for outboxes."""
    return tmp_path / "outbox"


def test_a_killed_process_loses_no_row_of_an_outage(config: dict[str, Any], folder: Path) -> None:
    """The tests of faults contain the long form."""
    seed = os.environ.get("SQLTRACK_TEST_SEED") or str(random.randrange(1_000_000))
    print(f"SQLTRACK_TEST_SEED={seed}")
    rng = random.Random(seed)
    rows = 0
    for number in range(_KILLS):
        confirmed = kill_in_outage(config, folder, rng, returns=number % 2 == 1)
        send_all(config, folder)
        rows += confirmed.rows
        assert count_missing(config, confirmed) == 0
    # A process may be killed before its first row, but not each of them.
    assert rows > 0


MANY_CALLS = """
run = Experiment(client, name="experiment").get_run()
run.start()
confirm(run.id)
sys.stdin.readline()
for step in range(1500):
    run.add_metrics({"loss": step}, step=step)
    if step % 150 == 0:
        run.add_args({f"arg {step}": step})
confirm("done")
sleep_on()
"""


def fill(config: dict[str, Any], folder: Path) -> None:
    """Let a killed process leave an outbox of many calls."""
    leave_outbox(MANY_CALLS, with_outbox(config, folder), config)


def expect_all(config: dict[str, Any]) -> None:
    query = "SELECT count(*), count(DISTINCT step), sum(loss) FROM metrics"
    number = 1500
    assert sqltrack.Client(config).execute(query).fetchone() == (number, number, sum(range(number)))
    (args,) = sqltrack.Client(config).execute("SELECT args FROM runs").fetchone()
    assert set(args) == {f"arg {step}" for step in range(0, number, 150)}


SEND = """
from sqltrack.outbox import send_outboxes
confirm("begins")
send_outboxes(client)
"""


def test_a_sender_that_is_killed_loses_nothing(config: dict[str, Any], folder: Path) -> None:
    """This holds for any moment. The next sender sends the rest, and rows that were sent before stay intact."""
    fill(config, folder)
    left = []
    for pause in (0.02, 0.05, 0.08):
        with Script(SEND, with_outbox(config, folder, outbox="off")) as script:
            script.read_line()
            time.sleep(pause)
            script.send_signal(signal.SIGKILL)
            script.finish()
        left.append(sum(info.calls for info in find_outboxes(folder)))
    assert left == sorted(left, reverse=True)
    send_all(config, folder)
    expect_all(config)


# Lost answers to a commit


@pytest.fixture
def proxy(own_server: PostgresServer) -> Iterator[CutProxy]:
    with CutProxy(f"{own_server.socket_dir}/.s.PGSQL.{own_server.port}") as proxy:
        yield proxy


@pytest.mark.engines("postgres", reason="SQLite has no network")
@pytest.mark.skipif(sys.platform != "linux", reason="the proxy needs Linux")
def test_a_batch_whose_answer_is_lost_is_there_once(
    own_config: dict[str, Any], proxy: CutProxy, folder: Path, engine_name: str
) -> None:
    """The server has committed it without the sender knowing, so the sender sends it again."""
    through = {**own_config, "host": "127.0.0.1", "port": str(proxy.port)}
    client = sqltrack.Client(with_outbox(through, folder))
    run = sqltrack.Experiment(client, name="experiment").get_run().start()
    other = sqltrack.Experiment(client, name="experiment").get_run()
    with away(own_config):
        for step in range(50):
            run.add_metrics({"loss": step}, step=step)
        run.add_args({"lr": 0.5}).add_tags("x").remove_tags("y").add_link("resumes", other.id)
        run.add_metrics({"loss": -1}, step=3).set_status("FAILED")
        proxy.lose_answers(b"COMMIT", 3)
    assert run.flush(30)
    assert proxy.lost == 3
    direct = sqltrack.Client(own_config)
    rows = direct.execute("SELECT step, loss FROM metrics ORDER BY step").fetchall()
    assert rows == [(step, -1 if step == 3 else step) for step in range(50)]
    status, args, tags = direct.execute("SELECT status, args, tags FROM runs WHERE id = %s", (run.id,)).fetchone()
    assert (status, args, tags) == ("FAILED", {"lr": 0.5}, {"x": True})
    assert direct.execute("SELECT count(*) FROM run_links").fetchone() == (1,)
    assert outbox_files(folder) == []
