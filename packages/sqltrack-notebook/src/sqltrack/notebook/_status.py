"""Icons for the states of a run."""

from __future__ import annotations

from sqltrack.notebook._text import escape, is_missing

__all__ = ["format_status"]

# Symbol and states of each group. Groups differ in shape, not only in the stylesheet's colors for their names.
_GROUPS = {
    "done": ("✔", "COMPLETED"),
    "running": ("▶", "RUNNING COMPLETING CONFIGURING SIGNALING STAGE_OUT UPDATE_DB RESIZING POWER_UP_NODE"),
    "waiting": ("◔", "PENDING REQUEUED REQUEUE_FED"),
    "held": ("‖", "SUSPENDED STOPPED REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT"),
    "planned": ("◇", "PLANNED"),
    "failed": ("✖", "FAILED BOOT_FAIL NODE_FAIL LAUNCH_FAILED RECONFIG_FAIL OUT_OF_MEMORY"),
    "late": ("▲", "TIMEOUT DEADLINE"),
    "cancelled": ("■", "CANCELLED PREEMPTED REVOKED"),
}
_ICONS = {state: (group, symbol) for group, (symbol, states) in _GROUPS.items() for state in states.split()}
# Asks for the shape instead of a colorful picture where a font has both.
_AS_TEXT = "\ufe0e"


def format_status(status: str | None) -> str:
    """Return an icon for a status; hovering shows its name.

    Args:
        status: a state of a Slurm job in any case, also as sacct puts it ("CANCELLED by 1000"), or PLANNED. Any other
            text is shown beside a neutral icon.

    Returns:
        HTML text, empty for missing values.
    """
    if is_missing(status):
        return ""
    name = escape(status)
    words = str(status).split()
    group, symbol = _ICONS.get(words[0].rstrip("+").upper() if words else "", (None, ""))
    if group is None:
        icon = '<span aria-hidden="true">•</span>'
        return f'<span class="sqltrack-status sqltrack-other">{icon} {name}</span>'
    # The hidden name is what a table's search finds.
    return (
        f'<span class="sqltrack-status sqltrack-{group}" role="img" aria-label="{name}" title="{name}">'
        f"{symbol}{_AS_TEXT}<span hidden> {name}</span></span>"
    )
