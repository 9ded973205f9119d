"""`sqltrack import` of CSV, JSON lines and Parquet, and of exports of Neptune."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.importers import _spool, apply_import
from support.imports import (
    check_import,
    counts,
    links_of,
    metrics_of,
    write_csv,
)


def test_a_csv_file_is_one_run_or_one_for_each_value_of_a_column(client: sqltrack.Client, tmp_path: Path) -> None:
    rows = [
        ["epoch", "seed", "loss", "note", "ok"],
        [0, 1, 0.5, 'ä, "b"', "true"],
        [1, 1, "nan", "", "false"],
        [0, 2, "inf", "12345678901234567890123", ""],
    ]
    path = write_csv(tmp_path / "metrics.csv", rows)
    report = check_import(client, None, path, step="epoch", run="seed", experiment="tables")
    assert counts(report) == (2, 0, 0, 0)
    stored = metrics_of(client, 1, "loss", "note", "ok")
    assert [row[:4] for row in stored] == [(0, 0.0, 0.5, 'ä, "b"'), (1, 0.0, "NaN", None)]
    assert [bool(row[4]) for row in stored] == [True, False]
    assert metrics_of(client, 2, "loss")[0][2] == math.inf
    assert client.execute("SELECT name FROM experiments").fetchall() == [("tables",)]


def test_json_lines_keep_their_types(client: sqltrack.Client, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = ['{"step": 0, "loss": NaN, "tree": {"a": [1]}}', '{"step": 1.5, "loss": 1}', "{", "[]", '{"step": 2, "lo']
    path.write_text("\n".join(lines))
    (run,) = apply_import(client, None, str(path)).runs
    assert (run.values, len(run.problems), len(run.notes)) == (3, 2, 1)
    assert run.problems[0].startswith(f"{str(path)!r}, offset 70: not a JSON object")
    stored = metrics_of(client, 1, "loss", "tree")
    assert stored == [(0, 0.0, "NaN", {"a": [1]}), (1, 0.5, 1.0, None)]


def test_rows_of_a_table_with_wrong_fields_are_named(client: sqltrack.Client, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "metrics.csv", [["step", "loss"], [0, 1], [1], ["x", 1], [2, 3]])
    (run,) = apply_import(client, "csv", str(path)).runs
    assert run.values == 2
    assert run.problems == [
        f"{str(path)!r}, line 3: 1 fields instead of 2",
        f"{str(path)!r}, line 4: column 'step' is not a number, but 'x'",
    ]
    # A process that was killed leaves such a file, so that is no reason to fail.
    path.write_text("step,loss\n0,1\n1")
    (run,) = apply_import(client, "csv", str(path)).runs
    assert (run.problems, run.notes) == ([], [f"{str(path)!r}, line 3: 1 fields instead of 2"])
    path.write_text("")
    assert "names of the columns" in apply_import(client, "csv", str(path)).runs[0].problems[0]


def test_parquet_files(client: sqltrack.Client, tmp_path: Path, parquet: Any) -> None:
    import pyarrow as pa

    path = tmp_path / "metrics.parquet"
    parquet.write_table(pa.table({"step": [0, 1], "loss": [0.5, None], "run": ["a", "b"]}), path)
    assert counts(check_import(client, None, path)) == (2, 0, 0, 0)
    assert metrics_of(client, 1, "loss") == [(0, 0.0, 0.5)]
    path.write_bytes(b"PAR1" + b"x" * 20)
    assert "metrics.parquet" in apply_import(client, None, str(path)).runs[0].problems[0]


def test_an_export_of_neptune(client: sqltrack.Client, tmp_path: Path, parquet: Any) -> None:
    from decimal import Decimal

    import pyarrow as pa

    created = datetime(2026, 1, 2, tzinfo=timezone.utc)
    names = ("attribute_path", "attribute_type", "step", "float_value", "string_value", "datetime_value")
    rows = [
        ("sys/creation_time", "datetime", None, None, None, created),
        ("sys/name", "string", None, None, "first", None),
        ("parameters/lr", "float", None, 0.1, None, None),
        ("metrics/loss", "float_series", Decimal("0.000000"), 1.0, None, None),
        ("metrics/loss", "float_series", Decimal("1.500000"), math.nan, None, None),
        ("files/model", "file", None, None, None, None),
    ]
    table = {name: [row[index] for row in rows] for index, name in enumerate(names)}
    schema = pa.schema([("step", pa.decimal128(18, 6))])
    columns = {
        name: pa.array(values, schema.field("step").type if name == "step" else None) for name, values in table.items()
    }
    keys = {"project_id": ["team/digits"] * 6, "run_id": ["DIG-1"] * 6, "timestamp": pa.array([created] * 6)}
    folder = tmp_path / "export"
    folder.mkdir()
    parquet.write_table(pa.table({**keys, **columns}), folder / "part_0.parquet")
    (run,) = check_import(client, "neptune", folder).runs
    assert [(left.what, left.where) for left in run.left_out] == [("attributes of type file", ("files/model",))]
    row = client.execute("SELECT comment, args, time_created, status FROM runs").fetchone()
    assert row == ("first", {"lr": 0.1}, created, "COMPLETED")
    assert metrics_of(client, 1, "metrics/loss") == [(0, 0.0, 1.0), (1, 0.5, "NaN")]


@pytest.mark.parametrize("column", ["run", "sweep"])
def test_times_and_other_types_of_parquet_files_stay(
    client: sqltrack.Client, tmp_path: Path, parquet: Any, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    """Long runs, and files with several runs, are stored in a temporary file in between."""
    import pyarrow as pa

    monkeypatch.setattr(_spool, "_IN_MEMORY", 2)
    time = datetime(2026, 1, 2, tzinfo=timezone.utc)
    values = {"when": time, "day": time.date(), "took": timedelta(seconds=1.5), "code": b"\xff\0", "tree": {"a": [1]}}
    table = {name: [value] * 3 for name, value in values.items()}
    path = tmp_path / "metrics.parquet"
    parquet.write_table(pa.table({"step": [0, 1, 2], column: ["a"] * 3, **table}), path)
    check_import(client, "parquet", path)
    for row in metrics_of(client, 1, *values):
        assert row[2:] == tuple(values.values())


def write_neptune(path: Path, parquet: Any, run_id: str, parent: str) -> None:
    """Write a file of Neptune's exporter with three values of a metric of one run, and its parent."""
    from decimal import Decimal

    import pyarrow as pa

    table = {
        "project_id": ["team/digits"] * 4,
        "run_id": [run_id] * 4,
        "attribute_path": [*["metrics/loss"] * 3, "sys/forking/parent"],
        "attribute_type": [*["float_series"] * 3, "string"],
        "step": pa.array([*map(Decimal, range(3)), None], pa.decimal128(18, 6)),
        "timestamp": [datetime(2026, 1, 2, tzinfo=timezone.utc)] * 4,
        "float_value": [1.0, 0.5, 0.25, None],
        "string_value": [None, None, None, parent],
    }
    parquet.write_table(pa.table(table), path)


def test_files_of_neptune_that_are_damaged_are_named_and_skipped(
    client: sqltrack.Client, tmp_path: Path, parquet: Any
) -> None:
    for name, run_id, parent in (("a", "DIG-1", "DIG-2"), ("c", "DIG-2", "DIG-0")):
        write_neptune(tmp_path / f"{name}.parquet", parquet, run_id, parent)
    (tmp_path / "b.parquet").write_bytes(b"PAR1" * 10)
    # The columns tell that these are no tables of metrics.
    report = apply_import(client, None, str(tmp_path))
    assert (report.kind, counts(report), report.added) == ("neptune", (2, 0, 0, 1), 6)
    assert [run.name for run in report.runs if run.problems] == [str(tmp_path / "b.parquet")]
    assert links_of(client) == [("DIG-1", "child of", "DIG-2")]
