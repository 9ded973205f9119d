"""The end of a process: runs that were not stopped, and code that runs late."""

from __future__ import annotations

import re
from typing import Any

import pytest

from support.databases import ask, statuses, steps
from support.platforms import needs_sigterm
from support.processes import Script

pytestmark = pytest.mark.one_engine

BEGIN = """
run = Experiment(client, name="experiment").get_run().start(terminated="TERMINATED")
"""

ENDS: dict[str, tuple[str, str]] = {
    "end of the script": ("", "COMPLETED"),
    "exception": ("1 / 0", "FAILED"),
    "exception of a task": ("import asyncio\nasync def main():\n    1 / 0\nasyncio.run(main())", "FAILED"),
    "Ctrl-C": ("signal.raise_signal(signal.SIGINT)", "CANCELLED"),
    "sys.exit": ("sys.exit()", "COMPLETED"),
    "SIGTERM": ("signal.raise_signal(signal.SIGTERM)", "TERMINATED"),
    "caught exception": ("try:\n    1 / 0\nexcept ZeroDivisionError:\n    pass", "COMPLETED"),
    "stopped before": ("run.stop('MINE')\n1 / 0", "MINE"),
    "block around": ("with run.track():\n    1 / 0", "FAILED"),
    "open block": ("client.__enter__()\nclient.execute(\"UPDATE runs SET status = 'LOST'\")", "COMPLETED"),
    "generator left": ("def go():\n    with run.track():\n        yield\ngo = go()\nnext(go)", "COMPLETED"),
}


def end(code: str, config: dict[str, Any]) -> Any:
    with Script(code, config) as script:
        return script.finish()


@pytest.mark.parametrize("name", ENDS)
def test_a_run_that_was_not_stopped_gets_a_status_that_fits(name: str, config: dict[str, Any]) -> None:
    code, status = ENDS[name]
    end(BEGIN + code, config)
    assert statuses(config) == [status]
    assert ask(config, "SELECT count(*) FROM runs WHERE time_updated >= time_started") == 1


def test_children_do_not_end_the_runs_of_their_parents(config: dict[str, Any]) -> None:
    code = """
pid = os.fork()
if pid == 0:
    sys.exit()
os.waitpid(pid, 0)
print(client.execute("SELECT status FROM runs").fetchone())
"""
    ended = end(BEGIN + code, config)
    assert ended.lines == ["('RUNNING',)"], ended.errors
    assert statuses(config) == ["COMPLETED"]


LATE: dict[str, str] = {
    "atexit": "import atexit; atexit.register(log)",
    "weakref.finalize": "import weakref\nclass Late: pass\nlate = Late(); weakref.finalize(late, log)",
    "cycle": "class Late:\n    def __del__(self):\n        log()\nlate = Late()\nlate.own = late\ndel late",
    "thread": "threading.Thread(target=lambda: (time.sleep(0.1), log())).start()",
    "tracked": "run.start(); import atexit; atexit.register(log)",
}

# At the end, open blocks are abandoned, and their locks are released.
LATE["open block"] = """
def block():
    with client:
        run.set_comment("lost")
        yield
generator = block()
next(generator)
log()
run.set_comment("late")
"""

# Most of these scripts start no run, and SQLTrack warns about that.
NEVER_STARTED = r"^run 1 was never started.*\n"

# When globals are cleared, Python has no modules left to connect with.
LATEST: dict[str, str] = {
    "global": "class Late:\n    def __del__(self):\n        log()\nlate = Late()",
    "global of a tracked run": "run.start()\nclass Late:\n    def __del__(self):\n        log()\nlate = Late()",
}


def end_late(code: str, config: dict[str, Any]) -> Any:
    begin = """
run = Experiment(client, name="experiment").get_run()
def log():
    run.add_metrics({"loss": 0.5}, step=1)
    run.add_metrics({"other": 0.5}, step=2).set_comment("late")
"""
    return end(begin + code, config)


@pytest.mark.parametrize("name", LATE)
def test_metrics_that_are_logged_at_the_very_end_are_stored(name: str, config: dict[str, Any]) -> None:
    """Nothing is printed, no thread is started when that is impossible, and the exit status stays the same."""
    ended = end_late(LATE[name], config)
    assert ended.status == 0
    assert re.sub(NEVER_STARTED, "", ended.errors) == ""
    assert steps(config) == [1, 2]


