"""The changes that the page can make: for each action, its plan and its description."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands.comment import plan_comment
from sqltrack.commands.edits import Edit
from sqltrack.commands.link import plan_link, plan_links
from sqltrack.commands.mv import plan_mv
from sqltrack.commands.rename import plan_rename
from sqltrack.commands.rm import Deletion, plan_rm
from sqltrack.commands.status import plan_status
from sqltrack.commands.tag import plan_tag
from sqltrack.errors import ConflictError
from sqltrack.ui._errors import RequestError
from sqltrack.ui._json import read_text
from sqltrack.wording import pluralize

__all__ = ["ACTIONS", "CLIENT", "Planned", "Subject"]

#: A line of the Python code of a plan, which stands for the client.
CLIENT: str = "# client"


class Subject(NamedTuple):
    """The runs to change, or the experiment.

    Attributes:
        runs: ids of runs, empty for an experiment.
        experiment: name or id of the experiment, None for runs.
    """

    runs: list[int]
    experiment: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that name it in functions of `sqltrack.commands`."""
        return {"runs": self.runs} if self.experiment is None else {"experiment": self.experiment}


class Planned(NamedTuple):
    """A plan with its words.

    Attributes:
        plan: the plan.
        verbs: the verb, and its past.
        rest: the words after the verb; "{}" stands for the runs or the experiment that change.
        python: code that makes the same change, with the line `CLIENT` in place of the client; empty without one.
        experiment: the experiment that changes, None for runs.
        undoes: name of the edit that it undoes, if any.
    """

    plan: Edit | Deletion
    verbs: tuple[str, str]
    rest: str
    python: str
    experiment: str | None = None
    undoes: str | None = None

    @property
    def kind(self) -> str:
        """What changes: "run" or "experiment"."""
        return "run" if self.experiment is None else "experiment"

    def what(self, number: int) -> str:
        """Return what applying it does to a number of runs, such as "delete 3 runs"."""
        return self._say(self.verbs[0], number)

    def done(self, number: int) -> str:
        """Return what applying it has done, such as "deleted 3 runs"."""
        return self._say(self.verbs[1], number)

    def _say(self, verb: str, number: int) -> str:
        subject = pluralize(number, "run") if self.experiment is None else f"the experiment {self.experiment!r}"
        separator = "" if self.rest.startswith(":") else " "
        return f"{verb}{separator}{self.rest.replace('{}', subject)}"


def _plan_tags(client: Client, subject: Subject, spec: Mapping[str, Any]) -> Planned:
    options: dict[str, Any] = {name: _texts(spec, name) for name in ("add", "remove") if spec.get(name)}
    plan = plan_tag(client, **subject.options, **options)
    python = _call("tag", "plan_tag", subject, **options)
    return Planned(plan, ("change", "changed"), "the tags of {}", python, subject.experiment)


def _plan_comment(client: Client, subject: Subject, spec: Mapping[str, Any]) -> Planned:
    text = read_text(spec, "text")
    plan = plan_comment(client, **subject.options, text=text)
    verbs = ("set", "set") if text else ("remove", "removed")
    return Planned(
        plan, verbs, "the comment of {}", _call("comment", "plan_comment", subject, text=text), subject.experiment
    )


def _plan_status(client: Client, subject: Subject, spec: Mapping[str, Any]) -> Planned:
    status = read_text(spec, "status")
    plan = plan_status(client, _runs(subject, "a status"), status)
    python = _call("status", "plan_status", subject, status=status)
    return Planned(plan, ("set", "set"), f"the status of {{}} to {status.strip()}", python)


def _plan_move(client: Client, subject: Subject, spec: Mapping[str, Any]) -> Planned:
    target, create = read_text(spec, "to").strip(), bool(spec.get("create"))
    plan = plan_mv(client, _runs(subject, "an experiment"), target, create=create)
    options = {"create": True} if create else {}
    python = _call("mv", "plan_mv", subject, experiment=target, **options)
    return Planned(plan, ("move", "moved"), f"{{}} to the experiment {target!r}", python)


