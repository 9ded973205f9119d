"""Locate, read and merge configuration: defaults, config file, environment, keyword arguments."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sqltrack._settings import CLIENT_SETTINGS, number_setting
from sqltrack.engines._spelling import quote
from sqltrack.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "CLIENT_SETTINGS",
    "DEFAULT_CONFIG",
    "Setting",
    "client_config",
    "config_locations",
    "config_sources",
    "find_config_file",
    "get_env_config",
    "load_config",
    "load_config_file",
    "masked",
    "number_setting",
    "shown_value",
]

_PATH_VARIABLE = "SQLTRACK_CONFIG_PATH"
_ENV_PREFIX = "SQLTRACK_DSN_"

# Comments and quotes around values in a config file. These are compiled when a file is read.
_COMMENT = r"(?m)(?:^|[ \t]+)[#;].*"
_QUOTED = r"""(?s)(?P<quote>["'])(?P<value>.*?)(?P=quote)(?:\s+[#;].*)?"""
# URLs, of which a path keeps one slash, and the parameters of a server.
_ADDRESS = r"(?i)^[A-Za-z][A-Za-z0-9+.-]+:/|\bpassword\s*="


def _user_name() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        # In a container the user id may have no name; then the user has to be configured.
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


def client_config(config: Mapping[str, Any] | str | Path | None, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration for the arguments of a client.

    Args:
        config: a dict is the whole configuration, apart from `parameters`. An address ("postgresql://…") or the path of
            a SQLite file names the database, see `sqltrack.engines.config_of_address`; config file and environment then
            give only `CLIENT_SETTINGS`. Any other path names the config file. None: see `find_config_file`.
        parameters: parameters that override all other sources; None counts as not given.

    Raises:
        ConfigError: (a ValueError) a parameter is unknown or belongs to another engine, the config file cannot be used,
            or a parameter names another engine or database than the address.
        MissingPackageError: the driver that reads the address is not installed.
    """
    from sqltrack.engines import config_of_address, engine_name
    from sqltrack.engines._parameters import refuse_contradictions

    given = {name: value for name, value in parameters.items() if value is not None}
    if isinstance(config, Mapping):
        _refuse_unknown({**config, **parameters})
        return {**config, **given}
    if config is not None and not isinstance(config, (str, os.PathLike)):
        raise ConfigError(f"config must be a dict, a path or the address of a database, got {quote(config)}")
    named = None if config is None else config_of_address(config)
    if named is None:
        return _checked(_merge(config, "sqltrack.conf", parameters), parameters)
    _refuse_unknown({**named, **parameters})
    refuse_contradictions(named, engine_name({**named, **given}), given)
    others = _checked(_merge(None, "sqltrack.conf", {}))
    return {**{name: value for name, value in others.items() if name in CLIENT_SETTINGS}, **named, **given}


def find_config_file(path: Path | str | None = None, config_name: str = "sqltrack.conf") -> Path | None:
    """Return the path of the config file to use.

    Args:
        path: use this file; default: the environment variable SQLTRACK_CONFIG_PATH.
        config_name: name of the file in the default locations, default "sqltrack.conf".

    Returns:
        The path that was given by argument or environment, whether it exists or not. Otherwise the first of these that
        exists: `./<name>`, `$XDG_CONFIG_HOME/sqltrack/<name>`, `%APPDATA%/sqltrack/<name>`,
        `$HOME/.config/sqltrack/<name>`, `$HOME/<name>`; None if none exists.
    """
    from pathlib import Path

    if path is None:
        path = os.environ.get(_PATH_VARIABLE) or None
    if path is not None:
        return Path(path).expanduser()
    return next((Path(p) for p in config_locations(config_name) if os.path.isfile(p)), None)


def config_locations(config_name: str = "sqltrack.conf") -> list[str]:
    """Return the default locations of the config file, in the order in which they are searched."""
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
    """Return the parameters from SQLTRACK_DSN_<PARAM> environment variables, with names in lower case."""
    return {name: setting.value for name, setting in _env_settings().items()}


def load_config(path: Path | str | None = None, config_name: str = "sqltrack.conf", **kwargs: Any) -> dict[str, Any]:
    """Return the configuration, merged from all its sources.

    Later sources win: `DEFAULT_CONFIG`, the config file, SQLTRACK_DSN_<PARAM> environment variables, `kwargs`. The
    default `user` and `dbname` are left out if PGUSER, PGDATABASE, PGSERVICE or a `service` parameter tells libpq
    otherwise. The default `dbname` is the `user`, if one is given.

    Args:
        path: config file to read; default: see `find_config_file`.
        config_name: name of the file in the default locations, default "sqltrack.conf".
        kwargs: parameters that override all other sources; None counts as not given.

    Returns:
        A new dict of parameters.

    Raises:
        ConfigError: (a ValueError) a file that you named does not exist, the file cannot be read, or a source contains
            a parameter that neither an engine nor the client nor libpq knows.
    """
    return _checked(_merge(path, config_name, kwargs), kwargs)


def load_config_file(path: Path | str) -> dict[str, Any]:
    """Return the parameters in a config file, and defaults for the others, regardless of the environment.

    Args:
        path: path of the file.

    Raises:
        ConfigError: (a ValueError) the file does not exist or cannot be read, or contains an unknown parameter.
    """
    from pathlib import Path

    given = _file_settings(Path(path).expanduser())
    return _checked({**_defaults_for(given), **given})


def masked(name: str, value: str) -> str:
    """Return a value with its credentials masked; all of it is masked if the name looks like that of a credential."""
    from sqltrack._masking import masked

    return masked(name, value)


def shown_value(name: str, value: Any) -> str:
    """Return the value of a parameter as text that is safe to show.

    Credentials are masked, as by `masked`. A misspelled parameter is treated as the known one it resembles. If it
    resembles none, the whole value is masked; so is a value that should name an engine and does not look like one.

    Args:
        name: name of the parameter, known or not.
        value: its value.
    """
    from sqltrack.engines._parameters import find_meant, is_known, may_be_engine

    text = str(value)
    meant = name if is_known(name) else find_meant(name.lower(), "postgres")
    shown = masked(name, masked(meant or name, text))
    if meant is None or (meant == "engine" and not may_be_engine(text.strip().lower())):
        return masked("password", text) if shown == text else shown
    return shown


def config_sources(
    path: Path | str | None = None, config_name: str = "sqltrack.conf", **kwargs: Any
) -> dict[str, Setting]:
    """Return the configuration as `load_config` does, but including unknown parameters, and with the source of values.

    Args:
        path: config file to read; default: see `find_config_file`.
        config_name: name of the file in the default locations, default "sqltrack.conf".
        kwargs: parameters that override all other sources; None counts as not given.

    Returns:
        A new dict of parameters, each with its value and source.

    Raises:
        ConfigError: (a ValueError) a file that you named does not exist, or the file cannot be read.
    """
    return _merge(path, config_name, kwargs)


def _merge(path: Path | str | None, config_name: str, parameters: Mapping[str, Any]) -> dict[str, Setting]:
    config_file = find_config_file(path, config_name)
    given = _file_settings(config_file) if config_file else {}
    _refuse_meant_variables()
    given.update(_env_settings())
    given.update((name, Setting(value, "argument")) for name, value in parameters.items() if value is not None)
    return {**_defaults_for(given), **given}


def _checked(settings: Mapping[str, Setting], parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the values of settings; raise an error if one, or a parameter given as None, is unknown."""
    values = {name: setting.value for name, setting in settings.items()}
    sources = {name: setting.source for name, setting in settings.items()}
    _refuse_unknown({**dict.fromkeys(parameters or {}), **values}, sources)
    return values


def _refuse_unknown(values: Mapping[str, Any], sources: Mapping[str, str] | None = None) -> None:
    from sqltrack.engines import engine_name
    from sqltrack.engines._parameters import refuse_unknown

    refuse_unknown(values, engine_name(values), sources)


def _env_settings() -> dict[str, Setting]:
    return {
        name[len(_ENV_PREFIX) :].lower(): Setting(value, f"environment variable {name}")
        for name, value in os.environ.items()
        if name.startswith(_ENV_PREFIX) and len(name) > len(_ENV_PREFIX)
    }


def _refuse_meant_variables() -> None:
    """Raise an error for a variable that is not read, such as SQLTRACK_ENGINE, unless the right one is set, too."""
    from sqltrack.engines._parameters import meant_variable

    for variable in os.environ:
        if variable.startswith("SQLTRACK_") and not variable.startswith((_ENV_PREFIX, "SQLTRACK_CONFIG_")):
            advice = meant_variable(variable)
            if advice is not None and not any(f"'{name}'" in advice for name in os.environ):
                raise ConfigError(f"environment variable {variable!r} is not read", advice)


def _file_settings(path: Path) -> dict[str, Setting]:
    source = f"config file {str(path)!r}"
    return {name: Setting(value, source) for name, value in _read_config_file(path).items()}


def _defaults_for(given: dict[str, Setting]) -> dict[str, Setting]:
    from sqltrack.engines._parameters import implied_engine
    from sqltrack.engines.postgres._environment import names_told_to_libpq

    told = names_told_to_libpq(given)
    defaults = {name: value for name, value in DEFAULT_CONFIG.items() if value is not None and name not in told}
    if "engine" not in given:
        defaults["engine"] = implied_engine(given)
    if "user" in given and "dbname" in defaults:
        defaults["dbname"] = given["user"].value
    return {name: Setting(value, "default") for name, value in defaults.items()}


def _read_config_file(path: Path) -> dict[str, Any]:
    text, reason = _read_text(path)
    if text is None:
        raise ConfigError(f"config file {str(path)!r} {reason}")
    values, reason = _parse(_without_section_headers(text, path))
    if values is None:
        raise ConfigError(f"config file {str(path)!r} {reason}")
    return {name: _read_value(name, value) for name, value in values.items()}


def _read_text(path: Path) -> tuple[str | None, str]:
    """Return the text of a file, or None and the reason; chaining the original error would show the path."""
    if re.search(_ADDRESS, str(path)):
        raise ConfigError("an address is not a config file", "a database is named by: postgresql://…")
    try:
        return path.read_text(encoding="utf-8-sig"), ""
    except FileNotFoundError:
        return None, "does not exist"
    except UnicodeDecodeError as error:
        return None, f"cannot be read: {error}"
    except (OSError, ValueError) as error:
        return None, f"cannot be read: {getattr(error, 'strerror', None) or 'it is not a valid path'}"


def _parse(text: str) -> tuple[Mapping[str, str] | None, str]:
    """Return names and values, or None and the reason; the parser's own errors quote lines that contain a password."""
    import configparser

    parser = configparser.ConfigParser(interpolation=None, strict=True)
    try:
        parser.read_string(f"[DEFAULT]\n{text}")
    except configparser.DuplicateOptionError as error:
        return None, f"sets {error.option!r} twice"
    except configparser.ParsingError as error:
        lines = ", ".join(str(line - 1) for line, _ in error.errors)
        return None, f"must hold lines 'name = value', see line {lines}"
    return parser.defaults(), ""


def _without_section_headers(text: str, path: Path) -> str:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("["):
            raise ConfigError(
                f"config file {str(path)!r} has a section header in line {number}",
                "sqltrack's config has no sections, remove the line",
            )
    return text


def _read_value(name: str, text: str) -> str:
    """Return a value without the quotes around it or the comment after it; passwords have no comments."""
    from sqltrack._secret_names import is_secret_name

    if is_secret_name(name):
        return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" else text
    quoted = re.fullmatch(_QUOTED, text)
    return quoted["value"] if quoted is not None else re.sub(_COMMENT, "", text).strip()
