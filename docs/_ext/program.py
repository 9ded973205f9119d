"""The parser of the program, as shown on the site."""

from __future__ import annotations

import argparse

from sqltrack.cli._parser import build_parser

__all__ = ["documented_parser"]


def documented_parser() -> argparse.ArgumentParser:
    """Return the program's parser, without repeating the connection options that all commands share."""
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
    """Return the parsers of a command's actions."""
    groups = (action for action in command._actions if isinstance(action, argparse._SubParsersAction))
    return [parser for group in groups for parser in group.choices.values()]


def _connection(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    (group,) = (group for group in parser._action_groups if (group.title or "").startswith("connection"))
    return group


def _examples(epilog: str) -> str:
    """Return examples as a block of text, one per line."""
    lines = epilog.removeprefix("example: ").splitlines()
    return "\n".join(["example:", *(f"    {line.strip()}" for line in lines)])
