"""Handle SQLite's SQL: its quotes, its comparison of names, and one added column per statement."""

from __future__ import annotations

from sqltrack.engines._tokenizer import IDENTIFIER, STRING, Dialect, tokens

__all__ = ["SQLITE", "fold", "split_additions"]

SQLITE = Dialect(
    r"[xX]?" + STRING,
    IDENTIFIER,
    r"`(?:[^`]|``)*(?:`|\Z)",
    r"\[[^\]]*(?:\]|\Z)",
    nested_comments=False,
)


def fold(name: str) -> bytes:
    """Return a form of a name that is equal for names that SQLite considers equal: ASCII letters ignore case."""
    return name.encode("utf-8", "surrogatepass").lower()


def split_additions(statement: str) -> list[str]:
    """Split an ALTER TABLE that adds several columns into one per column, as SQLite requires."""
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
