"""Split SQL text into statements and find their keywords, placeholders and passwords.

This is not a parser. It knows the quotes and comments of one database (a `Dialect`), and the few keywords that open and
close bodies with semicolons inside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from sqltrack._masking import holds_secret
from sqltrack._quoting import QueryText, query_text
from sqltrack._secret_names import is_secret_name
from sqltrack.engines._tokenizer import IDENTIFIER, STRING, Dialect, Token, tokens
from sqltrack.errors import ScriptError

__all__ = [
    "STANDARD",
    "Dialect",
    "Located",
    "Translated",
    "closes_too_much",
    "column_names",
    "find_backslash",
    "first_keyword",
    "hide_passwords",
    "keywords",
    "locate_statements",
    "outer_keywords",
    "script_error",
    "split_statements",
    "statement_text",
    "translate_placeholders",
    "without_semicolons",
]

#: Standard SQL (ISO 9075).
STANDARD = Dialect(r"[uUbBxXnN]?&?" + STRING, r"(?:[uU]&)?" + IDENTIFIER, nested_comments=True)


def keywords(statement: str, dialect: Dialect) -> Iterator[str]:
    """Yield the words of a statement outside quotes and comments, in upper case."""
    return (token.text.upper() for token in tokens(statement, dialect) if token.kind == "word")


def outer_keywords(statement: str, dialect: Dialect) -> Iterator[str]:
    """Yield the words of a statement outside quotes, comments and parentheses, in upper case."""
    for token, depth in _nested(statement, dialect):
        if token.kind == "word" and depth == 0:
            yield token.text.upper()


def closes_too_much(expression: str, dialect: Dialect) -> bool:
    """Return whether an expression closes a parenthesis that it does not open."""
    return any(depth < 0 for _, depth in _nested(expression, dialect))


def _nested(text: str, dialect: Dialect) -> Iterator[tuple[Token, int]]:
    """Yield tokens with the number of parentheses that are open after each, below 0 if more were closed."""
    depth = 0
    for token in tokens(text, dialect):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        yield token, depth


def first_keyword(statement: str, dialect: Dialect) -> str:
    """Return the first word of a statement in upper case, "" if it has none."""
    return next(keywords(statement, dialect), "")


def column_names(expression: str, dialect: Dialect) -> Iterator[str]:
    """Yield the names in an expression that may be columns, without quotes; including keywords, but not functions.

    A qualified name is a single name, such as `runs.id`.
    """
    name = ""
    for token in (*tokens(expression, dialect), Token("other", "")):
        if token.kind == "comment" or token.text.isspace():
            continue
        is_name = token.kind == "word" or (token.kind == "quoted" and token.text[0] in '"`[')
        if token.text == "." or name.endswith("."):
            name += _unquoted(token.text) if is_name else token.text
            continue
        if name and token.text != "(":
            yield name
        name = _unquoted(token.text) if is_name else ""


def _unquoted(identifier: str) -> str:
    """Return the name in a quoted identifier."""
    if identifier[0] == "[":
        return identifier[1:].removesuffix("]")
    quote = identifier[0]
    return identifier[1:-1].replace(quote * 2, quote) if quote in '"`' else identifier


def split_statements(script: str, dialect: Dialect) -> list[str]:
    """Split a script into statements without semicolons; comments are kept, empty statements dropped."""
    return [script[span.start : span.end].strip() for span in _spans(script, dialect)]


def without_semicolons(statement: str, dialect: Dialect) -> str:
    """Replace the semicolons before and after a statement by blanks.

    A text without a statement, or with several, is returned unchanged: the database will report the error.
    """
    if ";" not in statement:
        return statement
    pieces = list(tokens(statement, dialect))
    code = [
        index
        for index, token in enumerate(pieces)
        if token.kind not in ("semicolon", "comment") and not token.text.isspace()
    ]
    if not code or any(token.kind == "semicolon" for token in pieces[code[0] : code[-1]]):
        return statement
    return "".join(" " if token.kind == "semicolon" else token.text for token in pieces)


class Located(NamedTuple):
    """A statement without the comments before it, and the number of its first line."""

    line: int
    text: str


def locate_statements(script: str, dialect: Dialect) -> list[Located]:
    """Split a script into statements with their line numbers."""
    statements = []
    line, counted = 1, 0
    for span in _spans(script, dialect):
        line, counted = line + script.count("\n", counted, span.code), span.code
        statements.append(Located(line, script[span.code : span.end].strip()))
    return statements


def find_backslash(script: str, dialect: Dialect) -> Located | None:
    """Return the first word that starts with a backslash outside quotes and comments, such as a psql command."""
    position = 0
    for token in tokens(script, dialect):
        if token.text == "\\":
            return Located(script.count("\n", 0, position) + 1, script[position:].split(maxsplit=1)[0])
        position += len(token.text)
    return None


def script_error(
    script: str, statement: str, reason: object, dialect: Dialect, *, line: int | None = None, note: str = ""
) -> ScriptError:
    """Return the error for a statement of a script, with passwords masked in the statement and the reason.

    If the error's `statement` differs from the one given here, passwords were masked. Do not chain the driver's error
    then.

    Args:
        script: name of the script.
        statement: text of the statement.
        reason: why it failed, such as the driver's error.
        dialect: syntax of quotes and comments.
        line: number of the statement's first line, default: unknown.
        note: text to append to the reason, default: none.
    """
    shown, hidden = hide_passwords(statement, dialect)
    said = str(reason)
    if hidden:
        # The lines after the first quote the statement or its row.
        said = _hide_quoted(said.partition("\n")[0], hidden)
    return ScriptError(script, shown, said + note, line)


def hide_passwords(statement: str, dialect: Dialect) -> tuple[str, list[str]]:
    """Mask possible passwords in a statement; return it with the masked pieces.

    Masks all literals in statements that mention a password or secret, or create or change users or subscriptions. Also
    masks all literals and comments that mention a password. In doubt, it masks too much.
    """
    pieces: list[str] = []
    hidden: list[str] = []
    all_tokens = list(tokens(statement, dialect))
    code = [token for token in all_tokens if token.kind != "comment" and not token.text.isspace()]
    changes_access = _changes_access(code)
    is_secret_statement = changes_access or any(_names_secret(token) for token in code)
    before = Token("other", "")
    for index, token in enumerate(all_tokens):
        text = token.text
        if _is_body(token, before):
            text, parts = _hide_in_body(text, dialect)
            hidden += parts
        elif _is_hidden(token, before, is_secret_statement):
            text = "'***'" if token.kind == "quoted" else "/* *** */"
            hidden.append(token.text)
        elif changes_access and _is_bare_password(token, before):
            text = "'***'"
            hidden.append(token.text)
        pieces.append(text)
        if text == "'***'" and _is_broken(all_tokens, index):
            # The password contains a quote, so that its rest looks like code.
            hidden += [following.text for following in all_tokens[index + 1 :] if not following.text.isspace()]
            return "".join(pieces) + " …", hidden
        if token.kind != "comment" and not token.text.isspace() and not _is_assignment(token, before):
            before = token
    return "".join(pieces), hidden


_ACCESS = frozenset({"ROLE", "USER", "GROUP", "SUBSCRIPTION"})
_IDENTIFIER_QUOTES = ('"', "`", "[", 'U&"', 'u&"')
# Characters before a literal in double quotes, which SQLite accepts and other databases show in an error.
_BEFORE_VALUE = frozenset("=>(,")


def _changes_access(code: list[Token]) -> bool:
    first, second = ([*(token.text.upper() for token in code[:2]), "", ""])[:2]
    return first in ("CREATE", "ALTER") and second in _ACCESS


def _names_secret(token: Token) -> bool:
    is_name = token.kind == "word" or token.text.startswith(_IDENTIFIER_QUOTES)
    return is_name and is_secret_name(token.text.strip('"`[]'))


def _is_body(token: Token, before: Token) -> bool:
    return token.kind == "quoted" and token.text.startswith("$") and before.text.upper() in ("AS", "DO", "PLPGSQL")


def _hide_in_body(text: str, dialect: Dialect) -> tuple[str, list[str]]:
    """Mask passwords in the dollar-quoted body of a routine."""
    mark = text[: text.index("$", 1) + 1]
    body = text.removeprefix(mark).removesuffix(mark)
    shown, hidden = hide_passwords(body, dialect)
    return text.replace(body, shown), hidden


def _is_hidden(token: Token, before: Token, is_secret_statement: bool) -> bool:
    if token.kind == "comment":
        return holds_secret(token.text)
    if token.kind != "quoted":
        return False
    if token.text.startswith(_IDENTIFIER_QUOTES):
        follows = before.text in _BEFORE_VALUE or (before.kind == "word" and is_secret_name(before.text))
        return is_secret_statement and token.text.startswith('"') and follows and not _names_secret(token)
    return holds_secret(token.text) or (is_secret_statement and before.text.upper() != "UNTIL")


def _is_bare_password(token: Token, before: Token) -> bool:
    """Return whether a token may be (the beginning of) a password without quotes."""
    if before.text.upper() != "PASSWORD" or token.kind in ("comment", "semicolon") or token.text.isspace():
        return False
    # PASSWORD after PASSWORD: a role may have this name.
    return token.text.upper() not in ("NULL", "PASSWORD") and not _is_assignment(token, before)


def _is_assignment(token: Token, before: Token) -> bool:
    return before.text.upper() == "PASSWORD" and token.text in ("=", ":")


def _is_broken(all_tokens: list[Token], index: int) -> bool:
    """Return whether the token right after a literal cannot follow one."""
    following = all_tokens[index + 1] if index + 1 < len(all_tokens) else None
    return following is not None and (following.kind in ("word", "quoted") or following.text in ("-", "\\", "@", "!"))


def _hide_quoted(message: str, hidden: list[str]) -> str:
    """Mask the hidden pieces in a driver's message, including parts of them in double quotes."""
    for piece in sorted(hidden, key=len, reverse=True):
        if len(piece) > _LONG_ENOUGH:
            message = message.replace(piece, "'***'")
    everything = " ".join(hidden)
    return re.sub(r'"([^"]+)("|$)', lambda match: '"***"' if match[1] in everything else match[0], message)


