"""sqltrack config: show the configuration and where each value comes from."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqltrack.cli._output import print_error, print_json, printable, stdout
from sqltrack.cli._parser import Commands, connection_options
from sqltrack.cli._table import print_table
from sqltrack.client import Client
from sqltrack.config import Setting, config_locations, config_sources, find_config_file, masked, shown_value
from sqltrack.engines import create_engine
from sqltrack.engines.admin import admin_of
from sqltrack.errors import ConfigError, MissingPackageError

__all__ = ["add_parser"]


class _Shown(NamedTuple):
    """The parameters, those that the driver reads itself, and the problem, if any."""

    parameters: list[dict[str, Any]]
    driver_variables: list[dict[str, Any]]
    problem: str | None


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "config",
        description="Hides passwords, and does not connect to the database.",
        example="sqltrack config --engine sqlite",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    path = getattr(options, "config_path", None)
    settings, unreadable = _read_settings(path, connection_options(options))
    shown = _inspect(settings)
    config_file = find_config_file(path)
    if options.json:
        print_json(
            {
                "config_file": None if config_file is None else masked("", str(config_file)),
                "searched": [] if _is_named(path) else config_locations(),
                "parameters": shown.parameters,
                "driver_variables": shown.driver_variables,
                "problem": unreadable or shown.problem,
            }
        )
    else:
        _print_file(config_file, path)
        records = [*shown.parameters, *(_as_parameter(variable) for variable in shown.driver_variables)]
        print_table(records, ("name", "value", "source"), wrapped=("value", "source"))
        if unreadable or shown.problem:
            print_error(str(unreadable or shown.problem))
    return 1 if unreadable else 0


def _read_settings(path: str | None, arguments: Mapping[str, Any]) -> tuple[dict[str, Setting], str | None]:
    """Return the settings, and why the config file could not be read, if so."""
    try:
        return config_sources(path, **arguments), None
    except ConfigError as error:
        # An empty file in its place still shows the other sources.
        return config_sources(os.devnull, **arguments), str(error)


def _inspect(settings: Mapping[str, Setting]) -> _Shown:
    values = {name: setting.value for name, setting in settings.items()}
    variables: Mapping[str, str] = {}
    problem = None
    try:
        variables = admin_of(create_engine(values)).driver_variables()
        Client(values)
    except (ConfigError, MissingPackageError) as error:
        problem = str(error)
    parameters = [
        {
            # Anything else is part of an address or of an invalid line, and may hold a password.
            "name": name if name.replace("_", "").isalnum() else "***",
            "value": shown_value(name, setting.value),
            "source": "command line" if setting.source == "argument" else setting.source,
        }
        for name, setting in settings.items()
    ]
    driver_variables = [
        {
            "variable": name,
            "parameter": parameter,
            "value": shown_value(parameter, masked(name, os.environ[name])),
            "used": parameter not in values,
        }
        for name, parameter in variables.items()
        if name in os.environ
    ]
    return _Shown(parameters, driver_variables, problem)


def _as_parameter(variable: Mapping[str, Any]) -> dict[str, Any]:
    source = f"environment variable {variable['variable']} of the driver"
    if not variable["used"]:
        source += f", overridden by {variable['parameter']} above"
    return {"name": variable["parameter"], "value": variable["value"], "source": source}


def _is_named(path: str | None) -> bool:
    """Return whether the config file is named explicitly, so that no search is needed."""
    return path is not None or bool(os.environ.get("SQLTRACK_CONFIG_PATH"))


def _print_file(config_file: Any, path: str | None) -> None:
    console = stdout()
    if config_file is not None:
        console.print(f"config file: {printable(masked('', str(config_file)))}", soft_wrap=True)
    else:
        console.print("config file: none found, searched:", soft_wrap=True)
        for location in config_locations():
            console.print(f"  {printable(location)}", soft_wrap=True)
    console.print()
