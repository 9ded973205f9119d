"""`sqltrack log` logs metrics from shell scripts and programs in any language."""

from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.cli._pairs import read_value
from sqltrack.outbox import find_outboxes
from support.outages import outbox_settings


@pytest.fixture(autouse=True)
def _started(run: sqltrack.Run) -> None:
    run.set_status("RUNNING")


def rows(client: sqltrack.Client, *names: str) -> list[tuple[Any, ...]]:
    listed = ", ".join(f'"{name}"' for name in names)
    return [tuple(row) for row in client.execute(f"SELECT {listed} FROM metrics ORDER BY step, progress")]


def feed(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))


def test_values_get_the_types_that_they_look_like(
    run: sqltrack.Run, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLTRACK_RUN_ID", str(run.id))
    given = ["loss=0.25", "n=3", "big=-1e9", "bad=nan", "ok=true", "note=a=b c", "sizes=[1, 2]", "--step", "7"]
    assert main(["log", *options, *given, "--progress", "0.5"]) == 0
    (row,) = rows(run.client, "run_id", "step", "progress", "loss", "n", "big", "ok", "note")
    assert row == (run.id, 7, 0.5, 0.25, 3, -1e9, True, "a=b c")
    (row,) = rows(run.client, "bad", "sizes")
    assert math.isnan(float(row[0]))
    assert row[1] == [1, 2]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("0", 0), ("-0", 0), ("+5", 5), ("0.5", 0.5), (".5", 0.5), ("5.", 5.0), ("01.50", 1.5), ("1e-3", 1e-3)),
        *((str(number), number) for number in (2**63 - 1, -(2**63), 2**64 - 1, 10**400, -(10**40))),
        *(("inf", math.inf), ("-Infinity", -math.inf), ("1E5", 1e5), ("[1, 2]", [1, 2]), ('{"a": 1}', {"a": 1})),
        *((text, text) for text in ("0123456", "-012", "00", "1_0", "1_000", "1__0", "٣", "1.٣", "0x10", "007e1")),
        *(
            (text, text)
            for text in ("71e8421", "-71e8421", "1" + "0" * 400 + ".0", "1" * 5_000, "[" * 99_999, '"a', "")
        ),
        *(('"71e8421"', "71e8421"), ('"007"', "007"), ('"a\\nb"', "a\nb"), ('"true"', "true"), ('"a" b', '"a" b')),
    ],
)
def test_a_text_becomes_only_a_value_that_it_spells(text: str, value: Any) -> None:
    found = read_value(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 10**40])
def test_integers_of_any_length_are_logged_as_from_python(number: int, run: sqltrack.Run, options: list[str]) -> None:
    assert main(["log", str(run.id), *options, f"n={number}"]) == 0
    run.add_metrics({"n": number}, 1)
    # The columns of the key are first.
    logged, expected = (tuple(row)[3:] for row in run.client.execute("SELECT * FROM metrics ORDER BY step"))
    assert logged == expected
    assert number in logged or {"n": number} in logged


def test_the_run_can_be_named(run: sqltrack.Run, options: list[str]) -> None:
    assert main(["log", str(run.id), "loss=1", *options]) == 0
    assert main(["log", *options, "--step=1", str(run.id), "loss=0.5"]) == 0
    assert rows(run.client, "step", "loss") == [(0, 1.0), (1, 0.5)]


