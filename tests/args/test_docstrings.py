"""The first docstring that describes the command line defines the arguments."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from sqltrack.args import UsageError, docopt_parse_docstrings

TRAIN = """Train.

    usage: x train [--epochs=N]
           x (-h | --help)
"""
TEST = "usage: x test [--seed=N]"


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["train", "--epochs", "3"], {"train": True, "epochs": 3, "help": False}),
        (["test"], {"test": True, "seed": None}),
    ],
)
def test_the_first_that_matches_counts(argv: list[str], expected: dict[str, Any]) -> None:
    parsed = docopt_parse_docstrings([None, "no usage here", TRAIN, TEST], argv=argv)
    assert {name: value for name, value in parsed.items() if name != "h"} == expected


def test_the_process_s_own_arguments_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "test", "--seed", "1"])
    assert docopt_parse_docstrings(TEST) == {"test": True, "seed": 1}


def test_names_can_stay_as_they_are() -> None:
    assert docopt_parse_docstrings([TEST], simplify_names=False, argv=["test"]) == {"test": True, "--seed": None}


def test_arguments_need_not_be_text() -> None:
    assert docopt_parse_docstrings([TEST], argv=("test", "--seed", 7)) == {"test": True, "seed": 7}


def test_no_match_is_a_value_error_and_an_exit_that_shows_the_usage() -> None:
    with pytest.raises(ValueError, match="usage: x train") as caught:
        docopt_parse_docstrings([TRAIN, TEST], argv=["validate"])
    assert isinstance(caught.value, UsageError)
    assert isinstance(caught.value, SystemExit)
    assert caught.value.code == str(caught.value)


@pytest.mark.parametrize("docstrings", [[], None, [None], ["no such section"], ["usage:"], ["usage: x (", None]])
def test_no_usage_is_a_value_error_but_no_exit(docstrings: Any) -> None:
    with pytest.raises(ValueError, match="no docstring describes the command line") as caught:
        docopt_parse_docstrings(docstrings, argv=[])
    assert not isinstance(caught.value, SystemExit)


def test_help_ends_with_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        docopt_parse_docstrings([TRAIN], argv=["--help"])
    assert not caught.value.code
    assert capsys.readouterr().out == "Train.\n\nusage: x train [--epochs=N]\n       x (-h | --help)\n"


REPEATABLE = "Usage: example [options] [--arg VALUE...]"


@pytest.mark.parametrize(
    ("description", "value"),
    [
        ("rate [default: 0.1] [env: LR]", 0.1),
        ("rate [Default: 90] (see [1])", 90),
        ("rate [default: [0.9, 0.999]] [env: LR]", [0.9, 0.999]),
        ("rate [default: ] [env: LR]", ""),
        ("rate [env: LR] [default: 0.1]", 0.1),
        ("rate [default: [0.9, 0.999]", "[0.9, 0.999"),
    ],
)
def test_a_default_ends_with_its_own_bracket(description: str, value: Any) -> None:
    """Whatever follows in brackets in the same line."""
    text = f"usage: x [options]\n\noptions:\n  --lr R  {description}\n  --b B  other [default: 3] [env: B]\n"
    assert docopt_parse_docstrings(text, argv=[]) == {"lr": value, "b": 3}
    assert docopt_parse_docstrings(text, argv=["--lr", "5"])["lr"] == 5


def test_a_default_of_several_values_ends_with_its_own_bracket() -> None:
    text = "usage: x [--lr R]...\n\noptions:\n  --lr R  rates [default: 0.1 0.2] [env: LR]\n"
    assert docopt_parse_docstrings(text, argv=[]) == {"lr": [0.1, 0.2]}


@pytest.mark.parametrize(
    ("argv", "values"),
    [
        (["--arg", "1", "--arg", "2", "--arg", "3"], [1, 2, 3]),
        (["--arg=1"], [1]),
        (["--arg", "[1, 2]"], [[1, 2]]),
        ([], []),
    ],
)
@pytest.mark.parametrize("group", ["[--arg VALUE...]", "[--arg VALUE]...", "[ --arg <value> ... ]", "[--arg=VALUE]..."])
def test_a_repeatable_option_needs_no_description(group: str, argv: list[str], values: list[Any]) -> None:
    text = REPEATABLE.replace("[--arg VALUE...]", group)
    assert docopt_parse_docstrings(text, argv=argv) == {"arg": values}
    described = f"{text}\n\nOptions:\n  -a V, --arg V  some values"
    assert docopt_parse_docstrings(described, argv=argv) == {"arg": values}


def test_a_switch_in_front_of_arguments_stays_one() -> None:
    text = "usage: x [--force] [-v] [FILE...]"
    assert docopt_parse_docstrings(text, argv=["--force", "a", "b"]) == {"force": True, "v": False, "FILE": ["a", "b"]}


def test_the_help_text_is_shown_as_it_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        docopt_parse_docstrings(REPEATABLE, argv=["--help"])
    assert capsys.readouterr().out == f"{REPEATABLE}\n"


@pytest.mark.parametrize("argv", [["--foo", "1"], ["1"], ["--arg"]])
def test_no_match_shows_no_warning_of_docopts(argv: list[str], recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(UsageError) as info:
        docopt_parse_docstrings(REPEATABLE, argv=argv)
    assert "Warning" not in str(info.value)
    assert str(info.value).endswith(REPEATABLE)
    assert not recwarn
