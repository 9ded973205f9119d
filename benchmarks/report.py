"""Collect the figures of the benchmarks in results.json, and write them as tables into the documentation.

`report.py` writes the tables of results.json between the markers of the pages; `report.py --collect` first adds the
files in results/. A marker is `<!-- figures: NAME -->`, and `<!-- end of figures -->` ends it.

`report.py --collect --into PATH` merges results/ into another file, and leaves results.json and the pages alone.
`report.py --compare OLD NEW` prints the differences between two such files.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["FIGURES", "PAGES", "RESULTS", "changes", "collect", "fill", "render"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_MARKED = re.compile(r"(<!-- figures: (?P<name>[\w-]+) -->\n).*?(<!-- end of figures -->)", re.S)

Figures = dict[str, Any]


# Names of the two ways that are compared, as _common.py writes them.
_OURS, _BY_HAND = "sqltrack", "by hand"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collect", action="store_true", help="take over the files in results/ first")
    parser.add_argument(
        "--into", type=Path, metavar="PATH", help="file to take them over into, instead of results.json"
    )
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("OLD", "NEW"), help="only print the changes")
    options = parser.parse_args()
    if options.compare:
        print(changes(*(json.loads(path.read_text(encoding="utf-8")) for path in options.compare)))
        return
    if options.collect:
        collect(RESULTS.parent / "results", options.into or RESULTS)
    if options.into is None:
        fill_pages()


def fill_pages() -> None:
    tables = render(json.loads(RESULTS.read_text(encoding="utf-8")))
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        filled = fill(text, tables)
        if filled != text:
            path.write_text(filled, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} has new figures")


def collect(folder: Path, target: Path) -> None:
    """Merge the files of a folder into `target`; benchmarks without a new file keep their figures."""
    results: Figures = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
    for path in sorted(folder.glob("*.json")):
        results[path.stem] = json.loads(path.read_text(encoding="utf-8"))
    target.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n", encoding="utf-8")


def fill(text: str, tables: dict[str, str]) -> str:
    """Return a page with tables between its markers; raise KeyError for a marker without a table."""
    return _MARKED.sub(lambda match: f"{match[1]}\n{tables[match['name']]}\n\n{match[3]}", text)


def render(results: Figures) -> dict[str, str]:
    """Return Markdown for each marker, or a hint how to get figures."""
    return {
        name: make(results[source]) if source in results else f"Not measured yet, see `nox -s bench -- {source}`."
        for name, (source, make) in FIGURES.items()
    }


def changes(old: Figures, new: Figures) -> str:
    """Return tables of times before and after, for all figures that are in both files."""
    parts = []
    for source in sorted(old.keys() & new.keys()):
        before, after = comparable(old[source]), comparable(new[source])
        lines = [change(after[key]["version"], key[1], before[key], after[key]) for key in after if key in before]
        if lines:
            columns = ["database", "what", "before", "after", "after / before", "ratio before", "ratio after"]
            parts.append(f"## {source}\n\n{table(columns, lines, texts=2)}\n")
    return "\n".join(parts)


def comparable(document: Any) -> dict[tuple[str, str], Figures]:
    """Return the rows with times of SQLTrack, by engine and name of the measurement."""
    rows = document["results"] if isinstance(document, dict) else []
    return {(row["engine"], row["what"]): row for row in rows if _OURS in row.get("ways", {})}


def change(version: str, what: str, before: Figures, after: Figures) -> list[str]:
    old, new = (row["ways"][_OURS]["p50"] for row in (before, after))
    ratios = [f"{value:.2f} ×" if (value := by_hand_ratio(row)) else "" for row in (before, after)]
    return [version, what, duration(old), duration(new), f"{new / old:.2f} ×", *ratios]


# Tables


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> str:
    """Return a table whose first columns are text and whose others are figures."""
    rule = "|".join(["---"] * texts + ["---:"] * (len(columns) - texts))
    return "\n".join([f"| {' | '.join(columns)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows)])


def duration(seconds: float) -> str:
    """Return a time in a suitable unit."""
    for unit, factor in (("µs", 1e6), ("ms", 1e3)):
        if float(f"{seconds * factor:.2g}") < 1_000:
            return f"{significant(seconds * factor)} {unit}"
    return f"{significant(seconds)} s"


def microseconds(value: float) -> str:
    return f"{significant(value)} µs"


def significant(value: float) -> str:
    """Return a number with two significant digits, or with all digits before the point."""
    return f"{value:.1f}" if value < 9.95 else f"{float(f'{value:.2g}'):,.0f}"


def times(value: float) -> str:
    return f"{significant(value)} ×"


def by_hand_ratio(row: Figures) -> float | None:
    """Return SQLTrack's time divided by the time by hand, or None if that was not measured."""
    ways = row["ways"]
    return ways[_OURS]["p50"] / ways[_BY_HAND]["p50"] if _BY_HAND in ways else None


