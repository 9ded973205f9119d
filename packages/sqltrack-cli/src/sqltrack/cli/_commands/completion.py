"""sqltrack completion: print a completion script for a shell."""

from __future__ import annotations

import argparse

from sqltrack.cli._parser import Commands, build_parser

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "completion",
        example='eval "$(sqltrack completion bash)"    # in ~/.bashrc',
    )
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="shell that reads the script")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    import shtab

    print(shtab.complete(build_parser(), shell=options.shell))
