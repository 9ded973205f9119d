"""Scripts that parse their arguments in different ways; the arguments are stored in the runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

import sqltrack

pytestmark = pytest.mark.guides

RunExample = Callable[..., str]

ARGPARSE = {"epochs": 3, "learning_rate": 0.1, "layers": [64, 32], "data": "data", "amp": False}
DATACLASS = {"epochs": 3, "optimizer": {"learning_rate": 0.01, "schedule": "constant"}}
OMEGACONF = {"model": "resnet18", "batch_size": 256, "optimizer": {"name": "sgd", "lr": 0.01, "scaled_lr": 0.01}}


@pytest.mark.parametrize(
    ("name", "arguments", "stored"),
    [
        ("args_argparse.py", ["--epochs", "3", "--layers", "64", "32", "--no-amp"], ARGPARSE),
        ("args_dataclass.py", ["epochs=3", "optimizer.learning_rate=0.01", "optimizer.schedule=constant"], DATACLASS),
        ("args_omegaconf.py", ["optimizer.lr=0.01"], OMEGACONF),
    ],
)
def test_given_values_are_stored(
    client: sqltrack.Client, run_example: RunExample, name: str, arguments: list[str], stored: dict[str, Any]
) -> None:
    run_example(name, *arguments)
    assert client.execute("SELECT args FROM runs").fetchall() == [(stored,)]


def test_a_value_in_a_group_is_found_by_its_path(client: sqltrack.Client, run_example: RunExample) -> None:
    assert run_example("args_omegaconf.py", "optimizer.lr=0.03").splitlines()[-1] == "(1, 0.03)"


def test_the_help_text_says_which_arguments_there_are(client: sqltrack.Client, run_example: RunExample) -> None:
    shown = run_example("argument_parsing.py", "--epochs", "5")
    # Called by the decorator with the command line, then by hand with other values.
    assert re.findall(r"^\d+$", shown, re.M) == ["5", "360"]
    assert re.findall(r"'amp': (\w+)", shown) == ["False", "True"]
