"""Forks, threads, tasks, signals and finalizers that log while the database is away."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack._outbox._file import OutboxFile
from sqltrack._outbox._places import OutboxLock, is_held_here, state_of
from support.away import away, outbox_files, with_outbox
from support.logging_threads import wait_until
from support.processes import Script

pytestmark = pytest.mark.not_pooled("the database refuses connections, after which a pooler refuses them for a while")

BEGIN = """
run = Experiment(client, name="experiment").get_run().start()
run.add_metrics({"loss": 0.0}, step=0)
confirm(run.id)
sys.stdin.readline()

def log(first, number=20):
    for step in range(first, first + number):
        run.add_metrics({"loss": step}, step=step)

"""

END = """
confirm("logged")
sys.stdin.readline()
assert run.flush(20)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder for outboxes."""
    return tmp_path / "outbox"


def run_in_outage(config: dict[str, Any], folder: Path, text: str) -> list[str]:
    """Run a script that logs while the database is away, and send its outbox; return its confirmed lines."""
    with Script(BEGIN + text + END, with_outbox(config, folder)) as script:
        script.read_line()
        with away(config):
            script.send_line()
            while script.read_line() != "logged":
                pass
        script.send_line()
        return script.succeed()


def steps(config: dict[str, Any]) -> list[int]:
    return [step for (step,) in sqltrack.Client(config).execute("SELECT step FROM metrics ORDER BY step")]


THREADS = """
import asyncio
threads = [threading.Thread(target=log, args=(100 * number,)) for number in (1, 2)]
for thread in threads:
    thread.start()

async def log_in_task(first):
    for step in range(first, first + 20):
        run.add_metrics({"loss": step}, step=step)
        await asyncio.sleep(0)

async def main():
    await asyncio.gather(log_in_task(300), log_in_task(400), asyncio.to_thread(log, 500))

asyncio.run(main())
for thread in threads:
    thread.join()
"""


def test_threads_and_tasks_log_into_one_file(config: dict[str, Any], folder: Path) -> None:
    run_in_outage(config, folder, THREADS)
    assert steps(config) == [0, *(100 * number + step for number in range(1, 6) for step in range(20))]
    assert outbox_files(folder) == []


INTERRUPTIONS = """
import gc
count = 0

def handle(number, frame):
    global count
    count += 1
    run.add_metrics({"loss": count}, step=1000 + count)

class Logging:
    def __init__(self, step):
        self.step, self.own = step, self
    def __del__(self):
        run.add_metrics({"loss": self.step}, step=self.step)

signal.signal(signal.SIGALRM, handle)
# Not so often that a busy machine does nothing else.
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.01)
gc.set_threshold(50)
for step in range(1, 501):
    Logging(2000 + step)
    run.add_metrics({"loss": step}, step=step)
signal.setitimer(signal.ITIMER_REAL, 0)
gc.collect()
run.add_tags("last")
confirm(count)
"""


def test_handlers_of_signals_and_finalizers_may_log_at_any_moment(config: dict[str, Any], folder: Path) -> None:
    """Even in the middle of a call that is being written to the file."""
    lines = run_in_outage(config, folder, INTERRUPTIONS)
    count = int(lines[-2])
    assert count > 3
    expected = [*range(501), *(1000 + number for number in range(1, count + 1)), *range(2001, 2501)]
    assert sorted(expected) == steps(config)
    assert outbox_files(folder) == []


COLLECTED = """
from sqltrack._outbox._file import OutboxFile

class Logging:
    def __del__(self):
        assert threading.current_thread().name == "sqltrack-outbox"
        log(100, 300)

def send_and_collect(self, client):
    sent = send(self, client)
    if sent.calls and collected:
        collected.pop()
    return sent

