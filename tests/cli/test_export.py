"""`sqltrack export` writes the tables to files, all or none."""

from __future__ import annotations

import csv
import json
import math
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.export import TABLES, export
from sqltrack.errors import ConflictError, UnusableValueError
from support.connections import on_one_connection
from support.ctrl_c import interrupt_program
from support.processes import Program, run_together

from .conftest import PROGRAM

pytestmark = pytest.mark.one_engine

Capture = pytest.CaptureFixture[str]

NAMES = [name for name in TABLES if name != "metrics_pending"]
TIME = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=timezone.utc)

# One row of metrics per step.
METRICS: list[dict[str, Any]] = [
    {"loss": 0.1, "count": 2**60, "flag": True, "note": 'a "quoted", text\r\nof two lines', 'odd%s"name': 1.5},
    {"loss": math.nan, "count": -1, "flag": False, "note": "ä\t\x1b"},
    {"loss": math.inf, "data": b"\x00\xff", "when": TIME, "took": timedelta(seconds=90.5)},
    {"loss": -math.inf, "tree": {"a": [1, None, "ä"]}},
    {"loss": 1e-300},
]

MANY = """
    INSERT INTO metrics (run_id, step)
    WITH RECURSIVE number (n) AS (SELECT 100 UNION ALL SELECT n + 1 FROM number WHERE n < {number})
    SELECT 1, n FROM number
"""


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """An experiment with values of all kinds, and another one."""
    with on_one_connection(client):
        first = sqltrack.Experiment(client, name="first").set_comment("a\ncomment").add_tags("paper")
        run = first.get_run(1).set_args({"lr": 0.1, "text": "ä"}).set_comment("x,y").set_status("COMPLETED")
        run.set_created(TIME).set_started(TIME).set_updated(TIME)
        for step, metrics in enumerate(METRICS):
            run.add_metrics(metrics, step=step, progress=0.5, updated=None)
        first.get_run(2)
        second = sqltrack.Experiment(client, name="second").add_link("continues", first.id)
        second.get_run(7).add_metrics({"loss": 3.0}, updated=None)
        for from_id, kind, to_id in ((1, "resumes", 2), (7, "repeats", 1)):
            sqltrack.run_add_link(client, from_id, kind, to_id)
    return client


def stored(client: sqltrack.Client, table: str) -> list[dict[str, Any]]:
    """Return the rows of a table as stored."""
    result = client.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3")
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row)) for row in result]


def as_text(value: Any) -> str:
    """Return a value as CSV shows it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat()
    if isinstance(value, timedelta):
        return repr(value.total_seconds())
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(str(value), str(value))


def as_json(value: Any) -> Any:
    """Return a value as JSON shows it."""
    if (
        value is None
        or isinstance(value, (bool, int, dict, list))
        or (isinstance(value, float) and math.isfinite(value))
    ):
        return value
    return value.total_seconds() if isinstance(value, timedelta) else as_text(value)


def as_parquet(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value


def same(left: Any, right: Any) -> bool:
    """Return whether values are equal; NaN equals SQLite's form of NaN."""
    return left == right or (str(left).lower() == str(right).lower() == "nan")


