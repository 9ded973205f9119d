"""A forked child of a process that tracks a run may log, and leaves the status and transactions of its parent alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.commands import setup
from sqltrack.engines.sqlite import _engine as sqlite_engine
from support.away import with_outbox
from support.databases import ask, experiments, statuses, steps
from support.processes import Script

pytestmark = pytest.mark.one_engine

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")

# Makes a script treat the file system as one that does not support SQLite's write-ahead log.
ON_NETWORK_FILE_SYSTEM = """
import sqltrack.engines.sqlite._engine
sqltrack.engines.sqlite._engine.is_network_file_system = lambda path: True
"""

FORK_WHILE_TRACKED = """
run = Experiment(client, name="experiment").get_run()
with run.track():
    for step in range(20):
        run.add_metrics({"loss": 1.0}, step=step)
    child = os.fork()
    if child == 0:
        for step in range(100, 150):
            run.add_metrics({"loss": 2.0}, step=step)
        ENDING
    else:
        for step in range(20, 50):
            run.add_metrics({"loss": 1.0}, step=step)
        confirm(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        confirm(Client(config).execute("SELECT status FROM runs").fetchone()[0])
        for step in range(50, 60):
            run.add_metrics({"loss": 1.0}, step=step)
"""

FORK_IN_BLOCK = """
insert = "INSERT INTO experiments (name) VALUES (%s)"
child_has_read, parent_has_committed = os.pipe(), os.pipe()
with client:
    client.execute(insert, ("parent",))
    child = os.fork()
    if child == 0:
        count = client.execute("SELECT count(*) FROM experiments").fetchone()[0]
        os.write(child_has_read[1], b"%d" % count)
        os.read(parent_has_committed[0], 1)
        try:
            client.execute(insert, ("child",))
            confirm("stored")
        except sqltrack.errors.DatabaseError:
            confirm("refused")
        ENDING
    else:
        confirm(os.read(child_has_read[0], 1).decode())
        client.execute(insert, ("parent again",))
if child != 0:
    os.write(parent_has_committed[1], b"1")
    confirm(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    client.execute(insert, ("parent at last",))
"""

ENDINGS = [("os._exit(0)", 0), ("sys.exit()", 0), ("sys.exit(3)", 3), ("raise ValueError", 1), ("pass", 0)]


EARLIER_HOOK = """
import os, sys
hooks = []
os.register_at_fork(after_in_child=lambda: [hook() for hook in hooks])
import json, sqltrack
client = sqltrack.Client(json.loads(sys.argv[1]))
run = sqltrack.Experiment(client, name="experiment").get_run()
with run.track():
    run.add_metrics({"loss": 1.0}, step=0)
    hooks.append(lambda: run.add_metrics({"loss": 2.0}, step=1))
    child = os.fork()
    if child == 0:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    run.add_metrics({"loss": 1.0}, step=2)
"""


@needs_fork
def test_a_function_of_others_that_runs_first_in_a_child_may_log(config: dict[str, Any]) -> None:
    """It was registered before SQLTrack was imported, so SQLTrack's own function has not run by then."""
    subprocess.run([sys.executable, "-c", EARLIER_HOOK, json.dumps(config)], check=True, timeout=60)
    assert steps(config) == [0, 1, 2]


@needs_fork
@pytest.mark.parametrize(("ending", "status"), ENDINGS)
def test_a_forked_child_of_a_tracked_run_logs_and_leaves_the_status_alone(
    config: dict[str, Any], ending: str, status: int
) -> None:
    """A child never uses its parent's connection, and its end does not end the run."""
    with Script(FORK_WHILE_TRACKED.replace("ENDING", ending), config) as script:
        assert script.succeed() == [str(status), "RUNNING"]
    assert steps(config) == [*range(60), *range(100, 150)]
    assert statuses(config) == ["COMPLETED"]


@needs_fork
@pytest.mark.parametrize(("ending", "status"), ENDINGS)
def test_a_forked_child_leaves_the_open_transaction_of_its_parent_alone(
    config: dict[str, Any], ending: str, status: int
) -> None:
    """On SQLite the child cannot write in the meantime, because its parent holds the lock."""
    may_write = config["engine"] == "postgres"
    with Script(FORK_IN_BLOCK.replace("ENDING", ending), {**config, "busy_timeout": 0.3}) as script:
        assert script.succeed() == ["0", "stored" if may_write else "refused", str(status)]
    by_child = ["child"] if may_write else []
    assert experiments(config) == ["parent", "parent again", *by_child, "parent at last"]


@pytest.fixture
def journal_config(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Configuration for a SQLite database with a rollback journal, which must be intact afterwards."""
    config = {"engine": "sqlite", "dbpath": "sqltrack.db", "busy_timeout": 0.3}
    monkeypatch.setattr(sqlite_engine, "is_network_file_system", lambda path: True)
    setup(sqltrack.Client(config))
    yield config
    assert ask(config, "PRAGMA integrity_check") == "ok"
    assert ask(config, "PRAGMA journal_mode") == "delete"


@needs_fork
@pytest.mark.parametrize(("ending", "status"), ENDINGS[:2])
def test_forks_of_a_tracked_run_leave_a_rollback_journal_intact(
    journal_config: dict[str, Any], ending: str, status: int
) -> None:
    """Without the write-ahead log, SQLite keeps its locks on the file itself."""
    text = ON_NETWORK_FILE_SYSTEM + FORK_WHILE_TRACKED.replace("ENDING", ending)
    with Script(text, {**journal_config, "busy_timeout": 60}) as script:
        assert script.succeed() == [str(status), "RUNNING"]
    assert steps(journal_config) == [*range(60), *range(100, 150)]
    assert statuses(journal_config) == ["COMPLETED"]


@needs_fork
@pytest.mark.parametrize(("ending", "status"), ENDINGS[:2])
def test_forks_in_an_open_transaction_leave_a_rollback_journal_intact(
    journal_config: dict[str, Any], ending: str, status: int
) -> None:
    """Without the write-ahead log, SQLite keeps its locks on the file itself."""
    text = ON_NETWORK_FILE_SYSTEM + FORK_IN_BLOCK.replace("ENDING", ending)
    with Script(text, journal_config) as script:
        assert script.succeed() == ["0", "refused", str(status)]
    assert experiments(journal_config) == ["parent", "parent again", "parent at last"]


TERMINATE_CHILD = """
import multiprocessing

run = Experiment(client, name="experiment").get_run()

def work(ready):
    run.add_metrics({"loss": 1.0}, step=1)
    ready.set()
    step = 1000
    while True:
        WORK

context = multiprocessing.get_context("fork")
ready = context.Event()
with run.track():
    run.add_metrics({"loss": 1.0}, step=0)
    child = context.Process(target=work, args=(ready,))
    child.start()
    assert ready.wait(30)
    start = time.monotonic()
    child.terminate()
    child.join(30)
    assert time.monotonic() - start < 5
    confirm(child.exitcode)
    confirm(Client(config).execute("SELECT status FROM runs").fetchone()[0])
    run.add_metrics({"loss": 1.0}, step=2)
"""


@needs_fork
@pytest.mark.parametrize("work", ["time.sleep(60)", "step += 1; run.add_metrics({'loss': 1.0}, step=step)"])
def test_a_terminated_child_process_ends_at_once_and_leaves_the_status_alone(config: dict[str, Any], work: str) -> None:
    """SIGTERM to a forked child neither waits for its parent nor ends the run."""
    with Script(TERMINATE_CHILD.replace("WORK", work), config) as script:
        assert script.succeed() == ["-15", "RUNNING"]
    assert steps(config)[:3] == [0, 1, 2]
    assert statuses(config) == ["COMPLETED"]


FORKING = """
def use_sqlite():
    while True:
        other = Client(config)
        for _ in range(20):
            other.execute("SELECT id FROM runs").fetchall()

Experiment(client, name="experiment").get_run().add_tags("parent")
for _ in range(2):
    threading.Thread(target=use_sqlite, daemon=True).start()
for number in range(20):
    pid = os.fork()
    if not pid:
        signal.alarm(5)
        Client(config).execute("SELECT id FROM runs").fetchall()
        os._exit(0)
    confirm(os.waitpid(pid, 0)[1])
os._exit(0)
"""


@needs_fork
@pytest.mark.engines("sqlite", reason="the locks are those of SQLite")
def test_a_child_that_was_forked_while_a_thread_uses_sqlite_can_use_it(config: dict[str, Any]) -> None:
    """It would inherit SQLite's own locks, and wait for them for ever."""
    with Script(FORKING, config) as script:
        assert script.succeed() == ["0"] * 20


HOLDS_LOCK = """
def holds_lock():
    # The columns are: number, kind, mode, access, pid, device:inode, start, end.
    inode = str(os.stat(config["dbpath"]).st_ino)
    lines = [line.split() for line in open("/proc/locks")]
    return any(fields[4] == str(os.getpid()) and fields[5].split(":")[2] == inode for fields in lines)

"""

FORK_WHILE_SENDING = """
def log():
    for step in itertools.count():
        run.add_metrics({"loss": step}, step=step)

import itertools
run = Experiment(client, name="experiment").get_run().start()
threading.Thread(target=log, daemon=True).start()
for _ in range(20):
    pid = os.fork()
    if not pid:
        with Client(config) as connection:
            connection.execute("SELECT id FROM runs").fetchall()
            os._exit(not holds_lock())
    confirm(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
os._exit(0)
"""


@needs_fork
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists locks")
@pytest.mark.engines("sqlite", reason="the locks are those of SQLite")
@pytest.mark.parametrize("outbox", ["on", "always"])
def test_a_child_that_was_forked_while_a_thread_logs_has_locks_of_its_own(
    config: dict[str, Any], tmp_path: Path, outbox: str
) -> None:
    """It would take locks that its parent has in the meantime for its own."""
    with Script(HOLDS_LOCK + FORK_WHILE_SENDING, with_outbox(config, tmp_path / "outbox", outbox=outbox)) as script:
        assert script.succeed() == ["0"] * 20


FORK_AFTER_BLOCK = """
def fork(status):
    pid = os.fork()
    if pid:
        return pid
    with Client(config) as connection:
        connection.execute("SELECT id FROM runs").fetchall()
        os._exit(status())

def end_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

confirm(len(os.listdir("/proc/self/fd")))
held = os.pipe()
for _ in range(3):
    with client as connection:
        connection.execute("SELECT id FROM runs").fetchall()
        inside = [fork(lambda: 2), fork(lambda: os.close(held[1]) or len(os.read(held[0], 1)))]
    while_it_lives = fork(holds_lock)
    os.write(held[1], b"1")
    codes = [end_of(pid) for pid in (*inside, while_it_lives)]
    confirm([*codes, end_of(fork(holds_lock))])
del connection
client._session.close_idle()
confirm(len(os.listdir("/proc/self/fd")))
"""


@needs_fork
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists locks and open files")
@pytest.mark.engines("sqlite", reason="the locks are those of SQLite")
def test_children_that_are_forked_after_those_of_a_block_have_ended_have_locks_of_their_own(
    config: dict[str, Any],
) -> None:
    """The connection that was kept for the others is closed, and nothing is left open."""
    with Script(HOLDS_LOCK + FORK_AFTER_BLOCK, config) as script:
        before, *codes, after = script.succeed()
    assert codes == [str([2, 1, 0, 1])] * 3
    assert int(after) == int(before) + 2


FORK_IN_READING_BLOCK = """
to_child, to_parent = os.pipe(), os.pipe()
run = Experiment(client, name="experiment").get_run().start()
with client as connection:
    connection.execute("SELECT id FROM runs").fetchall()
    if BLOCKS > 1:
        other = Client(config)
        other.__enter__().execute("SELECT id FROM runs").fetchall()
    connection.rollback()
    child = os.fork()
    if child == 0:
        for step in range(10):
            run.add_metrics({"loss": step}, step=step)
        os.write(to_parent[1], b"1")
        os.read(to_child[0], 1)
        for step in range(10, 20):
            run.add_metrics({"loss": step}, step=step)
        os._exit(0)
    os.read(to_parent[0], 1)
if BLOCKS > 1:
    other.__exit__(None, None, None)
client._session.close_idle()
# Whoever closes the last connection removes the write-ahead log.
Client(config).execute("SELECT id FROM runs").fetchall()
os.write(to_child[1], b"1")
confirm(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@needs_fork
@pytest.mark.parametrize("blocks", [1, 2])
def test_values_of_a_child_that_was_forked_in_a_block_stay_although_its_parent_has_closed_all(
    config: dict[str, Any], blocks: int
) -> None:
    """On SQLite, the locks of the parent protect those of the child, which takes them for its own."""
    with Script(FORK_IN_READING_BLOCK.replace("BLOCKS", str(blocks)), config) as script:
        assert script.succeed() == ["0"]
    assert steps(config) == list(range(20))


IMPORTING = """
import importlib, pathlib
folder = pathlib.Path(config["dbpath"]).parent / "modules"
folder.mkdir()
sys.path.insert(0, str(folder))
(folder / "slow.py").write_text("import time\\ntime.sleep(0.2)\\nvalue = 1\\n")
thread = threading.Thread(target=importlib.import_module, args=("slow",))
thread.start()
while "slow" not in sys.modules:
    time.sleep(0.001)
pid = os.fork()
if not pid:
    signal.alarm(5)
    import slow
    os._exit(slow.value)
thread.join()
confirm(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@needs_fork
def test_a_fork_waits_while_a_thread_imports_a_module(sqlite_config: dict[str, Any]) -> None:
    """Otherwise the child would wait for the lock of the module for ever; threads of SQLTrack import modules."""
    with Script(IMPORTING, sqlite_config) as script:
        assert script.succeed()[-1] == "1"
