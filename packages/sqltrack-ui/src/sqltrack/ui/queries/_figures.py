"""Write charts as Python programs with pandas and matplotlib."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqltrack.ui.queries._columns import parse_column
from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._errors import QueryError
from sqltrack.ui.queries._filters import parse_filter, parse_ids
from sqltrack.ui.queries._runs import shown_sql
from sqltrack.ui.queries._snippets import as_python, client_line

__all__ = ["figure"]

_COLOR = re.compile(r"#[0-9a-f]{6}", re.IGNORECASE)
# The kind of each font, and its names for matplotlib, the preferred one first; matplotlib brings the last one.
_FONTS = {
    "serif": ("serif", ["Times New Roman", "Tinos", "Liberation Serif", "STIXGeneral"]),
    "sans": ("sans-serif", ["Arial", "Helvetica", "Liberation Sans", "DejaVu Sans"]),
    "latex": ("serif", ["CMU Serif", "Latin Modern Roman", "STIXGeneral"]),
}
_MATH_FONTS = {"serif": "stix", "sans": "dejavusans", "latex": "cm"}
_PLACES = {
    **{f"{y} {x}": f"{y} {x}" for y in ("upper", "lower") for x in ("left", "right")},
    "best": "best",
    "outside": "outside right upper",
}
_MOST_POINTS = 100_000
# Defaults, in centimeters and points.
_WIDTH, _HEIGHT, _SIZE, _LINE_WIDTH = 8.5, 6.0, 9.0, 1.0


def figure(source: Database, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Python program that draws a chart with pandas and matplotlib, with the same numbers as the page.

    Args:
        source: the database.
        spec: dict with kind ("curves", "groups" or "scatter") and look, a dict with width and height in centimeters,
            font ("serif", "sans" or "latex"), size of the font and line_width in points, legend ("best", "upper left"
            and other corners, "outside", or None), x_label, y_label, log_x, log_y, grid, and file, the name of the file
            to save without its suffix. For curves and groups also runs, metrics, x, range, smoothing, join and band as
            in `curves`, raw (whether to draw raw curves behind smooth ones), and series, a list of dicts with name,
            label (default: the name), metric, color, dash (points on and off), and run (an id) or members (ids of a
            group), and is_faint (whether to draw the members of groups faintly). For scatter also filter, and the
            columns x, y and color (None without one), and color_log (whether its scale is logarithmic).

    Returns:
        A dict with python.

    Raises:
        QueryError: the specification is not valid.
    """
    kind = str(spec.get("kind"))
    if kind not in _KINDS:
        raise QueryError(f"kind must be one of {', '.join(_KINDS)}, got {kind!r}")
    return {"python": _KINDS[kind](source, spec)}


def _curves_program(source: Database, spec: Mapping[str, Any]) -> str:
    series = _series(spec)
    styles = [f"    ({item['run']}, {item['metric']!r}): {_style(item)}," for item in series]
    raw = [
        '    axes.plot(curve["x"], curve["value"], color=styles[key]["color"], alpha=0.22, linewidth=0.5)',
    ]
    return _program(
        source,
        spec,
        ["metric_curves"],
        [
            "# Color, dash and label of each curve.",
            "styles = {",
            *styles,
            "}",
            "for key, style in styles.items():",
            '    curve = curves[(curves["run_id"] == key[0]) & (curves["metric"] == key[1])]',
            *(raw if spec.get("raw") and spec.get("smoothing") else []),
            '    axes.plot(curve["x"], curve["smooth"], **style)',
        ],
    )


