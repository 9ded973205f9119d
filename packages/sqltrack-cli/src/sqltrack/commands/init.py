"""Write a config file that names a database, and create the tables there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._files import creating
from sqltrack.commands.setup import create_missing_tables
from sqltrack.config import (
    DEFAULT_CONFIG,
    config_locations,
    find_config_file,
    get_env_config,
    load_config_file,
    masked,
)
from sqltrack.engines import engine_name
from sqltrack.errors import ConfigError

__all__ = ["DEFAULT_ENGINE", "PARAMETERS", "Init", "apply_init", "new_config_path", "plan_init"]

#: Names of the parameters in a config file, by engine.
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "sqlite": ("dbpath",),
    "postgres": ("host", "port", "user", "dbname", "schema"),
}

#: The default engine of a config file.
DEFAULT_ENGINE: str = "sqlite"


class Init(NamedTuple):
    """A config file to write.

    Attributes:
        path: path of the file.
        settings: its names and values, `engine` first.
        is_found: whether programs in this folder find it; otherwise SQLTRACK_CONFIG_PATH must name it.
    """

    path: Path
    settings: dict[str, str]
    is_found: bool


def new_config_path(path: str | Path | None = None) -> Path:
    """Return the path at which a config file can be written.

    Args:
        path: path of the file, default: that in SQLTRACK_CONFIG_PATH, else `sqltrack.conf` in the working directory.

    Raises:
        ConfigError: the path exists already.
    """
    named = path is not None or os.environ.get("SQLTRACK_CONFIG_PATH")
    found = find_config_file(path) if named else None
    target = Path(config_locations()[0]) if found is None else found
    if os.path.lexists(target):
        raise ConfigError(
            f"config file {str(target)!r} exists already",
            "show it with: sqltrack config; remove it to start over",
        )
    return target


def plan_init(parameters: Mapping[str, Any], path: str | Path | None = None) -> Init:
    """Return the config file for `apply_init` to write, without changing anything.

    Parameters from environment variables such as SQLTRACK_DSN_HOST are also written, so that the file means the same
    without these variables. A password is never written.

    Args:
        parameters: `engine`, and parameters of the engine in `PARAMETERS`; None means not given. The default of the
            engine follows from the others, or is "sqlite".
        path: path of the file, see `new_config_path`.

    Raises:
        ConfigError: the file exists, or the parameters contradict each other or the environment, or contain a password.
    """
    target = new_config_path(path)
    given = {name: str(value) for name, value in parameters.items() if value is not None}
    environment = get_env_config()
    engine = _choose_engine(given, environment)
    given["engine"] = engine
    _refuse_contradictions(given, environment)
    # Unless given, user and database are not written, so that each user has the default ones.
    said = {"dbpath": DEFAULT_CONFIG["dbpath"], **environment, **given}
    settings = {name: said[name] for name in ("engine", *PARAMETERS[engine]) if name in said}
    _check_values(settings)
    if "dbpath" in settings and str(target) != config_locations()[0]:
        # An absolute path names the same file from all folders.
        settings["dbpath"] = os.path.abspath(os.path.expanduser(settings["dbpath"]))
    return Init(target, settings, _is_found(target))


def apply_init(plan: Init) -> bool:
    """Create the tables if missing, then write the config file; after an error, no file is written.

    Args:
        plan: the result of `plan_init`.

    Returns:
        Whether this call created the tables.

    Raises:
        ConfigError: the file exists by now, or cannot be written, or a value cannot be written to it.
        NotSetUpError: the tables are missing, and this user cannot create them.
        DatabaseError: the database is not available, or refuses a statement.
    """
    try:
        if plan.is_found:
            plan.path.parent.mkdir(parents=True, exist_ok=True)
        with creating(plan.path) as part:
            part.write_text(_text(plan.settings), encoding="utf-8")
            written = load_config_file(part)
            if written != {**written, **plan.settings}:
                raise ConfigError(f"a config file cannot hold these values: {plan.settings!r}")
            return create_missing_tables(Client(part))
    except FileExistsError:
        raise ConfigError(f"config file {str(plan.path)!r} exists already", "it was written just now") from None
    except OSError as error:
        raise ConfigError(f"config file {str(plan.path)!r} cannot be written: {error.strerror}") from error


def _choose_engine(given: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """Return the engine that is named or follows from the parameters.

    Raises:
        ConfigError: the engine is unknown, or a parameter belongs to another one.
    """
    meant = [engine for engine, names in PARAMETERS.items() if not given.keys().isdisjoint(names)]
    named = given.get("engine", environment.get("engine"))
    engine = engine_name({"engine": named}) if named is not None else (meant or [DEFAULT_ENGINE])[0]
    for name in given:
        if name != "engine" and name not in PARAMETERS[engine]:
            raise ConfigError(f"{name} is not a parameter of {engine}", f"expected {', '.join(PARAMETERS[engine])}")
    return engine


def _refuse_contradictions(given: Mapping[str, str], environment: Mapping[str, str]) -> None:
    for name, value in given.items():
        said = environment.get(name, value)
        if said != value and not (name == "engine" and engine_name({"engine": said}) == value):
            raise ConfigError(
                f"{name} is {masked(name, value)!r}, but environment variable SQLTRACK_DSN_{name.upper()} is "
                f"{masked(name, said)!r}",
                "unset the variable, which would override the file",
            )


def _check_values(settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        if masked(name, value) != value:
            raise ConfigError(
                f"{name} contains a password, which is not written to a config file",
                "give the other parameters separately, and put the password in ~/.pgpass",
            )
        if not value.isprintable():
            raise ConfigError(f"{name} must be a text of one line, got {value!r}")


def _is_found(target: Path) -> bool:
    """Return whether programs in this folder will find a config file at this path."""
    if os.environ.get("SQLTRACK_CONFIG_PATH"):
        return find_config_file() == target
    for location in config_locations():
        if os.path.abspath(location) == os.path.abspath(target):
            return True
        if os.path.isfile(location):
            return False
    return False


def _text(settings: Mapping[str, str]) -> str:
    return "".join(f"{name} = {_quoted(value)}\n" for name, value in settings.items())


def _quoted(value: str) -> str:
    """Return a value for a config file, in quotes if blanks, comments or quotes would be misread."""
    if value and value == value.strip() and not any(sign in value for sign in "#;'\""):
        return value
    quote = "'" if '"' in value else '"'
    return f"{quote}{value}{quote}"
