"""The command line of the program; the module of each command adds its own part."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, cast

from sqltrack.cli._commands import COMMANDS, PROVIDERS
from sqltrack.client import Client
from sqltrack.errors import MissingPackageError

if TYPE_CHECKING:
    _SubParsersAction = argparse._SubParsersAction["Parser"]
else:
    _SubParsersAction = argparse._SubParsersAction

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

# The attribute of the options that holds the name of the command.
_COMMAND = "_command"

_CONNECTION_OPTIONS = {
    "engine": "database engine: postgres (default) or sqlite",
    "dbpath": "SQLite: path of the database file; given alone, implies --engine sqlite",
    "host": "PostgreSQL: host name, address, or folder of the server's socket",
    "port": "PostgreSQL: port",
    "user": "PostgreSQL: user name",
    "dbname": "PostgreSQL: database name",
    "schema": "PostgreSQL: schema that holds the tables",
}


class Parser(argparse.ArgumentParser):
    """A parser that prints an error as one line, like the rest of the program.

    Attributes:
        words: name of the argument that takes the words both before and after options, None (default) for none.
    """

    words: str | None = None

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the options, and suggest alternatives to unknown ones."""
        namespace, rest = self.parse_known_args(args, namespace)
        if rest:
            self._parser_of(namespace)._refuse_arguments(rest)
        return namespace

    def _parser_of(self, namespace: argparse.Namespace) -> Parser:
        """Return the parser of the command that was given."""
        for action in self._actions:
            if isinstance(action, Commands):
                return action.parser_of(getattr(namespace, _COMMAND))
        return self

    def _refuse_arguments(self, words: Sequence[str]) -> NoReturn:
        """End the program with an error about unknown arguments."""
        # Needed only after mistakes.
        from sqltrack.cli._suggestions import suggest_option

        self.error(suggest_option(words, self._option_string_actions))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if not isinstance(action, Commands):
            super()._check_value(action, value)
        elif value not in COMMANDS:
            from sqltrack.cli._suggestions import suggest_command

            self.error(suggest_command(value, COMMANDS))

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """Read text as UTF-8 in any encoding of the system, except names of files."""
        unknown = self._unknown_option(sys.argv[1:] if not args or args[0] is None else args[0])
        if unknown is not None:
            # Do not print the rest, which may be a password.
            self._refuse_arguments([unknown])
        namespace, rest = super().parse_known_args(*args, **kwargs)
        # argparse gives an argument for several words only those up to the next option.
        if self.words is not None and not any(word.startswith("-") for word in rest):
            setattr(namespace, self.words, [*getattr(namespace, self.words), *rest])
            rest = []
        for action in self._actions:
            value = getattr(namespace, action.dest, None)
            if value is not None and not hasattr(action, "complete"):
                setattr(namespace, action.dest, self._decoded(value))
        return namespace, rest

    def _unknown_option(self, arguments: Sequence[str]) -> str | None:
        """Return the name of the first unknown option before the name of a command."""
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


class Commands(_SubParsersAction):
    """The commands of the program. The module of a command is imported when its parser is needed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._parsers: dict[str, Parser] = {}
        for name, summary in COMMANDS.items():
            self._choices_actions.append(self._ChoicesPseudoAction(name, (), summary))

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Parse the arguments after the name of a command with its parser."""
        try:
            self.parser_of(values[0])
        except MissingPackageError as error:
            parser.exit(1, f"sqltrack: {error}\n")
        super().__call__(parser, namespace, values, option_string)

    def parser_of(self, name: str) -> Parser:
        """Return the parser of a command.

        Raises:
            MissingPackageError: the distribution that provides the command is not installed.
        """
        if name not in self._parsers:
            _find_adder(name)(self)
        return self._parsers[name]

    def add(self, name: str, *, example: str, description: str = "", without: Sequence[str] = ()) -> Parser:
        """Add the parser of a command and return it.

        Args:
            name: name of the command, one of `COMMANDS`.
            example: an example command line.
            description: text after the summary in `COMMANDS`, default: none.
            without: names of connection options that are not allowed after the command, default: none.
        """
        summary = COMMANDS[name]
        parents: Any = [_connection_parser(without)]
        self._parsers[name] = self.add_parser(
            name,
            description=f"{summary[0].upper()}{summary[1:]}.{f' {description}' if description else ''}",
            epilog=f"example: {example}",
            parents=parents,
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
        )
        return self._parsers[name]

    def add_actions(self, parser: Parser, *actions: tuple[str, str]) -> dict[str, Parser]:
        """Add actions to a command, and return their parsers by name.

        Args:
            parser: parser of the command.
            actions: pairs of a name, which follows the name of the command, and its help text.
        """
        group = parser.add_subparsers(dest="action", metavar="ACTION", help="other actions:")
        parents: Any = [_connection_parser()]
        return {
            name: group.add_parser(
                name, help=summary, parents=parents, formatter_class=_HelpFormatter, allow_abbrev=False
            )
            for name, summary in actions
        }


