"""The time for long values is proportional to their length, in tables, lists and all commands that show them."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import pytest
from rich.console import Console

import sqltrack
from sqltrack.cli import _table, main
from sqltrack.cli._output import stdout
from sqltrack.cli._table import print_pairs, print_result
from support.connections import on_one_connection

# Ten times the work; an algorithm that compares all pairs of characters takes a hundred times as long.
MOST = 30

TEXTS = {
    "one word": lambda length: "x" * length,
    "blanks": lambda length: f"a{' ' * length}b",
    "wide": lambda length: "漢" * length,
}


def pipe() -> Console:
    return stdout(io.StringIO())


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=80, highlight=False, markup=False, emoji=False)


def seconds(work: Callable[[], object]) -> float:
    """Return the shortest of three durations, without the time that other processes take."""
    times = []
    for _ in range(3):
        begin = time.thread_time()
        work()
        times.append(time.thread_time() - begin)
    return min(times)


@pytest.mark.parametrize("console", [pipe, terminal])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_ten_times_the_length_takes_ten_times_as_long(
    text: Callable[[int], str], console: Callable[[], Console], monkeypatch: pytest.MonkeyPatch
) -> None:
    def show(length: int) -> None:
        monkeypatch.setattr(_table, "stdout", lambda file=None: console())
        records = [{"name": 1, "text": text(length), "loss": 0.5}, {"name": 2, "text": "y", "loss": 0.25}]
        print_result(records, list(records[0]))
        print_pairs(records[0])

    assert seconds(lambda: show(20_000)) < MOST * seconds(lambda: show(2_000))


def test_ten_times_as_many_long_columns_take_ten_times_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    def show(number: int) -> None:
        monkeypatch.setattr(_table, "stdout", lambda file=None: terminal())
        _table.print_table(
            [{f"column {i}": "x" * 2_000 for i in range(number)}], [f"column {i}" for i in range(number)]
        )

    assert seconds(lambda: show(100)) < MOST * seconds(lambda: show(10))


@pytest.mark.parametrize(
    ("widths", "room", "narrowed"),
    [
        ({"a": 100_000, "b": 5, "c": 100_000}, 80, [35, 5, 36]),
        ({"a": 30, "b": 5, "c": 100_000}, 80, [30, 5, 41]),
        ({"a": 100_000, "b": 20, "c": 20, "d": 20}, 70, [12, 17, 17, 18]),
        ({"a": 100_000, "b": 100_000}, 10, [4, 4]),
        ({"a": 30, "b": 30}, 80, [30, 30]),
        ({"a": 9, "b": 9}, 3, [1, 1]),
    ],
)
def test_the_widest_columns_share_the_room_that_others_leave(
    widths: dict[str, int], room: int, narrowed: list[int]
) -> None:
    _table._narrow(widths, room)
    assert list(widths.values()) == narrowed


@pytest.mark.parametrize("command", ["metrics", "show"])
def test_commands_show_long_values(
    client: sqltrack.Client, options: list[str], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Next to as many metrics as a model has layers."""
    lengths = {1: 2_000, 2: 20_000}
    with on_one_connection(client):
        experiment = sqltrack.Experiment(client, name="experiment")
        for number, length in lengths.items():
            run = experiment.get_run(number).set_comment("c" * length).add_args({"prompt": "p" * length})
            run.add_metrics({"sample": "x" * length, **{f"layer {i}": 0.5 for i in range(100)}}, step=1)
            run.add_metrics({"sample": "y"}, step=0)
    took = {number: seconds(lambda number=number: main([command, str(number), *options])) for number in lengths}
    assert "x" * lengths[2] in capsys.readouterr().out
    assert took[2] < MOST * took[1]