# Shorter pieces occur in many words.
_LONG_ENOUGH = 3


class _Span(NamedTuple):
    """The positions of a statement: its start with the comments before it, its start without them, and its end."""

    start: int
    code: int
    end: int


def _spans(script: str, dialect: Dialect) -> Iterator[_Span]:
    """Yield the positions of a script's statements, without empty ones."""
    start = code = position = 0
    statement = _Statement()
    for token in tokens(script, dialect):
        had_code = statement.has_code
        statement.feed(token)
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


class _Statement:
    """Tracks whether a statement has code, and whether the position is inside a body.

    A body is the BEGIN … END of a routine, or any parentheses: those of a rule may contain statements.
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

    def feed(self, token: Token) -> None:
        if token.kind not in ("comment", "semicolon") and not token.text.isspace():
            self.has_code = True
        self._parentheses += {"(": 1, ")": -1}.get(token.text, 0)
        if token.kind == "word":
            self._feed_word(token.text.upper())

    def _feed_word(self, word: str) -> None:
        if self._is_routine is None:
            if word not in self._BEFORE_KIND:
                self._is_routine = word in self._ROUTINES
        elif not self._is_routine:
            return
        elif word == "BEGIN" or (word == "CASE" and self._depth):
            self._depth += 1
        elif word == "END" and self._depth:
            self._depth -= 1


def statement_text(query: QueryText, parameters: Any, dialect: Dialect, context: Any = None) -> str:
    """Return the text of a query for executing it with parameters; see `query_text`.

    Args:
        query: the query.
        parameters: values for its placeholders, None or empty for none.
        dialect: syntax of quotes and comments.
        context: connection or cursor.
    """
    text = query_text(query, context)
    if not parameters or isinstance(query, str) or not any(map(_is_parameter, tokens(text, dialect))):
        # Without our placeholders, leave percent signs alone: the text may have the driver's own placeholders.
        return text
    return query_text(query, context, has_parameters=True)


class Translated(NamedTuple):
    """A query with the placeholders of another driver.

    Attributes:
        text: the query.
        names: names of the parameters, in the order of their placeholders; None if they are bound by position.
    """

    text: str
    names: tuple[str, ...] | None


@lru_cache(maxsize=512)
def translate_placeholders(query: str, dialect: Dialect, placeholder: str = "?") -> Translated:
    """Convert the placeholders %s and %(name)s to those of another driver, and %% to %.

    Placeholders in literals, quoted identifiers and comments are left alone. A query without such placeholders is
    returned unchanged: it may have the driver's own.

    Args:
        query: the query.
        dialect: syntax of quotes and comments.
        placeholder: the driver's placeholder, default "?".

    Raises:
        ValueError: the query mixes named and positional placeholders.
    """
    pieces = list(tokens(query, dialect))
    marks = [token for token in pieces if _is_parameter(token)]
    names = tuple(token.name for token in marks if token.name is not None)
    if not marks:
        return Translated(query, None)
    if names and len(names) != len(marks):
        raise ValueError("positional placeholders (%s) and named ones (%(name)s) cannot be mixed in one query")
    text = "".join(placeholder if _is_parameter(token) else token.text.replace("%%", "%") for token in pieces)
    return Translated(text, names or None)


def _is_parameter(token: Token) -> bool:
    return token.kind == "placeholder" and token.text != "%%"
