"""Locate, read and merge configuration: defaults, config file, environment, keyword arguments."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from sqltrack._masking import masked
from sqltrack.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "CLIENT_SETTINGS",
    "DEFAULT_CONFIG",
    "Setting",
    "config_locations",
    "config_sources",
    "find_config_file",
    "get_env_config",
    "load_config",
    "load_config_file",
    "masked",
    "number_setting",
]

# Parameters that the client acts on, whatever the engine.
CLIENT_SETTINGS = frozenset({"keepalive", "mask", "mask_env", "mask_env_names", "mask_names", "reconnect"})

_PATH_VARIABLE = "SQLTRACK_CONFIG_PATH"
_ENV_PREFIX = "SQLTRACK_DSN_"


def _user_name() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        # In a container the user id may have no name; libpq then has to be told who connects.
        return None


_USER_NAME = _user_name()

DEFAULT_CONFIG: dict[str, Any] = {
    "engine": "postgres",
    "dbpath": "sqltrack.db",
    "user": _USER_NAME,
    "dbname": _USER_NAME,
}


class Setting(NamedTuple):
    """A parameter's value and where it comes from.

    Attributes:
        value: the value.
        source: "default", "config file 'PATH'", "environment variable NAME", or "argument".
    """

    value: Any
    source: str


def find_config_file(path: Path | str | None = None, config_name: str = "sqltrack.conf") -> Path | None:
    """Find the config file to use.

    Args:
        path: use this file; default: the environment variable SQLTRACK_CONFIG_PATH.
        config_name: name of the file in the default locations; default "sqltrack.conf".

    Returns:
        The explicit path if there is one, whether it exists or not. Else the first of these that exists:
        `./<name>`, `$XDG_CONFIG_HOME/sqltrack/<name>`, `%APPDATA%/sqltrack/<name>`,
        `$HOME/.config/sqltrack/<name>`, `$HOME/<name>`; None if none does.
    """
    from pathlib import Path

    if path is None:
        path = os.environ.get(_PATH_VARIABLE) or None
    if path is not None:
        return Path(path).expanduser()
    return next((Path(p) for p in config_locations(config_name) if os.path.isfile(p)), None)


def config_locations(config_name: str = "sqltrack.conf") -> list[str]:
    """Return the paths at which a config file is looked for if none is named, in order."""
    locations = [config_name]
    for variable, folder in (
        ("XDG_CONFIG_HOME", "sqltrack"),
        ("APPDATA", "sqltrack"),
        ("HOME", ".config/sqltrack"),
        ("HOME", ""),
    ):
        root = os.environ.get(variable)
        if root:
            locations.append(os.path.join(root, folder, config_name))
    return locations


def get_env_config() -> dict[str, Any]:
    """Return the parameters set by SQLTRACK_DSN_<PARAM> environment variables, names in lower case."""
    return {name: setting.value for name, setting in _env_settings().items()}


def load_config(path: Path | str | None = None, config_name: str = "sqltrack.conf", **kwargs: Any) -> dict[str, Any]:
    """Assemble the configuration from all its sources.

    Later sources win: `DEFAULT_CONFIG`, the config file, SQLTRACK_DSN_<PARAM> environment variables, `kwargs`.
    The default `user` and `dbname` step back where libpq was told otherwise by PGUSER, PGDATABASE, PGSERVICE or
    a `service` parameter, and the default `dbname` follows a `user` that was given.

    Args:
        path: config file to read; default: see `find_config_file`.
        config_name: name of the file in the default locations; default "sqltrack.conf".
        kwargs: parameters that win over all other sources; those that are None count as not given.

    Returns:
        A new dict of parameters.

    Raises:
        ConfigError: (a ValueError) the file was named explicitly and does not exist, or it cannot be read.
    """
    return {name: setting.value for name, setting in config_sources(path, config_name, **kwargs).items()}


def load_config_file(path: Path | str) -> dict[str, Any]:
    """Return what one config file says, and defaults, whatever the environment.

    Args:
        path: path of the file.

    Raises:
        ConfigError: (a ValueError) the file does not exist or cannot be read.
    """
    from pathlib import Path

    given = _file_settings(Path(path).expanduser())
    return {name: setting.value for name, setting in {**_defaults_for(given), **given}.items()}


def number_setting(config: Mapping[str, Any], name: str, default: float) -> float:
    """Return the setting `name` of a configuration as a number that is not negative.

    Args:
        config: the configuration.
        name: name of the setting.
        default: its value if the configuration does not hold it.

    Raises:
        ConfigError: (a ValueError) it is something else.
    """
    value = config.get(name, default)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not number >= 0:
        raise ConfigError(f"{name} must be a number of seconds that is not negative, got {value!r}")
    return number


def config_sources(
    path: Path | str | None = None, config_name: str = "sqltrack.conf", **kwargs: Any
) -> dict[str, Setting]:
    """Assemble the configuration as `load_config` does, and tell where each value comes from.

    Args:
        path: config file to read; default: see `find_config_file`.
        config_name: name of the file in the default locations; default "sqltrack.conf".
        kwargs: parameters that win over all other sources; those that are None count as not given.

    Returns:
        A new dict of parameters, each a pair of value and source.

    Raises:
        ConfigError: (a ValueError) the file was named explicitly and does not exist, or it cannot be read.
    """
    config_file = find_config_file(path, config_name)
    given = _file_settings(config_file) if config_file else {}
    given.update(_env_settings())
    given.update((name, Setting(value, "argument")) for name, value in kwargs.items() if value is not None)
    return {**_defaults_for(given), **given}


def _env_settings() -> dict[str, Setting]:
    return {
        name[len(_ENV_PREFIX) :].lower(): Setting(value, f"environment variable {name}")
        for name, value in os.environ.items()
        if name.startswith(_ENV_PREFIX) and len(name) > len(_ENV_PREFIX)
    }


def _file_settings(path: Path) -> dict[str, Setting]:
    source = f"config file {str(path)!r}"
    return {name: Setting(value, source) for name, value in _read_config_file(path).items()}


def _defaults_for(given: dict[str, Setting]) -> dict[str, Setting]:
    from sqltrack.engines.postgres._environment import names_told_to_libpq

    told = names_told_to_libpq(given)
    defaults = {name: value for name, value in DEFAULT_CONFIG.items() if value is not None and name not in told}
    if "user" in given and "dbname" in defaults:
        defaults["dbname"] = given["user"].value
    return {name: Setting(value, "default") for name, value in defaults.items()}


def _read_config_file(path: Path) -> dict[str, Any]:
    import configparser

    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"config file {str(path)!r} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config file {str(path)!r} cannot be read: {error}") from error
    # The parser's own messages quote the line, which may hold a password.
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    try:
        parser.read_string("[DEFAULT]\n" + _without_section_headers(text, path))
    except configparser.DuplicateOptionError as error:
        raise ConfigError(f"config file {str(path)!r} sets {error.option!r} twice") from None
    except configparser.ParsingError as error:
        lines = ", ".join(str(line - 1) for line, _ in error.errors)
        raise ConfigError(f"config file {str(path)!r} must hold lines 'name = value', see line {lines}") from None
    return {name: _unquote(value) for name, value in parser.defaults().items()}


def _without_section_headers(text: str, path: Path) -> str:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("["):
            raise ConfigError(
                f"config file {str(path)!r} has a section header in line {number}",
                "sqltrack's config has no sections, remove the line",
            )
    return text


def _unquote(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value
