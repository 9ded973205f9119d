"""`sqltrack run` tracks any program, and ends as the program ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import warnings
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.commands.reap import apply_reap, plan_reap
from sqltrack.commands.run import experiment_name
from sqltrack.outbox import find_outboxes
from support.outages import outbox_settings
from support.processes import running

PROGRAM = Path(sys.executable).with_name("sqltrack")

# Runs each command in a forked child, which takes a tenth of the time of a new process, and prints how it has ended.
DRIVER = """
import contextlib, io, json, os, sys
import sqltrack.cli._commands.run, sqltrack.commands.run
import sqltrack._masked_items, sqltrack.capture._facts, sqltrack.sigterm
from sqltrack.cli import main
options, commands = json.loads(sys.argv[1])
with contextlib.redirect_stdout(io.StringIO()):
    # Imports what the children need.
    main(["ls", *options])
endings = []
for command in commands:
    pid = os.fork()
    if not pid:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        status = 99
        try:
            status = main(["run", *options, "--capture", "command", "--", *command])
        finally:
            os._exit(status)
    endings.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(json.dumps(endings))
"""

# Signals that end a program which does not handle them, and leave no core file.
DEADLY = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM, signal.SIGPIPE]
CANCELLED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def read_runs(client: sqltrack.Client) -> list[Any]:
    return client.execute("SELECT status, extras, env FROM runs ORDER BY id").fetchall()


def run_all(options: Sequence[str], commands: Sequence[Sequence[str]]) -> list[int]:
    """Run programs one after the other, and return their exit statuses, negative numbers for signals."""
    given = json.dumps([list(options), [list(command) for command in commands]])
    done = subprocess.run([sys.executable, "-c", DRIVER, given], capture_output=True, text=True, check=True)
    endings: list[int] = json.loads(done.stdout)
    return endings


def check_endings(client: sqltrack.Client, options: list[str], codes: Sequence[int], signals: Sequence[int]) -> None:
    """Check status and exit status of programs that end with each of these codes and signals."""
    commands = [["sh", "-c", f"exit {code}"] for code in codes]
    commands += [["sh", "-c", f"kill -{number} $$"] for number in signals]
    endings = run_all(options, commands)
    assert endings == [*codes, *(-number for number in signals)]
    runs = read_runs(client)
    assert len(runs) == len(commands)
    for code, (status, extras, _) in zip(codes, runs):
        requested = code - 128 in CANCELLED
        assert status == ("COMPLETED" if code == 0 else "CANCELLED" if requested else "FAILED"), code
        assert extras["capture"]["command"]["exit_code"] == code
    for number, (status, extras, _) in zip(signals, runs[len(codes) :]):
        assert status == ("CANCELLED" if number in CANCELLED else "FAILED"), number
        assert extras["capture"]["command"]["signal"] == number


def test_exit_status_and_signal_are_passed_on(client: sqltrack.Client, options: list[str]) -> None:
    codes = [0, 1, 2, 3, 77, 125, 126, 127, 128, 129, 130, 137, 143, 200, 254, 255]
    check_endings(client, options, codes, DEADLY)


@pytest.mark.faults
def test_five_hundred_programs_end_in_every_way(client: sqltrack.Client, options: list[str]) -> None:
    check_endings(client, options, [*range(256)], DEADLY * 35)


@pytest.mark.engines("sqlite", reason="it does not depend on the database")
@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [
        ("no-such-program", 127, "not found"),
        ("./no/such", 127, "not found"),
        ("", 127, "not found"),
        ("./data.txt", 126, "cannot be executed"),
        ("./binary", 126, "cannot be executed"),
    ],
)
def test_a_program_that_cannot_be_started_fails(
    command: str, code: int, reason: str, client: sqltrack.Client, options: list[str]
) -> None:
    Path("data.txt").write_text("no program")
    Path("binary").write_bytes(b"\0\1\2" * 100)
    Path("binary").chmod(0o755)
    done = subprocess.run(
        [PROGRAM, "run", *options, "--capture", "all", "--", command, "x"], capture_output=True, text=True
    )
    assert done.returncode == code
    assert reason in done.stderr
    ((status, extras, _),) = read_runs(client)
    assert status == "FAILED"
    assert extras["capture"]["command"]["argv"] == [command, "x"]
    assert extras["capture"]["command"]["exit_code"] == code


def test_a_script_without_a_line_for_its_interpreter_runs_as_in_a_shell(
    client: sqltrack.Client, options: list[str]
) -> None:
    Path("script").write_text('echo "$0 $1"; exit 7\n')
    Path("script").chmod(0o755)
    done = subprocess.run([PROGRAM, "run", *options, "--", "./script", "a b"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (7, "./script a b\n")
    assert [status for status, _, _ in read_runs(client)] == ["FAILED"]


def test_a_planned_run_is_taken_by_its_id(client: sqltrack.Client, options: list[str]) -> None:
    planned = sqltrack.Experiment(client, name="planned").get_run()
    for number, status in ((planned.id, "COMPLETED"), (planned.id + 10, "COMPLETED")):
        environ = {**os.environ, "SQLTRACK_RUN_ID": str(number)}
        subprocess.run([PROGRAM, "run", *options, "--", "true"], check=True, env=environ)
        found = client.execute(
            "SELECT name, status FROM runs JOIN experiments ON experiments.id = experiment_id WHERE runs.id = %s",
            (number,),
        ).fetchall()
        assert [tuple(row) for row in found] == [("planned" if number == planned.id else "true", status)]
    given = [PROGRAM, "run", *options, "--experiment", "other", "--", "touch", "started"]
    done = subprocess.run(given, env={**os.environ, "SQLTRACK_RUN_ID": str(planned.id)}, capture_output=True, text=True)
    assert done.returncode == 125
    assert "belongs to experiment" in done.stderr
    assert not Path("started").exists()


def test_the_resources_of_a_short_program_are_stored(client: sqltrack.Client, options: list[str]) -> None:
    """It ends before the second measurement."""
    code = "import time; held = bytearray(80 * 2**20)\nwhile time.process_time() < 1: pass"
    command = [PROGRAM, "run", *options, "--capture", "resources", "--", sys.executable, "-c", code]
    subprocess.run(command, check=True)
    ((_, extras, _),) = read_runs(client)
    resources = extras["capture"]["resources"]
    assert resources["memory"]["max"] > 80 * 2**20
    assert resources["cpu"]["max"] > 0.1


def test_a_run_that_cannot_be_created_starts_nothing(tmp_path: Path) -> None:
    command = [PROGRAM, "run", "--dbpath", str(tmp_path / "no" / "x.db"), "--", "touch", "started"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 125
    assert "no such folder" in done.stderr or "does not exist" in done.stderr
    assert not Path("started").exists()


def test_a_command_is_needed(options: list[str]) -> None:
    done = subprocess.run([PROGRAM, "run", *options], capture_output=True, text=True)
    assert done.returncode == 2
    assert "sqltrack run -- python train.py" in done.stderr


def test_arguments_tags_and_environment_are_stored(client: sqltrack.Client, options: list[str]) -> None:
    given = ["--experiment", "digits", "--arg", "lr=0.1", "--arg", "name=x=y", "--tag", "a", "--tag", "b"]
    command = ["sh", "-c", 'test -n "$SQLTRACK_RUN_ID" && test -n "$SQLTRACK_EXPERIMENT_ID"']
    environ = {**os.environ, "MY_SETTING": "17"}
    done = subprocess.run(
        [PROGRAM, "run", *options, *given, "--comment", "first", "--", *command], capture_output=True, env=environ
    )
    assert done.returncode == 0
    (row,) = client.execute(
        "SELECT experiments.name, args, runs.tags, runs.comment, env, status, time_started, time_updated "
        "FROM runs JOIN experiments ON experiments.id = runs.experiment_id"
    )
    assert row[:4] == ("digits", {"lr": 0.1, "name": "x=y"}, {"a": True, "b": True}, "first")
    assert row[4]["MY_SETTING"] == "17"
    assert row[5] == "COMPLETED"
    assert row[6] <= row[7]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["python", "src/train.py", "--lr", "1"], "train"),
        (["./build/solver", "in.txt"], "solver"),
        (["Rscript", "fit.R"], "Rscript"),
    ],
)
def test_the_experiment_is_named_after_the_program(command: list[str], name: str) -> None:
    Path("src").mkdir()
    Path("src/train.py").touch()
    assert experiment_name(command) == name


SCRIPT = '''"""Train.

