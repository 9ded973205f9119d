"""Resolve host names within the connect timeout."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.conninfo import timeout_from_conninfo

__all__ = ["connect_timeout", "with_addresses"]


def connect_timeout(parameters: Mapping[str, Any]) -> float:
    """Return psycopg's connect timeout per address in seconds, from parameters or environment."""
    return float(timeout_from_conninfo(dict(parameters)))


def with_addresses(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters of libpq with the addresses of their hosts.

    psycopg would resolve the names, too, but wait as long as the system's resolver. Names without an address are left
    out if other hosts have one. libpq resolves names in a service file.

    Raises:
        psycopg.OperationalError: no address was found, or not in time.
    """
    hosts = _split(parameters, "host")
    if _split(parameters, "hostaddr") or not any(map(_needs_lookup, hosts)):
        return dict(parameters)
    ports = _split(parameters, "port") or [""]
    if len(ports) not in (1, len(hosts)):
        # psycopg will report the error.
        return dict(parameters)
    found = _look_up(hosts, connect_timeout(parameters))
    ports = ports * len(hosts) if len(ports) == 1 else ports
    rows = [(host, address, port) for host, port in zip(hosts, ports) for address in found.get(host, ())]
    names, addresses, chosen_ports = (",".join(column) for column in zip(*rows))
    return {**parameters, "host": names, "hostaddr": addresses, **({"port": chosen_ports} if any(ports) else {})}


def _split(parameters: Mapping[str, Any], name: str) -> list[str]:
    value = parameters.get(name)
    text = os.environ.get(f"PG{name.upper()}", "") if value is None else str(value)
    return text.split(",") if text else []


def _needs_lookup(host: str) -> bool:
    # libpq takes these for the path of a Unix socket (in the abstract namespace for "@"), or of a folder on Windows.
    if not host or host.startswith(("/", "@")) or host[1:2] == ":":
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def _look_up(hosts: Sequence[str], seconds: float) -> dict[str, list[str]]:
    """Return the addresses of hosts, an empty string for hosts that need none.

    Raises:
        psycopg.OperationalError: no address was found.
    """
    deadline = time.monotonic() + seconds
    lookups = {host: _Lookup(host) for host in hosts if _needs_lookup(host)}
    found: dict[str, list[str]] = {host: [""] for host in hosts if host not in lookups}
    for host, lookup in lookups.items():
        if lookup.wait(max(deadline - time.monotonic(), 0)):
            found[host] = lookup.addresses
    if not any(found.values()):
        raise psycopg.OperationalError("; ".join(lookup.describe(seconds) for lookup in lookups.values()))
    return found


class _Lookup:
    """Resolves a host in a separate thread, because that can take long.

    At interpreter shutdown, when no thread can start, it resolves the host in the constructor.

    Attributes:
        addresses: the addresses found.
    """

    def __init__(self, host: str) -> None:
        self.addresses: list[str] = []
        self._host = host
        self._error: OSError | None = None
        self._done = threading.Event()
        try:
            threading.Thread(target=self._run, name="sqltrack-lookup", daemon=True).start()
        except RuntimeError:
            self._run()

    def wait(self, seconds: float) -> bool:
        """Return whether there is a result within `seconds`."""
        return self._done.wait(seconds)

    def describe(self, seconds: float) -> str:
        """Return why no address was found within `seconds`."""
        return f"failed to resolve host {self._host!r}: {self._error or f'no answer within {seconds:g} s'}"

    def _run(self) -> None:
        try:
            answers = socket.getaddrinfo(self._host, None, proto=socket.IPPROTO_TCP, type=socket.SOCK_STREAM)
            self.addresses = [str(answer[4][0]) for answer in answers]
        except (OSError, UnicodeError) as error:
            self._error = error if isinstance(error, OSError) else OSError(str(error))
        finally:
            self._done.set()
