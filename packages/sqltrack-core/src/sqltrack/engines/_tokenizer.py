"""Split SQL text into tokens: code, comments, string literals and quoted identifiers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

__all__ = ["IDENTIFIER", "STRING", "Dialect", "Token", "tokens"]


class Dialect:
    """The syntax of quotes and comments in a database.

    Args:
        quoted: patterns of string literals and quoted identifiers.
        nested_comments: whether comments can be nested.
    """

    def __init__(self, *quoted: str, nested_comments: bool) -> None:
        self.nested_comments: bool = nested_comments
        self._quoted = quoted

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """The pattern of a token, with a named group for each kind; compiled on first use."""
        groups = (
            rf"(?P<quoted>{'|'.join(self._quoted)})",
            r"(?P<comment>--[^\n]*|/\*)",
            r"(?P<placeholder>%%|%s|%\((?P<name>[^)]+)\)s)",
            r"(?P<word>[^\W\d][\w$]*)",
            r"(?P<semicolon>;)",
            # Match whole numbers: the e of 1e5 is not a word, and the $1 of a prepared statement is not a quote.
            r"(?P<other>\$?\d[\w.]*|\s+|.)",
        )
        return re.compile("|".join(groups), re.DOTALL)


# An unterminated quote extends to the end of the text; the database will report the error.
STRING = r"'(?:[^']|'')*(?:'|\Z)"
IDENTIFIER = r'"(?:[^"]|"")*(?:"|\Z)'


class Token(NamedTuple):
    """A piece of SQL text; `kind` is a group of the pattern, and `name` the name of a named placeholder."""

    kind: str
    text: str
    name: str | None = None


def tokens(text: str, dialect: Dialect) -> Iterator[Token]:
    """Yield the tokens of a text; joined, they are the text."""
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