def _plan_rename(client: Client, subject: Subject, spec: Mapping[str, Any]) -> Planned:
    if subject.experiment is None:
        raise RequestError("only experiments have names")
    name = read_text(spec, "name").strip()
    plan = plan_rename(client, subject.experiment, name)
    python = _call("rename", "plan_rename", subject, name=name)
    return Planned(plan, ("rename", "renamed"), f"{{}} to {name!r}", python, subject.experiment)


def _plan_link(client: Client, subject: Subject, spec: Mapping[str, Any]) -> Planned:
    kind, to = read_text(spec, "kind").strip(), spec.get("to")
    options = {"remove": True} if spec.get("remove") else {}
    verbs = ("remove", "removed") if options else ("add", "added")
    if subject.experiment is not None:
        target = read_text(spec, "to").strip()
        plan = plan_link(client, subject.experiment, kind, target, experiments=True, **options)
        call = f"plan_link(client, {subject.experiment!r}, {kind!r}, {target!r}, experiments=True{_written(options)})"
        rest = f"the link {kind!r} of {{}} to {target!r}"
        return Planned(plan, verbs, rest, _python("link", "plan_link", call), subject.experiment)
    if not isinstance(to, int) or isinstance(to, bool):
        raise RequestError(f"to must be the id of a run, got {to!r}")
    plan = plan_links(client, subject.runs, kind, to, **options)
    python = _call("link", "plan_links", subject, kind=kind, to=to, **options)
    return Planned(plan, verbs, f"the link {kind!r} of {{}} to run {to}", python)


def _plan_deletion(client: Client, subject: Subject, spec: Mapping[str, Any]) -> Planned:
    options: dict[str, Any] = {"force": True} if spec.get("force") else {}
    try:
        plan = plan_rm(client, **subject.options, **options)
    except ConflictError as error:
        raise ConflictError(f"{error.message}: end it first, or also delete runs that are still logging") from error
    python = _call("rm", "plan_rm", subject, **options)
    number = f" with {pluralize(len(plan.runs), 'run')}" if subject.experiment is not None else ""
    return Planned(plan, ("delete", "deleted"), f"{{}}{number}", python, subject.experiment)


#: The actions by name. Each takes a client, the subject and what the page asks for.
ACTIONS: Mapping[str, Callable[[Client, Subject, Mapping[str, Any]], Planned]] = {
    "tags": _plan_tags,
    "comment": _plan_comment,
    "status": _plan_status,
    "move": _plan_move,
    "rename": _plan_rename,
    "link": _plan_link,
    "delete": _plan_deletion,
}


def _runs(subject: Subject, what: str) -> list[int]:
    if subject.experiment is not None:
        raise RequestError(f"only runs have {what}")
    return subject.runs


def _texts(spec: Mapping[str, Any], name: str) -> list[str]:
    value = spec[name]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RequestError(f"{name} must be a list of texts, got {value!r}")
    return list(dict.fromkeys(item.strip() for item in value))


def _call(module: str, function: str, subject: Subject, **options: Any) -> str:
    first = repr(subject.runs) if subject.experiment is None else f"experiment={subject.experiment!r}"
    return _python(module, function, f"{function}(client, {first}{_written(options)})")


def _written(options: Mapping[str, Any]) -> str:
    return "".join(f", {name}={value!r}" for name, value in options.items())


def _python(module: str, function: str, call: str) -> str:
    apply = ("rm", "apply_rm") if module == "rm" else ("edits", "apply_edit")
    imports = sorted({apply, (module, function)})
    names = {name for name, _ in imports}
    lines = [
        f"from sqltrack.commands.{name} import {', '.join(sorted(item for key, item in imports if key == name))}"
        for name in sorted(names)
    ]
    return "\n".join([*lines, CLIENT, f"{apply[1]}(client, {call})"]) + "\n"