send, OutboxFile.send_batch = OutboxFile.send_batch, send_and_collect
collected = [Logging()]
log(1)
"""


def test_calls_of_finalizers_that_run_in_the_sending_thread_arrive(config: dict[str, Any], folder: Path) -> None:
    """Calls interrupted there are made after sending; `flush` and the end of the process wait for them."""
    run_in_outage(config, folder, COLLECTED)
    assert steps(config) == [*range(21), *range(100, 400)]


FORKS = """
run.add_metrics({"loss": 1}, step=1)
pid = os.fork()
if not pid:
    log(100)
    # Another client of the child has the same file.
    client_too = Client(config)
    Run(client_too, run_id=run.id).add_tags("child")
    confirm("child")
    os._exit(0)
os.waitpid(pid, 0)
log(200)
from sqltrack._outbox._file import OutboxFile
from sqltrack._outbox._places import OutboxLock, is_held_here, state_of
from sqltrack.outbox import find_outboxes
infos = find_outboxes(config["outbox_dir"])
confirm(json.dumps([[info.state, info.pid - pid if info.pid > pid else info.pid == pid, info.calls] for info in infos]))
"""


def test_a_forked_child_has_a_file_of_its_own(config: dict[str, Any], folder: Path) -> None:
    """It neither writes to its parent's file nor deletes it, however it ends. Its parent sends it."""
    lines = run_in_outage(config, folder, FORKS)
    infos = json.loads(lines[-2])
    assert sorted(state for state, *_ in infos) == ["alive", "dead"]
    by_state = {state: (is_child, calls) for state, is_child, calls in infos}
    assert by_state["alive"] == (False, 21)
    is_child, calls = by_state["dead"]
    # The child's second client has looked for the run, which is kept as well.
    assert is_child is True
    assert calls >= 21
    assert steps(config) == [0, 1, *range(100, 120), *range(200, 220)]
    assert sqltrack.Client(config).execute("SELECT tags FROM runs").fetchone() == ({"child": True},)
    assert outbox_files(folder) == []


WORKERS = """
from sqltrack import Client, Run

def work(config, run_id, connection):
    run = Run(Client(config), run_id=run_id)
    connection.send("has begun")
    connection.recv()
    for step in range(200, 210):
        run.add_metrics({"loss": step}, step=step)
    connection.send("has logged")
"""

CHILDREN = """
import multiprocessing
sys.path.insert(0, FOLDER)
import workers
run = Experiment(client, name="experiment").get_run().start()
here, there = multiprocessing.Pipe()
spawned = multiprocessing.get_context("spawn").Process(target=workers.work, args=(config, run.id, there))
spawned.start()
here.recv()
confirm("begun")
sys.stdin.readline()

def log():
    for step in range(100, 110):
        run.add_metrics({"loss": step}, step=step)
    # Do not wait for the end of the outage.
    client._session.outbox.hurry()

run.add_metrics({"loss": 1}, step=1)
here.send("log")
here.recv()
forked = multiprocessing.get_context("fork").Process(target=log)
forked.start()
forked.join()
confirm(json.dumps([forked.exitcode, len(os.listdir(config["outbox_dir"]))]))
sys.stdin.readline()
spawned.join()
assert run.flush(20)
confirm(spawned.exitcode)
"""


