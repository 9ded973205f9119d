"""Write a report as HTML: tables that need no script, and the scripts that sort them and draw curves."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from sqltrack.statuses import GROUPS, OTHER, find_group
from sqltrack.ui._json import encode
from sqltrack.ui._report._content import SECTIONS, Content
from sqltrack.ui._report._scripts import linked_modules, read_static
from sqltrack.ui._report._text import as_text, exact_text, group_name, spread_text
from sqltrack.ui.queries._columns import parse_column
from sqltrack.wording import pluralize

__all__ = ["write_html"]

_STYLES = ("theme.css", "charts.css", "report.css")
_START, _MAIN = "report_start.js", "report.js"
# Digits of points of curves; charts and their tables show five.
_DIGITS = 7
# The longest value in a cell; a comparison may hold texts of many lines.
_LONGEST = 200
_AS_TEXT = "\ufe0e"


def write_html(content: Content) -> str:
    """Return a report as one HTML file that needs no other file.

    Its policy permits only the scripts and styles in it, by their hashes, and modules that these scripts make.
    """
    style = "".join(read_static(name) for name in _STYLES) + _status_style()
    start = read_static(_START)
    logo = base64.b64encode(read_static("logo.svg").encode()).decode()
    policy = (
        f"default-src 'none'; script-src '{_hash(start)}' blob:; style-src '{_hash(style)}'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{_text(content.title)}</title>",
        f'<link rel="icon" type="image/svg+xml" href="data:image/svg+xml;base64,{logo}">',
        f"<style>{style}</style>",
        "</head>",
        '<body class="report">',
        *_head(content),
        "<main>",
        *_runs(content),
        *_curves(content),
        *_groups(content),
        *_comparison(content),
        *_source(content),
        "</main>",
        f'<script type="text/plain" id="report-modules">{_packed(linked_modules(_MAIN))}</script>',
        f'<script type="text/plain" id="report-data">{_packed(_data(content))}</script>',
        f'<script type="module">{start}</script>',
        "</body>",
        "</html>",
        "",
    ]
    return "\n".join(parts)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _packed(value: Any) -> str:
    """Return JSON, compressed, as text that cannot end a script."""
    # Without the time, so that the same content gives the same bytes.
    return base64.b64encode(gzip.compress(encode(value), 9, mtime=0)).decode()


def _text(value: object) -> str:
    """Return text for HTML, without characters that no file may hold."""
    plain = "".join(char if char >= " " or char in "\t\n" else "\ufffd" for char in str(value))
    return html.escape(plain.encode("utf-8", "replace").decode("utf-8"))


def _data(content: Content) -> dict[str, Any]:
    """Return the values that the scripts need."""
    places: dict[tuple[Any, ...], int] = {}

    def place(x: Sequence[Any]) -> int:
        """Return the place of the positions of points in a list, as most curves share them."""
        return places.setdefault(tuple(x), len(places))

    runs = [{**curve, "x": place(curve["x"]), "y": _rounded(curve["y"]), "smooth": None} for curve in content.curves]
    groups = [
        {**group, "x": place(group["x"]), **{name: _rounded(group[name]) for name in ("mean", "low", "high")}}
        for group in content.groups
    ]
    return {
        "columns": content.runs["columns"],
        "rows": [
            {name: row[name] for name in ("id", "experiment", "status", "values")} for row in content.runs["rows"]
        ],
        "selected": content.selected,
        "metrics": content.metrics,
        "curves": runs,
        "groups": groups,
        "group_values": [row["value"] for row in (content.group_rows or {}).get("rows", ())],
        "xs": [list(x) for x in places],
        "comparison": content.comparison["rows"],
        "view": content.view,
        "statuses": [group._asdict() for group in (*GROUPS, OTHER)],
    }


def _rounded(values: Iterable[Any]) -> list[Any]:
    return [
        float(f"{value:.{_DIGITS}g}") if isinstance(value, float) and math.isfinite(value) else value
        for value in values
    ]


def _status_style() -> str:
    groups = (group for group in GROUPS if group.light != "currentcolor")
    return "".join(f".status-{group.name}{{color:light-dark({group.light},{group.dark})}}" for group in groups)


def _head(content: Content) -> Iterator[str]:
    rows = content.runs["rows"]
    counts = Counter(find_group(row["status"]).name for row in rows)
    by_status = ", ".join(f"{number:,} {name}" for name, number in counts.most_common())
    shown = pluralize(len(rows), "run")
    if not content.has_all:
        shown = f"the first {len(rows):,} of {pluralize(content.runs['total'], 'run')}"
    yield "<header>"
    yield f'<div class="report-title"><h1><bdi>{_text(content.title)}</bdi></h1>'
    yield '<button type="button" class="button" id="report-scheme" hidden>Light or dark</button></div>'
    yield f"<p>{_text(shown[0].upper() + shown[1:])} ({_text(by_status)}) of the database "
    yield f"<bdi>{_text(content.name)}</bdi>, as of "
    yield f'<time datetime="{_text(content.made)}">{_text(as_text(content.made, "time"))}</time>.</p>'
    if content.condition:
        yield f"<p>Chosen by: <code><bdi>{_text(content.condition)}</bdi></code></p>"
    yield '<p class="note" id="report-note">To sort the tables and to see the curves, open this file in a browser that '
    yield "runs scripts. The file needs no network.</p>"
    yield "</header>"


def _runs(content: Content) -> Iterator[str]:
    columns = [item for item in content.runs["columns"] if item["column"] not in _FIXED]
    places = [place for place, item in enumerate(content.runs["columns"]) if item["column"] not in _FIXED]
    yield '<section aria-labelledby="runs-title"><h2 id="runs-title">Runs</h2>'
    yield '<div class="report-table" tabindex="0" role="region" aria-label="Table of runs">'
    yield '<table class="table" id="runs">'
    yield '<thead><tr><th scope="col" class="number">Run</th><th scope="col">Status</th>'
    for item in columns:
        label, order = _text(item["label"]), _order(content, item["column"])
        yield f'<th scope="col" class="{_kind_class(item["kind"])}" title="{label}"{order}><bdi>{label}</bdi></th>'
    yield "</tr></thead><tbody>"
    for row in content.runs["rows"]:
        yield f'<tr><th scope="row" class="number">{row["id"]}</th><td>{_status(row["status"])}</td>'
        for place, item in zip(places, columns):
            yield _cell(row["values"][place], _kind(item), _kind_class(item["kind"]))
        yield "</tr>"
    yield "</tbody></table></div></section>"


def _order(content: Content, column: Any) -> str:
    """Return the attribute of a heading that tells that its column sorts the table."""
    first = content.runs["sort"][:1]
    if not first or first[0]["column"] != column:
        return ""
    return f' aria-sort="{"descending" if first[0]["descending"] else "ascending"}"'


# Columns that each table has anyway.
_FIXED = (["run", "id"], ["run", "status"])


def _kind(item: Mapping[str, Any]) -> str:
    return item["column"][1] if item["column"] in (["run", "duration"], ["run", "tags"]) else str(item["kind"])


def _kind_class(kind: str) -> str:
    return "number" if kind == "number" else "words"


def _cell(value: Any, kind: str | None, name: str = "") -> str:
    shown, exact = as_text(value, kind), exact_text(value)
    shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
    title = f' title="{_text(exact)}"' if exact != shown and len(exact) <= _LONGEST else ""
    return f'<td class="{name}"{title}><bdi>{_text(shown)}</bdi></td>'


def _status(status: str) -> str:
    group = find_group(status)
    symbol = f'<span class="symbol" aria-hidden="true">{group.symbol}{_AS_TEXT}</span>'
    return f'<span class="status status-{group.name}">{symbol}<bdi>{_text(status)}</bdi></span>'


def _curves(content: Content) -> Iterator[str]:
    yield '<section aria-labelledby="curves-title"><h2 id="curves-title">Curves</h2>'
    yield '<div id="curves"></div>'
    if content.without_curves:
        yield f'<p class="muted">{pluralize(content.without_curves, "run")} in the table have no curves here.</p>'
    yield "<details><summary>Curves in numbers</summary>"
    yield '<div class="report-table" tabindex="0" role="region" aria-label="Curves in numbers"><table class="table">'
    yield '<thead><tr><th scope="col" class="number">Run</th><th scope="col">Metric</th>'
    for name in ("Rows", "Smallest", "Largest", "Last"):
        yield f'<th scope="col" class="number">{name}</th>'
    yield "</tr></thead><tbody>"
    for curve in content.curves:
        finite = curve["y"]
        values = (curve["rows"], min(finite, default=None), max(finite, default=None), (curve["last"] or {}).get("y"))
        name = " + ".join(map(str, curve["runs"]))
        yield f'<tr><th scope="row" class="number">{name}</th><td><bdi>{_text(curve["metric"])}</bdi></td>'
        yield "".join(_cell(value, "number", "number") for value in values)
        yield "</tr>"
    yield "</tbody></table></div></details></section>"


def _groups(content: Content) -> Iterator[str]:
    table = content.group_rows
    if table is None:
        return
    yield '<section aria-labelledby="groups-title"><h2 id="groups-title">Groups</h2>'
    yield f'<p class="muted">{_text(_grouping(content.view["group"]))} Mean ± standard deviation, and n, the number '
    yield "of runs.</p>"
    yield '<div class="report-table" tabindex="0" role="region" aria-label="Table of groups">'
    yield '<table class="table" id="groups">'
    yield '<thead><tr><th scope="col">Group</th><th scope="col" class="number">n</th>'
    for item in table["columns"]:
        yield f'<th scope="col" class="number"><bdi>{_text(item["label"])}</bdi></th>'
    yield "</tr></thead><tbody>"
    for row in table["rows"]:
        yield f'<tr><th scope="row"><bdi>{_text(group_name(row["value"]))}</bdi></th><td class="number">{row["n"]}</td>'
        for cell in row["cells"]:
            yield f'<td class="number">{spread_text(cell, row["n"])}</td>'
        yield "</tr>"
    yield "</tbody></table></div></section>"


def _grouping(group: Any) -> str:
    """Return a sentence that tells which runs are a group."""
    if group == "all_but_seed":
        return "Runs of a group differ in their seeds at most."
    if isinstance(group, Mapping):
        names = ", ".join(".".join(map(str, path)) for path in group.get("all_but") or [])
        return f"Runs of a group have the same arguments, apart from {names}."
    columns = group if isinstance(group[0], list) else [group]
    return f"Runs of a group have the same {', '.join(parse_column(column).label for column in columns)}."


def _comparison(content: Content) -> Iterator[str]:
    runs, rows = content.comparison["runs"], content.comparison["rows"]
    if len(runs) < 2:
        return
    yield '<section aria-labelledby="compare-title"><h2 id="compare-title">Comparison</h2>'
    yield f'<p class="muted" id="compare-note">What differs between {pluralize(len(runs), "run")}. '
    yield "The environment is not part of reports.</p>"
    yield '<div class="report-table compare-table" tabindex="0" role="region" aria-label="Table of the comparison">'
    yield '<table class="table" id="compare"><thead><tr><th scope="col" class="compare-name">What differs</th>'
    for run in runs:
        experiment = f'<div class="compare-experiment cut"><bdi>{_text(run["experiment"])}</bdi></div>'
        yield f'<th scope="col" data-run="{run["id"]}">{run["id"]}{experiment}'
        yield f"{_status(run['status'])}</th>"
    yield "</tr></thead>"
    for section, title in SECTIONS.items():
        chosen = [row for row in rows if row["section"] == section]
        if chosen:
            yield f'<tbody><tr class="compare-section"><th scope="rowgroup" colspan="{len(runs) + 1}">'
            yield f"<span>{title}</span></th></tr>"
            for row in chosen:
                yield _compared(row)
            yield "</tbody>"
    yield "</table></div></section>"


def _compared(row: Mapping[str, Any]) -> str:
    kind = row["path"][0] if row["section"] == "run" else None
    cells = "".join(_cell(value, kind) for value in row["values"])
    label = _text(row["label"])
    return f'<tr><th scope="row" class="compare-name" title="{label}"><bdi>{label}</bdi></th>{cells}</tr>'


def _source(content: Content) -> Iterator[str]:
    yield '<section aria-labelledby="source-title"><h2 id="source-title">Where the numbers come from</h2>'
    yield "<details><summary>The table of runs as SQL</summary>"
    yield f'<pre class="code" tabindex="0"><bdi>{_text(content.runs["sql"])}</bdi></pre></details>'
    yield f'<p class="muted">Made by SQLTrack {_text(version("sqltrack-ui"))}. The points of curves are rounded to '
    yield f"{_DIGITS} digits, and thinned if there are many; smallest and largest values are kept.</p></section>"
