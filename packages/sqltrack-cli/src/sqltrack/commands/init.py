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

#: Names of the parameters that a config file gets, by engine.
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "sqlite": ("dbpath",),
    "postgres": ("host", "port", "user", "dbname", "schema"),
}

#: The engine of a config file, if none is chosen.
DEFAULT_ENGINE: str = "sqlite"


class Init(NamedTuple):
    """A config file to write.

    Attributes:
        path: path of the file.
        settings: names and values that it gets, `engine` first.
        is_found: whether programs in this folder find it by themselves, else SQLTRACK_CONFIG_PATH must name it.
    """

    path: Path
    settings: dict[str, str]
    is_found: bool


def new_config_path(path: str | Path | None = None) -> Path:
    """Return the path at which a config file can be written.

    Args:
        path: path of the file, default: that in SQLTRACK_CONFIG_PATH, else `sqltrack.conf` in the working directory.

    Raises:
        ConfigError: something of that name exists.
    """
    named = path is not None or os.environ.get("SQLTRACK_CONFIG_PATH")
    found = find_config_file(path) if named else None
    target = Path(config_locations()[0]) if found is None else found
    if os.path.lexists(target):
        raise ConfigError(
            f"config file {str(target)!r} exists already",
            "see what it says with: sqltrack config; remove it to start anew",
        )
    return target


def plan_init(parameters: Mapping[str, Any], path: str | Path | None = None) -> Init:
    """Return the config file that `apply_init` would write; nothing is changed.

    Parameters that environment variables such as SQLTRACK_DSN_HOST give are written as well, so that the file says the
    same where these are not set. A password is never written.

    Args:
        parameters: `engine`, and parameters of the engine in `PARAMETERS`; those that are None count as not given. An
            engine that is not named follows from the others, default "sqlite".
        path: path of the file, see `new_config_path`.

    Raises:
        ConfigError: the file exists, or the parameters contradict each other or the environment, or hold a password.
    """
    target = new_config_path(path)
    given = {name: str(value) for name, value in parameters.items() if value is not None}
    environment = get_env_config()
    engine = _choose_engine(given, environment)
    given["engine"] = engine
    _refuse_contradictions(given, environment)
    # User and database are those of each user, unless they are given.
    said = {"dbpath": DEFAULT_CONFIG["dbpath"], **environment, **given}
    settings = {name: said[name] for name in ("engine", *PARAMETERS[engine]) if name in said}
    _check_values(settings)
    if "dbpath" in settings and str(target) != config_locations()[0]:
        # It must be the same file from all folders.
        settings["dbpath"] = os.path.abspath(os.path.expanduser(settings["dbpath"]))
    return Init(target, settings, _is_found(target))


def apply_init(plan: Init) -> bool:
    """Create the tables unless they are there, then write the config file; if that fails nothing is written.

    Args:
        plan: what `plan_init` returned.

    Returns:
        Whether the tables were created by this call.

    Raises:
        ConfigError: the file exists by now, cannot be written, or cannot hold a value.
        NotSetUpError: the tables are missing, and this user cannot create them.
        DatabaseError: the database cannot be reached, or refuses something.
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
    """Return the engine that is named, or whose parameters are given.

    Raises:
        ConfigError: the engine is unknown, or there are parameters of another one.
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
                f"{name} is to be {masked(name, value)!r}, and environment variable SQLTRACK_DSN_{name.upper()} says "
                f"{masked(name, said)!r}",
                "unset the variable, which would win over the file",
            )


def _check_values(settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        if masked(name, value) != value:
            raise ConfigError(
                f"{name} holds a password, which is not written to a config file",
                "give the other parameters one by one, and put the password into ~/.pgpass",
            )
        if not value.isprintable():
            raise ConfigError(f"{name} must be a text of one line, got {value!r}")


def _is_found(target: Path) -> bool:
    """Return whether a config file at this path will be the one that is found."""
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
    """Return a value as it stands in a config file: in quotes where blanks, comments or quotes would be misread."""
    if value and value == value.strip() and not any(sign in value for sign in "#;'\""):
        return value
    quote = "'" if '"' in value else '"'
    return f"{quote}{value}{quote}"