def _groups_program(source: Database, spec: Mapping[str, Any]) -> str:
    series = _series(spec)
    members = {run_id: item["name"] for item in series for run_id in parse_ids(item.get("members"))}
    styles = [f"    ({item['name']!r}, {item['metric']!r}): {_style(item)}," for item in series]
    band = spec.get("band") or "std"
    return _program(
        source,
        spec,
        ["group_curves", "metric_curves"],
        [
            "# The group of each run.",
            "members = {",
            *(f"    {run_id}: {name!r}," for run_id, name in members.items()),
            "}",
            f"groups = group_curves(curves, members, band={band!r})",
            "# Color, dash and label of each group.",
            "styles = {",
            *styles,
            "}",
            *(_MEMBERS if spec.get("is_faint") else []),
            "for key, style in styles.items():",
            '    group = groups[(groups["group"] == key[0]) & (groups["metric"] == key[1])]',
            '    x, color = group["x"], style["color"]',
            '    axes.fill_between(x, group["low"], group["high"], color=color, alpha=0.16, linewidth=0)',
            '    axes.plot(x, group["mean"], **style)',
        ],
    )


_MEMBERS = [
    'for (run_id, metric), curve in curves.groupby(["run_id", "metric"]):',
    '    color = styles[members[run_id], metric]["color"]',
    '    axes.plot(curve["x"], curve["smooth"], color=color, alpha=0.25, linewidth=0.5)',
]


def _program(source: Database, spec: Mapping[str, Any], functions: Sequence[str], draw: Sequence[str]) -> str:
    ids = list(parse_ids(spec.get("runs") or []))
    metrics = spec.get("metrics") or []
    x = spec.get("x") or "step"
    options = [f"x={tuple(x) if isinstance(x, list) else x!r}"]
    options += [f"smoothing={spec['smoothing']!r}"] if spec.get("smoothing") else []
    options += ["join=True"] if spec.get("join") else []
    look = _Look(spec, spec.get("range"))
    lines = [
        "import matplotlib.pyplot as plt",
        "",
        "import sqltrack",
        f"from sqltrack.notebook import {', '.join(functions)}",
        "",
        client_line(source),
        f"curves = metric_curves(client, {ids!r}, {list(metrics)!r}, {', '.join(options)})",
        "",
        *look.begin(),
        *draw,
        *look.end(),
    ]
    return "\n".join(lines) + "\n"


def _scatter_program(source: Database, spec: Mapping[str, Any]) -> str:
    chosen = [parse_column(spec[name]) for name in ("x", "y", "color") if spec.get(name)]
    if len(chosen) < 2:
        raise QueryError(f"x and y must be columns, got {spec.get('x')!r} and {spec.get('y')!r}")
    sql = shown_sql(source, parse_filter(spec.get("filter")), (), chosen, _MOST_POINTS, 0)
    look = _Look(spec, None)
    # The columns that every table of runs has come before these.
    heads = ["x", "y", "color"][: len(chosen)]
    lines = [
        "import matplotlib.pyplot as plt",
        "import pandas as pd",
        "",
        as_python(source, sql).rstrip("\n"),
        f"points = frame.iloc[:, -{len(chosen)}:].set_axis({heads!r}, axis=1).dropna()",
        "",
        *look.begin(),
        *(_colored_lines(chosen[-1].label, bool(spec.get("color_log"))) if len(chosen) > 2 else _PLAIN),
        *look.end(),
    ]
    return "\n".join(lines) + "\n"


_PLAIN = ['axes.scatter(points["x"], points["y"], s=12, alpha=0.8)']


def _colored_lines(label: str, log: bool) -> list[str]:
    """Return the lines that draw dots in the colors of numbers or of words."""
    norm = ', norm="log"' if log else ""
    return [
        'if pd.api.types.is_numeric_dtype(points["color"]):',
        f'    shown = axes.scatter(points["x"], points["y"], c=points["color"], s=12, cmap="viridis"{norm})',
        f"    figure.colorbar(shown, label={_plain(label)!r})",
        "else:",
        '    for value, part in points.groupby("color"):',
        '        axes.scatter(part["x"], part["y"], s=12, alpha=0.8, label=str(value))',
    ]


