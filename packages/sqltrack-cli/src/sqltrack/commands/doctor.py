"""Check an installation and its database for problems, and suggest fixes."""

from __future__ import annotations

import platform
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.engines.admin import Admin, admin_of
from sqltrack.engines.checks import Check, Severity, Verdict, fetch_rows, note, ok, problem
from sqltrack.engines.engine import Engine
from sqltrack.engines.schema import COLUMNS, EXTRAS, KEY, TABLES
from sqltrack.errors import NotSetUpError, ReadOnlyDatabaseError, SQLTrackError, UnusableValueError
from sqltrack.outbox import find_outboxes, outbox_folders
from sqltrack.wording import pluralize, short_bytes

__all__ = ["Finding", "examine", "examine_installation"]

_BASE = "base.sql"
_CREATED_TABLE = re.compile(r"CREATE TABLE (\w+)")
_CREATED_INDEX = re.compile(r"CREATE INDEX (\w+) ON (\w+)")

_DISTRIBUTIONS = (
    *("sqltrack", "sqltrack-core", "sqltrack-cli", "sqltrack-args", "sqltrack-notebook"),
    *("sqltrack-integrations", "sqltrack-ui", "sqltrack-import"),
)
_PACKAGES = ("psycopg", "psycopg-binary", "psycopg-c", "psycopg-pool", "pandas", "polars")

# Seconds after which a connection is reported as slow.
_SLOW = 1.0

# Maximum number of rows to count, and number of rows of metrics in which to look for names.
_COUNTED_ROWS = 1_000_000
_READ_ROWS = 10_000

_SHOWN = 10

# Words for the rows of the tables that grow.
_NOUNS = {
    "experiments": ("experiment", "experiments"),
    "runs": ("run", "runs"),
    "metrics": ("row of metrics", "rows of metrics"),
}

# Fraction of the possible metric columns in use from which the limit is reported.
_CROWDED = 0.8

# Number of metric columns that slows down each call that logs.
_WIDE = 300


class Finding(NamedTuple):
    """The finding of one check.

    Attributes:
        check: name of the check.
        result: "ok", "note" for useful information, "problem" if something has to be done.
        found: description of the finding.
        advice: what to do, None if nothing.
    """

    check: str
    result: Severity
    found: str
    advice: str | None


def examine(
    client: Client,
    *,
    stale_after: float = 24.0,
    full: bool = False,
    as_superuser: bool = False,
    progress: Callable[[int], object] = lambda done: None,
) -> list[Finding]:
    """Check the installation and the database of a client without changing anything.

    A check that fails is also a finding. The work is bounded: large tables are not read completely.

    Args:
        client: client of the database, which need not be available or set up.
        stale_after: hours without an update after which a RUNNING run counts as dead, default 24.
        full: whether to also check the integrity of the whole SQLite database, default False.
        as_superuser: whether a superuser reads the tables even if other users' code could use the superuser's rights,
            default False.
        progress: called with the number of finished checks.

    Raises:
        ValueError: `stale_after` is negative.
    """
    if not stale_after >= 0:
        raise UnusableValueError(f"stale_after must be a number of hours that is not negative, got {stale_after!r}")
    engine = client.engine
    findings = [*examine_installation(), Finding("outbox", *_outbox(client))]
    if not engine.exists():
        missing = admin_of(engine).missing("create it with: sqltrack setup; or correct dbpath")
        return [*findings, Finding("connection", *_failure(missing))]
    with _connected(engine) as (connection, verdict):
        findings.append(Finding("connection", *verdict))
        if connection is None:
            return findings
        admin = admin_of(engine, connection)
        refusal = None if as_superuser else _foreign_code(admin)
        if refusal is not None:
            # Even queries without tables could call such code, through a function that shadows one of the server.
            return [*findings, Finding("code of others", *refusal)]
        checks = {**_checks(admin, timedelta(hours=stale_after)), **admin.checks(full=full)}
        for done, (name, check) in enumerate(checks.items()):
            progress(done)
            found = _carry_out(engine, check)
            if found is not None:
                findings.append(Finding(name, *found))
    return findings


def examine_installation() -> list[Finding]:
    """Check the installed packages; this needs no database."""
    installed = _versions(_DISTRIBUTIONS)
    missing = [name for name in _DISTRIBUTIONS if name not in installed]
    distributions = _show_versions(installed)
    if missing:
        distributions += f"; not installed: {', '.join(missing)}"
    return [
        Finding("python", *ok(f"Python {platform.python_version()}, {sys.executable}")),
        Finding("distributions", *_judge_distributions(installed, distributions)),
        Finding("drivers", *ok(_show_versions({"SQLite": _sqlite_version(), **_versions(_PACKAGES)}))),
    ]


def _judge_distributions(installed: Mapping[str, str], found: str) -> Verdict:
    """Report the earlier project of the same name, whose removal also deletes our files."""
    if not installed.get("sqltrack", "").startswith(("0.0.", "0.1.")):
        return ok(found)
    ours = " ".join(name for name in installed if name != "sqltrack")
    return problem(
        f"{found}; sqltrack {installed['sqltrack']} is another project with the same file names",
        f"pip uninstall sqltrack, then: pip install --force-reinstall --no-deps {ours}",
    )