@pytest.mark.parametrize("arguments", [[], ["first"]], ids=" ".join)
def test_csv_brings_back_every_value(
    client: sqltrack.Client, options: list[str], arguments: list[str], tmp_path: Path, capsys: Capture
) -> None:
    assert main(["export", *arguments, "--output", str(tmp_path / "out"), *options]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(f"{name}.csv" for name in NAMES)
    shown = capsys.readouterr().out
    for table in NAMES:
        rows = chosen(stored(client, table), table, bool(arguments))
        raw = (tmp_path / "out" / f"{table}.csv").read_bytes()
        assert raw.count(b"\r\n") >= len(rows) + 1
        with (tmp_path / "out" / f"{table}.csv").open(encoding="utf-8", newline="") as file:
            read = list(csv.DictReader(file))
        assert read == [{name: as_text(value) for name, value in row.items()} for row in rows]
        assert f"{table}.csv" in shown


def chosen(rows: list[dict[str, Any]], table: str, only_first: bool) -> list[dict[str, Any]]:
    """Return the rows of the first experiment, or all."""
    belongs: dict[str, Callable[[dict[str, Any]], bool]] = {
        "experiments": lambda row: row["id"] == 1,
        "runs": lambda row: row["experiment_id"] == 1,
        "metrics": lambda row: row["run_id"] < 7,
    }
    return [row for row in rows if not only_first or belongs.get(table, lambda _: True)(row)]


def test_json_lines_bring_back_every_value(client: sqltrack.Client, options: list[str], tmp_path: Path) -> None:
    assert main(["export", "--format", "jsonl", "--output", str(tmp_path), *options]) == 0
    for table in NAMES:
        lines = (tmp_path / f"{table}.jsonl").read_text(encoding="utf-8").splitlines()
        expected = [{name: as_json(value) for name, value in row.items()} for row in stored(client, table)]
        assert [json.loads(line) for line in lines] == expected


@pytest.mark.parametrize("values", [500_000, 1])
def test_parquet_brings_back_every_value(
    client: sqltrack.Client,
    options: list[str],
    parquet: Any,
    values: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As a whole, and row by row.
    monkeypatch.setattr("sqltrack.commands._parquet._VALUES", values)
    folder = tmp_path / "out"
    assert main(["export", "--format", "parquet", "--output", str(folder), *options]) == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.parquet" for name in NAMES)
    for table in NAMES:
        read = parquet.read_table(folder / f"{table}.parquet").to_pylist()
        expected = stored(client, table)
        assert len(read) == len(expected)
        for row, stored_row in zip(read, expected):
            assert row.keys() == stored_row.keys()
            assert all(same(row[name], as_parquet(value)) for name, value in stored_row.items())


def test_parquet_keeps_the_types_of_columns_without_values(
    client: sqltrack.Client, options: list[str], parquet: Any, tmp_path: Path
) -> None:
    assert main(["export", "second", "--format", "parquet", "--output", str(tmp_path), *options]) == 0
    types = {field.name: str(field.type) for field in parquet.read_schema(tmp_path / "metrics.parquet")}
    assert (types["flag"], types["when"], types["data"]) == ("bool", "timestamp[us, tz=UTC]", "binary")
    assert (types["run_id"], types["loss"], types["count"]) == ("int64", "double", "int64")


def test_tables_can_be_chosen(client: sqltrack.Client, options: list[str], tmp_path: Path, capsys: Capture) -> None:
    chosen = ["--table", "runs", "--table", "metrics"]
    assert main(["export", *chosen, "--output", str(tmp_path / "a" / "b"), "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"file": str(tmp_path / "a" / "b" / "runs.csv"), "rows": 3},
        {"file": str(tmp_path / "a" / "b" / "metrics.csv"), "rows": 6},
    ]
    assert len(list((tmp_path / "a" / "b").iterdir())) == 2


def test_metrics_that_still_wait_are_not_forgotten(client: sqltrack.Client, options: list[str], tmp_path: Path) -> None:
    if client.engine.name == "postgres":
        client.execute("INSERT INTO metrics_pending VALUES (1, 0, 0.5, '{\"x\": 1}')")
    assert main(["export", "--output", str(tmp_path), *options]) == 0
    assert (tmp_path / "metrics_pending.csv").exists() == (client.engine.name == "postgres")


def test_files_that_are_there_are_not_replaced_unless_asked(
    client: sqltrack.Client, options: list[str], tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "runs.csv").write_text("precious")
    arguments = ["export", "--output", str(tmp_path), *options]
    before = sorted(tmp_path.iterdir())
    assert main(arguments) == 1
    message = f"sqltrack: file {str(tmp_path / 'runs.csv')!r} exists already; choose another folder, or add --force\n"
    assert capsys.readouterr() == ("", message)
    assert (sorted(tmp_path.iterdir()), (tmp_path / "runs.csv").read_text()) == (before, "precious")
    assert main([*arguments, "--force"]) == 0
    assert (tmp_path / "runs.csv").read_text().startswith("id,experiment_id,")


def test_a_folder_that_cannot_be_made_is_one_line(
    client: sqltrack.Client, options: list[str], tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        assert main(["export", "--output", str(folder), *options]) == 1
        output = capsys.readouterr()
        assert (output.out, output.err.count("\n")) == ("", 1)
        assert str(folder) in output.err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["firts"], 1, "there is no experiment 'firts'; did you mean 'first'?"),
        (["--format", "xml"], 2, "invalid choice: 'xml'"),
        (["--table", "rums"], 2, "invalid choice: 'rums'"),
    ],
)
def test_wrong_input_is_one_line(
    client: sqltrack.Client, options: list[str], arguments: list[str], status: int, message: str, program: Program
) -> None:
    done = program("export", *arguments, *options)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1)
    assert message in done.stderr
    assert not Path("sqltrack-export").exists()


@pytest.mark.usefixtures("no_pyarrow")
def test_without_a_package_parquet_says_what_to_install(
    client: sqltrack.Client, options: list[str], capsys: Capture
) -> None:
    assert main(["export", "--format", "parquet", *options]) == 1
    assert capsys.readouterr().err == (
        "sqltrack: the format 'parquet' requires 'pyarrow'; install it with: pip install 'sqltrack-cli[parquet]'\n"
    )
    assert not Path("sqltrack-export").exists()