class _Look:
    """The lines of a program that set sizes, fonts, axes and the legend.

    Args:
        spec: the specification of the chart.
        span: the range of x, None for all.
    """

    def __init__(self, spec: Mapping[str, Any], span: Any) -> None:
        look = spec.get("look") or {}
        if not isinstance(look, Mapping):
            raise QueryError(f"look must be an object, got {look!r}")
        self._look = look
        self._span = span
        self._title = str(look.get("file") or "figure")

    def begin(self) -> Iterator[str]:
        """Yield the lines that create the figure."""
        font = self._look.get("font") or "sans"
        if font not in _FONTS:
            raise QueryError(f"font must be one of {', '.join(_FONTS)}, got {font!r}")
        size = self._number("size", _SIZE)
        yield "# Sizes are in points, the figure in centimeters; the fonts are embedded as text."
        yield "plt.rcParams.update("
        yield "    {"
        kind, names = _FONTS[font]
        # The second font has the characters that the first one lacks.
        yield f'        "font.family": [{kind!r}, "DejaVu Sans"],'
        yield f'        "font.{kind}": {names!r},'
        yield f'        "mathtext.fontset": {_MATH_FONTS[font]!r},'
        yield f'        "font.size": {size:g},'
        yield f'        "legend.fontsize": {0.9 * size:g},'
        yield f'        "lines.linewidth": {self._number("line_width", _LINE_WIDTH):g},'
        yield '        "axes.formatter.use_mathtext": True,'
        yield '        "pdf.fonttype": 42,'
        yield '        "svg.fonttype": "none",'
        yield "    }"
        yield ")"
        width, height = self._number("width", _WIDTH), self._number("height", _HEIGHT)
        yield f'figure, axes = plt.subplots(figsize=({width:g} / 2.54, {height:g} / 2.54), layout="constrained")'

    def end(self) -> Iterator[str]:
        """Yield the lines that label the axes, and save the figure."""
        labels = [f"{axis}label={str(self._look.get(f'{axis}_label') or '')!r}" for axis in "xy"]
        scales = [f'{axis}scale="log"' for axis in "xy" if self._look.get(f"log_{axis}")]
        limits = [f"xlim=({float(self._span[0])!r}, {float(self._span[1])!r})"] if self._span else []
        yield f"axes.set({', '.join([*labels, *scales, *limits])})"
        if self._look.get("grid", True):
            yield "axes.grid(alpha=0.3, linewidth=0.5)"
        legend = self._look.get("legend")
        if legend == "outside":
            yield 'figure.legend(loc="outside right upper")'
        elif legend is not None:
            if legend not in _PLACES:
                raise QueryError(f"legend must be null or one of {', '.join(_PLACES)}, got {legend!r}")
            yield "if axes.get_legend_handles_labels()[1]:"
            yield f"    axes.legend(loc={_PLACES[legend]!r})"
        yield f"figure.savefig({self._title + '.pdf'!r})"

    def _number(self, name: str, default: float) -> float:
        value = self._look.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1000:
            raise QueryError(f"{name} must be a number above 0, at most 1,000, got {value!r}")
        return float(value)


def _series(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    series = spec.get("series") or []
    if not isinstance(series, list) or not all(isinstance(item, dict) for item in series):
        raise QueryError(f"series must be a list of objects, got {series!r}")
    for item in series:
        if not _COLOR.fullmatch(str(item.get("color"))):
            raise QueryError(f"color must be '#' and six hexadecimal digits, got {item.get('color')!r}")
        if spec["kind"] == "curves":
            parse_ids([item.get("run")])
    return series


def _style(item: Mapping[str, Any]) -> str:
    dash = tuple(float(length) for length in item.get("dash") or ())
    line = repr((0, dash)) if dash else "'-'"
    # Between dollar signs, matplotlib reads a formula.
    label = str(item.get("label") or _plain(str(item.get("name"))))
    return f"{{'label': {label!r}, 'color': {str(item['color'])!r}, 'linestyle': {line}}}"


def _plain(text: str) -> str:
    """Return a text from the data as a label, of which matplotlib reads no part as a formula."""
    return text.replace("$", r"\$")


_KINDS: Mapping[str, Callable[[Database, Mapping[str, Any]], str]] = {
    "curves": _curves_program,
    "groups": _groups_program,
    "scatter": _scatter_program,
}