def _versions(names: Sequence[str]) -> dict[str, str]:
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _show_versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _sqlite_version() -> str:
    try:
        import sqlite3
    except ImportError:
        return "(not part of this Python)"
    return sqlite3.sqlite_version


# The outbox


def _outbox(client: Client) -> Verdict:
    """Report the outboxes that no process is going to send by itself."""
    folders = outbox_folders(client.config)
    try:
        found = find_outboxes(*folders)
    except SQLTrackError as error:
        return _failure(error)
    left = [info for info in found if info.state not in ("alive", "sent")]
    if not left:
        return ok(f"no calls of ended processes wait in {folders[0]!r}")
    files = pluralize(len(left), "file", "files")
    calls = pluralize(sum(info.calls for info in left), "call", "calls")
    return note(
        f"{calls} of ended processes in {files}", "look at them with: sqltrack outbox; and: sqltrack outbox send"
    )


# The database


@contextmanager
def _connected(engine: Engine) -> Iterator[tuple[Any, Verdict]]:
    """Connect, and close at the end; the connection is None if connecting fails."""
    begin = time.perf_counter()
    try:
        connection = engine.connect()
    except (SQLTrackError, OSError) as error:
        yield None, _failure(error)
        return
    seconds = time.perf_counter() - begin
    found = f"{engine.describe()} answers after {seconds * 1000:,.0f} ms"
    try:
        engine.set_autocommit(connection, True)
        yield connection, note(found, "every job waits this long when it starts") if seconds > _SLOW else ok(found)
    finally:
        engine.abort(connection)


def _carry_out(engine: Engine, check: Check) -> Verdict | None:
    try:
        return check()
    except (SQLTrackError, engine.driver_error, OSError) as error:
        if isinstance(error, engine.driver_error):
            error = engine.translate_error(error)
        if isinstance(error, NotSetUpError):
            # Missing tables are a separate finding.
            return None
        return _failure(error, "cannot be checked: ")


def _failure(error: Exception, prefix: str = "") -> Verdict:
    """Return the message and the advice of an error."""
    if isinstance(error, SQLTrackError):
        return problem(f"{prefix}{error.message}", error.advice)
    return problem(f"{prefix}{error}")


def _checks(admin: Admin, stale_after: timedelta) -> dict[str, Check]:
    return {
        "setup": partial(_setup, admin),
        "tables": partial(_tables, admin),
        "indexes": partial(_indexes, admin),
        "sizes": partial(_sizes, admin),
        "metric columns": partial(_columns, admin),
        "metrics.extras": partial(_extras, admin),
        "dead runs": partial(_dead_runs, admin, stale_after),
    }


def _foreign_code(admin: Admin) -> Verdict | None:
    """Return why the tables must not be read, None if they can be."""
    pending = [] if admin.pending_table is None else [admin.pending_table]
    try:
        admin.refuse_foreign_code([*TABLES, *pending, "setup_scripts"])
    except ReadOnlyDatabaseError as error:
        return _failure(error)
    except SQLTrackError:
        # The checks themselves report unreadable tables.
        return None
    return None


