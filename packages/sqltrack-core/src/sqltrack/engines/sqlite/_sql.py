"""SQLite's SQL: how it quotes, psycopg's placeholders in it, and one added column at a time."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from sqltrack.engines._tokenizer import IDENTIFIER, STRING, Dialect, Token, tokens

__all__ = ["SQLITE", "Translated", "split_additions", "translate_placeholders", "without_placeholders"]

SQLITE = Dialect(
    r"[xX]?" + STRING,
    IDENTIFIER,
    r"`(?:[^`]|``)*(?:`|\Z)",
    r"\[[^\]]*(?:\]|\Z)",
    nested_comments=False,
)


def split_additions(statement: str) -> list[str]:
    """Split an ALTER TABLE that adds several columns into one for each, as SQLite needs it."""
    words = [
        token for token in tokens(statement, SQLITE) if token.kind not in ("comment",) and not token.text.isspace()
    ]
    if (
        [word.text.upper() for word in words[:2]] != ["ALTER", "TABLE"]
        or len(words) < 4
        or words[3].text.upper() != "ADD"
    ):
        return [statement]
    parts = [""]
    depth = 0
    for token in tokens(statement, SQLITE):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if token.text == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += token.text
    head = f"ALTER TABLE {words[2].text}"
    return [parts[0], *(f"{head} {part.strip()}" for part in parts[1:])]


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
    pieces = list(tokens(query, SQLITE))
    placeholders = [token for token in pieces if _is_parameter(token)]
    names = tuple(token.name for token in placeholders if token.name is not None)
    if not placeholders:
        return Translated(query, None)
    if names and len(names) != len(placeholders):
        raise ValueError("positional placeholders (%s) and named ones (%(name)s) cannot be mixed in one query")
    text = "".join(placeholder if _is_parameter(token) else token.text.replace("%%", "%") for token in pieces)
    return Translated(text, names or None)


def without_placeholders(query: str) -> str:
    """Return a query for SQLite with NULL in the places of psycopg's placeholders."""
    return translate_placeholders(query, placeholder="NULL").text


def _is_parameter(token: Token) -> bool:
    return token.kind == "placeholder" and token.text != "%%"
