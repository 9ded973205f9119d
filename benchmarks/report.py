"""Keep the figures of the benchmarks in results.json, and write them as tables into the documentation.

`report.py` writes the tables of results.json between the markers of the pages; `report.py --collect` first takes over
what the benchmarks have left in results/. A marker is `<!-- figures: NAME -->`, and `<!-- end of figures -->` ends it.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["FIGURES", "PAGES", "RESULTS", "fill", "render"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_MARKED = re.compile(r"(<!-- figures: (?P<name>[\w-]+) -->\n).*?(<!-- end of figures -->)", re.S)

Figures = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collect", action="store_true", help="take over the files in results/ first")
    if parser.parse_args().collect:
        collect(RESULTS.parent / "results")
    tables = render(json.loads(RESULTS.read_text(encoding="utf-8")))
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        filled = fill(text, tables)
        if filled != text:
            path.write_text(filled, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} has new figures")


def collect(folder: Path) -> None:
    """Put what was measured into results.json; benchmarks without a new file keep their figures."""
    results: Figures = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for path in sorted(folder.glob("*.json")):
        results[path.stem] = json.loads(path.read_text(encoding="utf-8"))
    RESULTS.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n", encoding="utf-8")


def fill(text: str, tables: dict[str, str]) -> str:
    """Return a page with tables between its markers; a marker without a table is a KeyError."""
    return _MARKED.sub(lambda match: f"{match[1]}\n{tables[match['name']]}\n\n{match[3]}", text)


def render(results: Figures) -> dict[str, str]:
    """Return Markdown for each name that there are figures for."""
    return {name: make(results[source]) for name, (source, make) in FIGURES.items() if source in results}


# Tables


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> str:
    """Return a table whose first columns are text and whose others are figures."""
    rule = "|".join(["---"] * texts + ["---:"] * (len(columns) - texts))
    return "\n".join([f"| {' | '.join(columns)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows)])


def microseconds(value: float) -> str:
    return f"{significant(value)} µs"


def significant(value: float) -> str:
    """Return a number with two digits that mean something, or with all before the point."""
    return f"{value:.1f}" if value < 10 else f"{float(f'{value:.2g}'):,.0f}"


def times(value: float) -> str:
    return f"{significant(value)} ×"


def lost(row: Figures) -> str:
    return f"{row['lost']} of {row['logged']}" if row["lost"] else "none"


def ours_first(rows: Sequence[Figures]) -> list[Figures]:
    return sorted(rows, key=lambda row: (row["peer"] != "SQLTrack", row["engine"] != "sqlite"))


def calls_table(document: Figures) -> str:
    """What one call costs with each tracker, and what a kill costs."""
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


def add_metrics_table(document: Figures) -> str:
    lines = [
        [
            row["version"],
            str(row["metrics"]),
            *(microseconds(row[side]["p50"]) for side in ("sqltrack_us", "by_hand_us")),
            times(row["ratio"]["p50"]),
            microseconds(row["sqltrack_us"]["p99"]),
        ]
        for row in document["results"]
    ]
    return table(["database", "metrics", "`add_metrics`", "by hand", "ratio", "`add_metrics`, p99"], lines)


def import_table(document: Figures) -> str:
    lines = [[f"`import {name}`", f"{figures['median_ms']:.0f} ms"] for name, figures in document["results"].items()]
    return table(["beyond a bare interpreter", "median"], lines)


def many_rows_table(document: Figures) -> str:
    lines = [
        [row["version"], *(f"{row[name]:,}" for name in ("sqltrack_rows_s", "by_hand_rows_s")), times(row["ratio"])]
        for row in document["results"]
    ]
    return table(["database", "`add_metrics_many`, rows/s", "`executemany` by hand, rows/s", "ratio of times"], lines)


def writers_table(document: Figures) -> str:
    lines = [
        [
            row["version"],
            str(row["processes"]),
            f"{row['rows_s']:,}",
            f"{significant(row['slowest_ms'])} ms",
            f"{row['found']:,} of {row['rows']:,}",
            str(len(row["errors"])),
        ]
        for row in document["results"]
    ]
    return table(["database", "processes", "rows/s, all together", "slowest call", "rows found", "errors"], lines)


def reading_table(document: Figures) -> str:
    lines = [
        [row["version"], row["question"], f"{row['rows']:,}", f"{row['seconds']:.2f} s"] for row in document["results"]
    ]
    return table(["database", "question", "rows of the answer", "time"], lines, texts=2)


def frames_table(document: Figures) -> str:
    lines = [
        [row["version"], f"`{row['way']}`", f"{row['seconds']:.1f} s", f"{row['peak_mb']:,} MB"]
        if row["way"].startswith("query_")
        else [row["version"], row["way"], f"{row['seconds']:.1f} s", f"{row['peak_mb']:,} MB"]
        for row in document["frames"]
        if row["way"] != "nothing"
    ]
    return table(["database", "1,000,000 rows of 12 columns by", "time", "peak of memory"], lines, texts=2)


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
    """What was measured on what; all benchmarks name it, this is that of the calls."""
    machine = document["machine"]
    versions = sorted({row["version"] for row in document["results"]})
    return (
        f"Measured on {document['date']}: {machine['cpus']} cores, {machine['system']}, Python {machine['python']}, "
        f"psycopg {machine['psycopg']}, {' and '.join(versions)}."
    )


# Name of the marker: the benchmark whose figures it shows, and how.
FIGURES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "machine": ("add_metrics", machine_line),
    "calls": ("peers", calls_table),
    "peers": ("peers", peers_table),
    "add_metrics": ("add_metrics", add_metrics_table),
    "import": ("import_time", import_table),
    "many_rows": ("many_rows", many_rows_table),
    "writers": ("writers", writers_table),
    "reading": ("reading", reading_table),
    "frames": ("reading", frames_table),
    "size": ("size", size_table),
    "faults": ("faults", faults_table),
}


if __name__ == "__main__":
    main()