def _fetch(admin: Admin, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
    return fetch_rows(admin.engine, admin.connection, sql, parameters)


def _columns_of(admin: Admin, table: str) -> dict[str, str]:
    return admin.engine.table_columns(admin.connection, table)


def _base_script(engine: Engine) -> list[str]:
    path = Path(engine.data_dir(), _BASE)
    return [
        " ".join(_without_comments(statement).split()) for statement in engine.split_script(path.read_text("utf-8"))
    ]


def _without_comments(statement: str) -> str:
    return "\n".join(line for line in statement.splitlines() if not line.startswith("--"))


def _setup(admin: Admin) -> Verdict:
    has_tables = bool(_columns_of(admin, "runs"))
    if not _columns_of(admin, "setup_scripts"):
        if has_tables:
            return note("the tables exist, but no record of scripts: they were not created by sqltrack setup")
        return problem(f"{admin.engine.describe()} is not set up", "set it up with: sqltrack setup")
    query = "SELECT setup_scripts.name FROM setup_scripts ORDER BY time_executed, name"
    names = [name for (name,) in _fetch(admin, query)]
    if _BASE not in names:
        return problem(f"{_BASE} was not executed", "set up with: sqltrack setup")
    return ok(f"executed scripts: {_enumerate(names)}")


def _tables(admin: Admin) -> Verdict | None:
    created = dict.fromkeys(found[1] for found in map(_CREATED_TABLE.match, _base_script(admin.engine)) if found)
    present = {table: list(_columns_of(admin, table)) for table in created}
    if not any(present.values()):
        return None
    lacking = [f"table {table}" for table, columns in present.items() if not columns]
    beyond = []
    for table, columns in COLUMNS.items():
        if present[table]:
            lacking += [f"column {table}.{name}" for name in columns if name not in present[table]]
        if table != "metrics":
            beyond += [f"{table}.{name}" for name in present[table] if name not in columns]
    if lacking:
        path = Path(admin.engine.data_dir(), _BASE)
        return problem(
            f"missing: {', '.join(lacking)}",
            f"create the missing parts as in {str(path)!r}, or set up another database or schema",
        )
    if beyond:
        return note(
            f"all tables exist, with additional columns: {_enumerate(beyond)}",
            "move them to a table of your own; a later version of sqltrack may use the names",
        )
    return ok(f"all tables exist: {', '.join(created)}")


def _indexes(admin: Admin) -> Verdict | None:
    statements = _base_script(admin.engine)
    created = [(found[1], found[2], found.string) for found in map(_CREATED_INDEX.match, statements) if found]
    tables = {table for _, table, _ in created if _columns_of(admin, table)}
    present = {name for table in tables for name in admin.index_names(table)}
    expected = {name: statement for name, table, statement in created if table in tables}
    missing = {name: statement for name, statement in expected.items() if name not in present}
    if not expected:
        return None
    if missing:
        return problem(
            f"missing or unusable, which makes queries slow: {', '.join(missing)}",
            f"execute: {'; '.join(f'DROP INDEX IF EXISTS {name}; {text}' for name, text in missing.items())}",
        )
    return ok(f"all {len(expected)} exist")


def _sizes(admin: Admin) -> Verdict | None:
    sizes = [_size(admin, table) for table in _NOUNS if _columns_of(admin, table)]
    return ok(", ".join(sizes)) if sizes else None


def _size(admin: Admin, table: str) -> str:
    query = f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {_COUNTED_ROWS + 1}) AS counted"
    rows = _fetch(admin, query)[0][0]
    about = ""
    if rows > _COUNTED_ROWS:
        estimate = admin.row_estimate(table) or 0
        about, rows = ("about ", estimate) if estimate > _COUNTED_ROWS else ("more than ", _COUNTED_ROWS)
    size = admin.table_bytes(table)
    return about + pluralize(rows, *_NOUNS[table]) + (f" ({short_bytes(size)})" if size is not None else "")


def _columns(admin: Admin) -> Verdict | None:
    columns = _columns_of(admin, "metrics")
    if not columns:
        return None
    used, limit = admin.column_usage("metrics")
    metrics = len(columns) - len({*KEY, EXTRAS} & columns.keys())
    found = pluralize(metrics, "metric is a column", "metrics are columns")
    if used - len(columns) > 0:
        found += f", {used - len(columns):,} more were dropped, but still count"
    found += f"; {used:,} of {limit:,} possible columns are taken"
    if used >= limit - 1:
        return problem(found, "new metrics go to metrics.extras, where queries are slower; log under fewer names")
    if used >= limit * _CROWDED:
        return note(found, "log under fewer names; when no column is left, new metrics go to metrics.extras")
    if metrics >= _WIDE:
        return note(
            f"{found}; each row has a place for all of them, which slows down the calls of every project",
            "give each project its own schema (SQLite: its own file), and copy its runs there: sqltrack copy",
        )
    return ok(found)


def _extras(admin: Admin) -> Verdict | None:
    columns = _columns_of(admin, "metrics")
    if not columns:
        return None
    if EXTRAS not in columns:
        return ok("no metric has needed it so far")
    newest = f"SELECT {EXTRAS} FROM metrics ORDER BY run_id DESC, step DESC, progress DESC LIMIT {_READ_ROWS}"
    query = f"""
        SELECT item.key, count(*) FROM ({newest}) AS newest, {admin.json_keys_sql(f"newest.{EXTRAS}")}
        GROUP BY item.key ORDER BY count(*) DESC, item.key
    """
    names = _fetch(admin, query)
    where = f"in the last {_READ_ROWS:,} rows by run and step"
    if not names:
        return ok(f"no metrics {where}")
    shown = _enumerate([f"{name} ({count:,})" for name, count in names])
    found = pluralize(len(names), "metric", "metrics")
    return note(f"{found} {where}: {shown}", "move them to columns, where possible: sqltrack tidy")


def _dead_runs(admin: Admin, stale_after: timedelta) -> Verdict:
    condition = "runs.status = 'RUNNING' AND COALESCE(runs.time_updated, runs.time_started, runs.time_created) < %s"
    limit = (datetime.now(timezone.utc) - stale_after,)
    count = _fetch(admin, f"SELECT count(*) FROM runs WHERE {condition}", limit)[0][0]
    age = f"{stale_after.total_seconds() / 3600:g} hours"
    if not count:
        return ok(f"no run is RUNNING without an update for {age}")
    query = f"SELECT runs.id FROM runs WHERE {condition} ORDER BY runs.id LIMIT {_SHOWN}"
    ids = [str(run_id) for (run_id,) in _fetch(admin, query, limit)]
    return note(
        f"{pluralize(count, 'run is', 'runs are')} RUNNING without an update for {age}: {_enumerate(ids, count)}",
        "if their jobs have ended, set their status with: sqltrack reap",
    )


def _enumerate(names: Sequence[str], count: int | None = None) -> str:
    """Return the first names, and the number of others."""
    more = (len(names) if count is None else count) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f", and {more:,} more" if more > 0 else "")
