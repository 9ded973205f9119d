"""Write the command line that runs a configuration again."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from typing import Any

from sqltrack._masking import MASK
from sqltrack.commands._rows import to_number
from sqltrack.ui.queries._runs import leaves

__all__ = ["as_options", "command_line"]


def command_line(command: Any, args: Any) -> dict[str, Any]:
    """Return the command line of a run, quoted for a POSIX shell.

    Args:
        command: the captured command, a dict with argv and cwd, or anything else if none was captured.
        args: the arguments of the run.

    Returns:
        A dict with text; source, "captured" for the command itself, or "arguments" for the arguments as options; and
        masked, whether credentials are hidden in it.
    """
    argv = command.get("argv") if isinstance(command, Mapping) else None
    if not isinstance(argv, list) or not argv or command.get("argv_cut"):
        text = as_options(args)
        return {"text": text, "source": "arguments", "masked": MASK in text}
    text = shlex.join(map(str, argv))
    folder = command.get("cwd")
    if isinstance(folder, str):
        text = f"cd {shlex.quote(folder)} && {text}"
    return {"text": text, "source": "captured", "masked": MASK in text}


def as_options(args: Any) -> str:
    """Return arguments as options of a command line: `--lr=0.1 --model.name='my model'`."""
    return " ".join(shlex.quote(f"--{'.'.join(path)}={_option(value)}") for path, value in leaves(args))


def _option(value: Any) -> str:
    """Return a value as the text of an option: texts as they are, others as JSON."""
    value = to_number(value)
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value, ensure_ascii=False)
