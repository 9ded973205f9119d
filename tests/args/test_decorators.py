"""Decorated functions are called with the arguments of the command line; each script here is run as users run it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sqltrack.args import docopt_arguments, docopt_main

EXAMPLE = Path(__file__).parents[2] / "examples" / "argument_parsing.py"

SCRIPT = '''"""
usage: script --module=N
"""
from sqltrack.args import {decorator}

@{decorator}{keywords}
def main(args):
    """
    usage: script [options]

    options:
        -h --help   Show this.
        --epochs N  How often [default: 3]
    """
    print(sorted(args.items()))
    return args
'''


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True)


def write(folder: Path, decorator: str = "docopt_main", keywords: str = "", more: str = "") -> Path:
    script = folder / "script.py"
    script.write_text(SCRIPT.format(decorator=decorator, keywords=keywords) + more)
    return script


def test_the_documented_example_prints_its_arguments() -> None:
    """Items of lists are converted, too."""
    done = run(EXAMPLE, "-e", "180")
    expected = """\
{{'amp': {amp},
 'batch_size': None,
 'epochs': {epochs},
 'help': False,
 'learning_rate': [0.1],
 'model': 'resnet18'}}
{epochs}
"""
    assert done.stdout == expected.format(amp=False, epochs=180) + expected.format(amp=True, epochs=360)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_function_s_docstring_comes_before_the_module_s(tmp_path: Path) -> None:
    script = write(tmp_path)
    assert run(script).stdout == "[('epochs', 3), ('help', False)]\n"
    assert run(script, "--module", "5").stdout == "[('module', 5)]\n"


def test_help_is_printed_and_ends_with_status_0(tmp_path: Path) -> None:
    done = run(write(tmp_path), "--help")
    assert done.stdout.startswith("usage: script [options]\n\noptions:\n    -h --help   Show this.\n")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_wrong_command_line_shows_the_usage_and_no_traceback(tmp_path: Path) -> None:
    done = run(write(tmp_path), "--nonsense")
    assert (done.returncode, done.stdout) == (1, "")
    assert "usage: script [options]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("decorator", "keywords", "runs", "runs_imported"),
    [
        ("docopt_main", "", True, False),
        ("docopt_main", "()", True, False),
        ("docopt_main", "(main_guard=False)", True, True),
        ("docopt_arguments", "", False, False),
        ("docopt_arguments", "(main=True)", True, False),
        ("docopt_arguments", "(main=True, main_guard=False)", True, True),
    ],
)
def test_what_runs_the_function(tmp_path: Path, decorator: str, keywords: str, runs: bool, runs_imported: bool) -> None:
    script = write(tmp_path, decorator, keywords)
    assert bool(run(script).stdout) is runs
    importer = tmp_path / "importer.py"
    importer.write_text("import script")
    assert bool(run(importer).stdout) is runs_imported


def test_arguments_can_be_overridden_and_added(tmp_path: Path) -> None:
    calls = "main({}); main(); main({'epochs': 'x', 'more': 1}); assert main.__name__ == 'main'; print(main({}).epochs)"
    done = run(write(tmp_path, "docopt_arguments", more=calls), "--epochs", "9")
    usual = "[('epochs', 9), ('help', False)]"
    assert done.stdout.splitlines() == [usual, usual, "[('epochs', 'x'), ('help', False), ('more', 1)]", usual, "9"]


def test_keywords_go_to_docopt(tmp_path: Path) -> None:
    script = write(tmp_path, keywords="(argv=['--epochs', '7'], default_help=False, simplify_names=False)")
    assert run(script).stdout == "[('--epochs', 7), ('--help', False)]\n"
    versioned = write(tmp_path, keywords="(version='1.2')")
    versioned.write_text(versioned.read_text().replace("    -h --help", "    --version\n        -h --help"))
    done = run(versioned, "--version")
    assert (done.returncode, done.stdout) == (0, "1.2\n")


async def coroutine(args: Any) -> None: ...


async def async_generator(args: Any) -> Any:
    yield args


def generator(args: Any) -> Any:
    yield args


class Trainer:
    def method(self, args: Any) -> None: ...

    def __call__(self, args: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (coroutine, "'coroutine' is asynchronous.*asyncio.run"),
        (async_generator, "'async_generator' is asynchronous"),
        (generator, "'generator' is a generator"),
        (Trainer.method, "'Trainer.method' is a method"),
        (staticmethod(generator), "only functions can be decorated"),
        (Trainer(), "only functions can be decorated"),
        (Trainer, "only functions can be decorated"),
        (lambda: None, "must accept one positional argument"),
        (lambda a, b: None, "must accept one positional argument"),
        (lambda *, args: None, "must accept one positional argument"),
    ],
)
@pytest.mark.parametrize("decorator", [docopt_arguments, docopt_main])
def test_only_plain_functions_can_be_decorated(decorator: Callable[..., Any], function: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        decorator(function)


def test_without_docstrings_the_error_says_so() -> None:
    @docopt_arguments(argv=[])
    def main(args: Any) -> None: ...

    with pytest.raises(ValueError, match="no docstring describes the command line"):
        main({})


def test_removed_docstrings_are_named(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-OO", str(write(tmp_path))], capture_output=True, text=True)
    assert "no docstring describes the command line: there is none (python -OO removes them)" in done.stderr