Usage:
  train.py [--lr FLOAT]

Options:
  --lr FLOAT  learning rate [default: 0.1]
"""
import sys, sqltrack
if {how!r} == "track":
    with sqltrack.track() as run:
        run.add_metrics({{"loss": 0.5}}, step=1)
elif {how!r} == "run_from_env":
    with sqltrack.run_from_env(sqltrack.Client()).track() as run:
        run.add_metrics({{"loss": 0.5}}, step=1)
else:
    run = sqltrack.Experiment(sqltrack.Client(), name="other").get_run()
    with run.track():
        run.add_metrics({{"loss": 0.5}}, step=1)
sys.exit({code})
'''


@pytest.mark.parametrize("how", ["track", "run_from_env", "get_run"])
def test_a_python_program_finds_its_run(how: str, client: sqltrack.Client, options: list[str]) -> None:
    """The exit status decides, although the run was fine until then."""
    Path("train.py").write_text(SCRIPT.format(how=how, code=3))
    command = [sys.executable, "train.py", "--lr", "0.5"]
    done = subprocess.run([PROGRAM, "run", *options, "--capture", "on", "--", *command], capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    runs = client.execute("SELECT status, args, extras FROM runs ORDER BY id").fetchall()
    assert [row[0] for row in runs] == ["FAILED"] + (["COMPLETED"] if how == "get_run" else [])
    assert runs[0][1]["lr"] == 0.5
    context = runs[0][2]["capture"]
    assert context["command"]["exit_code"] == 3
    assert context["command"]["argv"][-2:] == ["--lr", "0.5"]
    assert context["packages"]
    (row,) = client.execute("SELECT run_id, loss FROM metrics")
    assert row[1] == 0.5


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


TRAPS = """
for name in TERM USR1 INT HUP; do trap "echo $name >> got" $name; done
touch ready
until test -e done; do sleep 0.05; done
exit 5
"""


@pytest.mark.engines("sqlite", reason="signals do not depend on the database")
def test_each_signal_reaches_the_program_once(client: sqltrack.Client, options: list[str]) -> None:
    with running([PROGRAM, "run", *options, "--", "sh", "-c", TRAPS], start_new_session=True) as process:
        wait_for(Path("ready"))
        for number, name in ((signal.SIGUSR1, "USR1"), (signal.SIGTERM, "TERM"), (signal.SIGINT, "INT")):
            # To the whole group, as batch systems and shells do.
            os.killpg(process.pid, number)
            deadline = time.monotonic() + 30
            while name not in (Path("got").read_text() if Path("got").exists() else ""):
                assert time.monotonic() < deadline
                time.sleep(0.02)
        Path("done").touch()
        assert process.wait(60) == 5
    assert Path("got").read_text().split() == ["USR1", "TERM", "INT"]
    assert [status for status, _, _ in read_runs(client)] == ["FAILED"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_ends_the_program_cancels_the_run(
    number: signal.Signals, client: sqltrack.Client, options: list[str]
) -> None:
    command = ["sh", "-c", "touch ready; exec sleep 60"]
    with running([PROGRAM, "run", *options, "--", *command], start_new_session=True) as process:
        wait_for(Path("ready"))
        process.send_signal(number)
        assert process.wait(60) == -number
    assert [status for status, _, _ in read_runs(client)] == ["CANCELLED"]


@pytest.mark.engines("sqlite", reason="it does not depend on the database")
def test_exec_in_the_last_line_of_a_batch_script_works(client: sqltrack.Client, options: list[str]) -> None:
    """The batch system then signals the program itself."""
    words = " ".join(f"'{word}'" for word in [str(PROGRAM), "run", *options])
    Path("job.sh").write_text(
        f"exec {words} -- sh -c 'touch ready; trap \"exit 9\" TERM; while :; do sleep 0.05; done'"
    )
    with running(["sh", "job.sh"], start_new_session=True) as process:
        wait_for(Path("ready"))
        process.terminate()
        assert process.wait(60) == 9
    assert [status for status, _, _ in read_runs(client)] == ["FAILED"]


def test_the_run_of_a_killed_sqltrack_is_found_by_reap(client: sqltrack.Client, options: list[str]) -> None:
    # Also without the folder, it ends.
    command = ["sh", "-c", "touch ready; until test -e done || ! test -e ready; do sleep 0.05; done"]
    with running([PROGRAM, "run", *options, "--", *command], start_new_session=True) as process:
        wait_for(Path("ready"))
        process.kill()
        process.wait(60)
    Path("done").touch()
    assert [status for status, _, _ in read_runs(client)] == ["RUNNING"]
    apply_reap(client, plan_reap(client, older_than=timedelta(0))[0])
    assert [status for status, _, _ in read_runs(client)] == ["FAILED"]


@pytest.mark.engines("postgres", reason="a SQLite file is never away")
def test_a_program_runs_while_the_database_is_away(tmp_path: Path) -> None:
    settings = outbox_settings(tmp_path, patience=0.2)
    lines = [f"{name} = {value}" for name, value in {**settings, "engine": "postgres", "host": "127.0.0.1"}.items()]
    Path("away.conf").write_text("\n".join([*lines, "port = 1", "dbname = x", "user = x"]))
    log = f"'{PROGRAM}' log loss=1; kill -USR1 $$"
    command = [PROGRAM, "run", "--config-path", "away.conf", "--capture", "on", "--", "sh", "-c", log]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -signal.SIGUSR1
    assert sum(info.calls for info in find_outboxes(settings["outbox_dir"])) >= 5


@pytest.mark.engines("sqlite", reason="it does not depend on the database")
@pytest.mark.parametrize("capture", ["off", "output"])
def test_output_and_input_are_passed_through(capture: str, client: sqltrack.Client, options: list[str]) -> None:
    script = "read line; echo got $line; echo bad >&2; printf '10 %%\\r20 %%\\n'"
    command = [PROGRAM, "run", *options, "--capture", capture, "--", "sh", "-c", script]
    done = subprocess.run(command, input=b"hello\n", capture_output=True)
    assert done.stdout == b"got hello\n10 %\r20 %\n"
    assert done.stderr.endswith(b"bad\n")
    ((_, extras, _),) = read_runs(client)
    if capture == "output":
        assert sorted(extras["capture"]["output"]["text"].splitlines()) == ["20 %", "bad", "got hello"]


@pytest.mark.engines("sqlite", reason="it does not depend on the database")
@pytest.mark.parametrize("capture", ["off", "output"])
def test_a_program_ends_when_nobody_reads_its_output(capture: str, client: sqltrack.Client, options: list[str]) -> None:
    words = " ".join(f"'{word}'" for word in [str(PROGRAM), "run", *options, "--capture", capture])
    subprocess.run(["sh", "-c", f"{words} -- yes | head -1"], check=True, timeout=60, stdout=subprocess.DEVNULL)
    assert [status for status, _, _ in read_runs(client)] == ["FAILED"]


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        with warnings.catch_warnings():
            # Python warns of the threads of the tests. The child executes another program at once.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid, self.descriptor = pty.fork()
        if not self.pid:
            os.execv(command[0], [str(word) for word in command])  # noqa: S606
        self.shown = b""

    def read_until(self, text: bytes) -> None:
        deadline = time.monotonic() + 30
        while text not in self.shown:
            ready, _, _ = select.select([self.descriptor], [], [], max(deadline - time.monotonic(), 0))
            assert ready, self.shown
            try:
                self.shown += os.read(self.descriptor, 2**16)
            except OSError:
                raise AssertionError(self.shown) from None

    def read_past(self, text: bytes) -> None:
        """Read until the text, and forget it and what was shown before."""
        self.read_until(text)
        self.shown = self.shown.partition(text)[2]

    def type(self, text: bytes) -> None:
        os.write(self.descriptor, text)

    def finish(self) -> int:
        """Return the exit status, or the negative number of a signal; kill a program that hangs."""
        deadline = time.monotonic() + 30
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.descriptor)
                return os.waitstatus_to_exitcode(status)
            # A program cannot end while it has output that nobody reads.
            with contextlib.suppress(OSError):
                if select.select([self.descriptor], [], [], 0.02)[0]:
                    self.shown += os.read(self.descriptor, 2**16)
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)


@pytest.fixture(params=["off", "output"])
def in_terminal(request: pytest.FixtureRequest, options: list[str]) -> Any:
    def start(*command: str) -> Terminal:
        return Terminal([PROGRAM, "run", *options, "--capture", request.param, "--", *command])

    return start


@pytest.mark.engines("sqlite", reason="terminals do not depend on the database")
def test_a_program_keeps_its_terminal_with_its_size(in_terminal: Any, client: sqltrack.Client) -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && echo all; stty size; read line; stty size; exit 4"
    terminal = in_terminal("sh", "-c", script)
    terminal.read_until(b"all\r\n")
    fcntl.ioctl(terminal.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    time.sleep(0.3)
    terminal.type(b"\n")
    terminal.read_until(b"33 99\r\n")
    assert terminal.finish() == 4
    assert [status for status, _, _ in read_runs(client)] == ["FAILED"]


@pytest.mark.engines("sqlite", reason="terminals do not depend on the database")
def test_ctrl_c_reaches_the_program_once(in_terminal: Any, client: sqltrack.Client) -> None:
    script = "trap 'echo caught' INT; echo ready; for i in 1 2 3 4 5 6; do sleep 0.1; done; read line; exit 6"
    terminal = in_terminal("sh", "-c", script)
    terminal.read_until(b"ready\r\n")
    terminal.type(b"\x03")
    terminal.read_until(b"caught\r\n")
    time.sleep(0.3)
    terminal.type(b"\n")
    assert terminal.finish() == 6
    assert terminal.shown.count(b"caught") == 1
    assert [status for status, _, _ in read_runs(client)] == ["FAILED"]


@pytest.mark.engines("sqlite", reason="terminals do not depend on the database")
def test_ctrl_c_ends_a_program_and_cancels_the_run(in_terminal: Any, client: sqltrack.Client) -> None:
    terminal = in_terminal("sh", "-c", "echo ready; exec sleep 60")
    terminal.read_until(b"ready\r\n")
    terminal.type(b"\x03")
    assert terminal.finish() == -signal.SIGINT
    assert [status for status, _, _ in read_runs(client)] == ["CANCELLED"]


def descendants(pid: int) -> Iterator[int]:
    """Yield the ids of the children of a process, and of theirs."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            yield child
            yield from descendants(child)


