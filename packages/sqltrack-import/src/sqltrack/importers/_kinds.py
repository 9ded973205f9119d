"""The kinds of sources: which module reads each, and how to recognize it."""

from __future__ import annotations

import difflib
import importlib
import itertools
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sqltrack.importers._databases import open_database, open_sqlite
from sqltrack.importers._files import Folder, open_file
from sqltrack.importers._foreign import Found, Request, SourceError

__all__ = ["KINDS", "find_request", "read_runs"]


class _Kind(NamedTuple):
    """A kind of source.

    Attributes:
        module: name of the module that reads it.
        title: its description in help texts.
    """

    module: str
    title: str


_MODULES: Mapping[str, _Kind] = {
    "mlflow": _Kind("_mlflow", "MLflow's database (a file, sqlite:///… or postgresql://…), or its folder mlruns"),
    "wandb": _Kind("_wandb", "a folder with the .wandb files of W&B, of runs online or offline"),
    "tensorboard": _Kind("_tensorboard", "a folder with event files of TensorBoard, in folders of any depth"),
    "trackio": _Kind("_trackio", "the file of a project of Trackio, or Trackio's folder (default: TRACKIO_DIR)"),
    "sacred": _Kind("_sacred", "the folder of Sacred's FileStorageObserver"),
    "optuna": _Kind("_optuna", "Optuna's database (a file, sqlite:///… or postgresql://…)"),
    "neptune": _Kind("_neptune", "a folder with the Parquet files of Neptune's exporter"),
    "csv": _Kind("_tables", "a CSV file, or a folder of them"),
    "jsonl": _Kind("_tables", "a file with a JSON object in each line, or a folder of them"),
    "parquet": _Kind("_tables", "a Parquet file, or a folder of them"),
}

#: The kinds of sources, with a description of each.
KINDS: Mapping[str, str] = {name: kind.title for name, kind in _MODULES.items()}

_SQLITE_HEADER = b"SQLite format 3\0"
# Tables that tell whose database a file is.
_TABLES: Mapping[str, frozenset[str]] = {
    "mlflow": frozenset({"experiments", "runs", "params", "latest_metrics"}),
    "optuna": frozenset({"studies", "trials", "trial_params"}),
    "trackio": frozenset({"metrics", "configs"}),
}
_SUFFIXES = {".wandb": "wandb", ".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_TABLE_KINDS = frozenset({"csv", "jsonl", "parquet"})
_PARQUET = b"PAR1"
# Columns of Neptune's exporter, and the size of the end of a Parquet file that names them, in bytes.
_NEPTUNE = (b"attribute_path", b"attribute_type", b"project_id", b"run_id")
_FOOTER = 1_000_000
# The number of files that are looked at before a folder counts as unknown.
_LOOKED_AT = 10_000


def find_request(request: Request) -> Request:
    """Return a request with its kind and source, which may be empty.

    Raises:
        SourceError: the kind is unknown, or the source does not exist.
    """
    if request.kind and request.kind not in _MODULES:
        similar = difflib.get_close_matches(request.kind, _MODULES, 1)
        advice = f"use: {similar[0]}" if similar else f"use one of: {', '.join(_MODULES)}"
        raise SourceError(f"unknown kind of source {request.kind!r}", advice)
    if not request.source:
        if request.kind != "trackio":
            raise SourceError("no source is given", "use: sqltrack import KIND SOURCE")
        request = request._replace(source=os.fspath(_trackio_folder()))
    if not request.is_address and not request.path.exists():
        raise SourceError(f"{request.source!r} does not exist")
    if not request.kind:
        kind = _recognize_address(request) if request.is_address else _recognize(request.path)
        if kind is None:
            raise SourceError(f"cannot recognize the kind of {request.place!r}", "name it: sqltrack import KIND SOURCE")
        request = request._replace(kind=kind)
    return request


def read_runs(request: Request) -> Found:
    """Return the runs of a source, each before its content is read."""
    module = importlib.import_module(f"sqltrack.importers.{_MODULES[request.kind].module}")
    found: Found = module.read_runs(request)
    return found


def _trackio_folder() -> Path:
    cache = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    return Path(os.environ.get("TRACKIO_DIR", cache / "trackio")).expanduser()


def _recognize_address(request: Request) -> str | None:
    """Return the kind of the database at an address, None if it is of no kind."""
    with open_database(request) as database:
        for kind in ("mlflow", "optuna"):
            if all(map(database.columns, _TABLES[kind])):
                return kind
    return None


def _recognize(path: Path) -> str | None:
    """Return the kind of a file or folder, None if it is of no kind."""
    if path.is_dir():
        return _recognize_folder(path)
    with path.open("rb") as file:
        begin = file.read(16)
    if begin == _SQLITE_HEADER:
        return _recognize_database(path)
    if begin[:4] == _PARQUET:
        return _recognize_parquet(path)
    if "tfevents" in path.name:
        return "tensorboard"
    return _SUFFIXES.get(path.suffix.lower())


def _recognize_database(path: Path) -> str | None:
    try:
        with open_sqlite(path.resolve()) as connection:
            found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except (OSError, SourceError, sqlite3.Error):
        return None
    return next((kind for kind, tables in _TABLES.items() if tables <= found), None)


def _recognize_parquet(path: Path) -> str:
    """Return the kind of a Parquet file by the names of its columns, which are at its end."""
    with open_file(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _FOOTER, 0))
        footer = file.read()
    return "neptune" if all(name in footer for name in _NEPTUNE) else "parquet"


def _recognize_folder(path: Path) -> str | None:
    """Return the kind of a folder by the first file that tells; trackers also store tables in their folders."""
    table = None
    for file in itertools.islice(Folder(path).files(), _LOOKED_AT):
        kind = _recognize_in_folder(file, path)
        if kind is not None and kind not in _TABLE_KINDS:
            return kind
        table = table or kind
    return table


def _recognize_in_folder(file: Path, folder: Path) -> str | None:
    suffix = file.suffix.lower()
    if file.name == "meta.yaml":
        return "mlflow"
    if file.name == "run.json" and file.parent.parent == folder:
        return "sacred"
    if "tfevents" in file.name:
        return "tensorboard"
    if suffix == ".db":
        return "trackio" if _recognize_database(file) == "trackio" else None
    if suffix == ".parquet":
        return _recognize_parquet(file)
    return _SUFFIXES.get(suffix)
