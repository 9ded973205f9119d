"""sqltrack init: choose a database."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from sqltrack.cli._output import ask, print_error, printable
from sqltrack.cli._parser import Commands, connection_options
from sqltrack.commands.init import DEFAULT_ENGINE, PARAMETERS, Init, apply_init, new_config_path, plan_init
from sqltrack.config import DEFAULT_CONFIG, get_env_config
from sqltrack.engines import engine_name
from sqltrack.errors import ConfigError

__all__ = ["add_parser"]

_DESCRIPTION = (
    "Scripts, notebooks and this program use that database from then on in this folder. Without options, the command "
    "asks if it runs in a terminal; elsewhere it chooses the SQLite file sqltrack.db. It never overwrites an existing "
    "config file, and never writes a password: put it in ~/.pgpass."
)

_QUESTIONS = {
    "dbpath": "SQLite: path of the file?",
    "host": "PostgreSQL: host (empty: this machine)?",
    "port": "PostgreSQL: port (empty: default)?",
    "user": "PostgreSQL: user?",
    "dbname": "PostgreSQL: database?",
    "schema": "PostgreSQL: schema (empty: default)?",
}

_NEXT = """
Track a run, from a script or notebook in this folder:

    import sqltrack

    with sqltrack.track("first steps") as run:
        run.add_metrics({"loss": 0.5}, step=1)

Then look at it: sqltrack runs"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "init",
        description=_DESCRIPTION,
        example="sqltrack init --engine sqlite\n"
        "         sqltrack init --host postgres.example.org --user alice --dbname experiments",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    path, given = getattr(options, "config_path", None), connection_options(options)
    # Fail before asking anything.
    new_config_path(path)
    if not given and sys.stdin.isatty():
        given = _ask_for_parameters()
    plan = plan_init(given, path)
    _print_outcome(plan, created_tables=apply_init(plan))


def _ask_for_parameters() -> dict[str, str]:
    """Return the answers of the user; an empty answer chooses the value in brackets."""
    known = {name: str(value) for name, value in {**DEFAULT_CONFIG, **get_env_config()}.items() if value is not None}
    answers = {"engine": _ask_for_engine(get_env_config().get("engine", DEFAULT_ENGINE))}
    for name in PARAMETERS[answers["engine"]]:
        # The default database has the name of the user who connects.
        default = known.get(name, "")
        if name == "dbname" and name not in get_env_config():
            default = answers.get("user", "")
        answers[name] = ask(_QUESTIONS[name], default)
    return {name: answer for name, answer in answers.items() if answer}


def _ask_for_engine(default: str) -> str:
    while True:
        answer = ask("Store runs in a file (sqlite) or on a server (postgres)?", default)
        try:
            return engine_name({"engine": answer})
        except ConfigError as error:
            print_error(str(error))


def _print_outcome(plan: Init, *, created_tables: bool) -> None:
    path = str(plan.path)
    said = ", ".join(f"{name} = {value}" for name, value in plan.settings.items())
    print(printable(f"wrote {path}: {said}"))
    print("created the tables" if created_tables else "the tables exist already")
    if not plan.is_found:
        full = shlex.quote(str(Path(path).absolute()))
        print(f"\nTo let programs find the file: export SQLTRACK_CONFIG_PATH={printable(full)}")
    print(_NEXT)
