"""Print tables that fit the terminal: one line for each record, with long cells shortened."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, TypeAlias

from sqltrack.cli._cells import Cell, holds_numbers, show_exact, show_value, styled
from sqltrack.cli._output import UNLIMITED, can_encode, fit_encoding, printable, stdout

if TYPE_CHECKING:
    from rich.console import Console
    from rich.segment import Segment
    from rich.text import Text

__all__ = ["print_pairs", "print_result", "print_table"]

# Columns wider than _RIGID are shortened first, down to _NARROW; the others only if that is not enough.
_RIGID, _NARROW = 20, 12
_GAP = 2

# A text between the blanks before and after it.
_Filled: TypeAlias = "tuple[str, Text, str]"


def print_table(
    records: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    cells: Mapping[str, Cell] | None = None,
    optional: Sequence[str] = (),
    wrapped: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    assumed: Mapping[str, int] | None = None,
    is_limited: bool = True,
) -> list[str]:
    """Print records as a table that is never wider than the terminal.

    Args:
        records: the records.
        columns: names of the columns, in order.
        cells: functions that show the values of columns, default: `show_value`.
        optional: columns to leave out if the terminal is too narrow, starting with the last.
        wrapped: columns whose cells continue on the next line instead of being shortened.
        headers: headings of columns, default: their names.
        assumed: widths of cells that decide which columns are left out, default: those of the records.
        is_limited: whether the terminal limits the width (default).

    Returns:
        The names of the columns that were left out.
    """
    console = stdout()
    if not is_limited:
        console.width = UNLIMITED
    return _print_table(console, records, columns, cells or {}, headers or {}, optional, wrapped, assumed or {})


def _print_table(
    console: Console,
    records: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    cells: Mapping[str, Cell],
    headers: Mapping[str, str],
    optional: Sequence[str] = (),
    wrapped: Sequence[str] = (),
    assumed: Mapping[str, int] = MappingProxyType({}),
) -> list[str]:
    heads, texts = _texts(records, columns, cells, headers, console)
    widths = _widths(heads, texts)
    expected = {name: max(_width(heads[name]), assumed.get(name, width)) for name, width in widths.items()}
    left_out = _leave_out(expected, optional, console.width)
    widths = {name: widths[name] for name in columns if name in expected}
    _narrow(widths, console.width)
    shown = [
        _Column(heads[name], texts[name], width, holds_numbers([record.get(name) for record in records]))
        for name, width in widths.items()
    ]
    if wrapped or _room(widths.values()) > console.width:
        _print_by_rich(console, shown, [name in wrapped for name in widths])
    else:
        _print_lines(console, shown)
    return left_out


def print_result(
    records: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    headers: Mapping[str, str] | None = None,
    file: TextIO | None = None,
) -> None:
    """Print the result of a query as a table, or each record as a list if there are too many columns.

    Args:
        records: the records.
        columns: names of the columns, in order.
        headers: headings of columns, default: their names.
        file: file to print to, with unlimited width; default: standard output.
    """
    console = stdout(file)
    headers = headers or {}
    cells = dict.fromkeys(columns, show_exact)
    if _least(_widths(*_texts(records, columns, cells, headers, console)).values()) <= console.width:
        _print_table(console, records, columns, cells, headers)
        return
    for number, record in enumerate(records, start=1):
        console.print(styled(f"row {number}", "bold"))
        print_pairs({name: record[name] for name in columns}, cells=cells, indent=2, console=console)


def print_pairs(
    pairs: Mapping[str, Any],
    *,
    cells: Mapping[str, Cell] | None = None,
    indent: int = 0,
    console: Console | None = None,
) -> None:
    """Print names and values: each pair on one line, or on several if the value is long."""
    from rich.table import Table

    console = console or stdout()
    table = Table.grid(padding=(0, _GAP))
    table.add_column(no_wrap=True, min_width=1)
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        label = styled(" " * indent + printable(name), "bold" if not indent else "")
        table.add_row(*(_fit(text, console) for text in (label, (cells or {}).get(name, show_value)(value))))
    console.print(table)


class _Column(NamedTuple):
    """A column of a table.

    Attributes:
        head: its heading.
        texts: its cells.
        width: its width; longer texts are shortened.
        is_number: whether the texts are numbers, which are aligned to the right.
    """

    head: Text
    texts: Sequence[Text]
    width: int
    is_number: bool


def _print_lines(console: Console, columns: Sequence[_Column]) -> None:
    """Print a table with one line for each record. It looks like a table of rich, which takes ten times as long."""
    from rich.segment import Segment, Segments

    rule = "-" if console.options.ascii_only else "─"
    segments = [
        *_line(console, [_fill(_bold(column.head), column) for column in columns]),
        Segment(f"{rule * _room([column.width for column in columns])}\n"),
    ]
    for cells in zip(*(map(_fill, column.texts, itertools.repeat(column)) for column in columns)):
        segments += _line(console, cells)
    console.print(Segments(segments), soft_wrap=True, end="")


def _bold(text: Text) -> Text:
    return styled(text.plain, "bold")


def _fill(text: Text, column: _Column) -> _Filled:
    """Return a text that is padded or shortened to the width of its column."""
    width = _width(text)
    if width > column.width:
        text = text.copy()
        text.truncate(column.width, overflow="ellipsis")
        width = _width(text)
    blanks = " " * (column.width - width)
    return (blanks, text, "") if column.is_number else ("", text, blanks)


def _line(console: Console, cells: Iterable[_Filled]) -> Iterator[Segment]:
    """Yield the segments of a line, joining adjacent ones without a style."""
    from rich.segment import Segment

    plain: list[str] = []
    for before, text, after in cells:
        plain.append(before)
        if text.spans:
            yield Segment("".join(plain))
            yield from text.render(console)
            plain = [after]
        elif text.style:
            yield Segment("".join(plain))
            yield Segment(text.plain, console.get_style(text.style))
            plain = [after]
        else:
            plain += text.plain, after
        plain.append(" " * _GAP)
    # There is no gap after the last cell.
    yield Segment("".join(plain[:-1]) + "\n")


def _print_by_rich(console: Console, columns: Sequence[_Column], wraps: Sequence[bool]) -> None:
    """Print a table with wrapped cells, or one that is wider than the terminal even if shortened."""
    from rich.box import SIMPLE_HEAD, Box
    from rich.table import Table

    # The same frame for encodings without box characters.
    ascii_head = Box(str(SIMPLE_HEAD).replace("─", "-"), ascii=True)
    box = ascii_head if console.options.ascii_only else SIMPLE_HEAD
    table = Table(box=box, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column, is_wrapped in zip(columns, wraps):
        justify: Any = "right" if column.is_number else "left"
        overflow: Any = "fold" if is_wrapped else "ellipsis"
        table.add_column(column.head, justify=justify, width=column.width, no_wrap=not is_wrapped, overflow=overflow)
    for texts in zip(*(column.texts for column in columns)):
        table.add_row(*texts)
    console.print(table)


def _texts(
    records: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    cells: Mapping[str, Cell],
    headers: Mapping[str, str],
    console: Console,
) -> tuple[dict[str, Text], dict[str, list[Text]]]:
    """Return the heading and the cells of each column in the console's encoding."""
    heads = {name: styled(printable(headers.get(name, name))) for name in columns}
    texts = {name: [cells.get(name, show_value)(record.get(name)) for record in records] for name in columns}
    if not can_encode(
        "".join(text.plain for column in (heads.values(), *texts.values()) for text in column), console.file
    ):
        heads = {name: _fit(head, console) for name, head in heads.items()}
        texts = {name: [_fit(text, console) for text in column] for name, column in texts.items()}
    return heads, texts


