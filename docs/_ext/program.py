"""The parser of the program as the site shows it."""

from __future__ import annotations

import argparse

from sqltrack.cli._parser import build_parser

__all__ = ["documented_parser"]


def documented_parser() -> argparse.ArgumentParser:
    """Return the program's parser, whose commands do not repeat the options of the connection, which all have."""
    parser = build_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for command in commands.choices.values():
        for shown in (command, *_actions(command)):
            for action in _connection(parser)._group_actions:
                twin = shown._option_string_actions[action.option_strings[0]]
                twin.help = argparse.SUPPRESS
            shown.epilog = _examples(shown.epilog or "")
            shown.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser


def _actions(command: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return the parsers of what a command can do instead of its usual work."""
    groups = (action for action in command._actions if isinstance(action, argparse._SubParsersAction))
    return [parser for group in groups for parser in group.choices.values()]


def _connection(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    (group,) = (group for group in parser._action_groups if (group.title or "").startswith("connection"))
    return group


def _examples(epilog: str) -> str:
    """Return examples one below the other, as a block of text."""
    lines = epilog.removeprefix("example: ").splitlines()
    return "\n".join(["example:", *(f"    {line.strip()}" for line in lines)])