def _find_adder(name: str) -> Callable[[Commands], None]:
    """Return the function that adds the parser of a command.

    Raises:
        MissingPackageError: the distribution that provides the command is not installed.
    """
    if name not in PROVIDERS:
        adder: Callable[[Commands], None]
        adder = importlib.import_module(f"sqltrack.cli._commands.{name.replace('-', '_')}").add_parser
        return adder
    # Looking for entry points takes time.
    from importlib.metadata import entry_points

    for point in entry_points(group="sqltrack.commands", name=name):
        return cast("Callable[[Commands], None]", point.load())
    raise MissingPackageError(f"sqltrack {name}", PROVIDERS[name], PROVIDERS[name])


class _ShowVersion(argparse._VersionAction):
    """Find the version only for --version, because that takes about as long as everything else."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        from importlib.metadata import version

        self.version = f"sqltrack {version('sqltrack-cli')}"
        super().__call__(*args, **kwargs)


class _HelpFormatter(argparse.HelpFormatter):
    """Keeps the line breaks of examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("example: "):
            return "\n".join(indent + line for line in text.splitlines())
        return super()._fill_text(text, width, indent)


def build_parser() -> Parser:
    """Return the parser of the command line, with the parsers of all commands that are installed."""
    parser, commands = _new_parser()
    for name in COMMANDS:
        with contextlib.suppress(MissingPackageError):
            commands.parser_of(name)
    return parser


def _new_parser() -> tuple[Parser, Commands]:
    """Return the parser of the command line, and the commands, whose modules are not imported yet."""
    parser = Parser(
        prog="sqltrack",
        description="Work with a database of machine learning experiments.",
        epilog="example: sqltrack --engine sqlite --dbpath sqltrack.db setup",
        parents=[_connection_parser()],
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_ShowVersion)
    # Without a command, print the help.
    parser.set_defaults(run=lambda options: parser.print_help())
    commands: Any = parser.add_subparsers(dest=_COMMAND, metavar="COMMAND", action=Commands)
    return parser, commands


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a command line; a wrong one ends the process with status 2."""
    parser, _ = _new_parser()
    options: argparse.Namespace = parser.parse_args(sys.argv[1:] if argv is None else argv)
    return options


def connection_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the connection parameters on the command line; with a file alone the engine is SQLite."""
    given = {name: getattr(options, name) for name in _CONNECTION_OPTIONS if hasattr(options, name)}
    return {"engine": "sqlite", **given} if given.keys() == {"dbpath"} else given


def count(text: str) -> int:
    """Return the number in an option.

    Raises:
        ArgumentTypeError: it is negative, or not a number.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"expected a number that is not negative, got {text!r}")
    return int(text)


def add_superuser_option(parser: Parser) -> None:
    """Add the option `--as-superuser`."""
    parser.add_argument(
        "--as-superuser",
        action="store_true",
        help="PostgreSQL: keep a superuser's rights while reading, even if code of other users could use them",
    )


def open_client(options: argparse.Namespace, *, outbox: bool = False) -> Client:
    """Return a client of the database that the command line and the configuration name.

    Args:
        options: the options of the command line.
        outbox: whether calls that write go to the outbox during an outage, as configured. By default they fail: most
            commands are typed by hand, and others may follow.

    Raises:
        ConfigError: the configuration is unusable.
    """
    chosen = {} if outbox else {"outbox": "off"}
    return Client(getattr(options, "config_path", None), **{**connection_options(options), **chosen})


def _connection_parser(without: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return a parser of the options that are allowed before and after a command; it sets only those that are given.

    Args:
        without: names of options to leave out, default: none.
    """
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = parser.add_argument_group("connection (default: as configured)")
    config: Any = group.add_argument("--config-path", metavar="PATH", help="config file to read")
    config.complete = FILE
    for name, text in _CONNECTION_OPTIONS.items():
        if name in without:
            continue
        option: Any = group.add_argument(f"--{name}", metavar=name.upper(), help=text)
        if name == "dbpath":
            option.complete = FILE
    return parser


# How shtab, which writes the completion scripts, completes a file.
FILE = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}
