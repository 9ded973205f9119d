"""The names of all parameters, whatever the engine, and which of them a wrong name stands for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sqltrack._settings import CLIENT_SETTINGS
from sqltrack.engines._spelling import quote
from sqltrack.engines.postgres._parameters import LIBPQ_PARAMETERS, is_known_to_libpq
from sqltrack.errors import ConfigError

__all__ = ["OWN_PARAMETERS", "refuse_unknown"]

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
_ADDRESSES = frozenset({"address", "connection_string", "dsn", "uri", "url"})


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
        if name in OWN_PARAMETERS or (isinstance(name, str) and is_known_to_libpq(name)):
            continue
        source = (sources or {}).get(name, "argument")
        where = "" if source == "argument" else f" in {source}"
        if not re.fullmatch(r"[\w.-]*", str(name)):
            # Part of a line or address, and perhaps of a password.
            raise ConfigError(f"the name of a parameter must be a word{where}", "expected name = value")
        raise ConfigError(f"unknown parameter {quote(name)}{where}", _advise(str(name).lower(), engine))


def _advise(name: str, engine: str) -> str:
    if name in _ADDRESSES:
        return "an address goes to Client('postgresql://…')"
    meant = _find_meant(name, engine)
    return "see the parameters of libpq, and of sqltrack" if meant is None else f"did you mean {meant!r}?"


def _find_meant(name: str, engine: str) -> str | None:
    """Return the known name that a wrong one stands for, that of the chosen engine if there are several."""
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
