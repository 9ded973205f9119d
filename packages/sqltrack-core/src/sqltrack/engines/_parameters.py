"""Check the names of parameters of all engines, and suggest the right name for a wrong one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sqltrack._settings import CLIENT_SETTINGS
from sqltrack.engines._spelling import quote
from sqltrack.engines.postgres._parameters import LIBPQ_PARAMETERS, is_known_to_libpq
from sqltrack.errors import ConfigError

__all__ = [
    "OWN_PARAMETERS",
    "find_meant",
    "implied_engine",
    "is_known",
    "may_be_engine",
    "meant_variable",
    "refuse_contradictions",
    "refuse_unknown",
]

_SQLITE = frozenset({"busy_timeout", "dbpath", "synchronous"})
# SQLTrack's own parameters; all others go to the driver of the engine.
OWN_PARAMETERS = CLIENT_SETTINGS | _SQLITE | {"engine", "schema"}

_OF_ENGINE = {"postgres": LIBPQ_PARAMETERS | {"schema"}, "sqlite": _SQLITE}

# Names of these parameters in other libraries that do not resemble ours.
_OTHER_NAMES = {
    "postgres": {
        "dbname": ("database", "database_name", "db", "db_name", "name"),
        "host": ("hostname", "server"),
        "password": ("pass", "passwd", "pwd"),
        "schema": ("search_path",),
        "user": ("login", "role", "username"),
        "connect_timeout": ("timeout",),
    },
    "sqlite": {
        "dbpath": ("database", "database_name", "db", "db_name", "file", "filename", "name", "path"),
        "busy_timeout": ("timeout",),
        "synchronous": ("sync",),
    },
}
_ADDRESS_ADVICE = "pass an address as Client('postgresql://…')"
_ADDRESSES = frozenset({"address", "connection_string", "database_url", "db_url", "dsn", "tracking_uri", "uri", "url"})
_DATABASES = frozenset({"database", "db", "db_file", "db_path"})
# Parameters that environment variables set; users may forget the DSN_ in their prefix. Not SQLTRACK_CAPTURE, which is
# read as it is.
_IN_VARIABLES = (OWN_PARAMETERS - {"capture"}) | {"dbname", "host", "password", "port", "user"}


def implied_engine(names: Iterable[Any]) -> str:
    """Return the engine for a configuration without one: "sqlite" if it has `dbpath` and no parameters of a server.

    Args:
        names: names of the given parameters.
    """
    given = set(names)
    return "sqlite" if "dbpath" in given and given <= _SQLITE | CLIENT_SETTINGS | {"engine"} else "postgres"


def meant_variable(variable: str) -> str | None:
    """Return advice for an environment variable that looks like a parameter, None for other variables.

    Args:
        variable: name of the variable, which begins with SQLTRACK_.
    """
    name = variable.removeprefix("SQLTRACK_").lower()
    if name in _ADDRESSES:
        return _ADDRESS_ADVICE
    meant = "dbpath" if name in _DATABASES else re.sub("^dns_", "", name)
    return f"did you mean 'SQLTRACK_DSN_{meant.upper()}'?" if meant in _IN_VARIABLES else None


# Parameters that identify the database.
_PLACES = frozenset({"dbname", "dbpath", "host", "hostaddr", "port", "schema", "service"})
# A whole address, which is not compared.
_WHOLE_ADDRESS = "conninfo"


def is_known(name: Any) -> bool:
    """Return whether SQLTrack or libpq knows the name of a parameter."""
    return name in OWN_PARAMETERS or (isinstance(name, str) and is_known_to_libpq(name))


def may_be_engine(text: str) -> bool:
    """Return whether a text looks like the name of an engine, known or not, and not like a password."""
    import difflib

    known = (*_OF_ENGINE, "postgresql")
    return re.fullmatch(r"[a-z]{1,12}", text) is not None or bool(difflib.get_close_matches(text, known, n=1))


def refuse_contradictions(address: Mapping[str, Any], engine: str, arguments: Mapping[str, Any]) -> None:
    """Raise an error if an argument names another engine or database than an address.

    Other arguments, such as `user` or `sslmode`, may differ from the address.

    Args:
        address: the configuration for the address.
        engine: name of the engine in the arguments, or else of the address.
        arguments: the parameters given with the address, all known.

    Raises:
        ConfigError: an argument contradicts the address; the message shows no values, which may be parts of a password.
    """
    kind = address["engine"]
    if engine != kind:
        raise ConfigError(
            f"engine is {engine!r}, but the address names a database of engine {kind!r}",
            "leave out the engine or the address",
        )
    for name, value in arguments.items():
        if not _belongs_to(name, kind):
            raise ConfigError(
                f"the address names a database of engine {kind!r}, which has no parameter {name!r}",
                f"leave out {name!r} or the address",
            )
        if name == _WHOLE_ADDRESS or (
            name in _PLACES and _place(name, value) != _place(name, address.get(name, value))
        ):
            raise ConfigError(
                f"the argument {name!r} and the address name different databases", f"leave out {name!r} or the address"
            )


def _belongs_to(name: str, engine: str) -> bool:
    if name in CLIENT_SETTINGS or name == "engine" or name in _OF_ENGINE[engine]:
        return True
    return engine == "postgres" and name not in OWN_PARAMETERS


def _place(name: str, value: Any) -> str:
    """Return a normalized value, for comparison."""
    if name == "dbpath" and isinstance(value, (str, os.PathLike)):
        return os.path.abspath(os.path.expanduser(os.fspath(value)))
    return str(value).lower() if name == "host" else str(value)


def refuse_unknown(names: Iterable[Any], engine: str, sources: Mapping[str, str] | None = None) -> None:
    """Raise an error for a parameter that neither SQLTrack nor libpq knows.

    Args:
        names: names of the parameters in a configuration.
        engine: name of its engine, whose parameters are suggested first.
        sources: where the names come from, default: unknown.

    Raises:
        ConfigError: a name is unknown; the advice suggests a similar one.
    """
    for name in names:
        if is_known(name):
            continue
        source = (sources or {}).get(name, "argument")
        where = "" if source == "argument" else f" in {source}"
        if not re.fullmatch(r"[\w.-]*", str(name)):
            # Do not show it: it may be part of an address with a password.
            raise ConfigError(f"the name of a parameter must be a word{where}", "expected name = value")
        raise ConfigError(f"unknown parameter {quote(name)}{where}", _advise(str(name).lower(), engine))


def _advise(name: str, engine: str) -> str:
    if name in _ADDRESSES:
        return _ADDRESS_ADVICE
    meant = find_meant(name, engine)
    return "see the parameters of libpq, and of sqltrack" if meant is None else f"did you mean {meant!r}?"


def find_meant(name: str, engine: str) -> str | None:
    """Return the known name that is most similar to a wrong name in lower case, preferring those of the engine.

    None if no name is similar.
    """
    import difflib

    spelled = [_spellings(kind) for kind in sorted(_OF_ENGINE, key=lambda kind: kind != engine)]
    bare = _bare(name)
    same = next((spellings[bare] for spellings in spelled if bare in spellings), None)
    if same is not None:
        return same
    for spellings in spelled:
        found = difflib.get_close_matches(bare, sorted(spellings), n=1, cutoff=0.7)
        if found:
            return spellings[found[0]]
    return None


def _spellings(engine: str) -> dict[str, str]:
    """Return the names of an engine's parameters, by simplified spellings of them and of their other names."""
    others = {_bare(other): known for known, names in _OTHER_NAMES[engine].items() for other in names}
    return {**others, **{_bare(known): known for known in _OF_ENGINE[engine] | CLIENT_SETTINGS | {"engine"}}}


def _bare(name: str) -> str:
    return name.replace("_", "").replace("-", "")
