"""Lists as Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime, timedelta, timezone
from html import unescape
from typing import Any

import pytest
from markdown_it import MarkdownIt

from sqltrack.cli._formats import FORMATS, TEXT_FORMATS, print_records, write_records
from sqltrack.cli._parser import build_parser

# Characters with a special meaning in at least one of the formats.
TEXTS = [
    "a|b",
    r"a\|b",
    "*a* **b** _c_ __d__ ~e~ ~~f~~ `g` train_loss",
    "<b>h</b> &amp; [i](j) $k$",
    "50% #1 {x} ^2 a\\b \"quoted\" 'single' --lr ---",
    "日本 ä ✓",
    "[0.1, 0.2]",
    "* starred",
    "x" * 500,
    "",
]
RECORDS = [{"text": text, "number": -number / 3} for number, text in enumerate(TEXTS)]


def written(format_: str, records: Any = RECORDS, columns: Any = ("text", "number"), **options: Any) -> str:
    file = io.StringIO(newline="")
    write_records(file, records, columns, format_, **options)
    return file.getvalue()


def markdown_rows(text: str) -> list[list[str]]:
    """Return the cells of a table as readers see them after conversion to HTML."""
    html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.S)
    return [[unescape(cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.S)] for row in rows]


def test_markdown_shows_every_text_as_it_is() -> None:
    head, *rows = markdown_rows(written("markdown"))
    assert head == ["text", "number"]
    assert [cell for cell, _ in rows] == TEXTS


def test_the_pipes_of_markdown_are_aligned_and_numbers_stand_to_the_right() -> None:
    records = [{"a|b": 1, "name": "日本"}, {"a|b": 1000.5, "name": None}]
    assert written("markdown", records, ["a|b", "name"]).splitlines() == [
        r"|   a\|b | name |",
        "| -----: | ---- |",
        "|      1 | 日本 |",
        "| 1000.5 | --   |",
    ]


def test_latex_escapes_special_characters() -> None:
    lines = written("latex").splitlines()
    assert lines[:5] == [
        "% needs \\usepackage{booktabs}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"text & number \\",
        r"\midrule",
    ]
    assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]
    cells = [re.split(r"(?<!\\) & ", line)[0] for line in lines[5:-2]]
    assert [_plain(cell) for cell in cells] == TEXTS
    assert cells[0] == r"a\textbar{}b"
    assert r"50\% \#1 \{x\} \textasciicircum{}2 a\textbackslash{}b" in cells[4]


def _plain(latex: str) -> str:
    """Return the text that LaTeX shows; fail on characters that it would take for a command or a ligature."""
    names = {"textbar": "|", "textbackslash": "\\", "textasciicircum": "^", "textasciitilde": "~"}
    names.update({"textless": "<", "textgreater": ">"})
    token = re.compile(
        r"\\(?P<name>[a-z]+)\{\}|\\(?P<char>[&%$#_{}])|(?P<empty>\{\})|\{(?P<group>[\[*])\}|(?P<plain>.)"
    )
    shown = ""
    for match in token.finditer(latex):
        kind, text = match.lastgroup, match[match.lastgroup or ""]
        assert kind != "plain" or text not in "\\&%$#_{}~^<>|", latex
        shown += names[text] if kind == "name" else "" if kind == "empty" else text
    assert "--" not in latex
    assert not latex.startswith(("[", "*"))
    return shown


def test_numbers_of_latex_have_minus_signs_and_a_missing_value_is_a_dash() -> None:
    records = [{"a_b": -0.00001, "c": None}, {"a_b": 2, "c": "x-1"}]
    assert written("latex", records, ["a_b", "c"]).splitlines()[2:-1] == [
        r"\toprule",
        r"a\_b & c \\",
        r"\midrule",
        r"$-$1e$-$05 & -- \\",
        r"2 & x-1 \\",
        r"\bottomrule",
    ]


def test_csv_and_json_hold_values_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    time = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=1)))
    records = [{"a": 1 / 3, "b": time, "c": timedelta(minutes=1), "d": {"x": [1, None]}, "e": float("nan"), "f": True}]
    print_records(records, "abcdef", "csv", headers={"a": "loss"})
    head, row = csv.reader(io.StringIO(capsys.readouterr().out))
    assert head == ["loss", *"bcdef"]
    assert row == [repr(1 / 3), "2026-03-01T11:00:00+00:00", "60.0", '{"x": [1, null]}', "NaN", "true"]
    print_records(records, "abcdef", "json")
    (record,) = json.loads(capsys.readouterr().out)
    assert list(record.values()) == [1 / 3, "2026-03-01T12:00:00+01:00", 60.0, {"x": [1, None]}, "NaN", True]
    assert list(record) == list("abcdef")


@pytest.mark.parametrize("format_", TEXT_FORMATS)
def test_without_records_there_is_a_head(format_: str) -> None:
    assert "text" in written(format_, [])


@pytest.mark.parametrize("command", ["ls", "runs", "show 1", "diff 1 2", "metrics 1"])
def test_json_is_short_for_a_format_and_one_is_enough(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    parse = build_parser().parse_args
    assert parse([*command.split()]).format == "table"
    assert parse([*command.split(), "--json"]).format == "json"
    assert [parse([*command.split(), "--format", name]).format for name in FORMATS] == list(FORMATS)
    with pytest.raises(SystemExit):
        parse([*command.split(), "--json", "--format", "csv"])
    assert "not allowed with" in capsys.readouterr().err
