"""Tables that fit the terminal. A record is a line, whose long cells are cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TextIO

from sqltrack.cli._cells import Cell, holds_numbers, show_exact, show_value, styled
from sqltrack.cli._output import UNLIMITED, fit_encoding, printable, stdout

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["print_pairs", "print_result", "print_table"]

# Columns wider than _RIGID are cut first, to _NARROW at least; the others only if that is not enough.
_RIGID, _NARROW = 20, 12
_GAP = 2


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
    """Print records as a table, which is never wider than the terminal.

    Args:
        records: the records.
        columns: names of the columns, in order.
        cells: functions that show the values of columns, default: `show_value`.
        optional: columns to leave out if the terminal is too narrow, the last first.
        wrapped: columns whose cells continue on the next line instead of being cut.
        headers: heads of columns, default: their names.
        assumed: widths of cells by which columns are left out, default: those of the records.
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
    expected = {name: max(heads[name].cell_len, assumed.get(name, width)) for name, width in widths.items()}
    left_out = _leave_out(expected, optional, console.width)
    shown = [name for name in columns if name in expected]
    widths = {name: widths[name] for name in shown}
    _narrow(widths, console.width)
    # The commands that print no table do without rich.
    from rich.box import SIMPLE_HEAD, Box
    from rich.table import Table

    ascii_head = Box(str(SIMPLE_HEAD).replace("─", "-"), ascii=True)
    box = ascii_head if console.options.ascii_only else SIMPLE_HEAD
    table = Table(box=box, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for name in shown:
        justify: Any = "right" if holds_numbers([record.get(name) for record in records]) else "left"
        overflow: Any = "fold" if name in wrapped else "ellipsis"
        no_wrap = name not in wrapped
        table.add_column(heads[name], justify=justify, width=widths[name], no_wrap=no_wrap, overflow=overflow)
    for index in range(len(records)):
        table.add_row(*(texts[name][index] for name in shown))
    console.print(table)
    return left_out


def print_result(
    records: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    headers: Mapping[str, str] | None = None,
    file: TextIO | None = None,
) -> None:
    """Print the result of a query as a table, or one record below the other if there are too many columns.

    Args:
        records: the records.
        columns: names of the columns, in order.
        headers: heads of columns, default: their names.
        file: file to print to, which does not limit the width; default: the standard output.
    """
    console = stdout(file)
    headers = headers or {}
    cells = dict.fromkeys(columns, show_exact)
    if _least(_widths(*_texts(records, columns, cells, headers, console))) <= console.width:
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
    """Print names and values, one pair on a line or, if a value is long, on more."""
    from rich.table import Table

    console = console or stdout()
    table = Table.grid(padding=(0, _GAP))
    table.add_column(no_wrap=True, min_width=1)
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        label = styled(" " * indent + printable(name), "bold" if not indent else "")
        table.add_row(*(_fit(text, console) for text in (label, (cells or {}).get(name, show_value)(value))))
    console.print(table)


def _texts(
    records: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    cells: Mapping[str, Cell],
    headers: Mapping[str, str],
    console: Console,
) -> tuple[dict[str, Text], dict[str, list[Text]]]:
    """Return the head and the cells of each column, as the console's encoding has them."""
    heads = {name: _fit(styled(printable(headers.get(name, name))), console) for name in columns}
    return heads, {
        name: [_fit(cells.get(name, show_value)(record.get(name)), console) for record in records] for name in columns
    }


def _fit(text: Text, console: Console) -> Text:
    """Return a text whose width is that of what will be seen."""
    shown = fit_encoding(text.plain, console.file)
    return text if shown == text.plain else styled(shown, text.style)


def _widths(heads: Mapping[str, Text], texts: Mapping[str, Sequence[Text]]) -> dict[str, int]:
    return {name: max(text.cell_len for text in (head, *texts[name])) for name, head in heads.items()}


def _least(widths: Mapping[str, int]) -> int:
    """Return how wide a table is if all columns are cut that may be."""
    return sum(width if width <= _RIGID else _NARROW for width in widths.values()) + _GAP * (len(widths) - 1)


def _leave_out(widths: dict[str, int], optional: Sequence[str], room: int) -> list[str]:
    """Remove columns that do not fit even if others are cut, the last first, and return their names in order."""
    removed: dict[str, int] = {}
    for name in reversed(optional):
        if _least(widths) <= room or len(widths) == 1:
            break
        removed[name] = widths.pop(name)
    # Where a wide column has gone, a narrow one that went before it may have room.
    for name in optional:
        if name in removed and _least({**widths, name: removed[name]}) <= room:
            widths[name] = removed.pop(name)
    return [name for name in optional if name in removed]


def _narrow(widths: dict[str, int], room: int) -> None:
    """Take width from the widest columns until all have room."""
    room -= _GAP * (len(widths) - 1)
    for rigid, least in ((_RIGID, _NARROW), (1, 1)):
        wide = {name: width for name, width in widths.items() if width > rigid}
        if not wide or sum(widths.values()) <= room:
            continue
        # One by one would take as long as the longest text.
        left = max(room - sum(widths.values()) + sum(wide.values()), least * len(wide))
        for place, (name, width) in enumerate(sorted(wide.items(), key=lambda item: item[1])):
            widths[name] = min(width, left // (len(wide) - place))
            left -= widths[name]
