"""Write the table of runs as CSV or JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from sqltrack.ui._json import NUMBER, encode

__all__ = ["FORMATS"]


def _write_csv(file: IO[bytes], headings: list[str], rows: Iterator[list[Any]]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
    writer = csv.writer(text)
    writer.writerow(map(_harmless, headings))
    writer.writerows([_harmless(_cell(value)) for value in row] for row in rows)
    text.detach()


def _write_json(file: IO[bytes], headings: list[str], rows: Iterator[list[Any]]) -> None:
    names = _unique(headings)
    separator = b"["
    for row in rows:
        file.write(separator + encode(dict(zip(names, row))))
        separator = b",\n"
    file.write(b"[]\n" if separator == b"[" else b"]\n")


#: How to write each format, and its media type.
FORMATS: Mapping[str, tuple[Callable[[IO[bytes], list[str], Iterator[list[Any]]], None], str]] = {
    "csv": (_write_csv, "text/csv; charset=utf-8"),
    "json": (_write_json, "application/json"),
}


def _unique(headings: list[str]) -> list[str]:
    """Return headings with a number after each that came before, because the names in an object must differ."""
    seen: dict[str, int] = {}
    names = []
    for heading in headings:
        seen[heading] = seen.get(heading, 0) + 1
        names.append(heading if seen[heading] == 1 else f"{heading} ({seen[heading]})")
    return names


def _cell(value: Any) -> Any:
    """Return a value of JSON as a cell of CSV: numbers and text as they are, objects and lists as JSON."""
    if isinstance(value, dict) and value.keys() == {NUMBER}:
        return value[NUMBER]
    return encode(value).decode() if isinstance(value, (bool, dict, list)) else value


def _harmless(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula."""
    is_number = isinstance(value, str) and value == "-Infinity"
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula and not is_number else value
