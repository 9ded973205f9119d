"""Show what runs have captured: in a few lines for one run, and item by item to compare several."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from sqltrack.capture._package_lists import packages_with_hash
from sqltrack.engines.schema import CAPTURE
from sqltrack.errors import SQLTrackError
from sqltrack.wording import pluralize, short_bytes

if TYPE_CHECKING:
    from sqltrack.client import Client

__all__ = ["captured_items", "compare_captures", "split_extras", "summarize_capture", "with_packages"]

# Digits of a commit that are shown, as git does.
_SHORT = 10

# Long texts, which are not compared.
_TEXTS = frozenset({("git", "diff_files"), ("output", "text")})


def split_extras(extras: Any) -> tuple[Any, dict[str, Any]]:
    """Return the extras of a run without the captured context, and that context, empty if there is none."""
    if not isinstance(extras, dict) or not isinstance(extras.get(CAPTURE), dict):
        return extras, {}
    rest = {name: value for name, value in extras.items() if name != CAPTURE}
    return rest or None, extras[CAPTURE]


def with_packages(
    client: Client, captures: Sequence[Mapping[str, Any]], reading: Callable[[], AbstractContextManager[Any]]
) -> list[dict[str, Any]]:
    """Return captured contexts with lists of packages in place of the hashes; lists that cannot be read are left out.

    Args:
        client: client of the database.
        captures: the contexts.
        reading: returns a `with` block for a connection that reads from the database, outside of other blocks.
    """
    found: dict[str, Any] = {}
    for digest in filter(None, set(map(_hash_of, captures))):
        # In a block of its own, which a refusal ends.
        try:
            with reading() as connection:
                found[digest] = packages_with_hash(client.engine, connection, digest)
        except (SQLTrackError, client.engine.driver_error):
            continue
    return [
        {**capture, "packages": found[capture["packages"]]} if found.get(_hash_of(capture)) else dict(capture)
        for capture in captures
    ]


def _hash_of(capture: Mapping[str, Any]) -> str:
    digest = capture.get("packages")
    return digest if isinstance(digest, str) else ""


def summarize_capture(capture: Mapping[str, Any]) -> dict[str, str]:
    """Return a captured context as texts by label; packages, diff and output are only counted."""
    parts = {name: value if isinstance(value, dict) else {} for name, value in capture.items()}
    git, host, command = (parts.get(name, {}) for name in ("git", "host", "command"))
    shown = {
        "commit": _commit(git),
        "remote": git.get("remote"),
        "command": _command(command),
        "folder": command.get("cwd"),
        "host": _host(host),
        "gpus": ", ".join(str(gpu.get("name")) for gpu in _dicts(host.get("gpus"))),
        "job": _job(parts.get("job", {})),
        "packages": _count(capture.get("packages")),
        "diff": _diff(git),
        "output": _output(parts.get("output", {})),
        "resources": _resources(parts.get("resources", {})),
    }
    return {name: str(text) for name, text in shown.items() if text}


def compare_captures(captures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the items of several captured contexts, such as "git.commit", side by side.

    Of packages, only those whose versions differ are listed. A diff is shown by its length and a short hash. Process
    ids and outputs are left out.

    Args:
        captures: the contexts, with lists of packages, see `with_packages`.
    """
    items = [dict(captured_items(capture)) for capture in captures]
    names = dict.fromkeys(name for item in items for name in item)
    same = {name for name in names if name[0] == "packages" and len({repr(item.get(name)) for item in items}) == 1}
    return [{".".join(name): value for name, value in item.items() if name not in same} for item in items]


def captured_items(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield paths and values of a captured context, without process ids, diffs and outputs, which are not compared."""
    if path in _TEXTS or path == ("command", "pid"):
        return
    if path == ("git", "diff") and isinstance(value, str):
        digest = hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()
        yield path, f"{pluralize(len(value.splitlines()), 'line')}, hash {digest[:_SHORT]}"
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from captured_items(item, (*path, str(name)))
    elif value is not None:
        yield path, value


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _commit(git: Mapping[str, Any]) -> str:
    commit = str(git.get("commit") or "")[:_SHORT]
    notes = [str(git["branch"])] if "branch" in git else []
    notes += ["dirty"] if git.get("dirty") else []
    return f"{commit} ({', '.join(notes)})" if commit and notes else commit or ", ".join(notes)


def _command(command: Mapping[str, Any]) -> str:
    words = command.get("argv")
    text = shlex.join(map(str, words)) if isinstance(words, list) else ""
    if command.get("exit_code"):
        text += f" (exit status {command['exit_code']})"
    if "signal" in command:
        text += f" (ended by signal {command['signal']})"
    return text


def _host(host: Mapping[str, Any]) -> str:
    cpus, memory = host.get("cpus"), host.get("memory")
    parts = [
        host.get("name"),
        host.get("system"),
        f"Python {host['python']}" if "python" in host else None,
        f"{cpus} CPUs" if cpus else None,
        short_bytes(memory) if isinstance(memory, int) else None,
    ]
    return ", ".join(str(part) for part in parts if part)


def _job(job: Mapping[str, Any]) -> str:
    if "system" not in job:
        return ""
    rest = [f"{name.replace('_', ' ')} {value}" for name, value in sorted(job.items()) if name not in ("system", "id")]
    return ", ".join([f"{job['system']} {job.get('id', '')}".strip(), *rest])


def _count(packages: Any) -> str:
    if isinstance(packages, dict):
        return pluralize(len(packages), "package")
    return f"list {packages}" if packages else ""


def _diff(git: Mapping[str, Any]) -> str:
    diff = git.get("diff")
    if not isinstance(diff, str):
        return ""
    return f"{pluralize(diff.count(chr(10)), 'line')}{', cut' if git.get('diff_cut') else ''}"


def _output(output: Mapping[str, Any]) -> str:
    text = output.get("text")
    return pluralize(len(text.splitlines()), "line") if isinstance(text, str) else ""


def _resources(resources: Mapping[str, Any]) -> str:
    parts = []
    for name, value in sorted(resources.items()):
        if isinstance(value, dict) and isinstance(value.get("max"), (int, float)):
            highest = value["max"]
            text = short_bytes(int(highest)) if name.endswith("memory") else f"{highest:g}"
            parts.append(f"{name.replace('_', ' ')} up to {text}")
    return ", ".join(parts)
