"""Tell code from comments, string literals and quoted identifiers, by the rules of one database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

__all__ = ["IDENTIFIER", "STRING", "Dialect", "Token", "tokens"]


class Dialect:
    """How a database quotes and comments.

    Args:
        quoted: patterns of string literals and quoted identifiers.
        nested_comments: whether a comment may hold others.
    """

    def __init__(self, *quoted: str, nested_comments: bool) -> None:
        self.nested_comments: bool = nested_comments
        self._quoted = quoted

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """The pattern of one token, whose kind is the name of a group; compiled when first needed."""
        groups = (
            rf"(?P<quoted>{'|'.join(self._quoted)})",
            r"(?P<comment>--[^\n]*|/\*)",
            r"(?P<placeholder>%%|%s|%\((?P<name>[^)]+)\)s)",
            r"(?P<word>[^\W\d][\w$]*)",
            r"(?P<semicolon>;)",
            # Numbers are taken whole: the e of 1e5 is no word, the $1 of a prepared statement no quote.
            r"(?P<other>\$?\d[\w.]*|\s+|.)",
        )
        return re.compile("|".join(groups), re.DOTALL)


# An unterminated quote runs to the end of the text, where the database will complain about it.
STRING = r"'(?:[^']|'')*(?:'|\Z)"
IDENTIFIER = r'"(?:[^"]|"")*(?:"|\Z)'


class Token(NamedTuple):
    """A piece of SQL text: its kind is the name of a group of the pattern; `name` is that of a named placeholder."""

    kind: str
    text: str
    name: str | None = None


def tokens(text: str, dialect: Dialect) -> Iterator[Token]:
    """Yield the pieces of a text, which together are the text."""
    position = 0
    while position < len(text):
        match = dialect._pattern.match(text, position)
        assert match is not None, "the pattern takes any character"
        end = match.end()
        if match.group("comment") == "/*":
            end = _comment_end(text, position, dialect.nested_comments)
        kind = next(k for k in ("quoted", "comment", "placeholder", "word", "semicolon", "other") if match.group(k))
        yield Token(kind, text[position:end], match.group("name"))
        position = end


def _comment_end(text: str, start: int, nested: bool) -> int:
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(text, start):
        if match.group() == "*/":
            depth -= 1
        elif nested or depth == 0:
            depth += 1
        if depth == 0:
            return match.end()
    return len(text)