def ratio(row: Figures) -> str:
    value = by_hand_ratio(row)
    return "" if value is None else times(value)


def percentile(row: Figures, way: str, name: str = "p50") -> str:
    """Return the time of a way, or an empty text if it was not measured."""
    seconds = row["ways"].get(way, {}).get(name)
    return "" if seconds is None else duration(seconds)


def lost(row: Figures) -> str:
    return f"{row['lost']} of {row['logged']}" if row["lost"] else "none"


def ours_first(rows: Sequence[Figures]) -> list[Figures]:
    return sorted(rows, key=lambda row: (row["peer"] != "SQLTrack", row["engine"] != "sqlite"))


def calls_table(document: Figures) -> str:
    """The time of one call with each tracker, and the steps lost by a kill."""
    lines = [
        [row["peer"], row["version"], microseconds(row["p50"]), times(row["ratio"]), lost(row)]
        for row in ours_first(document["results"])
    ]
    return table(["tracker", "stores in", "one call", "SQLTrack = 1", "steps lost by a kill"], lines, texts=2)


def peers_table(document: Figures) -> str:
    """The same with versions and slow calls."""
    lines = [
        [
            f"{row['peer']} ({row['peer_version']})",
            row["version"],
            *(microseconds(row[name]) for name in ("p50", "p99")),
            times(row["ratio"]),
            lost(row),
        ]
        for row in ours_first(document["results"])
    ]
    return table(["tracker", "stores in", "p50", "p99", "SQLTrack = 1", "steps lost by a kill"], lines, texts=2)


def ways_table(what: str, ours: str = "SQLTrack", by_hand: str = "by hand", *others: str) -> Callable[[Figures], str]:
    """Return a function that makes a table with a column for each way; the column of a way that was not measured is
    empty.

    Args:
        what: heading of the names of the measurements.
        ours: heading of the times of SQLTrack.
        by_hand: heading of the times by hand.
        others: names of further ways, which are their headings as well.
    """

    def make(document: Figures) -> str:
        ways = (_OURS, _BY_HAND, *others)
        lines = [
            [row["version"], row["what"], *(percentile(row, way) for way in ways), ratio(row)]
            for row in document["results"]
        ]
        return table(["database", what, ours, by_hand, *others, "ratio"], lines, texts=2)

    return make


def add_metrics_table(document: Figures) -> str:
    lines = [
        [
            row["version"],
            f"{row['metrics']:,}",
            *(percentile(row, way) for way in (_OURS, _BY_HAND)),
            ratio(row),
            *(percentile(row, _OURS, name) for name in ("p99", "p99.9")),
            percentile(row, _BY_HAND, "p99.9"),
        ]
        for row in document["results"]
    ]
    slow = ("`add_metrics`, p99", "p99.9", "by hand, p99.9")
    return table(["database", "metrics", "`add_metrics`", "by hand", "ratio", *slow], lines)


def import_table(document: Figures) -> str:
    (row,) = document["results"]
    lines = [[f"`import {name}`", duration(figures["p50"])] for name, figures in row["ways"].items()]
    return table(["beyond a bare interpreter", "median"], lines)


def writers_table(document: Figures) -> str:
    lines = [
        [
            row["version"],
            row["what"],
            rows_per_second(row, _OURS),
            rows_per_second(row, _BY_HAND),
            ratio(row),
            duration(row["slowest_ms"] / 1000),
            f"{row['found']:,} of {row['rows']:,}",
            str(len(row["errors"])),
        ]
        for row in document["results"]
    ]
    heads = ["rows/s, all together", "by hand, rows/s", "ratio of times", "slowest call", "rows found", "errors"]
    return table(["database", "who logs", *heads], lines, texts=2)


def rows_per_second(row: Figures, way: str) -> str:
    return f"{row['rows_each_time'] / row['ways'][way]['p50']:,.0f}" if way in row["ways"] else ""


def kills_table(document: Figures) -> str:
    lines = [
        [row["version"], *(f"{row[name]:,}" for name in ("jobs", "confirmed", "lost"))] for row in document["results"]
    ]
    return table(["database", "jobs killed", "calls that had returned", "steps lost"], lines)


