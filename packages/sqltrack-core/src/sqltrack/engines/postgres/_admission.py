"""Let the server check that a text is a single query and calls only harmless functions."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import tuple_row

from sqltrack.engines._tokenizer import Token, tokens
from sqltrack.engines.postgres.sql import POSTGRES
from sqltrack.engines.sqltext import keywords, without_semicolons
from sqltrack.errors import ReadOnlyDatabaseError

__all__ = ["Query", "check", "declare", "read_query", "refusal"]

# DECLARE accepts only SELECT, VALUES, TABLE, and WITH without changes (PostgreSQL manual, DECLARE). Line numbers in
# the server's errors are one higher than in the text.
_DECLARE = "DECLARE sqltrack_query NO SCROLL CURSOR FOR\n{query}"
_CLOSE = b"CLOSE sqltrack_query"

# The planner first looks for PARALLEL UNSAFE functions, such as set_config() and all that run SQL from a text
# (PostgreSQL manual, 15.4). With these settings, it puts each plan without such functions below a Gather node. The
# result of the query is not used, so that nothing else affects the plan.
_SET_PARALLEL = """
    SAVEPOINT sqltrack_query;
    SELECT
        pg_catalog.set_config('{mode}', 'on', true),
        pg_catalog.set_config('max_parallel_workers_per_gather', '1', true)
"""
_RESET = b"ROLLBACK TO SAVEPOINT sqltrack_query; RELEASE SAVEPOINT sqltrack_query"
_EXPLAIN = "EXPLAIN (FORMAT JSON, COSTS OFF) WITH sqltrack_query AS (SELECT EXISTS (\n{query}\n)) SELECT 1"

# syntax_error, feature_not_supported: DECLARE does not accept the statement (PostgreSQL manual, appendix A).
_NO_CURSOR_STATES = ("42601", "0A000")

_ONLY_QUERIES = "the statement is not a query, and the database is opened read-only here"
_NO_LOCKS = "the statement locks rows (FOR UPDATE, FOR SHARE), and the database is opened read-only here"
_LOCKS = frozenset({"UPDATE", "SHARE", "NO", "KEY"})
_UNSAFE = "a superuser's query is read-only here, and may only call functions marked PARALLEL SAFE or RESTRICTED"

_FOREIGN = "a superuser's query is refused here: it could execute {code} of a user who is not a superuser"
_ADVICE = "connect as a read-only user (sqltrack grant makes one)"
_FOREIGN_ADVICE = f"{_ADVICE}, or use --as-superuser if you trust the users of this database"

# Functions that read tables and views by name, and execute functions in them that the planner does not see.
_READ_BY_NAME = frozenset(
    f"{kind}_to_{what}"
    for kind in ("cursor", "database", "query", "schema", "table")
    for what in ("xml", "xmlschema", "xml_and_xmlschema")
)

# Catalogs of objects with expressions that the planner evaluates: indexes and partitions, CHECKs, and statistics.
_EVALUATED = "'{pg_catalog.pg_class,pg_catalog.pg_constraint,pg_catalog.pg_statistic_ext}'"

# Code of users who are not superusers. Owners can mark any function PARALLEL SAFE. The planner does not check
# aggregates, CHECKs of domains, casts that to_json() calls, or the expressions that it evaluates in indexes,
# statistics, partitions and CHECKs. It replaces operators by their negators later, and calls functions of range types
# for its estimates. Functions that read by name execute views that it does not see. A function that shares the name of
# a system function can replace it, depending on the search path. The planner finds all other UNSAFE functions,
# wherever they are called. Operators are qualified here, because such a user may have put others before those of the
# system. System objects have OIDs below 16384 (FirstNormalObjectId in PostgreSQL's transam.h). Each part checks owners
# first, which takes 2 ms instead of 45; OFFSET 0 keeps the planner from doing otherwise.
_FOREIGN_SQL = f"""
    WITH strangers AS (SELECT oid FROM pg_catalog.pg_roles WHERE NOT rolsuper)
    (
        SELECT 'the function ', oid::pg_catalog.regprocedure::pg_catalog.text FROM pg_catalog.pg_proc
        WHERE
            proowner OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT oid FROM strangers))
            AND (
                proparallel OPERATOR(pg_catalog.<>) 'u'
                OR prokind OPERATOR(pg_catalog.=) ANY ('{{a,w}}'::pg_catalog."char"[])
                OR EXISTS (SELECT FROM pg_catalog.pg_cast WHERE castfunc OPERATOR(pg_catalog.=) pg_proc.oid)
                OR EXISTS (
                    SELECT FROM pg_catalog.pg_depend
                    WHERE
                        refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
                        AND refobjid OPERATOR(pg_catalog.=) pg_proc.oid
                        AND classid OPERATOR(pg_catalog.=) ANY ({_EVALUATED}::pg_catalog.regclass[])
                )
                OR EXISTS (
                    SELECT FROM pg_catalog.pg_proc AS own
                    WHERE
                        own.proname OPERATOR(pg_catalog.=) pg_proc.proname
                        AND own.pronamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace
                )
            )
        LIMIT 1
    )
    UNION ALL (
        SELECT 'the operator ', oid::pg_catalog.regoperator::pg_catalog.text FROM pg_catalog.pg_operator
        WHERE oprowner OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT oid FROM strangers))
        LIMIT 1
    )
    UNION ALL (
        SELECT 'the range type ', oid::pg_catalog.regtype::pg_catalog.text FROM pg_catalog.pg_type
        WHERE
            typtype OPERATOR(pg_catalog.=) 'r'
            AND typowner OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT oid FROM strangers))
        LIMIT 1
    )
    UNION ALL (
        SELECT 'the domain ', contypid::pg_catalog.regtype::pg_catalog.text
        FROM pg_catalog.pg_constraint JOIN pg_catalog.pg_type ON pg_type.oid OPERATOR(pg_catalog.=) contypid
        WHERE
            contype OPERATOR(pg_catalog.=) 'c'
            AND typowner OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT oid FROM strangers))
        LIMIT 1
    )
    UNION ALL (
        SELECT 'the view ', ev_class::pg_catalog.regclass::pg_catalog.text
        FROM
            (
                SELECT ev_class, ev_action
                FROM pg_catalog.pg_class JOIN pg_catalog.pg_rewrite ON pg_class.oid OPERATOR(pg_catalog.=) ev_class
                WHERE
                    relkind OPERATOR(pg_catalog.=) 'v'
                    AND relowner OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT oid FROM strangers))
                OFFSET 0
            ) AS views
            CROSS JOIN LATERAL pg_catalog.regexp_matches(
                ev_action::pg_catalog.text, ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+)', 'g'
            ) AS called (numbers)
            JOIN pg_catalog.pg_proc ON pg_proc.oid OPERATOR(pg_catalog.=) numbers[1]::pg_catalog.oid
        WHERE
            pg_proc.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
            OR proparallel OPERATOR(pg_catalog.=) 'u'
            OR proname OPERATOR(pg_catalog.=) ANY ('{{{",".join(sorted(_READ_BY_NAME))}}}'::pg_catalog.name[])
        LIMIT 1
    )
    LIMIT 1
