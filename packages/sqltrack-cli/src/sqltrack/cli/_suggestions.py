"""Suggest commands and options for words of other programs."""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence

from sqltrack.config import masked

__all__ = ["suggest_command", "suggest_option"]


# Words of other programs, by the command that does the same here; the first match counts.
_WORDS: Mapping[str, str] = {
    "--help": "help usage commands",
    "--version": "version",
    "init": "new start begin",
    "setup": "init initdb init-db createdb migrate upgrade install",
    "run": "exec track launch wrap",
    "log": "log-metric log-metrics record",
    "ls": "list experiments experiment projects project",
    "ui": "dashboard server serve web webui gui page browser view",
    "runs": "list status ps top search find filter table leaderboard best",
    "show": "info describe view get logs details print",
    "diff": "compare difference differences cmp",
    "metrics RUN --plot": "plot chart curve curves graph draw",
    "metrics RUN": "metric history scalars values",
    "sql": "query select psql sqlite shell db",
    "copy": "sync push pull merge cp",
    "export": "backup dump download csv save",
    "rm": "delete remove del drop",
    "gc": "clean cleanup prune purge",
    "mv": "move",
    "doctor": "check health test ping diagnose verify",
    "config": "settings env login configure connect whoami",
    "tag": "tags untag label",
    "comment": "note notes describe-run",
    "rename-metric": "rename_metric",
    "outbox": "offline pending queue spool unsent flush resend",
    "reap": "kill stop finish end",
}

# The same for options.
_OPTIONS: Mapping[str, str] = {
    "--dbpath": "--db --database --file --filename --path --db-path --db_path --sqlite",
    "--host": "--hostname --server",
    "--user": "--username --login --role",
    "--config-path": "--config --conf --config_path --configuration",
    "--engine": "--backend --driver",
}

# Endings of database files.
_SUFFIXES = frozenset({".db", ".sqlite", ".sqlite3"})


def suggest_command(word: str, commands: Iterable[str]) -> str:
    """Return a message about a word that is not a command, with a command to use instead.

    Args:
        word: the word.
        commands: names of the commands.
    """
    if "://" in word:
        # An address may hold a password.
        return "an address is not a command; name the database by --host, --user and --dbname, or in sqltrack.conf"
    if os.path.splitext(word)[1].lower() in _SUFFIXES or os.sep in word:
        return f"{word!r} is not a command; for a SQLite file: sqltrack --dbpath {shlex.quote(word)} runs"
    meant = _meant(word.lower(), list(commands))
    return f"there is no command {masked('', word)!r}" + (f"; use: sqltrack {meant}" if meant else "")


def _meant(word: str, known: Sequence[str]) -> str | None:
    """Return the command for a word: for a word of another program, or the most similar command."""
    words = [command for command, names in _WORDS.items() if word in names.split()]
    likely = [command for command in words if command.startswith("-") or command.split()[0] in known]
    if word in known:
        return word
    # Letters in the wrong order come first: rusn is closer to run than to runs.
    slips = [command for command in known if sorted(command) == sorted(word)]
    slips += difflib.get_close_matches(word, known, n=1, cutoff=0.8)
    return next(iter([*slips, *likely, *difflib.get_close_matches(word, known, n=1, cutoff=0.6)]), None)


def suggest_option(words: Sequence[str], options: Iterable[str]) -> str:
    """Return a message about unknown arguments, with an option to use instead.

    Args:
        words: the arguments.
        options: names of the options that the command takes.
    """
    known = list(options)
    word = next((word for word in words if word.startswith("-")), words[0])
    name = word.partition("=")[0]
    if not word.startswith("-"):
        return f"unexpected argument: {masked('', word)!r}"
    if name in ("--pass", "--passwd", "--pw", "--pwd") or difflib.get_close_matches(name, ["--password"], cutoff=0.8):
        return f"there is no option {name}; put a password in ~/.pgpass or PGPASSWORD"
    if name in ("--url", "--uri", "--dsn", "--tracking-uri"):
        return f"there is no option {name}; name the database by --dbpath, or by --host, --user and --dbname"
    other = [option for option, names in _OPTIONS.items() if name in names.split() and option in known]
    meant = next(iter([*other, *difflib.get_close_matches(name, known, n=1, cutoff=0.6)]), None)
    return f"there is no option {name}" + (f"; did you mean {meant}?" if meant else "")
