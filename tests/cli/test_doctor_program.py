"""`sqltrack doctor` as a command: its output and its exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.doctor import examine
from sqltrack.engines.json import Jsonb
from support.findings import INSTALLATION
from support.processes import Program, running

from .conftest import PROGRAM, connection, wait_until_it_waits

pytestmark = pytest.mark.usefixtures("plenty_of_room")


def test_the_program_shows_a_line_for_each_finding(run: sqltrack.Run, options: list[str], program: Program) -> None:
    done = program("doctor", *options)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == len(examine(run.client)) + 1
    assert lines[0].startswith("✔  python ")
    assert "\x1b" not in done.stdout


def test_problems_are_marked_and_make_the_program_fail(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *options]) == 0
    assert capsys.readouterr().out.endswith("no problems\n")
    client.execute("DROP INDEX runs_experiment_id")
    client.execute("ALTER TABLE runs ADD COLUMN colour TEXT")
    assert main(["doctor", *options]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    (index,) = (line for line in out.splitlines() if " indexes " in line)
    assert index.startswith("✖  indexes ")
    assert "   → execute: " in out
    assert out.endswith("1 problem, 1 note\n")


def test_findings_can_be_had_as_json(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    client.execute("DROP INDEX runs_experiment_id")
    assert main(["doctor", "--json", *options]) == 1
    findings = json.loads(capsys.readouterr().out)
    assert [finding["check"] for finding in findings] == [finding.check for finding in examine(client)]
    assert {finding["check"] for finding in findings if finding["result"] == "problem"} == {"indexes"}
    assert findings[0].keys() == {"check", "result", "found", "advice"}


def test_the_age_of_dead_runs_is_an_option(
    run: sqltrack.Run, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run.start()
    assert main(["doctor", *options, "--stale-after", "0"]) == 0
    assert f"1 run is RUNNING without an update for 0 hours: {run.id}" in capsys.readouterr().out


@pytest.mark.parametrize("hours", ["-1", "nan", "inf", "soon"])
def test_another_age_is_an_error_of_usage(hours: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as info:
        main(["doctor", f"--stale-after={hours}"])
    assert info.value.code == 2
    assert f"--stale-after: must be a number of hours from 0 to 1,000,000, got {hours!r}" in capsys.readouterr().err


def test_names_of_metrics_cannot_control_the_terminal(
    run: sqltrack.Run, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run.add_metrics({"run_id": 1.0})
    run.client.execute("UPDATE metrics SET extras = %s", (Jsonb({"\x1b[31mred\r": 1.0}),))
    assert main(["doctor", *options]) == 0
    out = capsys.readouterr().out
    assert "\\x1b[31mred\\r (1)" in out
    assert "\x1b" not in out


def test_a_configuration_that_cannot_be_used_is_a_finding(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["doctor", "--engine", "nonsense", "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)
    assert [finding["check"] for finding in findings] == [*INSTALLATION, "configuration"]
    assert findings[3]["found"] == "unknown engine 'nonsense', expected 'postgres' or 'sqlite'"
    # As if psycopg were not installed.
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "sqltrack.engines.postgres._engine")
    assert main(["doctor", "--engine", "postgres"]) == 1
    assert "✖  configuration " in capsys.readouterr().out


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="open files are listed in /proc")
def test_ctrl_c_ends_the_program_with_one_line(config: dict[str, Any], client: sqltrack.Client) -> None:
    with client:
        # Locks that the doctor waits for.
        client.execute("DROP INDEX runs_experiment_id")
        client.execute("ALTER TABLE setup_scripts RENAME TO others")
        command = [str(PROGRAM), "doctor", *connection(config)]
        with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            wait_until_it_waits(process.pid, config)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        client.rollback()
    assert (process.returncode, out, err) == (130, "", "sqltrack: interrupted\n")


def test_a_reader_that_has_seen_enough_ends_the_program_quietly(config: dict[str, Any]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [str(PROGRAM), "doctor", *connection(config)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
