"""Public names of `sqltrack.args`, used as scripts use them; only type checkers read this."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docopt
from typing_extensions import assert_type

from sqltrack.args import (
    Conversion,
    ParsedOptions,
    UsageError,
    convert_argument,
    convert_arguments,
    detect_args,
    docopt_arguments,
    docopt_main,
    docopt_parse_docstrings,
    make_conversion,
    register_conversion,
)


@docopt_arguments
def train(args: ParsedOptions) -> float:
    """usage: train.py [--epochs N]"""
    assert_type(args["epochs"], Any)
    assert_type(args.epochs, Any)
    return 0.5


@docopt_arguments(main=True, main_guard=False, argv=["--epochs", "5"])
def evaluate(args: Mapping[str, Any]) -> list[str]:
    """usage: evaluate.py [--epochs N]"""
    return list(args)


@docopt_arguments
def test(args: docopt.ParsedOptions) -> str:
    """usage: test.py [--epochs N]"""
    return str(args)


@docopt_main
def main(args: dict[str, Any]) -> None:
    """usage: main.py"""


@docopt_main(main_guard=True, options_first=True)
def start(args: Any) -> int:
    """usage: start.py"""
    return 0


def call_decorated() -> None:
    # The function's result type is kept; its parameters become the arguments that override the command line.
    assert_type(train(), float)
    assert_type(train({"epochs": 5}), float)
    assert_type(evaluate({}), list[str])
    assert_type(start(None), int)
    assert_type(test({}), str)
    main()


def parse(path: Path) -> None:
    assert_type(detect_args(), ParsedOptions | None)
    assert_type(detect_args(path, argv=["--epochs", "5"]), ParsedOptions | None)
    assert_type(detect_args("train.py"), ParsedOptions | None)
    assert_type(docopt_parse_docstrings(["usage: x", None], simplify_names=False, argv=[]), ParsedOptions)
    try:
        docopt_parse_docstrings("usage: x")
    except UsageError as error:
        print(error.code)


def convert() -> None:
    conversion = make_conversion("*date", str.strip)
    assert_type(conversion, Conversion)
    assert_type(conversion("date", " x"), tuple[Any, bool])
    register_conversion("date", conversion)
    register_conversion("own", lambda name, value: (value, False))
    assert_type(convert_argument("epochs", "5"), Any)
    assert_type(convert_arguments({"--epochs": "5"}, simplify_names=False), ParsedOptions)