@pytest.mark.parametrize("name", LATEST)
def test_metrics_from_a_finalizer_of_a_global_are_stored_or_an_error_says_why(
    name: str, config: dict[str, Any]
) -> None:
    ended = end_late(LATEST[name], config)
    assert ended.status == 0
    if config["engine"] == "sqlite":
        assert (steps(config), re.sub(NEVER_STARTED, "", ended.errors)) == ([1, 2], "")
    else:
        assert "DatabaseUnavailableError" in ended.errors
        assert "Python is ending" in ended.errors


def test_code_at_forks_may_log(config: dict[str, Any]) -> None:
    """Functions that other packages have registered for forks run before, between and after ours."""
    code = """
def log(step):
    return lambda: run.add_metrics({"loss": 0.5}, step=step)
os.register_at_fork(before=log(1), after_in_parent=log(2), after_in_child=log(3))
run = Experiment(client, name="experiment").get_run()
with run.track():
    run.add_metrics({"loss": 0.5}, step=0)
    pid = os.fork()
    if pid == 0:
        run.add_metrics({"loss": 0.5}, step=4)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    run.add_metrics({"loss": 0.5}, step=5)
"""
    ended = end("import os\n" + code, config)
    assert ended.status == 0, ended.errors
    assert steps(config) == [0, 1, 2, 3, 4, 5]


@needs_sigterm
def test_functions_that_were_registered_before_the_run_may_log_when_terminated(config: dict[str, Any]) -> None:
    """The interrupted transaction is rolled back before any of them is called."""
    code = """
from sqltrack import sigterm
run = Experiment(client, name="experiment").get_run()
sigterm.register("mine", lambda: run.add_metrics({"mine": 1.0}, step=2))
with run.track(), client as connection:
    run.add_metrics({"loss": 0.5}, step=1)
    run.set_comment("lost")
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGTERM))
    WAIT
"""
    wait = {"sqlite": "sleep_on()", "postgres": "connection.execute('SELECT pg_sleep(60)')"}
    ended = end(code.replace("WAIT", wait[config["engine"]]), config)
    assert ended.status == 143, ended.errors
    assert steps(config) == [2]
    assert statuses(config) == ["CANCELLED"]
    assert ask(config, "SELECT comment FROM runs") is None


def test_a_handler_of_the_users_own_may_log_when_terminated(config: dict[str, Any]) -> None:
    code = """
run = Experiment(client, name="experiment").get_run()
def handle(*_):
    run.add_metrics({"mine": 1.0}, step=2).set_status("ENDED")
    sys.exit(7)
signal.signal(signal.SIGTERM, handle)
with client as connection:
    run.add_metrics({"loss": 0.5}, step=1)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGTERM))
    WAIT
"""
    wait = {"sqlite": "connection.executemany('INSERT INTO experiments (name) VALUES (%s)', slowly())"}
    slowly = "def slowly():\n    yield 'a',\n    sleep_on()\n"
    code = slowly + code.replace("WAIT", wait.get(config["engine"], "connection.execute('SELECT pg_sleep(60)')"))
    ended = end(code, config)
    assert ended.status == 7, ended.errors
    assert steps(config) == [2]
    assert statuses(config) == ["ENDED"]


@needs_sigterm
def test_handlers_may_log_when_terminated_in_the_block_of_a_generator(config: dict[str, Any]) -> None:
    """The transaction is rolled back first, like any other, and the exit status is the handler's."""
    code = """
from sqltrack import sigterm
run = Experiment(client, name="experiment").get_run()
def handle(*_):
    run.add_metrics({"mine": 1.0}, step=3)
    sys.exit(7)
signal.signal(signal.SIGTERM, handle)
sigterm.register("mine", lambda: run.add_metrics({"mine": 1.0}, step=2))
def work():
    with client:
        run.add_metrics({"loss": 0.5}, step=1)
        signal.raise_signal(signal.SIGTERM)
        yield
with run.track():
    list(work())
"""
    ended = end(code, config)
    assert ended.status == 7, ended.errors
    assert steps(config) == [2, 3]
    assert statuses(config) == ["CANCELLED"]