def test_lines_of_standard_input_are_rows(
    run: sqltrack.Run, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["loss=1 n=1", "", "loss=0.5, n=2", json.dumps({"loss": 0.25, "step": 10}), "step=11 progress=0.5 loss=0.1"]
    feed(monkeypatch, "\n".join(lines).encode())
    assert main(["log", str(run.id), "-", *options]) == 0
    assert rows(run.client, "step", "progress", "loss", "n") == [
        (0, 0.0, 1.0, 1),
        (1, 0.0, 0.5, 2),
        (10, 0.0, 0.25, None),
        (11, 0.5, 0.1, None),
    ]


def test_hundreds_of_lines_are_quick(run: sqltrack.Run, options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, "".join(f"loss={1 / (1 + number)}\n" for number in range(500)).encode())
    assert main(["log", str(run.id), "-", *options, "--step", "100"]) == 0
    found = rows(run.client, "step")
    assert (len(found), found[0], found[-1]) == (500, (100,), (599,))


def test_a_line_that_cannot_be_read_is_named_and_left_out(
    run: sqltrack.Run, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program that writes the lines would otherwise be ended by SIGPIPE."""
    lines = [
        b"loss=1",
        b"{broken",
        b"epoch 2 begins",
        b"\xff\xfe=1",
        b"step=1.5 loss=9",
        b'{"a":' + b"[" * 99_999,
        b"loss=2",
    ]
    feed(monkeypatch, b"\n".join(lines))
    assert main(["log", str(run.id), "-", *options]) == 1
    errors = capsys.readouterr().err
    for number in range(2, 7):
        assert f"line {number} of standard input was left out" in errors
    assert rows(run.client, "step", "loss") == [(0, 1.0), (1, 2.0)]


@pytest.mark.parametrize(
    "line",
    [
        *(
            '{"step": null, "loss": 9}',
            '{"step": true, "loss": 9}',
            '{"step": "x", "loss": 9}',
            '{"step": 1.5, "loss": 9}',
        ),
        *('{"step": [1], "loss": 9}', '{"progress": null, "loss": 9}', '{"progress": false, "loss": 9}'),
        *("step=null loss=9", "step=true loss=9", "step= loss=9", "step=x loss=9", "step=nan loss=9"),
        *("progress=none loss=9", "progress=x loss=9", "progress=nan loss=9", 'progress="0.5" loss=9'),
    ],
)
def test_a_line_whose_step_or_progress_is_no_number_replaces_no_row(
    line: str,
    run: sqltrack.Run,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    feed(monkeypatch, f"loss=1\nloss=2\n{line}\nloss=3\n".encode())
    assert main(["log", str(run.id), "-", *options]) == 1
    name = "step" if "step" in line else "progress"
    assert f"line 3 of standard input was left out: {name} must be" in capsys.readouterr().err
    assert rows(run.client, "step", "progress", "loss") == [(0, 0.0, 1.0), (1, 0.0, 2.0), (2, 0.0, 3.0)]


def test_steps_padded_with_zeros_and_floats_without_fraction_are_steps(
    run: sqltrack.Run, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(monkeypatch, b'step=007 loss=1\nstep=1e2 progress=1 loss=2\n{"step": 200.0, "loss": 3}\n')
    assert main(["log", str(run.id), "-", *options]) == 0
    assert rows(run.client, "step", "progress", "loss") == [(7, 0.0, 1.0), (100, 1.0, 2.0), (200, 0.0, 3.0)]


def test_many_lines_that_cannot_be_read_are_counted(
    run: sqltrack.Run, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    feed(monkeypatch, b"chatter\n" * 50 + b"loss=1\n")
    assert main(["log", str(run.id), "-", *options]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 6
    assert "50 lines of standard input were left out" in errors[-1]
    assert rows(run.client, "loss") == [(1.0,)]


def test_lines_of_a_run_that_does_not_exist_are_refused_at_once(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    feed(monkeypatch, b"loss=1\nloss=2\n")
    assert main(["log", "12345", "-", *options]) == 1
    assert "12345" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["1"], "expected NAME=VALUE or -"),
        (["1", "loss"], "expected NAME=VALUE, got 'loss'"),
        (["loss=1"], "SQLTRACK_RUN_ID does not hold one"),
        (["1", "loss=1", "--step", "x"], "expected an integer"),
        (["1", "step=7", "loss=1"], "use --step 7"),
        (["1", "loss=1", "progress=0.5"], "use --progress 0.5"),
    ],
)
def test_a_wrong_command_line_is_refused(
    words: list[str], error: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["log", *options, *words])
    assert error in capsys.readouterr().err


def test_a_run_that_does_not_exist_is_refused(
    options: list[str], capsys: pytest.CaptureFixture[str], client: sqltrack.Client
) -> None:
    assert main(["log", *options, "12345", "loss=1"]) == 1
    assert "12345" in capsys.readouterr().err


@pytest.mark.engines("postgres", reason="a SQLite file is never away")
def test_values_wait_in_the_outbox_while_the_database_is_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = outbox_settings(tmp_path, patience=0.2)
    lines = [f"{name} = {value}" for name, value in {**settings, "engine": "postgres", "host": "127.0.0.1"}.items()]
    Path("away.conf").write_text("\n".join([*lines, "port = 1", "dbname = x", "user = x"]))
    for step in range(3):
        assert main(["log", "--config-path", "away.conf", "7", "loss=1", "--step", str(step)]) == 0
    waiting = list(find_outboxes(settings["outbox_dir"]))
    assert sum(info.calls for info in waiting) == 3
