"""Show statuses of runs as icons."""

from __future__ import annotations

from sqltrack.notebook._text import escape, is_missing
from sqltrack.statuses import GROUPS, OTHER, find_group

__all__ = ["add_status_colors", "format_status"]

# Selects the plain symbol instead of an emoji, if a font has both.
_AS_TEXT = "\ufe0e"


def format_status(status: str | None) -> str:
    """Return an icon for a status that shows its name on hover.

    Args:
        status: PLANNED or a state of a Slurm job, in upper or lower case, also in sacct's form "CANCELLED by 1000"; see
            `sqltrack.statuses`. Any other text is shown next to a neutral icon.

    Returns:
        HTML text, empty for missing values.
    """
    if is_missing(status):
        return ""
    name = escape(status)
    group = find_group(str(status))
    if group is OTHER:
        icon = f'<span aria-hidden="true">{group.symbol}</span>'
        return f'<span class="sqltrack-status sqltrack-{group.name}">{icon} {name}</span>'
    # The search of a table finds the hidden name.
    return (
        f'<span class="sqltrack-status sqltrack-{group.name}" role="img" aria-label="{name}" title="{name}">'
        f"{group.symbol}{_AS_TEXT}<span hidden> {name}</span></span>"
    )


def add_status_colors(css: str) -> str:
    """Replace the placeholder comments of a stylesheet by the colors of all statuses."""
    parts = {
        "/* light colors of statuses */": [f"--sqltrack-{group.name}: {group.light};" for group in GROUPS],
        "/* dark colors of statuses */": [f"--sqltrack-{group.name}: {group.dark};" for group in GROUPS],
        "/* rules of statuses */": [
            f".sqltrack-{group.name} {{ color: var(--sqltrack-{group.name}); }}" for group in GROUPS
        ],
    }
    for comment, lines in parts.items():
        css = css.replace(comment, "\n".join(lines))
    return css
