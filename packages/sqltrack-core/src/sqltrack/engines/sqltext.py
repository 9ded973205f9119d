r"""Read SQL text far enough to tell its statements, its placeholders and what a statement does.

This is no parser: it tells code from comments, string literals and quoted identifiers, by the rules of one database
(a `Dialect`), and counts the few keywords that open and close bodies with semicolons inside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

__all__ = [
    "POSTGRES",
    "SQLITE",
    "Dialect",
    "Located",
    "Translated",
    "find_backslash",
    "first_keyword",
    "hide_passwords",
    "keywords",
    "locate_statements",
    "split_additions",
    "split_statements",
    "translate_placeholders",
    "without_placeholders",
]


class Dialect(NamedTuple):
    """How a database quotes and comments: a pattern with the groups quoted, comment, word and semicolon."""

    pattern: re.Pattern[str]
    nested_comments: bool


def _dialect(*quoted: str, nested_comments: bool) -> Dialect:
    groups = (
        rf"(?P<quoted>{'|'.join(quoted)})",
        r"(?P<comment>--[^\n]*|/\*)",
        r"(?P<placeholder>%%|%s|%\((?P<name>[^)]+)\)s)",
        r"(?P<word>[^\W\d][\w$]*)",
        r"(?P<semicolon>;)",
        # Numbers are taken whole: the e of 1e5 is no word, the $1 of a prepared statement no quote.
        r"(?P<other>\$?\d[\w.]*|\s+|.)",
    )
    return Dialect(re.compile("|".join(groups), re.DOTALL), nested_comments)


# An unterminated quote runs to the end of the text, where the database will complain about it.
_STRING = r"'(?:[^']|'')*(?:'|\Z)"
_IDENTIFIER = r'"(?:[^"]|"")*(?:"|\Z)'

POSTGRES = _dialect(
    r"[eE]'(?:[^'\\]|''|\\.)*(?:'|\Z)",
    r"[uUbBxXnN]?&?" + _STRING,
    r"(?:[uU]&)?" + _IDENTIFIER,
    r"\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)",
    nested_comments=True,
)
SQLITE = _dialect(
    r"[xX]?" + _STRING,
    _IDENTIFIER,
    r"`(?:[^`]|``)*(?:`|\Z)",
    r"\[[^\]]*(?:\]|\Z)",
    nested_comments=False,
)


class _Token(NamedTuple):
    kind: str
    text: str
    name: str | None = None


def _tokens(text: str, dialect: Dialect) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        match = dialect.pattern.match(text, position)
        assert match is not None, "the pattern takes any character"
        end = match.end()
        if match.group("comment") == "/*":
            end = _comment_end(text, position, dialect.nested_comments)
        kind = next(k for k in ("quoted", "comment", "placeholder", "word", "semicolon", "other") if match.group(k))
        yield _Token(kind, text[position:end], match.group("name"))
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


def keywords(statement: str, dialect: Dialect) -> Iterator[str]:
    """Yield the words of a statement outside quotes and comments, in upper case."""
    return (token.text.upper() for token in _tokens(statement, dialect) if token.kind == "word")


def first_keyword(statement: str, dialect: Dialect) -> str:
    """Return the first word of a statement in upper case, "" if it has none."""
    return next(keywords(statement, dialect), "")


def split_statements(script: str, dialect: Dialect) -> list[str]:
    """Split a script into its statements, without their semicolons; comments stay, empty statements go."""
    return [script[span.start : span.end].strip() for span in _spans(script, dialect)]


class Located(NamedTuple):
    """A statement without the comments before it, and the number of the line in which it begins."""

    line: int
    text: str


def locate_statements(script: str, dialect: Dialect) -> list[Located]:
    """Split a script into its statements, and tell where they are."""
    statements = []
    line, counted = 1, 0
    for span in _spans(script, dialect):
        line, counted = line + script.count("\n", counted, span.code), span.code
        statements.append(Located(line, script[span.code : span.end].strip()))
    return statements


def find_backslash(script: str, dialect: Dialect) -> Located | None:
    """Return where there is a backslash outside of quotes and comments, as there is in a command of psql's."""
    position = 0
    for token in _tokens(script, dialect):
        if token.text == "\\":
            return Located(script.count("\n", 0, position) + 1, script[position:].split(maxsplit=1)[0])
        position += len(token.text)
    return None


