"""The statuses of runs, in groups that share a symbol and a color.

A status is a state of a Slurm job, or `PLANNED` for a run without a job. You can set any other text, whose group is
`OTHER`. The symbols differ in shape, so that you can tell groups apart without seeing colors:

    group = find_group("CANCELLED by 1000")
    print(group.symbol, group.name)  # ■ cancelled
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "ALIVE_STATES",
    "ENDED_STATES",
    "GROUPS",
    "OTHER",
    "UNFINISHED_STATES",
    "StatusGroup",
    "find_group",
    "find_state",
]


class StatusGroup(NamedTuple):
    """States that SQLTrack shows alike.

    Attributes:
        name: name of the group, such as "done".
        symbol: a character one column wide, which fonts have as text; in a browser, append U+FE0E so that it is not
            shown as an emoji.
        ansi: name of a terminal color, such as "green" or "bright_black"; "default" is the color of other text.
        light: CSS color on a light background.
        dark: CSS color on a dark background.
        states: names of the states, in upper case.
    """

    name: str
    symbol: str
    ansi: str
    light: str
    dark: str
    states: tuple[str, ...]


def _group(name: str, symbol: str, ansi: str, light: str, dark: str, states: str) -> StatusGroup:
    return StatusGroup(name, symbol, ansi, light, dark, tuple(states.split()))


# The states and flags of https://slurm.schedmd.com/job_state_codes.html, as of Slurm 25.11, and PLANNED. The colors
# can be told apart by color-blind readers, and have a contrast of at least 4.5.
#: All groups except `OTHER`, in the order in which a run usually passes through them.
GROUPS: tuple[StatusGroup, ...] = (
    _group("planned", "◇", "bright_black", "#6b6b6b", "#b0b0b0", "PLANNED"),
    _group("waiting", "◔", "bright_black", "#6b6b6b", "#b0b0b0", "PENDING REQUEUED REQUEUE_FED EXPEDITING"),
    _group("held", "‖", "magenta", "#a0498a", "#dd9cc2", "SUSPENDED STOPPED REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT"),
    _group(
        "running",
        "▶",
        "blue",
        "#0072b2",
        "#56b4e9",
        "RUNNING COMPLETING CONFIGURING SIGNALING STAGE_OUT UPDATE_DB RESIZING POWER_UP_NODE",
    ),
    _group("done", "✔", "green", "#00805d", "#2fc79c", "COMPLETED"),
    _group(
        "failed",
        "✖",
        "red",
        "#c44e00",
        "#ff7f32",
        "FAILED BOOT_FAIL NODE_FAIL LAUNCH_FAILED RECONFIG_FAIL OUT_OF_MEMORY EXPIRED",
    ),
    _group("late", "▲", "yellow", "#a06a00", "#f0b429", "TIMEOUT DEADLINE"),
    _group("cancelled", "■", "default", "#5c5c5c", "#c4c4c4", "CANCELLED PREEMPTED REVOKED"),
)

#: The group of unknown statuses, which have the color of the text around them.
OTHER: StatusGroup = _group("other", "•", "default", "currentcolor", "currentcolor", "")

#: States of a Slurm job whose processes have ended, and that Slurm does not restart by itself. A job in another state,
#: including states that later versions of Slurm add, may still run. `sqltrack reap` copies these states from Slurm.
ENDED_STATES: tuple[str, ...] = (
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "EXPIRED",
    "FAILED",
    "LAUNCH_FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "RECONFIG_FAIL",
    "SPECIAL_EXIT",
    "TIMEOUT",
)

#: States of runs that have a process. Runs that are PLANNED or PENDING have none yet, however long they wait. `sqltrack
#: reap` checks runs in these states.
ALIVE_STATES: tuple[str, ...] = (
    "COMPLETING",
    "CONFIGURING",
    "RESIZING",
    "RUNNING",
    "SIGNALING",
    "STAGE_OUT",
    "STOPPED",
    "SUSPENDED",
)

#: States of runs that have not ended: those with a process, and those that wait for one. `sqltrack gc` keeps these runs
#: unless you name their status.
UNFINISHED_STATES: tuple[str, ...] = tuple(
    state
    for group in GROUPS
    if group.name in ("planned", "waiting", "held", "running")
    for state in group.states
    if state not in ENDED_STATES
)

_GROUPS_BY_STATE = {state: group for group in GROUPS for state in group.states}


def find_group(status: str) -> StatusGroup:
    """Return the group of a status, `OTHER` if the status is unknown.

    Args:
        status: a status in upper or lower case, also as Slurm's commands print it; see `find_state`.
    """
    return _GROUPS_BY_STATE.get(find_state(status), OTHER)


def find_state(status: str) -> str:
    """Return the state that a status names, in upper case: `CANCELLED` for "CANCELLED by 1000" or "cancelle+".

    Args:
        status: the status; only its first word counts. If that ends in "+", as in sacct columns that are too narrow, it
            is completed, unless several states begin with it.

    Returns:
        The state, or the first word of an unknown status.
    """
    state = (status.split() or [""])[0].upper()
    if not state.endswith("+"):
        return state
    matches = [known for known in _GROUPS_BY_STATE if known.startswith(state.rstrip("+"))]
    return matches[0] if len(matches) == 1 else state
