"""Write the tables to CSV, JSON or Parquet files."""

from __future__ import annotations

import errno
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from sqltrack.client import Client
from sqltrack.commands._databases import read_only, transaction
from sqltrack.commands._files import replacing
from sqltrack.commands._lookup import find_experiment
from sqltrack.commands.sql import QueryResult, write_csv, write_json_lines
from sqltrack.engines import schema
from sqltrack.engines.kinds import ColumnKind
from sqltrack.engines.results import find_reader
from sqltrack.errors import ConflictError, UnusableValueError

__all__ = ["FORMATS", "TABLES", "ExportedFile", "export"]

#: Formats of files.
FORMATS = ("csv", "jsonl", "parquet")

# Time limit for reading a table, in seconds; longer than any table takes.
_PATIENCE = 1_000_000.0
_CHUNK = 500

Progress = Callable[[int], object]
Writer = Callable[[QueryResult, Path, Progress], int]


# Endings of files of tables and databases, which a folder does not have.
_FILE_SUFFIXES = frozenset(
    {".csv", ".db", ".gz", ".json", ".jsonl", ".parquet", ".pq", ".sql", ".sqlite", ".tsv", ".txt", ".xlsx", ".zip"}
)


class ExportedFile(NamedTuple):
    """A written file: its table, its path, and its number of rows."""

    table: str
    path: Path
    rows: int


class _Table(NamedTuple):
    """How to read a table: the condition for rows of an experiment, with one or two ids, and the order."""

    of_experiment: str
    order: str


_RUNS = "(SELECT runs.id FROM runs WHERE runs.experiment_id = %s)"

# Tables with references come before the tables that they refer to. In a database that grows meanwhile, this writes no
# reference without its row.
_READING_ORDER = {
    "metrics": _Table(f"metrics.run_id IN {_RUNS}", "run_id, step, progress"),
    "metrics_pending": _Table(f"metrics_pending.run_id IN {_RUNS}", "run_id, step, progress"),
    "run_links": _Table(f"run_links.from_id IN {_RUNS} OR run_links.to_id IN {_RUNS}", "from_id, kind, to_id"),
    "runs": _Table("runs.experiment_id = %s", "id"),
    "experiment_links": _Table("experiment_links.from_id = %s OR experiment_links.to_id = %s", "from_id, kind, to_id"),
    "experiments": _Table("experiments.id = %s", "id"),
}
#: Tables to export.
TABLES = (*schema.TABLES, schema.PENDING)


def export(
    client: Client,
    folder: str | Path,
    *,
    experiment: str | None = None,
    format: str = "csv",  # noqa: A002 - the name that is used everywhere
    tables: Sequence[str] = (),
    force: bool = False,
    as_superuser: bool = False,
    progress: Progress | None = None,
) -> list[ExportedFile]:
    """Write each table to a file in a folder: all tables, or none if anything fails.

    Values have the same form as in `sqltrack.commands.sql`. Few rows are in memory at a time.

    Args:
        client: client to use.
        folder: the folder, which is created if missing.
        experiment: name or id of the only experiment to write, with links that begin or end there.
        format: "csv" (default), "jsonl" (a JSON object on each line) or "parquet".
        tables: names of tables, default: all. `metrics_pending`, a part of the metrics that is usually empty, is then
            written only if it has rows.
        force: whether to replace existing files.
        as_superuser: whether a superuser keeps all rights while reading, default False.
        progress: called now and then with the number of rows written.

    Returns:
        The files.

    Raises:
        ConflictError: (a ValueError) a file exists already.
        MissingPackageError: the format needs a package that is not installed.
        NotFoundError: the experiment does not exist.
        OSError: a file cannot be written.
        UnusableValueError: (a ValueError) the format or table is unknown, or the folder has the name of a file.
    """
    writer = _find_writer(format)
    _refuse_file(Path(folder))
    for table in tables:
        if table not in TABLES:
            raise UnusableValueError(f"unknown table {table!r}, expected one of {', '.join(TABLES)}")
    with read_only(client, as_superuser=as_superuser) as connection:
        experiment_id = None if experiment is None else find_experiment(connection, experiment)
        chosen = [table for table in TABLES if table in (tables or _filled(client, connection))]
        kinds = {table: _kinds(connection, table) for table in chosen}
    paths = {table: Path(folder, f"{table}.{format}") for table in chosen}
    _refuse_existing(paths.values(), force)
    if not any(kind for table in kinds.values() for kind in table.values()):
        # In SQLite, finding the kinds takes a temporary view, so a read-only connection is not enough.
        with transaction(client) as connection:
            kinds = {table: _kinds(connection, table) for table in chosen}
    counts: dict[str, int] = {}
    with (
        read_only(client, _PATIENCE, as_superuser=as_superuser) as connection,
        _folder(Path(folder)),
        ExitStack() as files,
    ):
        for table in (name for name in _READING_ORDER if name in paths):
            part = files.enter_context(replacing(paths[table]))
            show = _after(sum(counts.values()), progress)
            with _naming(paths[table]), _rows(connection, table, experiment_id, kinds[table]) as rows:
                counts[table] = writer(rows, part, show)
        _refuse_existing(paths.values(), force)
    return [ExportedFile(table, paths[table], counts[table]) for table in chosen]