def hide_passwords(statement: str, dialect: Dialect) -> tuple[str, list[str]]:
    """Return a statement with stars in the places of passwords, and the literals that were there."""
    pieces: list[str] = []
    hidden: list[str] = []
    follows_password = False
    for token in _tokens(statement, dialect):
        is_hidden = follows_password and token.kind == "quoted"
        pieces.append("'***'" if is_hidden else token.text)
        if is_hidden:
            hidden.append(token.text)
        if token.kind != "comment" and not token.text.isspace():
            follows_password = token.kind == "word" and token.text.upper() == "PASSWORD"
    return "".join(pieces), hidden


class _Span(NamedTuple):
    """Where a statement begins, with the comments before it and without, and where it ends."""

    start: int
    code: int
    end: int


def _spans(script: str, dialect: Dialect) -> Iterator[_Span]:
    """Yield where the statements of a script are, but for those without code."""
    start = code = position = 0
    statement = _Statement()
    for token in _tokens(script, dialect):
        had_code = statement.has_code
        statement.see(token)
        if statement.has_code and not had_code:
            code = position
        position += len(token.text)
        if token.kind != "semicolon" or statement.in_body:
            continue
        if statement.has_code:
            yield _Span(start, code, position - len(token.text))
        start, statement = position, _Statement()
    if statement.has_code:
        yield _Span(start, code, position)


def split_additions(statement: str, dialect: Dialect) -> list[str]:
    """Split an ALTER TABLE that adds several columns into one for each, for a database that adds one at a time."""
    words = [
        token for token in _tokens(statement, dialect) if token.kind not in ("comment",) and not token.text.isspace()
    ]
    if (
        [word.text.upper() for word in words[:2]] != ["ALTER", "TABLE"]
        or len(words) < 4
        or words[3].text.upper() != "ADD"
    ):
        return [statement]
    parts = [""]
    depth = 0
    for token in _tokens(statement, dialect):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if token.text == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += token.text
    head = f"ALTER TABLE {words[2].text}"
    return [parts[0], *(f"{head} {part.strip()}" for part in parts[1:])]


class _Statement:
    """Follows one statement: whether it holds code, and whether it is inside of parentheses (those of a rule may hold
    statements) or a routine's BEGIN … END body.
    """

    _BEFORE_KIND = frozenset({"CREATE", "OR", "REPLACE", "TEMP", "TEMPORARY"})
    _ROUTINES = frozenset({"TRIGGER", "FUNCTION", "PROCEDURE"})

    def __init__(self) -> None:
        self.has_code = False
        self._is_routine: bool | None = None
        self._depth = 0
        self._parentheses = 0

    @property
    def in_body(self) -> bool:
        return self._depth > 0 or self._parentheses > 0

    def see(self, token: _Token) -> None:
        if token.kind not in ("comment", "semicolon") and not token.text.isspace():
            self.has_code = True
        self._parentheses += {"(": 1, ")": -1}.get(token.text, 0)
        if token.kind == "word":
            self._see_word(token.text.upper())

    def _see_word(self, word: str) -> None:
        if self._is_routine is None:
            if word not in self._BEFORE_KIND:
                self._is_routine = word in self._ROUTINES
        elif not self._is_routine:
            return
        elif word == "BEGIN" or (word == "CASE" and self._depth):
            self._depth += 1
        elif word == "END" and self._depth:
            self._depth -= 1


class Translated(NamedTuple):
    """A query with SQLite's placeholders; `names` gives the order of named parameters, None if by position."""

    text: str
    names: tuple[str, ...] | None


@lru_cache(maxsize=512)
def translate_placeholders(query: str, placeholder: str = "?") -> Translated:
    """Turn psycopg's placeholders (%s, %(name)s) into SQLite's, or another, and %% into %, as psycopg does.

    Placeholders in literals, quoted identifiers and comments are left alone. A query without psycopg's placeholders
    is SQLite's own and is returned untouched.

    Raises:
        ValueError: named and positional placeholders are mixed.
    """
    tokens = list(_tokens(query, SQLITE))
    placeholders = [token for token in tokens if _is_parameter(token)]
    names = tuple(token.name for token in placeholders if token.name is not None)
    if not placeholders:
        return Translated(query, None)
    if names and len(names) != len(placeholders):
        raise ValueError("positional placeholders (%s) and named ones (%(name)s) cannot be mixed in one query")
    text = "".join(placeholder if _is_parameter(token) else token.text.replace("%%", "%") for token in tokens)
    return Translated(text, names or None)


def without_placeholders(query: str) -> str:
    """Return a query for SQLite with NULL in the places of psycopg's placeholders."""
    return translate_placeholders(query, placeholder="NULL").text


def _is_parameter(token: _Token) -> bool:
    return token.kind == "placeholder" and token.text != "%%"
