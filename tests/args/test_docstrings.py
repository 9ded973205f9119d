"""The first docstring that describes the command line says what its arguments are."""

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
