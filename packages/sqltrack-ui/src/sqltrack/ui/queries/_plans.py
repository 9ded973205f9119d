"""Write Python that creates planned runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._values import as_key

__all__ = ["plan_python"]


def plan_python(source: Database, experiment: tuple[int, str], args: Sequence[Mapping[str, Any]]) -> str:
    """Return a program that creates a run with the status PLANNED for each of some arguments, all or none.

    Args:
        source: the database.
        experiment: id and name of the experiment.
        args: the arguments of each run.
    """
    target = source.client.engine.target()
    config = ", ".join(f"{name}={value!r}" for name, value in target.items())
    same = _same(args)
    cells = [{name: value for name, value in item.items() if name not in same} for item in args]
    experiment_id, name = experiment
    lines = [
        "import sqltrack",
        "",
        f"client = sqltrack.Client({config})",
        f"# {_comment(name)}",
        f"experiment = sqltrack.Experiment(client, experiment_id={experiment_id})",
        f"same = {_literal(same)}",
        "cells = [",
        *(f"    {_literal(cell)}," for cell in cells),
        "]",
        "# All runs are planned or, on an error, none.",
        "with client:",
        "    for args in cells:",
        "        run = experiment.get_run().set_args({**same, **args})",
        '        print("planned run", run.id, args)',
    ]
    return "\n".join(lines) + "\n"


def _same(args: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the arguments that are the same in all items."""
    first, *others = args
    return {
        name: value
        for name, value in first.items()
        if all(name in other and as_key(other[name]) == as_key(value) for other in others)
    }


def _comment(text: str) -> str:
    """Return a text that fits into one comment."""
    return "".join(character if character.isprintable() else " " for character in text)


def _literal(value: Any) -> str:
    """Return a value as Python text; `repr` would write NaN as a name."""
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_literal(item)}' for key, item in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_literal, value))}]"
    return repr(value)