def limit_files() -> None:
    """Limit the size of files, as if the disk were full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))


@pytest.mark.unmeasured
@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
def test_a_full_disk_leaves_nothing_half_done(
    client: sqltrack.Client, options: list[str], format_: str, tmp_path: Path
) -> None:
    client.execute(MANY.format(number=60_000))
    folder = tmp_path / "out"
    # The files of the database itself are larger by now.
    command = [PROGRAM, "export", "--format", format_, "--output", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit_files)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"sqltrack: {str(folder / f'metrics.{format_}')!r}: File too large\n"
    assert not folder.exists()


@pytest.mark.unmeasured
@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_ctrl_c_leaves_nothing_half_done(
    client: sqltrack.Client, options: list[str], format_: str, tmp_path: Path
) -> None:
    client.execute(MANY.format(number=500_000))
    folder = tmp_path / "results"
    arguments = ["export", "--format", format_, "--output", str(folder), *options]
    done = interrupt_program(arguments, "any(Path(values).glob('*'))", str(folder), seconds=0.2)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "sqltrack: interrupted\n")
    assert not folder.exists()


@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
def test_an_interrupt_removes_the_folders_that_were_created(
    client: sqltrack.Client, format_: str, tmp_path: Path
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    client.execute(MANY.format(number=60_000))
    (tmp_path / "mine").mkdir()
    with pytest.raises(KeyboardInterrupt):
        export(client, tmp_path / "mine" / "new" / "results", format=format_, progress=interrupt)
    assert list(tmp_path.joinpath("mine").iterdir()) == []


def check_memory(client: sqltrack.Client, options: list[str], format_: str, tmp_path: Path) -> None:
    """Export tables of two sizes, and compare the used memory."""
    script = (
        "import resource, sys; from sqltrack.cli import main; status = main(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    peaks = []
    # Both tables have more rows than are in memory at a time.
    for number in (60_000, 300_000):
        client.execute("DELETE FROM metrics WHERE step >= 100")
        client.execute(MANY.format(number=number))
        output = str(tmp_path / str(number))
        command = [sys.executable, "-c", script, "export", "--format", format_, "--output", output, *options]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        peaks.append(int(done.stderr))
    # In kilobytes; as Python objects the rows would take more than 50 MB.
    assert peaks[1] - peaks[0] < 25_000


@pytest.mark.engines("postgres", reason="the other formats show it on SQLite")
def test_a_big_table_takes_little_memory(client: sqltrack.Client, options: list[str], tmp_path: Path) -> None:
    check_memory(client, options, "csv", tmp_path)


@pytest.mark.engines("sqlite")
@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
def test_a_big_table_takes_little_memory_in_every_format(
    client: sqltrack.Client, options: list[str], format_: str, tmp_path: Path
) -> None:
    check_memory(client, options, format_, tmp_path)


def test_two_at_once_write_whole_files(client: sqltrack.Client, options: list[str], tmp_path: Path) -> None:
    command = [str(PROGRAM), "export", "--output", str(tmp_path), "--force", *options]
    assert [done.returncode for done in run_together([command] * 3)] == [0, 0, 0]
    names = [path.name for path in tmp_path.iterdir() if path.suffix != ".db" and ".db-" not in path.name]
    assert sorted(names) == sorted(f"{name}.csv" for name in NAMES)


def test_a_database_that_was_not_set_up_is_told(empty_config: dict[str, Any], capsys: Capture) -> None:
    options = [word for name, value in empty_config.items() for word in (f"--{name}", str(value))]
    assert main(["export", *options]) == 1
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert "sqltrack setup" in output.err
    assert not Path("sqltrack-export").exists()


def test_the_function_refuses_impossible_arguments(client: sqltrack.Client, tmp_path: Path) -> None:
    files = export(client, tmp_path, tables=["runs"])
    assert [(file.table, file.rows, os.path.basename(file.path)) for file in files] == [("runs", 3, "runs.csv")]
    with pytest.raises(ConflictError):
        export(client, tmp_path, tables=["runs"])
    with pytest.raises(UnusableValueError, match="unknown format 'xml'"):
        export(client, tmp_path, format="xml")
    with pytest.raises(UnusableValueError, match="unknown table 'rums'"):
        export(client, tmp_path, tables=["rums"])


@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
def test_the_function_needs_no_progress_callback(client: sqltrack.Client, format_: str, tmp_path: Path) -> None:
    client.execute(MANY.format(number=1_600))
    files = {file.table: file.rows for file in export(client, tmp_path / "out", format=format_)}
    assert files["metrics"] == client.execute("SELECT COUNT(*) FROM metrics").fetchone()[0] > 1_500


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this platform has no /dev/full")
@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
def test_an_error_of_writing_names_the_file(
    client: sqltrack.Client, options: list[str], format_: str, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    file = folder / f"metrics.{format_}"
    file.symlink_to("/dev/full")
    arguments = ["export", "--format", format_, "--output", str(folder), "--force", *options]
    assert main(arguments) == 1
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert output.err.startswith(f"sqltrack: {str(file)!r}: ")
    assert "No space left on device" in output.err
    assert list(folder.iterdir()) == [file]
