"""Print lists in the formats of --format: a table, Markdown, LaTeX, CSV or JSON."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any, NamedTuple

from sqltrack.cli._cells import Cell, holds_numbers, show_exact
from sqltrack.cli._output import exact_output, print_json
from sqltrack.cli._table import print_table

__all__ = ["FORMATS", "TEXT_FORMATS", "add_format_options", "add_short_format", "print_records", "write_records"]

FORMATS = ("table", "markdown", "latex", "csv", "json")
# The formats of `write_records`.
TEXT_FORMATS = ("markdown", "latex", "csv")

# Characters with a meaning in Markdown; an underscore inside a word has none.
_MARKED = re.compile(r"[\\`*<\[~&$|]|(?<![^\W_])_|_(?![^\W_])")
_LATEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
}
_LATEX_ESCAPES = str.maketrans(_LATEX)


def add_format_options(
    parser: argparse.ArgumentParser, *, formats: Sequence[str] = FORMATS, default: Any = "table"
) -> Any:
    """Add `--format` and its short form `--json`, which set `options.format`.

    Args:
        parser: parser of a command that lists something.
        formats: the formats of the command, default: all of `FORMATS`.
        default: the format without the options, default "table".

    Returns:
        The group of mutually exclusive options, for further short forms.
    """
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--format", metavar="FORMAT", choices=formats, default=default, help=", ".join(formats))
    add_short_format(group, "json", default)
    return group


def add_short_format(group: Any, name: str, default: Any = "table") -> None:
    """Add an option that is short for `--format` with its name."""
    group.add_argument(
        f"--{name}", action="store_const", const=name, dest="format", default=default, help=f"short for --format {name}"
    )


def print_records(
    records: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    format_: str,
    *,
    cells: Mapping[str, Cell] | None = None,
    texts: Mapping[str, Cell] | None = None,
    optional: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    objects: Any = None,
) -> list[str]:
    """Print records in a format. All but the table contain every column and every value in full.

    Args:
        records: the records.
        columns: names of the columns, in order.
        format_: one of `FORMATS`.
        cells: functions that show the values of columns in the table, default: `show_value`.
        texts: functions that show them in Markdown and LaTeX, default: `show_exact`.
        optional: columns that the table leaves out if the terminal is too narrow, starting with the last.
        headers: headings of columns, default: their names.
        objects: the value for JSON, default: the values of the records by the names of the columns.

    Returns:
        The names of the columns that were left out.
    """
    if format_ == "table":
        return print_table(records, columns, cells=cells, optional=optional, headers=headers)
    if format_ == "json":
        print_json([{name: record.get(name) for name in columns} for record in records] if objects is None else objects)
    else:
        write_records(exact_output(newline=_newline(format_)), records, columns, format_, texts=texts, headers=headers)
    return []


def write_records(
    file: IO[str],
    records: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    format_: str,
    *,
    texts: Mapping[str, Cell] | None = None,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Write records as Markdown, LaTeX or CSV.

    Numbers have five digits in Markdown and LaTeX, as in tables, and all digits in CSV.

    Args:
        file: text file; for CSV opened with newline="".
        records: the records.
        columns: names of the columns, in order.
        format_: one of `TEXT_FORMATS`.
        texts: functions that show the values of columns in Markdown and LaTeX, default: `show_exact`.
        headers: headings of columns, default: their names.
    """
    heads = [(headers or {}).get(name, name) for name in columns]
    if format_ == "csv":
        _write_csv(file, heads, [[record.get(name) for name in columns] for record in records])
        return
    write = {"markdown": _write_markdown, "latex": _write_latex}[format_]
    write(file, [_column(name, head, records, texts or {}) for name, head in zip(columns, heads)])


class _Column(NamedTuple):
    """A column of a table.

    Attributes:
        head: its heading.
        values: the values.
        texts: the values as texts.
        is_number: whether all values are numbers.
    """

    head: str
    values: Sequence[Any]
    texts: Sequence[str]
    is_number: bool


def _newline(format_: str) -> str | None:
    return "" if format_ == "csv" else None


def _column(name: str, head: str, records: Sequence[Mapping[str, Any]], texts: Mapping[str, Cell]) -> _Column:
    values = [record.get(name) for record in records]
    show = texts.get(name, show_exact)
    return _Column(head, values, [show(value).plain for value in values], holds_numbers(values))


def _write_csv(file: IO[str], heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    import csv

    from sqltrack.commands.sql import csv_value

    writer = csv.writer(file)
    writer.writerow(heads)
    writer.writerows(map(csv_value, row) for row in rows)


def _write_markdown(file: IO[str], columns: Sequence[_Column]) -> None:
    """Write a table of GitHub's Markdown with aligned pipes."""
    padded = [_markdown_column(column) for column in columns]
    for line in zip(*padded):
        file.write(f"| {' | '.join(line)} |\n")


def _markdown_column(column: _Column) -> list[str]:
    """Return the heading, the line below it and the cells, all of the same width."""
    from rich.cells import cell_len

    head, *cells = map(_escape_markdown, (column.head, *column.texts))
    widths = [cell_len(text) for text in (head, *cells)]
    width = max(3, *widths)
    rule = "-" * (width - 1) + ":" if column.is_number else "-" * width
    blanks = [" " * (width - own) for own in widths]
    head, *cells = [pad + text if column.is_number else text + pad for text, pad in zip((head, *cells), blanks)]
    return [head, rule, *cells]


def _escape_markdown(text: str) -> str:
    """Return a text escaped for Markdown."""
    return _MARKED.sub(lambda match: f"\\{match.group()}", text)


def _write_latex(file: IO[str], columns: Sequence[_Column]) -> None:
    """Write a tabular environment with the rules of booktabs."""
    kinds = "".join("r" if column.is_number else "l" for column in columns)
    rows = zip(*(map(_latex_cell, column.values, column.texts) for column in columns))
    file.write("% needs \\usepackage{booktabs}\n")
    file.write(f"\\begin{{tabular}}{{{kinds}}}\n\\toprule\n")
    file.write(_latex_row(_escape_latex(column.head) for column in columns))
    file.write("\\midrule\n")
    file.writelines(map(_latex_row, rows))
    file.write("\\bottomrule\n\\end{tabular}\n")


def _latex_row(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\\n"


def _latex_cell(value: Any, text: str) -> str:
    """Return a cell: a dash for a missing value, and minus signs for the hyphens of numbers."""
    if value is None or value != value:
        return _escape_latex(text) if text != "--" else text
    return text.replace("-", "$-$").replace("±", _LATEX["±"]) if holds_numbers([value]) else _escape_latex(text)


def _escape_latex(text: str) -> str:
    """Return a text escaped for LaTeX, also a bracket or star at its start, which would belong to the row above."""
    # Adjacent hyphens would become a dash.
    escaped = re.sub("-(?=-)", "-{}", text.translate(_LATEX_ESCAPES))
    return f"{{{escaped[0]}}}{escaped[1:]}" if escaped.startswith(("[", "*")) else escaped
