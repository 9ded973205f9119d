"""Capture the context of a run: commit, packages, machine, command, and on request diff, output and resources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sqltrack.capture._settings import ALL, DEFAULT, capture_setting

if TYPE_CHECKING:
    from sqltrack.client import Client

__all__ = ["ALL", "DEFAULT", "capture", "capture_setting", "read_packages"]


def capture(names: str | Iterable[str] = "on", *, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the context of this process, as a tracked run stores it in its extras under the key `capture`.

    This takes as long as git needs, at most about two seconds.

    Args:
        names: what to capture, as in the setting `capture`: "on" (default) for git, packages, host and command, "all",
            or names.
        config: configuration with the settings for masking, default: mask credentials by the rules of SQLTrack.

    Returns:
        A dict with a key for each name that has something to tell. The output is missing, because it is collected
        while a run is tracked.

    Raises:
        ConfigError: (a ValueError) a name is unknown.
    """
    from sqltrack.capture._facts import Facts

    facts = Facts(capture_setting({"capture": names}), config or {})
    facts.collect_ready()
    facts.collect_slow()
    return facts.read()


def read_packages(client: Client, run_id: int) -> dict[str, str] | None:
    """Return the versions of the packages that a run has captured, by name; None if it has captured none.

    Args:
        client: client to use.
        run_id: id of the run.

    Raises:
        MissingRunError: (a ValueError) the run does not exist.
    """
    from sqltrack.capture._package_lists import packages_of_run

    return packages_of_run(client, run_id)