def _fit(text: Text, console: Console) -> Text:
    """Return a text as the console shows it, so that its width is right."""
    shown = fit_encoding(text.plain, console.file)
    return text if shown == text.plain else styled(shown, text.style)


def _width(text: Text) -> int:
    """Return the number of terminal columns that a text takes."""
    plain = text.plain
    return len(plain) if plain.isascii() else text.cell_len


def _widths(heads: Mapping[str, Text], texts: Mapping[str, Sequence[Text]]) -> dict[str, int]:
    return {name: max(map(_width, (head, *texts[name]))) for name, head in heads.items()}


def _room(widths: Collection[int]) -> int:
    """Return the width of columns with the gaps between them."""
    return sum(widths) + _GAP * (len(widths) - 1)


def _least(widths: Iterable[int]) -> int:
    """Return the width of a table with all columns at their minimum."""
    return _room([_least_width(width) for width in widths])


def _least_width(width: int) -> int:
    return width if width <= _RIGID else _NARROW


def _leave_out(widths: dict[str, int], optional: Sequence[str], room: int) -> list[str]:
    """Remove columns that do not fit even if others are shortened, the last first, and return their names in order."""
    removed: dict[str, int] = {}
    least = _least(widths.values())
    for name in reversed(optional):
        if least <= room or len(widths) == 1:
            break
        removed[name] = widths.pop(name)
        least -= _least_width(removed[name]) + _GAP
    # After a wide column is removed, a narrow one that was removed earlier may fit again.
    for name in optional:
        if name in removed and least + _least_width(removed[name]) + _GAP <= room:
            widths[name] = removed.pop(name)
            least += _least_width(widths[name]) + _GAP
    return [name for name in optional if name in removed]


def _narrow(widths: dict[str, int], room: int) -> None:
    """Narrow the widest columns until the table fits."""
    room -= _GAP * (len(widths) - 1)
    for rigid, least in ((_RIGID, _NARROW), (1, 1)):
        wide = {name: width for name, width in widths.items() if width > rigid}
        if not wide or sum(widths.values()) <= room:
            continue
        # Narrowing one by one would take as many rounds as the longest text has characters.
        left = max(room - sum(widths.values()) + sum(wide.values()), least * len(wide))
        for place, (name, width) in enumerate(sorted(wide.items(), key=lambda item: item[1])):
            widths[name] = min(width, left // (len(wide) - place))
            left -= widths[name]
