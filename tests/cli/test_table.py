"""Tables and JSON look like those of rich and of the json module, which are slower."""

from __future__ import annotations

import io
import json
import math
import random
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from sqltrack.cli import _table
from sqltrack.cli._output import print_json
from sqltrack.engines.json import plain

RANDOM = random.Random(20261127)

CELLS = [
    Text("plain"),
    Text(""),
    Text("in color", style="cyan"),
    Text("bold", style="bold"),
    Text("…").append_text(Text("partly", style="red")),
    Text("日本語日本語"),
    Text("é and a very long text that is cut somewhere", style="green"),
    Text("[bold]no markup[/bold] :smile:"),
]


def columns(number: int, rows: int) -> list[_table._Column]:
    return [
        _table._Column(
            Text(RANDOM.choice(["a", "head", "a long head of a column", "日本"])),
            [RANDOM.choice(CELLS) for _ in range(rows)],
            RANDOM.choice([1, 2, 5, 8, 20]),
            RANDOM.random() < 0.5,
        )
        for _ in range(number)
    ]


def printed(printer: Any, chosen: Sequence[_table._Column], **options: Any) -> tuple[str, set[str]]:
    """Return the visible text of a table without blanks at the ends of its lines, and its styles."""
    file = io.StringIO()
    console = Console(file=file, width=200, highlight=False, markup=False, emoji=False, **options)
    printer(console, chosen, *([[False] * len(chosen)] if printer is _table._print_by_rich else []))
    text = file.getvalue()
    seen = re.sub(r"\x1b\[[\d;]*m", "", text)
    return "\n".join(line.rstrip() for line in seen.splitlines()), set(re.findall(r"\x1b\[[\d;]*m", text))


@pytest.mark.parametrize("options", [{}, {"force_terminal": True, "color_system": "truecolor"}], ids=["pipe", "color"])
@pytest.mark.parametrize("rows", [0, 1, 7])
def test_a_table_looks_as_one_of_rich(rows: int, options: dict[str, Any]) -> None:
    for number in (1, 2, 5):
        chosen = columns(number, rows)
        expected = printed(_table._print_by_rich, chosen, **options)
        shown = printed(_table._print_lines, chosen, **options)
        assert shown[0] == expected[0]
        assert shown[1] == expected[1]


def leave_out_one_by_one(widths: dict[str, int], optional: Sequence[str], room: int) -> list[str]:
    """Do the same as `_leave_out`, but compute the width of the table again for each column."""
    removed: dict[str, int] = {}
    for name in reversed(optional):
        if _table._least(widths.values()) <= room or len(widths) == 1:
            break
        removed[name] = widths.pop(name)
    for name in optional:
        if name in removed and _table._least([*widths.values(), removed[name]]) <= room:
            widths[name] = removed.pop(name)
    return [name for name in optional if name in removed]


def test_columns_without_room_are_left_out_the_last_first() -> None:
    for _ in range(200):
        widths = {f"c{number}": RANDOM.randint(1, 40) for number in range(RANDOM.randint(1, 12))}
        optional = [name for name in widths if RANDOM.random() < 0.7]
        room = RANDOM.randint(1, 200)
        expected = dict(widths)
        assert _table._leave_out(widths, optional, room) == leave_out_one_by_one(expected, optional, room)
        assert widths == expected


VALUES = {
    "text": 'a "quoted"\ttext with é, NUL \0 and \ud800',
    "number\0": [1, -(2**70), 0.1, 1e300, math.nan, math.inf, -math.inf, True, None],
    "empty": [{}, [], "", ()],
    "other": [Decimal("1.5"), b"bytes", {"key": [{"deep": None}], 5: "five", "5": "text"}],
    "": {"\0": 1, "\\x00": 2},
}


@pytest.mark.parametrize("value", [*VALUES.values(), VALUES, [], {}, None, 1.5, "text"], ids=str)
def test_json_looks_like_that_of_the_json_module(value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    print_json(value)
    expected = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=2)
    assert capsys.readouterr().out == f"{expected}\n"


def test_json_has_times_in_iso_8601_and_durations_in_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    time = datetime(2026, 11, 27, 12, tzinfo=timezone.utc)
    print_json({"time": time, "durations": [timedelta(minutes=1)]})
    assert json.loads(capsys.readouterr().out) == {"time": time.isoformat(), "durations": [60.0]}