def frames_table(document: Figures) -> str:
    lines = [
        [row["version"], FRAME_WAYS[way], percentile(row, way), f"{row['peak_mb'][way]:,} MB"]
        for row in document["results"]
        for way in FRAME_WAYS
        if way in row["ways"]
    ]
    return table(["database", "1,000,000 rows of 12 columns by", "time", "peak of memory"], lines, texts=2)


FRAME_WAYS = {
    _OURS: "`query_dataframe`",
    "query_dataframe without Arrow": "`query_dataframe`, no Arrow driver installed",
    "query_polars": "`query_polars`",
    _BY_HAND: "the Arrow driver by hand, to pandas",
    "fetchall": "`fetchall` of the driver, DataFrame",
    "pandas.read_sql": "`pandas.read_sql`",
}


def page_table(document: Figures) -> str:
    lines = [
        [row["version"], row["what"], percentile(row, "first"), percentile(row, "again")] for row in document["results"]
    ]
    return table(["database", "the page asks for", "first", "again"], lines, texts=2)


def growth_table(axis: str) -> Callable[[Figures], str]:
    """Return a function that makes a table with a column for each size."""

    def make(document: Figures) -> str:
        rows = [row for row in document["results"] if row["axis"] == axis]
        sizes = sorted({row["size"] for row in rows})
        found = {(row["version"], row["question"], row["size"]): percentile(row, _OURS) for row in rows}
        asked = dict.fromkeys((row["version"], row["question"]) for row in rows)
        lines = [[*key, *(found.get((*key, size), "") for size in sizes)] for key in asked]
        return table(["database", "what", *(f"{size:,} {axis}" for size in sizes)], lines, texts=2)

    return make


def size_table(document: Figures) -> str:
    lines = [
        [
            row["version"],
            str(row["metrics"]),
            *(f"{row[f'{name}_bytes_per_value']:.0f} bytes" for name in ("sqltrack", "mlflow")),
            times(row["ratio"]),
        ]
        for row in document["results"]
    ]
    return table(["database", "metrics per step", "a column each", "a row each", "ratio"], lines)


def faults_table(document: Sequence[Figures]) -> str:
    columns = ("faults", "confirmed", "missing", "errors")
    lines = [
        [
            row["test"].replace("[", " (").replace("]", ")"),
            *(f"{row[name]:,}" if name in row else "" for name in columns),
        ]
        for row in document
    ]
    return table(["test", "faults", "rows confirmed", "of them missing", "errors raised"], lines)


def machine_line(document: Figures) -> str:
    """The machine and the versions of the benchmark add_metrics; every benchmark records them."""
    machine = document["machine"]
    versions = sorted({row["version"] for row in document["results"]})
    cpu = f" of {machine['cpu']}" if "cpu" in machine else ""
    return (
        f"Measured on {document['date']}: {machine['cpus']} cores{cpu}, {machine['system']}, "
        f"Python {machine['python']}, psycopg {machine['psycopg']}, {' and '.join(versions)}."
    )


# Name of the marker: the benchmark, and the function that shows its figures.
FIGURES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "machine": ("add_metrics", machine_line),
    "calls": ("peers", calls_table),
    "peers": ("peers", peers_table),
    "add_metrics": ("add_metrics", add_metrics_table),
    "short_jobs": ("short_jobs", ways_table("a job")),
    "import": ("import_time", import_table),
    "many_rows": ("many_rows", ways_table("in one call", "`add_metrics_many`", "`executemany` by hand", "COPY")),
    "new_columns": ("new_columns", ways_table("metrics", "`add_metrics`", "ALTER by hand")),
    "writers": ("writers", writers_table),
    "kills": ("kills", kills_table),
    "outbox": ("outbox", ways_table("outbox", "with", "without")),
    "best_values": ("best_values", ways_table("query", "SQLTrack", "MAX … GROUP BY", "MAX per run")),
    "reading": ("reading", ways_table("a data frame of")),
    "frames": ("frames", frames_table),
    "command_line": ("command_line", ways_table("command", "time", "bare imports")),
    "growth-runs": ("growth", growth_table("runs")),
    "growth-columns": ("growth", growth_table("columns")),
    "growth-rows": ("growth", growth_table("rows")),
    "size": ("size", size_table),
    "faults": ("faults", faults_table),
    "ui_queries": ("ui_queries", page_table),
}


if __name__ == "__main__":
    main()
