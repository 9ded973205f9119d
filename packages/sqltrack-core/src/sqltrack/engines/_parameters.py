"""The names of all parameters, whatever the engine, and which of them a wrong name stands for."""

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
# Those of SQLTrack itself; the others go to the driver of the engine.
OWN_PARAMETERS = CLIENT_SETTINGS | _SQLITE | {"engine", "schema"}

_OF_ENGINE = {"postgres": LIBPQ_PARAMETERS | {"schema"}, "sqlite": _SQLITE}

# What other libraries call these parameters, which may not look like ours.
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
_ADDRESS_ADVICE = "an address goes to Client('postgresql://…')"
_ADDRESSES = frozenset({"address", "connection_string", "database_url", "db_url", "dsn", "tracking_uri", "uri", "url"})
_DATABASES = frozenset({"database", "db", "db_file", "db_path"})
# Parameters that are given by variables, for which a shorter prefix is a slip.
_IN_VARIABLES = OWN_PARAMETERS | {"dbname", "host", "password", "port", "user"}


def implied_engine(names: Iterable[Any]) -> str:
    """Return the engine of a configuration that names none: "sqlite" if it names its file and nothing of a server.

    Args:
        names: names of the parameters that were given.
    """
    given = set(names)
    return "sqlite" if "dbpath" in given and given <= _SQLITE | CLIENT_SETTINGS | {"engine"} else "postgres"


def meant_variable(variable: str) -> str | None:
    """Return what to use in place of an environment variable that looks like a parameter, None for any other variable.

    Args:
        variable: name of the variable, which begins with SQLTRACK_.
    """
    name = variable.removeprefix("SQLTRACK_").lower()
    if name in _ADDRESSES:
        return _ADDRESS_ADVICE
    meant = "dbpath" if name in _DATABASES else re.sub("^dns_", "", name)
    return f"did you mean 'SQLTRACK_DSN_{meant.upper()}'?" if meant in _IN_VARIABLES else None


# Parameters that say which database it is: another value means another one.
_PLACES = frozenset({"dbname", "dbpath", "host", "hostaddr", "port", "schema", "service"})
# A whole address, which cannot be compared.
_WHOLE_ADDRESS = "conninfo"


def is_known(name: Any) -> bool:
    """Return whether SQLTrack or libpq knows the name of a parameter."""
    return name in OWN_PARAMETERS or (isinstance(name, str) and is_known_to_libpq(name))


def may_be_engine(text: str) -> bool:
    """Return whether a text looks like the name of an engine, known or not, rather than like a password."""
    import difflib

    known = (*_OF_ENGINE, "postgresql")
    return re.fullmatch(r"[a-z]{1,12}", text) is not None or bool(difflib.get_close_matches(text, known, n=1))


def refuse_contradictions(address: Mapping[str, Any], engine: str, arguments: Mapping[str, Any]) -> None:
    """Raise an error for an argument that means another engine or database than an address.

    Others, such as `user` or `sslmode`, may differ from what the address says.

    Args:
        address: the configuration that the address means.
        engine: name of the engine that the arguments ask for, that of the address if they do not name one.
        arguments: the parameters that were given with the address, all of them known.

    Raises:
        ConfigError: an argument does; the message holds no value, which may be part of a password.
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
    """Return a value in the form in which two are the same if they name the same place."""
    if name == "dbpath" and isinstance(value, (str, os.PathLike)):
        return os.path.abspath(os.path.expanduser(os.fspath(value)))
    return str(value).lower() if name == "host" else str(value)


def refuse_unknown(names: Iterable[Any], engine: str, sources: Mapping[str, str] | None = None) -> None:
    """Raise an error for a name that neither SQLTrack nor libpq knows as that of a parameter.

    Args:
        names: names of the parameters that a configuration holds.
        engine: name of the engine that it chooses, whose parameters are suggested first.
        sources: where names come from, default: unknown.

    Raises:
        ConfigError: a name is unknown; the error tells which known one is like it.
    """
    for name in names:
        if is_known(name):
            continue
        source = (sources or {}).get(name, "argument")
        where = "" if source == "argument" else f" in {source}"
        if not re.fullmatch(r"[\w.-]*", str(name)):
            # Part of a line or address, and perhaps of a password.
            raise ConfigError(f"the name of a parameter must be a word{where}", "expected name = value")
        raise ConfigError(f"unknown parameter {quote(name)}{where}", _advise(str(name).lower(), engine))


def _advise(name: str, engine: str) -> str:
    if name in _ADDRESSES:
        return _ADDRESS_ADVICE
    meant = find_meant(name, engine)
    return "see the parameters of libpq, and of sqltrack" if meant is None else f"did you mean {meant!r}?"


def find_meant(name: str, engine: str) -> str | None:
    """Return the known name that a wrong one in lower case stands for, that of the chosen engine if there are several.

    None if none resembles it.
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
    """Return the names that may have been meant where an engine is used, by how they and their other names look."""
    others = {_bare(other): known for known, names in _OTHER_NAMES[engine].items() for other in names}
    return {**others, **{_bare(known): known for known in _OF_ENGINE[engine] | CLIENT_SETTINGS | {"engine"}}}


def _bare(name: str) -> str:
    return name.replace("_", "").replace("-", "")