def read_stat(pid: int) -> list[str]:
    """Return the facts about a process after its name: state, parent, group, session, terminal and others."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def wait_until_stopped(shell: int) -> None:
    """Wait until all programs that a shell has started in its terminal are stopped."""
    terminal = read_stat(shell)[4]
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        states = [stat[0] for stat in map(read_stat, descendants(shell)) if stat[4] == terminal]
        if states and set(states) == {"T"}:
            return
        time.sleep(0.01)


@pytest.mark.engines("sqlite", reason="terminals do not depend on the database")
@pytest.mark.parametrize("capture", ["off", "output"])
def test_a_shell_can_stop_and_continue_the_program(capture: str, client: sqltrack.Client, options: list[str]) -> None:
    words = " ".join(f"'{word}'" for word in [str(PROGRAM), "run", *options, "--capture", capture])
    terminal = Terminal(["/bin/bash", "--norc", "--noprofile", "-i"])
    terminal.type(b"PS1='prompt: '\n")
    terminal.type(f"{words} -- sh -c 'echo ready; read line; echo got $line'\n".encode())
    terminal.read_until(b"\r\nready\r\n")
    time.sleep(0.3)
    terminal.type(b"\x1a")
    terminal.read_past(b"Stopped")
    terminal.read_past(b"prompt: ")
    if capture == "off":
        # Until then it may still take what is typed next, because it has begun to read; with "output" it reads from a
        # terminal of its own.
        wait_until_stopped(terminal.pid)
    terminal.type(b"fg\n")
    terminal.read_past(b"echo got $line")
    time.sleep(0.5)
    terminal.type(b"again\n")
    terminal.read_past(b"got again")
    # The program may still read what is typed before the shell asks again.
    terminal.read_until(b"prompt: ")
    terminal.type(b"exit 0\n")
    assert terminal.finish() == 0
    assert [status for status, _, _ in read_runs(client)] == ["COMPLETED"]


@pytest.mark.engines("sqlite", reason="terminals do not depend on the database")
def test_a_killed_sqltrack_leaves_no_raw_terminal(client: sqltrack.Client, options: list[str]) -> None:
    words = " ".join(f"'{word}'" for word in [str(PROGRAM), "run", *options, "--capture", "output"])
    terminal = Terminal(
        ["/bin/bash", "--norc", "--noprofile", "-c", f"{words} -- sh -c 'echo ready; sleep 60'; read x"]
    )
    terminal.read_until(b"\nready\r\n")
    time.sleep(0.3)
    assert not termios.tcgetattr(terminal.descriptor)[3] & termios.ICANON
    children = Path(f"/proc/{terminal.pid}/task/{terminal.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    deadline = time.monotonic() + 30
    while not termios.tcgetattr(terminal.descriptor)[3] & termios.ICANON:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    terminal.type(b"\n")
    terminal.finish()
