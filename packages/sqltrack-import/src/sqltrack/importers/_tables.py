"""Read tables of metrics: CSV, JSON lines and Parquet."""

from __future__ import annotations

import csv
import io
import json
import pickle
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from sqltrack.commands._rows import to_number
from sqltrack.errors import MissingPackageError
from sqltrack.importers._files import Folder, open_file, version_of
from sqltrack.importers._foreign import (
    BrokenRun,
    Description,
    ForeignRun,
    Found,
    Request,
    Sink,
    SourceError,
    as_time,
)
from sqltrack.importers._spool import Spool

__all__ = ["read_runs"]

_SUFFIXES = {"csv": (".csv", ".tsv"), "jsonl": (".jsonl", ".ndjson"), "parquet": (".parquet",)}
_STEP, _RUN = "step", "run"
_NUMBER = re.compile(r"[+-]?(\d+)")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WORDS: Mapping[str, Any] = {
    "true": True,
    "false": False,
    **dict.fromkeys(("nan", "+nan", "-nan"), float("nan")),
    **dict.fromkeys(("inf", "infinity", "+inf", "+infinity"), float("inf")),
    **dict.fromkeys(("-inf", "-infinity"), float("-inf")),
}
# Digits of integers that may have 64 bits.
_DIGITS = 19
# A longer field is the rest of a file after an unbalanced quote.
_MAX_FIELD = 1_000_000
# Characters of wrong names that a message shows.
_SHOWN = 100

# A row with its position, for messages.
Rows = Iterator[tuple[str, Mapping[str, Any]]]


def read_runs(request: Request) -> Found:
    """Return a run for each file, or for each value of a column that tells runs apart."""
    folder = Folder(request.path if request.path.is_dir() else request.path.parent)
    files = [request.path]
    if request.path.is_dir():
        files = [path for path in folder.files() if path.suffix.lower() in _SUFFIXES[request.kind]]
    yield from folder.closed
    if not files:
        raise SourceError(f"no files {' or '.join(_SUFFIXES[request.kind])} in {str(request.path)!r}")
    for path in files:
        try:
            yield from _runs_in(path, request)
        except (OSError, ValueError) as error:
            yield BrokenRun(str(path), str(error))


def _runs_in(path: Path, request: Request) -> Found:
    """Return the runs in a file."""
    column = request.run or _RUN
    version = f"{version_of([path])} {request.step}"
    first = next((row for _, row in _rows(path, request.kind, Spool())), {})
    if column not in first:
        if request.run is not None:
            raise SourceError(f"{str(path)!r} has no column {request.run!r}")
        yield _found_run(path, None, request, version, lambda sink: _rows(path, request.kind, sink))
        return
    with _Sorted() as rows:
        rows.fill(path, column, request.kind)
        for run in rows.runs:
            yield _found_run(path, run, request, version, partial(rows.read, run))


def _found_run(
    path: Path, run: str | int | None, request: Request, version: str, rows: Callable[[Sink], Rows]
) -> ForeignRun:
    name = path.stem if run is None else f"{path.stem}/{run}"
    return ForeignRun(
        # Nothing else identifies the rows of a table.
        id=str(path) if run is None else f"{path}#{run}",
        name=name,
        experiment=path.parent.name if request.path.is_dir() else path.stem,
        read=lambda sink: _read(path, name, rows(sink), request, sink),
        version=version,
    )


def _read(path: Path, name: str, rows: Rows, request: Request, sink: Sink) -> Description:
    column = request.step or _STEP
    for number, (position, row) in enumerate(rows):
        step = row.get(column) if column in row or request.step else number
        if not isinstance(step, (int, float)):
            sink.damage(f"{position}: column {column!r} is not a number, but {step!r}")
            continue
        for metric, value in row.items():
            if metric != column:
                sink.add(metric, step, value)
    modified = as_time(path.stat().st_mtime)
    return Description(request.status, modified, modified, comment=name, extras={"file": str(path)})