def _refuse_file(folder: Path) -> None:
    """Refuse a new folder with the name of a file, which was probably meant."""
    if folder.suffix.lower() in _FILE_SUFFIXES and not folder.is_dir():
        raise UnusableValueError(
            f"{str(folder)!r} has the name of a file, but tables are written to a folder, with a file for each",
            f"use: --output {shlex.quote(str(folder.with_suffix('')))}, or: sqltrack sql QUERY --output FILE",
        )


def _after(done: int, progress: Progress | None) -> Progress:
    """Return a callback for the rows of a table that adds the rows of tables already written."""

    def show(number: int) -> None:
        if progress is not None:
            progress(done + number)

    return show


def _find_writer(format_: str) -> Writer:
    if format_ == "csv":
        return lambda rows, path, progress: _write_text(write_csv, "", rows, path, progress)
    if format_ == "jsonl":
        return lambda rows, path, progress: _write_text(write_json_lines, None, rows, path, progress)
    if format_ == "parquet":
        # Needs an additional package.
        from sqltrack.commands._parquet import write_parquet

        return write_parquet
    raise UnusableValueError(f"unknown format {format_!r}, expected one of {', '.join(FORMATS)}")


def _write_text(
    write: Callable[..., int], newline: str | None, rows: QueryResult, path: Path, progress: Progress
) -> int:
    with path.open("w", encoding="utf-8", newline=newline) as file:
        return write(rows, file, progress)


def _filled(client: Client, connection: Any) -> list[str]:
    """Return the names of the tables to write by default."""
    names = [name for name in TABLES if name != "metrics_pending"]
    has_pending = client.engine.table_columns(connection, "metrics_pending")
    if has_pending and connection.execute("SELECT run_id FROM metrics_pending LIMIT 1").fetchall():
        names.append("metrics_pending")
    return names


def _kinds(connection: Any, table: str) -> dict[str, ColumnKind | None]:
    """Return the declared kinds of columns, which some databases do not report on read-only connections."""
    cursor = connection.cursor()
    with find_reader(cursor).read(cursor, f"SELECT {table}.* FROM {table} LIMIT 0", None, 1) as result:
        return dict(zip(result.names, result.kinds))


@contextmanager
def _rows(
    connection: Any, table: str, experiment_id: int | None, kinds: Mapping[str, ColumnKind | None]
) -> Iterator[QueryResult]:
    condition, order = _READING_ORDER[table]
    where = "" if experiment_id is None else f"WHERE {condition}"
    sql = f"SELECT {table}.* FROM {table} {where} ORDER BY {order}"
    parameters = None if experiment_id is None else (experiment_id,) * condition.count("%s")
    cursor = connection.cursor()
    with find_reader(cursor).read(cursor, sql, parameters, _CHUNK) as result:
        yield QueryResult(result.names, [kinds.get(name) for name in result.names], result.chunks)


def _refuse_existing(paths: Any, force: bool) -> None:
    for path in paths:
        if path.exists() and not force:
            raise ConflictError(f"file {str(path)!r} exists already", "choose another folder, or add --force")


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Create a folder, and remove it again if the `with` block fails."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for path in missing:
            with suppress(OSError):
                path.rmdir()
        raise


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Add the name of the file to errors of writing, which lack it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise OSError(error.errno or errno.EIO, reason, str(path)) from error
