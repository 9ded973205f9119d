"""Icons for the statuses of runs."""

from __future__ import annotations

from sqltrack.notebook._text import escape, is_missing
from sqltrack.statuses import GROUPS, OTHER, find_group

__all__ = ["add_status_colors", "format_status"]

# Asks for the shape instead of a colorful picture where a font has both.
_AS_TEXT = "\ufe0e"


def format_status(status: str | None) -> str:
    """Return an icon for a status; hovering shows its name.

    Args:
        status: a state of a Slurm job in any case, also as sacct puts it ("CANCELLED by 1000"), or PLANNED; see
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
    # The hidden name is what a table's search finds.
    return (
        f'<span class="sqltrack-status sqltrack-{group.name}" role="img" aria-label="{name}" title="{name}">'
        f"{group.symbol}{_AS_TEXT}<span hidden> {name}</span></span>"
    )


def add_status_colors(css: str) -> str:
    """Return a stylesheet with the colors of all statuses in place of its comments about them."""
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
