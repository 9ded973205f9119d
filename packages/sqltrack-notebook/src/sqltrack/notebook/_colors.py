"""Colors for texts."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

__all__ = ["COLORS", "textcolor"]

# CSS names of background colors, and the color of readable text on them (contrast of 4.5 and more).
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
    """Return the name of a color for a text, the same one in each process.

    Args:
        text: the text.
        colors: colors to choose from, default: names of CSS colors that stand out on light and dark ground.

    Raises:
        ValueError: colors is empty.
    """
    names = tuple(COLORS) if colors is None else colors
    if not len(names):
        raise ValueError(f"colors must hold at least one color, got {colors!r}")
    return names[zlib.crc32(str(text).encode("utf-8", "surrogatepass")) % len(names)]