class _Sorted:
    """The rows of a file by run, in a temporary file, so that a file with many runs is read once.

    Attributes:
        runs: the values of the column that tells runs apart, in the order of the file.
    """

    def __init__(self) -> None:
        self.runs: list[str | int] = []
        self._spool = Spool()
        # Without a name, SQLite deletes the file when it is closed or the process ends.
        self._file = sqlite3.connect("", isolation_level=None)

    def __enter__(self) -> _Sorted:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def fill(self, path: Path, column: str, kind: str) -> None:
        """Read a file.

        Args:
            path: the file.
            column: name of the column that tells runs apart.
            kind: kind of the file.
        """
        rows = self._encoded(_rows(path, kind, self._spool), column)
        self._file.execute("CREATE TABLE rows (run INTEGER, position TEXT, content BLOB)")
        self._file.execute("BEGIN")
        self._file.executemany("INSERT INTO rows VALUES (?, ?, ?)", rows)
        self._file.execute("COMMIT")
        self._file.execute("CREATE INDEX rows_run ON rows (run)")

    def read(self, run: str | int, sink: Sink) -> Rows:
        """Return the rows of a run. Messages about the file belong to its first run."""
        number = self.runs.index(run)
        if number == 0:
            for report, messages in ((sink.note, self._spool.notes), (sink.damage, self._spool.damages)):
                for message in messages:
                    report(message)
        sql = "SELECT position, content FROM rows WHERE run = ? ORDER BY rowid"
        for position, content in self._file.execute(sql, (number,)):
            yield position, pickle.loads(content)  # noqa: S301

    def _encoded(self, rows: Rows, column: str) -> Iterator[tuple[int, str, bytes]]:
        numbers: dict[str | int, int] = {}
        for position, row in rows:
            value = row.get(column)
            run = value if isinstance(value, (str, int)) else str(value)
            if run not in numbers:
                numbers[run] = len(self.runs)
                self.runs.append(run)
            rest = {name: item for name, item in row.items() if name != column}
            # Times and other values keep their types. Only this process reads the file.
            yield numbers[run], position, pickle.dumps(rest)


def _rows(path: Path, kind: str, sink: Sink) -> Rows:
    return {"csv": _csv_rows, "jsonl": _json_rows, "parquet": _parquet_rows}[kind](path, sink)


def _csv_rows(path: Path, sink: Sink) -> Rows:
    """Return the rows of a CSV file whose first line has the names of the columns."""
    csv.field_size_limit(_MAX_FIELD)
    with open_file(path) as binary, io.TextIOWrapper(binary, "utf-8-sig", "backslashreplace", newline="") as file:
        last = [""]
        reader = csv.reader(_remembered(file, last), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        try:
            names = next(reader, [])
            if not any(names) or len(set(names)) < len(names):
                got = repr(names)[:_SHOWN]
                raise SourceError(f"{str(path)!r}: the first line must have the names of the columns, got {got}")
            for row in reader:
                position = f"{str(path)!r}, line {reader.line_num}"
                if len(row) == len(names):
                    yield position, {name: _parsed(text) for name, text in zip(names, row)}
                elif row:
                    # A process was killed, or is still writing.
                    report = sink.damage if last[0].endswith(("\n", "\r")) else sink.note
                    report(f"{position}: {len(row)} fields instead of {len(names)}")
        except csv.Error as error:
            sink.damage(f"{str(path)!r}, line {reader.line_num}: {error}")


def _remembered(lines: Iterable[str], last: list[str]) -> Iterator[str]:
    """Return lines, and keep the one before the next in a list."""
    for line in lines:
        last[0] = line
        yield line


def _parsed(text: str) -> Any:
    """Return the number or bool in a text, None if it is empty, or else the text."""
    if _FLOAT.fullmatch(text):
        match = _NUMBER.fullmatch(text)
        if match and len(match[1]) <= _DIGITS:
            return int(text)
        return float(text)
    return _WORDS.get(text.lower(), text) if text else None


def _json_rows(path: Path, sink: Sink) -> Rows:
    """Return the objects in the lines of a file."""
    offset = 0
    with open_file(path) as file:
        for line in file:
            position = f"{str(path)!r}, offset {offset}"
            offset += len(line)
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                # A process was killed, or is still writing.
                report = sink.damage if line.endswith(b"\n") else sink.note
                report(f"{position}: not a JSON object: {error}")
                continue
            if isinstance(row, dict):
                yield position, {name: to_number(value) for name, value in row.items()}
            else:
                sink.damage(f"{position}: not a JSON object")


def _parquet_rows(path: Path, sink: Sink) -> Rows:
    """Return the rows of a Parquet file."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingPackageError("the format 'parquet'", "pyarrow", "'sqltrack-import[parquet]'") from error

    number = 0
    with open_file(path) as binary:
        try:
            with pq.ParquetFile(binary) as file:
                for batch in file.iter_batches():
                    for row in batch.to_pylist():
                        yield f"{str(path)!r}, row {number}", {name: _storable(item) for name, item in row.items()}
                        number += 1
        except (pa.ArrowException, OSError) as error:
            message = f"{str(path)!r}, row {number}: {error}"
            if not number:
                raise SourceError(message) from error
            sink.damage(message)


def _storable(value: Any) -> Any:
    # Metrics need a time zone.
    return value.astimezone() if isinstance(value, datetime) and value.tzinfo is None else value
