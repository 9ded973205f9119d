"""Captured output is what a terminal shows at the end, and keeps its beginning and end."""

from __future__ import annotations

import io
import itertools
import sys
import time

import pytest

from sqltrack.capture._output import OUTPUT_LIMIT, OutputText
from sqltrack.capture._streams import CopiedStreams


def shown(*parts: str) -> str:
    output = OutputText()
    for part in parts:
        output.write(part)
    return str(output.read().get("text", ""))


def test_nothing_written_is_nothing() -> None:
    assert OutputText().read() == {}


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (("a\nb\n",), "a\nb\n"),
        (("a\r\nb\r\n",), "a\nb\n"),
        (("a", "b", "\n"), "ab\n"),
        (("10 %\r20 %\r100 %\n",), "100 %\n"),
        (("10 %\r", "20 %\r", "30 %"), "30 %"),
        (("10 %\r", "\n"), "10 %\n"),
        (("\x1b[31mred\x1b[0m\n",), "red\n"),
        (("\x1b]0;title\x07x\n",), "x\n"),
        (("a\x00b\tc\n",), "ab\tc\n"),
        (("né€\n",), "né€\n"),
    ],
)
def test_a_line_is_what_a_terminal_shows(parts: tuple[str, ...], text: str) -> None:
    assert shown(*parts) == text


def test_a_million_states_of_a_progress_bar_become_the_last_one() -> None:
    output = OutputText()
    begin = time.monotonic()
    for first in range(0, 1_000_000, 1000):
        output.write("".join(f"\rstep {number}" for number in range(first, first + 1000)))
        assert len(output._streams[1].line) < 100
    output.write("\n")
    assert output.read() == {"text": "step 999999\n"}
    assert time.monotonic() - begin < 60


def test_lines_of_two_streams_do_not_mix() -> None:
    output = OutputText()
    output.write("out ", 1)
    output.write("err\n", 2)
    output.write("put\n", 1)
    assert output.read()["text"] == "err\nout put\n"


def test_the_middle_of_long_output_is_left_out() -> None:
    output = OutputText()
    for number in range(100_000):
        output.write(f"line {number}\n")
    found = output.read()
    assert found["text"].startswith("line 0\nline 1\n")
    assert found["text"].endswith("line 99998\nline 99999\n")
    assert f"[… {found['left_out']} bytes left out …]\n" in found["text"]
    assert len(found["text"].encode()) < 2 * OUTPUT_LIMIT + 100
    total = sum(len(f"line {number}\n") for number in range(100_000))
    kept = len(found["text"].encode()) - len(f"[… {found['left_out']} bytes left out …]\n".encode())
    assert kept + found["left_out"] == total


KEY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"


@pytest.mark.parametrize(
    "lines",
    [
        ["expected -----BEGIN PRIVATE KEY----- in the file", "", "done", "loss 0.5", "12", "b = 1"],
        ['if "-----BEGIN RSA PRIVATE KEY-----" in text:', "    return text", "x"],
        ["-----BEGIN PRIVATE KEY-----", "no key", "-----BEGIN PRIVATE KEY-----", "none"],
    ],
)
def test_lines_that_only_mention_a_private_key_and_those_after_them_stay(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert shown(text) == text
    assert shown(f"{text}\n") == f"{text}\n"


@pytest.mark.parametrize("before", ["", "+", "- ", "    ", "2026-11-29 12:00 INFO "])
def test_a_private_key_without_an_end_ends_at_the_first_other_line(before: str) -> None:
    begin = f"a\n{before}-----BEGIN PRIVATE KEY-----\n"
    key = f"{before}{KEY}\n" * 20
    assert shown(begin, key, "loss 0.5\n", f"{KEY}\n") == f"{begin}***\nloss 0.5\n{KEY}\n"
    assert shown(begin, key, f"{before}{KEY}"[:-3]) == f"{begin}***\n"
    assert shown(begin, key, "-----END PRIVATE KEY-----\n", f"{KEY}\n") == f"{begin}***\n{KEY}\n"


def test_at_most_some_hundred_lines_belong_to_a_private_key() -> None:
    found = shown("-----BEGIN PRIVATE KEY-----\n", f"{KEY}\n" * 1_000)
    assert found.count(KEY) in range(590, 601)


def test_a_line_without_an_end_needs_no_memory() -> None:
    output = OutputText()
    for _ in range(100):
        output.write("x" * 100_000)
    found = output.read()
    assert len(found["text"]) < 3 * OUTPUT_LIMIT
    assert found["left_out"] > 9_000_000


def test_runs_that_overlap_leave_no_layers_in_the_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand of them would end in a RecursionError."""
    original = io.StringIO()
    monkeypatch.setattr(sys, "stdout", original)
    copies = [CopiedStreams() for _ in range(2_000)]
    copies[0].begin()
    for before, after in itertools.pairwise(copies):
        after.begin()
        before.end()
    print("epoch 1")
    copies[-1].end()
    assert sys.stdout is original
    assert original.getvalue() == copies[-1].read()["text"] == "epoch 1\n"
    assert copies[0].read() == {}
