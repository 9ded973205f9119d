"""Statements and placeholders are found in code, not in literals, quoted names and comments."""

from __future__ import annotations

import pytest

from sqltrack.engines.postgres.sql import POSTGRES
from sqltrack.engines.sqlite._sql import SQLITE, split_additions
from sqltrack.engines.sqltext import (
    Dialect,
    closes_too_much,
    first_keyword,
    outer_keywords,
    split_statements,
    translate_placeholders,
)

BOTH = pytest.mark.parametrize("dialect", [POSTGRES, SQLITE], ids=["postgres", "sqlite"])


@BOTH
@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("", []),
        (" ;; -- nothing\n; /* ; */", []),
        ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';', 'it''s;' ; SELECT \"a;\"\"b\"", ["SELECT ';', 'it''s;'", 'SELECT "a;""b"']),
        ("-- a; b\nSELECT 1 /* ; */;", ["-- a; b\nSELECT 1 /* ; */"]),
        ("SELECT 'never closed; ", ["SELECT 'never closed;"]),
        ("SELECT 1 /* never closed; SELECT 2", ["SELECT 1 /* never closed; SELECT 2"]),
        ("SELECT 1e5;SELECT 2", ["SELECT 1e5", "SELECT 2"]),
    ],
)
def test_semicolons_outside_quotes_and_comments_end_statements(
    dialect: Dialect, script: str, statements: list[str]
) -> None:
    assert split_statements(script, dialect) == statements


@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("SELECT $$a;b$$; SELECT 2", ["SELECT $$a;b$$", "SELECT 2"]),
        ("SELECT $x$ $$;$y$ $x$; SELECT 2", ["SELECT $x$ $$;$y$ $x$", "SELECT 2"]),
        ("SELECT a$b$c; SELECT 2", ["SELECT a$b$c", "SELECT 2"]),
        (r"SELECT E'it\'s;' ; SELECT 2", [r"SELECT E'it\'s;'", "SELECT 2"]),
        (r"SELECT 'a\'; SELECT 2", [r"SELECT 'a\'", "SELECT 2"]),
        ("/* a /* b; */ c; */ SELECT 1; SELECT x[1];", ["/* a /* b; */ c; */ SELECT 1", "SELECT x[1]"]),
        (
            "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END; SELECT 1",
            [
                "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END",
                "SELECT 1",
            ],
        ),
    ],
)
def test_postgres_quotes_by_dollars_and_nests_comments(script: str, statements: list[str]) -> None:
    assert split_statements(script, POSTGRES) == statements


@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("SELECT `a;b`, [c;d]; SELECT 2", ["SELECT `a;b`, [c;d]", "SELECT 2"]),
        ("/* a /* b */ SELECT 1; SELECT 2", ["/* a /* b */ SELECT 1", "SELECT 2"]),
        (
            "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE 1 WHEN 1 THEN 2 END; SELECT 1; END; SELECT 2",
            [
                "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE 1 WHEN 1 THEN 2 END; SELECT 1; END",
                "SELECT 2",
            ],
        ),
        ("CREATE TABLE t (trigger, begin); SELECT 2", ["CREATE TABLE t (trigger, begin)", "SELECT 2"]),
        ("BEGIN; SELECT 1; END;", ["BEGIN", "SELECT 1", "END"]),
    ],
)
def test_sqlite_quotes_by_backticks_and_brackets(script: str, statements: list[str]) -> None:
    assert split_statements(script, SQLITE) == statements


@pytest.mark.parametrize(
    ("statement", "parts"),
    [
        (
            "-- two\nALTER TABLE metrics ADD COLUMN a FLOAT DEFAULT (max(1, 2)),\n ADD COLUMN \"b,c\" TEXT DEFAULT ','",
            [
                "-- two\nALTER TABLE metrics ADD COLUMN a FLOAT DEFAULT (max(1, 2))",
                "ALTER TABLE metrics ADD COLUMN \"b,c\" TEXT DEFAULT ','",
            ],
        ),
        ("ALTER TABLE metrics RENAME COLUMN a TO b", ["ALTER TABLE metrics RENAME COLUMN a TO b"]),
        ("SELECT 1, 2", ["SELECT 1, 2"]),
        ("INSERT INTO t VALUES (1), (2)", ["INSERT INTO t VALUES (1), (2)"]),
    ],
)
def test_columns_that_are_added_together_can_be_added_one_by_one(statement: str, parts: list[str]) -> None:
    assert split_additions(statement) == parts


@BOTH
def test_the_first_keyword_comes_after_comments(dialect: Dialect) -> None:
    assert first_keyword("/* x */ -- y\n select 1", dialect) == "SELECT"
    assert first_keyword(" ", dialect) == ""


@pytest.mark.parametrize(
    ("query", "text", "names"),
    [
        ("SELECT %s, '%s', \"%s\" -- %s", "SELECT ?, '%s', \"%s\" -- %s", None),
        ("SELECT %(a)s, %(b c)s, %(a)s", "SELECT ?, ?, ?", ("a", "b c", "a")),
        ("SELECT \"a%%b\" WHERE x LIKE 'y%%' AND 5 %% 2 = %s", "SELECT \"a%b\" WHERE x LIKE 'y%' AND 5 % 2 = ?", None),
        ("SELECT ?, :a, 5 % 2, 'a%%b'", "SELECT ?, :a, 5 % 2, 'a%%b'", None),
        ("SELECT '%s'", "SELECT '%s'", None),
    ],
)
def test_placeholders_become_those_of_sqlite(query: str, text: str, names: tuple[str, ...] | None) -> None:
    """Placeholders in literals, quoted identifiers and comments are left alone."""
    assert translate_placeholders(query, SQLITE) == (text, names)


def test_positional_and_named_placeholders_do_not_mix() -> None:
    with pytest.raises(ValueError, match="cannot be mixed"):
        translate_placeholders("SELECT %s, %(a)s", SQLITE)


@BOTH
def test_parentheses_count_only_outside_quotes_and_comments(dialect: Dialect) -> None:
    for text in ("a = 1", "(a) OR (b)", "a = ')'", '")" = 1', "a /* ) */ = 1", "a = 1 -- )", "(a", "((a) AND b)"):
        assert not closes_too_much(text, dialect), text
    for text in ("a) OR (b", ")", "(a)) OR ((b)", "a = '(' ) OR (1 = 1", "a = 1 /* ( */ ) OR (b", "a -- (\n) OR (b"):
        assert closes_too_much(text, dialect), text


@BOTH
def test_words_in_parentheses_quotes_and_comments_are_not_those_of_the_statement(dialect: Dialect) -> None:
    text = "WITH a AS (SELECT (1)) /* VALUES */ INSERT INTO b VALUES ('TABLE', c) -- d\n RETURNING *"
    assert list(outer_keywords(text, dialect)) == ["WITH", "A", "AS", "INSERT", "INTO", "B", "VALUES", "RETURNING"]
