"""Compose SQL safely, without a database driver.

You can mix these parts with those of `psycopg.sql` in one query, with all engines.
"""

from __future__ import annotations

import string
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sqltrack._quoting import (
    ComposedText,
    QueryText,
    is_psycopg_part,
    part_text,
    placeholders,
    psycopg_sql,
    query_text,
    quote_identifier,
    quote_text,
)

__all__ = [
    "SQL",
    "Composable",
    "Composed",
    "ComposedText",
    "Identifier",
    "Literal",
    "Placeholder",
    "QueryText",
    "coalesce",
    "placeholders",
    "query_text",
    "quote_identifier",
    "quote_text",
]

T = TypeVar("T")


def coalesce(*values: T | None) -> T | None:
    """Return the first of `values` that is not None, or None."""
    return next((value for value in values if value is not None), None)


class Composable(ABC):
    """A part of an SQL statement, which `+` joins with others and `*` repeats."""

    def __init__(self, obj: Any) -> None:
        self._obj = obj
        _meet_psycopg()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._obj!r})"

    @abstractmethod
    def as_string(self, context: Any = None) -> str:
        """Return the part as text."""

    def as_bytes(self, context: Any = None) -> bytes:
        """Return the part as bytes, in the encoding of the context's connection, default: UTF-8."""
        info = getattr(getattr(context, "connection", None), "info", None)
        return self.as_string(context).encode(getattr(info, "encoding", "utf-8"))

    def __add__(self, other: Any) -> Composed:
        if _is_part(other):
            return Composed([*_parts(self), *_parts(other)])
        return NotImplemented

    def __radd__(self, other: Any) -> Composed:
        if _is_part(other):
            return Composed([*_parts(other), *_parts(self)])
        return NotImplemented

    def __mul__(self, n: int) -> Composed:
        return Composed([self] * n)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._obj == other._obj

    def __hash__(self) -> int:
        return hash((type(self), repr(self._obj)))


class Composed(Composable):
    """A sequence of parts, as made by `SQL.format`, `SQL.join` and `+`; other values become literals."""

    _obj: list[ComposedText]

    def __init__(self, seq: Iterable[Any]) -> None:
        super().__init__([part if _is_part(part) else Literal(part) for part in seq])

    def __iter__(self) -> Iterator[ComposedText]:
        return iter(self._obj)

    def as_string(self, context: Any = None) -> str:
        return "".join(part_text(part, context) for part in self._obj)

    def join(self, joiner: SQL | str) -> Composed:
        """Return the parts with `joiner` between them."""
        return _joined(SQL(joiner) if isinstance(joiner, str) else joiner, self)


class SQL(Composable):
    """A piece of SQL that is used as it is, so it must be trusted; insert variable parts with `format`.

    Args:
        obj: the text.

    Raises:
        TypeError: `obj` is not a str.

    Example:
        >>> columns = SQL(", ").join([Identifier("id"), Identifier("a b")])
        >>> SQL("SELECT {} FROM {}").format(columns, Identifier("t")).as_string()
        'SELECT "id", "a b" FROM "t"'
    """

    def __init__(self, obj: str) -> None:
        if not isinstance(obj, str):
            raise TypeError(f"SQL text must be str, got {type(obj).__name__!r}")
        super().__init__(obj)

    def as_string(self, context: Any = None) -> str:
        return str(self._obj)

    def format(self, *args: Any, **kwargs: Any) -> Composed:
        """Fill the places {}, {0} or {name} of the text.

        Args:
            args: values for {} and {0}; those that are not composable become literals.
            kwargs: values for {name}.

        Returns:
            The parts in order.

        Raises:
            ValueError: a place has a format or conversion, or numbered and unnumbered places are mixed.
            IndexError, KeyError: the value for a place is missing.
        """
        parts: list[Any] = []
        automatic: int | None = 0
        for text, name, spec, conversion in string.Formatter().parse(self._obj):
            if text:
                parts.append(SQL(text))
            if name is None:
                continue
            if spec or conversion:
                raise ValueError(f"a place in SQL cannot have a format or conversion, got one for {{{name}}}")
            if name == "" or name.isdigit():
                automatic, index = _next_index(name, automatic)
                parts.append(args[index])
            else:
                parts.append(kwargs[name])
        return Composed(parts)

    def join(self, seq: Iterable[Any]) -> Composed:
        """Return the parts in `seq` with this text between them."""
        return _joined(self, seq)


class Identifier(Composable):
    """A name of a table, column or other object, which is quoted; several names are joined by dots."""

    _obj: Sequence[str]

    def __init__(self, *strings: str) -> None:
        if not strings or not all(isinstance(s, str) for s in strings):
            raise TypeError(f"an identifier must be one or more str, got {strings!r}")
        super().__init__(strings)

    def as_string(self, context: Any = None) -> str:
        return ".".join(quote_identifier(name) for name in self._obj)


class Literal(Composable):
    """A value, written as SQL; where possible, bind values as parameters instead."""

    def as_string(self, context: Any = None) -> str:
        if hasattr(context, "sql_literal"):
            return str(context.sql_literal(self._obj))
        # As the default engine spells it. Imported here because few programs need it.
        from sqltrack.engines.postgres.sql import sql_literal

        return sql_literal(self._obj)


class Placeholder(Composable):
    """The place of a parameter: %s, or %(name)s."""

    def __init__(self, name: str = "") -> None:
        super().__init__(name)

    def as_string(self, context: Any = None) -> str:
        return f"%({self._obj})s" if self._obj else "%s"


def _next_index(name: str, automatic: int | None) -> tuple[int | None, int]:
    """Return the state of automatic numbering after the place `name`, and the index of its argument."""
    if name == "":
        if automatic is None:
            raise ValueError("numbered and unnumbered places cannot be mixed")
        return automatic + 1, automatic
    if automatic:
        raise ValueError("numbered and unnumbered places cannot be mixed")
    return None, int(name)


def _joined(joiner: Any, seq: Iterable[Any]) -> Composed:
    parts: list[Any] = []
    for part in seq:
        if parts:
            parts.append(joiner)
        parts.append(part)
    return Composed(parts)


def _is_part(obj: Any) -> bool:
    return isinstance(obj, Composable) or is_psycopg_part(obj)


def _parts(obj: Any) -> list[Any]:
    return list(obj) if isinstance(obj, Composed) else [obj]


def _meet_psycopg() -> None:
    """Register our parts with psycopg, if the program has imported it, so that it accepts them as its own."""
    global _met
    sql = None if _met else psycopg_sql()
    if sql is not None:
        sql.Composable.register(Composable)
        sql.SQL.register(SQL)
        _met = True


_met = False
