"""The command line of the program, of which each module of a command brings its part."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from sqltrack.cli._suggestions import suggest_command, suggest_option
from sqltrack.client import Client

__all__ = [
    "FILE",
    "Commands",
    "Parser",
    "add_superuser_option",
    "build_parser",
    "connection_options",
    "count",
    "open_client",
    "parse",
]

# In the order in which --help lists them; each is a module beside this one with a function `add_parser`.
_COMMANDS = (
    "init",
    "create",
    "setup",
    "execute",
    "grant",
    "revoke",
    "config",
    "doctor",
    "ls",
    "runs",
    "show",
    "diff",
    "metrics",
    "seeds",
    "sql",
    "copy",
    "export",
    "link",
    "tag",
    "comment",
    "rename",
    "mv",
    "rm",
    "gc",
    "reap",
    "tidy",
    "rename_metric",
    "rewind",
    "completion",
)

# Where the name of the command is kept.
_COMMAND = "_command"

_CONNECTION_OPTIONS = {
    "engine": "database engine: postgres (default) or sqlite",
    "dbpath": "SQLite: path of the database file; alone it means --engine sqlite",
    "host": "PostgreSQL: host name, address, or folder of the server's socket",
    "port": "PostgreSQL: port",
    "user": "PostgreSQL: name of the user",
    "dbname": "PostgreSQL: name of the database",
    "schema": "PostgreSQL: schema in which the tables are",
}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all errors of the program.

    Attributes:
        words: name of the argument that takes words after options as well as those before, None (default) for none.
    """

    words: str | None = None

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the options; suggest others in place of unknown ones."""
        namespace, rest = self.parse_known_args(args, namespace)
        if rest:
            chosen = self._parser_of(namespace)
            chosen.error(suggest_option(rest, chosen._option_string_actions))
        return namespace

    def _parser_of(self, namespace: argparse.Namespace) -> argparse.ArgumentParser:
        """Return the parser of the command that was given."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                parser: argparse.ArgumentParser = action.choices[getattr(namespace, _COMMAND)]
                return parser
        return self

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            self.error(suggest_command(value, action.choices))
        super()._check_value(action, value)

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """Read text as UTF-8 whatever the encoding of the system; names of files stay what the system calls them."""
        unknown = self._unknown_option(sys.argv[1:] if not args or args[0] is None else args[0])
        if unknown is not None:
            # Without what follows it, which may be a password.
            self.error(suggest_option([unknown], self._option_string_actions))
        namespace, rest = super().parse_known_args(*args, **kwargs)
        # argparse gives an argument of many words only those up to the next option.
        if self.words is not None and not any(word.startswith("-") for word in rest):
            setattr(namespace, self.words, [*getattr(namespace, self.words), *rest])
            rest = []
        for action in self._actions:
            value = getattr(namespace, action.dest, None)
            if value is not None and not hasattr(action, "complete"):
                setattr(namespace, action.dest, self._decoded(value))
        return namespace, rest

    def _unknown_option(self, arguments: Sequence[str]) -> str | None:
        """Return the name of the first option that the parser does not know, up to the name of a command."""
        options = self._option_string_actions
        words = iter(arguments)
        for word in words:
            name, mark, _ = word.partition("=")
            action = options.get(name)
            if action is not None:
                if action.nargs is None and not mark:
                    next(words, None)
            elif word == "--" or (self._subparsers is not None and not word.startswith("-")):
                return None
            elif re.match(r"--?[A-Za-z]", word) and " " not in word and word[:2] not in options:
                return name
        return None

    def _decoded(self, value: Any) -> Any:
        if type(value) in (list, tuple):
            return type(value)(map(self._decoded, value))
        if not isinstance(value, str) or not any("\udc80" <= char <= "\udcff" for char in value):
            return value
        try:
            return os.fsencode(value).decode("utf-8")
        except UnicodeDecodeError:
            self.error(f"an argument is not UTF-8: {value!r}")

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"sqltrack: {' '.join(message.split())}; see: {self.prog} --help\n")


class Commands:
    """The commands of the program, while they are being added."""

    def __init__(self, parser: Parser) -> None:
        self._commands: Any = parser.add_subparsers(dest=_COMMAND, metavar="COMMAND", parser_class=Parser)

    def add(self, name: str, summary: str, *, example: str, description: str = "") -> Parser:
        """Add a command and return its parser.

        Args:
            name: name of the command.
            summary: one sentence without a full stop.
            example: a command line that shows its use.
            description: more about it, default: nothing but the sentence.
        """
        parser: Parser = self._commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.{f' {description}' if description else ''}",
            epilog=f"example: {example}",
            parents=[_connection_parser()],
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
        )
        return parser


class _HelpFormatter(argparse.HelpFormatter):
    """Keeps the lines of examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("example: "):
            return "\n".join(indent + line for line in text.splitlines())
        return super()._fill_text(text, width, indent)


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="sqltrack",
        description="Work with a database of machine learning experiments.",
        epilog="example: sqltrack --engine sqlite --dbpath sqltrack.db setup",
        parents=[_connection_parser()],
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=_version())
    # Without a command, as of other programs with many.
    parser.set_defaults(run=lambda options: parser.print_help())
    commands = Commands(parser)
    for name in _COMMANDS:
        importlib.import_module(f"sqltrack.cli._commands.{name}").add_parser(commands)
    return parser


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a command line; a wrong one ends the process with status 2."""
    options: argparse.Namespace = build_parser().parse_args(sys.argv[1:] if argv is None else argv)
    return options


def connection_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the connection parameters that were given on the command line; a file alone is one of SQLite."""
    given = {name: getattr(options, name) for name in _CONNECTION_OPTIONS if hasattr(options, name)}
    return {"engine": "sqlite", **given} if given.keys() == {"dbpath"} else given


def count(text: str) -> int:
    """Return the number that an option gives.

    Raises:
        ArgumentTypeError: it is none, or negative.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"expected a number that is not negative, got {text!r}")
    return int(text)


def add_superuser_option(parser: Parser) -> None:
    """Add the option for the rights of a superuser's SQL."""
    parser.add_argument(
        "--as-superuser",
        action="store_true",
        help="PostgreSQL: let a superuser read with all rights, even if code of other users could take these on",
    )


def open_client(options: argparse.Namespace) -> Client:
    """Return a client of the database that command line and configuration name.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    return Client(getattr(options, "config_path", None), **connection_options(options))


def _connection_parser() -> argparse.ArgumentParser:
    """Return a parser of the options that are allowed before and after a command; those not given leave no trace."""
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = parser.add_argument_group("connection (otherwise as configured)")
    config: Any = group.add_argument("--config-path", metavar="PATH", help="config file to read")
    config.complete = FILE
    for name, text in _CONNECTION_OPTIONS.items():
        option: Any = group.add_argument(f"--{name}", metavar=name.upper(), help=text)
        if name == "dbpath":
            option.complete = FILE
    return parser


# What shtab, which writes the completion scripts, knows as a file.
FILE = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}


def _version() -> str:
    from importlib.metadata import version

    return f"sqltrack {version('sqltrack-cli')}"