def test_children_of_multiprocessing_lose_nothing(config: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    """A spawned child sends its calls itself after the outage. Its parent sends those of a child that has ended."""
    (tmp_path / "workers.py").write_text(WORKERS)
    with Script(CHILDREN.replace("FOLDER", repr(str(tmp_path))), with_outbox(config, folder)) as script:
        script.read_line()
        with away(config):
            script.send_line()
            exitcode, files = json.loads(script.read_line())
        assert exitcode == 0
        assert files >= 3 * 2
        script.send_line()
        assert script.succeed()[-1] == "0"
    assert steps(config) == [1, *range(100, 110), *range(200, 210)]
    assert outbox_files(folder) == []


LOGGERS = """
import os, time

def log(run, first):
    for step in range(first, first + 10):
        run.add_metrics({"loss": step}, step=step)

def log_and_leave(run, first):
    log(run, first)
    os._exit(0)

def log_on(run, first, connection):
    log(run, first)
    connection.send("has logged")
    time.sleep(60)
"""

PARENT = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
sys.path.insert(0, FOLDER)
import loggers
fork, forkserver = map(multiprocessing.get_context, ("fork", "forkserver"))

def join(process):
    process.start()
    process.join()

with Experiment(client, name="experiment").get_run().track() as run:
    join(fork.Process(target=loggers.log, args=(run, 100)))
    join(forkserver.Process(target=loggers.log, args=(run, 200)))
    with ProcessPoolExecutor(2, mp_context=fork) as executor:
        list(executor.map(loggers.log, [run] * 2, [300, 400]))
    confirm(len(list(filter(lambda name: name.endswith(".db"), os.listdir(config["outbox_dir"])))))
    with fork.Pool(2) as pool:
        pool.starmap(loggers.log, [(run, 500), (run, 600)])
    join(fork.Process(target=loggers.log_and_leave, args=(run, 700)))
    here, there = multiprocessing.Pipe()
    daemon = fork.Process(target=loggers.log_on, args=(run, 800, there), daemon=True)
    daemon.start()
    here.recv()
    daemon.kill()
    daemon.join()
    pid = os.fork()
    if not pid:
        loggers.log_and_leave(run, 900)
    os.waitpid(pid, 0)
"""


def test_calls_of_all_children_have_arrived_when_their_parent_has_ended(
    config: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    """A child that multiprocessing ends sends its own calls. Its parent sends those of killed children."""
    (tmp_path / "loggers.py").write_text(LOGGERS)
    text = PARENT.replace("FOLDER", repr(str(tmp_path)))
    with Script(text, with_outbox(config, folder, outbox="always")) as script:
        ended = script.finish()
    # Only the parent's own file is left, and those of children that met locks for too long, and said so.
    assert ended.status == 0
    assert 1 <= int(ended.lines[-1]) <= 1 + ended.errors.count("calls wait in")
    assert steps(config) == [100 * number + step for number in range(1, 10) for step in range(10)]
    assert outbox_files(folder) == []


UNSENT = """
import multiprocessing
pid = os.fork()
if not pid:
    log(100)
    os._exit(0)
os.waitpid(pid, 0)

def log_and_hurry():
    log(200)
    client._session.outbox.hurry()

child = multiprocessing.get_context("fork").Process(target=log_and_hurry)
child.start()
child.join()
confirm(run.flush(0.3))
"""


def test_flush_waits_for_the_calls_of_children_and_sends_them(config: dict[str, Any], folder: Path) -> None:
    """Even if the parent itself has no calls in the outbox."""
    lines = run_in_outage(config, folder, UNSENT)
    assert lines[-2] == "False"
    assert steps(config) == [0, *range(100, 120), *range(200, 220)]
    assert outbox_files(folder) == []


def test_a_child_that_outlives_its_parent_does_not_keep_its_file_alive(tmp_path: Path) -> None:
    """A parent's lock does not belong to its child."""
    path = str(tmp_path / "x.db.lock")
    lock = OutboxLock(path)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        lock.release(remove=True)
        os.write(writer, json.dumps([is_held_here(path), state_of(path), os.path.exists(path)]).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert json.loads(os.read(reader, 1000)) == [False, "alive", True]
    os.close(reader)
    os.close(writer)
    lock.release(remove=True)


def test_a_call_that_meets_the_end_of_the_sending_thread_is_sent(
    config: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This needs no further call that would start a new thread."""
    client = sqltrack.Client(with_outbox(config, folder))
    run = sqltrack.Experiment(client, name="experiment").get_run()
    outbox = client._session.outbox
    assert outbox is not None
    send = outbox._send
    has_called = threading.Event()

    def send_and_call(sender: sqltrack.Client) -> bool:
        is_all = send(sender)
        if is_all and not has_called.is_set():
            with away(config):
                run.add_tags("late")
            has_called.set()
        return is_all

    monkeypatch.setattr(outbox, "_send", send_and_call)
    with away(config):
        run.add_tags("early")
    assert has_called.wait(20)
    query = "SELECT tags FROM runs"
    wait_until(lambda: sqltrack.Client(config).execute(query).fetchone() == ({"early": True, "late": True},))
    assert run.flush(20)


@pytest.mark.engines("postgres", reason="a sender that waits for SQLite's lock shows nothing")
def test_the_list_of_a_file_continues_after_all_of_it_was_sent(config: dict[str, Any], folder: Path) -> None:
    """If one file serves all calls, the numbers of its calls then start again."""
    client = sqltrack.Client(with_outbox(config, folder, outbox="always"))
    run = sqltrack.Experiment(client, name="experiment").get_run()
    for first in (0, 10):
        with away(config):
            for step in range(first, first + 5):
                run.add_metrics({"loss": step}, step=step)
            (path,) = folder.glob("*.db")
            shown = {"engine": "sqlite", "dbpath": str(path), "outbox": "off"}
            expected = list(range(first, first + 5))
            wait_until(lambda: _shown_steps(shown)[-5:] == expected)  # noqa: B023
        assert run.flush(20)


def _shown_steps(config: dict[str, Any]) -> list[int]:
    try:
        return steps(config)
    except sqltrack.errors.DatabaseError:
        # There are no tables yet.
        return []


class _LoggingHandler(logging.Handler):
    """Lets another thread log to a run while it handles a record, like a handler that stores metrics."""

    def __init__(self, run: sqltrack.Run) -> None:
        super().__init__()
        self._run = run
        self.is_done: bool | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.is_done is None and record.name == "sqltrack.outbox":
            self.is_done = False
            thread = threading.Thread(target=self._run.add_tags, args=("from a handler",), daemon=True)
            thread.start()
            thread.join(10)
            self.is_done = not thread.is_alive()


def test_nothing_is_logged_while_others_wait_for_the_outbox(config: dict[str, Any], folder: Path) -> None:
    """Log handlers hold their own locks, so two threads would wait for each other."""
    run = sqltrack.Experiment(sqltrack.Client(with_outbox(config, folder)), name="experiment").get_run()
    handler = _LoggingHandler(run)
    logging.getLogger().addHandler(handler)
    try:
        with away(config):
            run.add_tags("first")
        assert handler.is_done is True
        assert run.flush(20)
    finally:
        logging.getLogger().removeHandler(handler)
    (tags,) = sqltrack.Client(config).execute("SELECT tags FROM runs").fetchone()
    assert tags == {"first": True, "from a handler": True}


def test_calls_go_to_the_database_again_when_flush_returns(
    config: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is gone by then, however long the thread takes for that."""
    client = sqltrack.Client(with_outbox(config, folder))
    run = sqltrack.Experiment(client, name="experiment").get_run()
    outbox = client._session.outbox
    assert outbox is not None
    has_ended = outbox._has_ended

    def end_slowly(file: OutboxFile) -> bool:
        time.sleep(0.2)
        return has_ended(file)

    monkeypatch.setattr(outbox, "_has_ended", end_slowly)
    with away(config):
        run.add_tags("x")
    assert run.flush(20)
    assert outbox.is_direct
    assert outbox_files(folder) == []


def test_the_temporary_folder_is_that_of_python(tmp_path: Path) -> None:
    code = """
import sys
from sqltrack._outbox._places import temporary_path

before = [name for name in ("tempfile", "random", "shutil") if name in sys.modules]
path = temporary_path()
import tempfile

print(before, path.startswith(tempfile.gettempdir() + "/sqltrack-outbox-"), path == temporary_path())
"""
    for folder in (str(tmp_path), str(tmp_path / "missing")):
        environment = {**os.environ, "TMPDIR": folder}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.stdout == "[] True True\n", done.stderr