"""


class Query(NamedTuple):
    """A text that should be a query.

    Attributes:
        text: the text to execute.
        query: the part that must be a query, None for SHOW.
    """

    text: str
    query: str | None


def read_query(text: str) -> Query:
    """Split off EXPLAIN and SHOW at the beginning of a text, which DECLARE does not accept.

    The text to execute begins with the word found, so that the server parses such a statement whatever follows.
    """
    text = without_semicolons(text, POSTGRES)
    rest = _without_blanks(list(tokens(text, POSTGRES)))
    word = rest[0].text.upper() if rest else ""
    if word == "SHOW":
        return Query(f"SHOW {_join(rest[1:])}", None)
    if word == "EXPLAIN":
        options, explained = _split_options(_without_blanks(rest[1:]))
        return Query(f"EXPLAIN {_join(options)}\n{_join(explained)}", _join(explained))
    return Query(text, text)


def check(
    cursor_class: type[psycopg.Cursor[Any]],
    connection: psycopg.Connection[Any],
    query: str,
    parameters: Any,
    *,
    only_harmless: bool,
) -> None:
    """Make sure that a text is a single query. It is planned but not executed.

    Args:
        cursor_class: class of the cursors to use.
        connection: a connection in a read-only transaction.
        query: the text.
        parameters: values for its placeholders.
        only_harmless: whether to refuse functions that are PARALLEL UNSAFE or read tables by name. It also refuses all
            queries if users who are not superusers have code in the database that could be executed.

    Raises:
        psycopg.Error: the text is not a single query.
        ReadOnlyDatabaseError: it calls such a function, or could execute such code.
    """
    if only_harmless:
        _refuse_foreign_code(connection)
        # Check this first: planning the query may already call functions.
        _check_functions(cursor_class, connection, query, parameters)
    declare(cursor_class, connection, query, parameters)


def declare(
    cursor_class: type[psycopg.Cursor[Any]], connection: psycopg.Connection[Any], query: str, parameters: Any
) -> None:
    """Let the server check that a text is a single query; in a pipeline, the error comes later. See `check`."""
    _run(cursor_class, connection, _DECLARE.format(query=query), parameters)
    psycopg.Cursor(connection).execute(_CLOSE)


def refusal(connection: psycopg.Connection[Any], error: psycopg.Error, text: str) -> Exception:
    """Return the error for a text that was refused with `error`, because it is wrong or not a query.

    Args:
        connection: the connection, in a new transaction.
        error: the server's error for DECLARE with the text.
        text: the text, without placeholders.
    """
    result = connection.pgconn.prepare(b"", text.encode(connection.info.encoding))
    if result.status == psycopg.pq.ExecStatus.COMMAND_OK:
        if error.sqlstate not in _NO_CURSOR_STATES:
            return error
        return ReadOnlyDatabaseError(_ONLY_QUERIES, "sqltrack execute runs other statements")
    state = (result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) or b"").decode()
    message = result.get_error_message(connection.info.encoding)
    return psycopg.errors.lookup(state)(message, info=result, encoding=connection.info.encoding) if state else error


def _refuse_foreign_code(connection: psycopg.Connection[Any]) -> None:
    """Raise an error if users who are not superusers have code that a query could execute."""
    row = psycopg.Cursor(connection, row_factory=tuple_row).execute(_FOREIGN_SQL.encode()).fetchone()
    if row is not None:
        raise ReadOnlyDatabaseError(_FOREIGN.format(code="".join(row)), _FOREIGN_ADVICE)


def _check_functions(
    cursor_class: type[psycopg.Cursor[Any]], connection: psycopg.Connection[Any], query: str, parameters: Any
) -> None:
    if any(map(_may_read_by_name, tokens(query, POSTGRES))):
        raise ReadOnlyDatabaseError(_UNSAFE, _ADVICE)
    mode = "debug_parallel_query" if connection.info.server_version >= 160000 else "force_parallel_mode"
    explain = _EXPLAIN.format(query=query)
    psycopg.Cursor(connection).execute(_SET_PARALLEL.format(mode=mode).encode())
    explained = _run(cursor_class, connection, explain, parameters)
    psycopg.Cursor(connection).execute(_RESET)
    row = explained.fetchone()
    if row is None or row[0][0]["Plan"]["Node Type"] != "Gather":
        if _locks_rows(query):
            raise ReadOnlyDatabaseError(_NO_LOCKS, "leave the locks out")
        raise ReadOnlyDatabaseError(_UNSAFE, _ADVICE)


def _may_read_by_name(token: Token) -> bool:
    """Return whether a token is the name of a function that reads tables by name, or may be one in escaped form."""
    return token.text.lower().startswith('u&"') or token.text.lower().strip('"') in _READ_BY_NAME


def _locks_rows(query: str) -> bool:
    words = itertools.pairwise(keywords(query, POSTGRES))
    return any(word == "FOR" and following in _LOCKS for word, following in words)


def _run(
    cursor_class: type[psycopg.Cursor[Any]], connection: psycopg.Connection[Any], text: str, parameters: Any
) -> psycopg.Cursor[Any]:
    """Execute a text as a single statement.

    For binary results psycopg uses the extended protocol, in which the server accepts one statement at a time, so that
    none can follow a COMMIT (PostgreSQL manual, 55.2.3).
    """
    arguments = (text, parameters) if parameters else (text,)
    return cursor_class(connection, row_factory=tuple_row).execute(*arguments, binary=True)


def _split_options(rest: list[Token]) -> tuple[list[Token], list[Token]]:
    """Return the options of EXPLAIN and the rest."""
    if rest and rest[0].text == "(":
        depth = 0
        for index, token in enumerate(rest):
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if depth == 0:
                return rest[: index + 1], rest[index + 1 :]
    index = 0
    for words in (("ANALYZE", "ANALYSE"), ("VERBOSE",)):
        following = _without_blanks(rest[index:])
        if following and following[0].text.upper() in words:
            index = len(rest) - len(following) + 1
    return rest[:index], rest[index:]


def _without_blanks(pieces: list[Token]) -> list[Token]:
    """Return the tokens without leading blanks and comments."""
    for index, token in enumerate(pieces):
        if token.kind != "comment" and not token.text.isspace():
            return pieces[index:]
    return []


def _join(pieces: list[Token]) -> str:
    return "".join(token.text for token in pieces)
