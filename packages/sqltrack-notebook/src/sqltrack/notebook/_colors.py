"""Choose colors for texts."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

__all__ = ["COLORS", "textcolor"]

# CSS names of background colors, and the text color that is readable on them (a contrast of at least 4.5).
COLORS = {
    "teal": "white",
    "steelblue": "black",
    "darkslateblue": "white",
    "mediumvioletred": "white",
    "sienna": "white",
    "seagreen": "black",
    "darkorange": "black",
    "goldenrod": "black",
    "indigo": "white",
    "crimson": "white",
    "cadetblue": "black",
    "olivedrab": "black",
    "royalblue": "white",
    "palevioletred": "black",
    "darkgreen": "white",
    "lightskyblue": "black",
}


def textcolor(text: str, colors: Sequence[str] | None = None) -> str:
    """Return the name of a color for a text, the same in each process.

    Args:
        text: the text.
        colors: colors to choose from, default: CSS colors that stand out on light and dark backgrounds.

    Raises:
        ValueError: `colors` is empty.
    """
    names = tuple(COLORS) if colors is None else colors
    if not len(names):
        raise ValueError(f"colors must hold at least one color, got {colors!r}")
    return names[zlib.crc32(str(text).encode("utf-8", "surrogatepass")) % len(names)]
