"""`sqltrack sql` runs read-only queries."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.sql import query
from support.processes import Program, running

from .conftest import main_in_terminal

Capture = pytest.CaptureFixture[str]

PROGRAM = str(Path(sys.executable).with_name("sqltrack"))

VALUES = "SELECT run_id, step, loss, note, flag FROM metrics ORDER BY step"
LONG = """
    WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 3000)
    SELECT a.n FROM number AS a CROSS JOIN number AS b CROSS JOIN number AS c WHERE a.n + b.n + c.n = -1
"""
MANY = """
    WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 20000000) SELECT n FROM number
"""


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """A run with values of all kinds."""
    run = sqltrack.Experiment(client, name="experiment").get_run(1)
    run.set_args({"lr": 0.1, "text": "ä"})
    client.execute("UPDATE runs SET time_created = '2026-03-01 14:00:00.000000+02:00'")
    run.add_metrics({"loss": 0.5, "note": 'a "quoted", text\nof two lines', "flag": True}, step=1)
    run.add_metrics({"loss": math.nan, "note": "ä"}, step=2)
    run.add_metrics({"loss": math.inf, "flag": False}, step=3)
    return client


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_a_pipe_gets_csv(client: sqltrack.Client, sql_options: list[str], program: Program) -> None:
    done = program("sql", VALUES, *sql_options)
    assert (done.returncode, done.stderr) == (0, "")
    raw = subprocess.run([PROGRAM, "sql", VALUES, *sql_options], capture_output=True).stdout
    assert raw.startswith(b"run_id,step,loss,note,flag\r\n1,1,0.5,")
    assert rows_of(raw.decode())[1:] == [
        ["1", "1", "0.5", 'a "quoted", text\nof two lines', "true"],
        ["1", "2", "NaN", "ä", ""],
        ["1", "3", "Infinity", "", "false"],
    ]


def test_times_are_in_utc_and_json_is_json(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    sql = "SELECT args, comment, time_created FROM runs"
    main(["sql", sql, "--format", "csv", *options])
    row = rows_of(capsys.readouterr().out)[1]
    assert json.loads(row[0]) == {"lr": 0.1, "text": "ä"}
    assert row[1] == ""
    if client.engine.name == "postgres":
        assert row[2] == "2026-03-01T12:00:00+00:00"
    main(["sql", sql, "--format", "json", *options])
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["args"], record["comment"]) == ({"lr": 0.1, "text": "ä"}, None)
    assert record["time_created"] == "2026-03-01T12:00:00+00:00"


def test_json_is_a_list_whose_names_are_unique(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    main(["sql", "SELECT step, loss, step, step FROM metrics ORDER BY 1", "--format", "json", *options])
    records = json.loads(capsys.readouterr().out)
    assert records[1] == {"step": 2, "loss": "NaN", "step_2": 2, "step_3": 2}
    assert len(records) == 3
    main(["sql", "SELECT step FROM metrics WHERE step > 9", "--format", "json", *options])
    assert json.loads(capsys.readouterr().out) == []


def test_a_table_shows_a_row_in_a_line(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    main(["sql", VALUES, "--format", "table", *options])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run_id", "step", "loss", "note", "flag"]
    assert r'"quoted", text\nof two lines' in lines[2]
    assert len(lines) == 5


def test_parquet_without_rows_has_its_columns(
    client: sqltrack.Client,
    options: list[str],
    parquet: Any,
    tmp_path: Path,
) -> None:
    file = tmp_path / "result.parquet"
    assert main(["sql", "SELECT step, note FROM metrics WHERE step > 9", "--output", str(file), *options]) == 0
    table = parquet.read_table(file)
    assert (table.column_names, table.num_rows) == (["step", "note"], 0)


def test_parquet_keeps_types(
    client: sqltrack.Client,
    options: list[str],
    parquet: Any,
    tmp_path: Path,
) -> None:
    file = tmp_path / "result.parquet"
    sql = """
        SELECT step, loss, note, flag, comment, args, time_created
        FROM metrics JOIN runs ON runs.id = run_id ORDER BY step
    """
    assert main(["sql", sql, "--output", str(file), *options]) == 0
    table = parquet.read_table(file)
    columns = table.to_pydict()
    assert columns["step"] == [1, 2, 3]
    assert (columns["loss"][0], columns["loss"][2]) == (0.5, math.inf)
    assert math.isnan(columns["loss"][1])
    assert columns["note"][1:] == ["ä", None]
    assert columns["flag"] == [True, None, False]
    assert columns["comment"] == [None] * 3
    assert json.loads(columns["args"][0]) == {"lr": 0.1, "text": "ä"}
    assert columns["time_created"][0].isoformat() == "2026-03-01T12:00:00+00:00"
    assert [path.name for path in tmp_path.iterdir() if "parquet" in path.name] == ["result.parquet"]


def test_parquet_also_goes_into_a_pipe(client: sqltrack.Client, sql_options: list[str]) -> None:
    done = subprocess.run([PROGRAM, "sql", VALUES, "--format", "parquet", *sql_options], capture_output=True)
    assert (done.returncode, done.stderr, done.stdout[:4], done.stdout[-4:]) == (0, b"", b"PAR1", b"PAR1")


@pytest.mark.usefixtures("no_pyarrow")
def test_without_a_package_parquet_says_what_to_install(
    client: sqltrack.Client, options: list[str], tmp_path: Path, capsys: Capture
) -> None:
    assert main(["sql", VALUES, "--output", str(tmp_path / "a.parquet"), *options]) == 1
    assert capsys.readouterr().err == (
        "sqltrack: the format 'parquet' requires 'pyarrow'; install it with: pip install 'sqltrack-cli[parquet]'\n"
    )


def test_a_terminal_gets_no_parquet(
    client: sqltrack.Client, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["sql", VALUES, "--format", "parquet", *options]) == 1
    assert capsys.readouterr() == ("", "sqltrack: a terminal cannot show the format 'parquet'; add --output FILE\n")


@pytest.mark.parametrize(("suffix", "begin"), [("csv", "step\r\n1\r\n"), ("json", "[\n{"), ("txt", "step\r\n1\r\n")])
def test_the_name_of_the_file_decides_about_the_format(
    client: sqltrack.Client, options: list[str], tmp_path: Path, suffix: str, begin: str
) -> None:
    file = tmp_path / f"result.{suffix}"
    assert main(["sql", "SELECT step FROM metrics ORDER BY step", "--output", str(file), *options]) == 0
    assert file.read_bytes().decode().startswith(begin)


def test_a_query_may_come_from_the_standard_input(
    client: sqltrack.Client, sql_options: list[str], program: Program
) -> None:
    assert program("sql", "-", *sql_options, input="SELECT 1 + 1 AS two;\n").stdout == "two\n2\n"


def test_rows_beyond_the_limit_are_told(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    for limit, number, told in (("2", 2, True), ("3", 3, False), ("0", 3, False)):
        assert main(["sql", VALUES, "--limit", limit, "--format", "json", *options]) == 0
        output = capsys.readouterr()
        assert len(json.loads(output.out)) == number
        assert ("--limit 0" in output.err) == told


def test_a_big_result_takes_little_memory(client: sqltrack.Client, sql_options: list[str]) -> None:
    script = (
        "import resource, sys; from sqltrack.cli import main; status = main(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    peaks = []
    for rows in (1_000, 300_000):
        sql = MANY.replace("20000000", str(rows)).replace("SELECT n FROM", "SELECT n, 'text ' || n AS t FROM")
        command = [sys.executable, "-c", script, "sql", sql, "--limit", "0", *sql_options]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        peaks.append(int(done.stderr))
    # In kilobytes; as Python objects the rows would take more than 50 MB.
    assert peaks[1] - peaks[0] < 20_000


@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM runs", "COMMIT; DELETE FROM runs", "UPDATE runs SET status = 'X' RETURNING id", "DROP TABLE metrics"],
)
def test_nothing_can_be_changed(client: sqltrack.Client, options: list[str], sql: str, capsys: Capture) -> None:
    assert main(["sql", sql, *options]) == 1
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert client.execute("SELECT status FROM runs").fetchall() == [("PLANNED",)]
    assert client.execute("SELECT COUNT(*) FROM metrics").fetchone() == (3,)


@pytest.mark.parametrize(
    ("sql", "named"), [("SELECT nonsense FROM runs", "nonsense"), (" ", "empty"), ("SELEKT", "SELEKT")]
)
def test_wrong_sql_is_one_line(
    client: sqltrack.Client, options: list[str], sql: str, named: str, capsys: Capture
) -> None:
    assert main(["sql", sql, *options]) == 1
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert named in output.err


def test_a_query_that_takes_too_long_is_ended(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    begin = time.monotonic()
    assert main(["sql", LONG, "--timeout", "0.2", *options]) == 1
    assert "took longer than 0.2 s" in capsys.readouterr().err
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "abc"])
def test_a_timeout_is_a_number_of_seconds(options: list[str], timeout: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["sql", "SELECT 1", f"--timeout={timeout}", *options])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_failing_query_leaves_the_file_as_it_was(
    client: sqltrack.Client, options: list[str], tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "result.csv"
    file.write_text("precious")
    before = sorted(tmp_path.iterdir())
    assert main(["sql", "SELECT nonsense FROM runs", "--output", str(file), *options]) == 1
    assert file.read_text() == "precious"
    assert sorted(path for path in tmp_path.iterdir() if "part" in path.name) == []
    assert set(before) <= set(tmp_path.iterdir())


def test_a_folder_that_does_not_exist_is_one_line(
    client: sqltrack.Client, options: list[str], tmp_path: Path, capsys: Capture
) -> None:
    for output in (tmp_path / "no" / "a.csv", tmp_path):
        assert main(["sql", "SELECT 1", "--output", str(output), *options]) == 1
        assert capsys.readouterr().err.count("\n") == 1


def test_a_device_is_written_to_and_not_replaced(client: sqltrack.Client, options: list[str]) -> None:
    assert main(["sql", "SELECT 1", "--output", os.devnull, "--format", "csv", *options]) == 0
    assert not Path(os.devnull).is_file()


@pytest.mark.unmeasured
@pytest.mark.parametrize("sql", [MANY, LONG])
def test_ctrl_c_leaves_nothing_half_done(
    client: sqltrack.Client, sql_options: list[str], tmp_path: Path, sql: str
) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    command = [PROGRAM, "sql", sql, "--limit", "0", "--output", str(folder / "result.csv"), *sql_options]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 30
        while not list(folder.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (130, "", "sqltrack: interrupted\n")
    assert list(folder.iterdir()) == []


def test_a_closed_pipe_ends_the_program_quietly(client: sqltrack.Client, sql_options: list[str]) -> None:
    command = [PROGRAM, "sql", MANY, "--limit", "0", *sql_options]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "n\n"
        process.stdout.close()
        assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 1


def test_the_function_reads_row_by_row(client: sqltrack.Client) -> None:
    with query(client, "SELECT step FROM metrics ORDER BY step", limit=2) as result:
        assert result.names == ["step"]
        assert [tuple(row) for row in result] == [(1,), (2,)]
        assert result.is_cut
    names: list[Any] = client.execute("SELECT name FROM experiments").fetchall()
    assert names == [("experiment",)]


def test_a_table_can_be_written_to_a_file(client: sqltrack.Client, options: list[str], tmp_path: Path) -> None:
    file = tmp_path / "result.txt"
    assert main(["sql", VALUES, "--format", "table", "--output", str(file), *options]) == 0
    lines = file.read_text(encoding="utf-8").splitlines()
    assert (lines[0].split(), len(lines)) == (["run_id", "step", "loss", "note", "flag"], 5)
    assert not any(line.endswith(" ") for line in lines)


def test_results_that_are_too_wide_are_shown_row_by_row(client: sqltrack.Client, sql_options: list[str]) -> None:
    shown = main_in_terminal("sql", VALUES, *sql_options, COLUMNS="25")
    assert [line for line in shown if line.startswith("row")] == ["row 1", "row 2", "row 3"]
    second = [line.split() for line in shown[shown.index("row 2") + 1 : shown.index("row 3")]]
    assert second == [["run_id", "1"], ["step", "2"], ["loss", "NaN"], ["note", "ä"], ["flag", "--"]]
    assert all(len(line) <= 25 for line in shown)


def test_a_long_result_goes_into_a_file_as_a_whole(client: sqltrack.Client, options: list[str], tmp_path: Path) -> None:
    sql = MANY.replace("20000000", "1200")
    file = tmp_path / "result.json"
    assert main(["sql", sql, "--limit", "0", "--output", str(file), *options]) == 0
    assert json.loads(file.read_text()) == [{"n": number} for number in range(1, 1201)]


def test_csv_also_goes_where_the_standard_output_is_no_file(client: sqltrack.Client, options: list[str]) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert main(["sql", "SELECT step FROM metrics ORDER BY step", "--format", "csv", *options]) == 0
    assert output.getvalue() == "step\r\n1\r\n2\r\n3\r\n"


@pytest.mark.engines("postgres")
def test_types_of_postgresql_alone_have_a_form_in_all_formats(
    client: sqltrack.Client, options: list[str], capsys: Capture
) -> None:
    sql = """
        SELECT DATE '2026-03-01' AS day, TIME '12:30:00.5' AS time, TIMESTAMP '2026-03-01 12:30' AS local,
            2.0 AS two, 0.25 AS part, 'NaN'::numeric AS nan
    """
    main(["sql", sql, "--format", "csv", *options])
    row = ["2026-03-01", "12:30:00.500000", "2026-03-01T12:30:00", "2", "0.25", "NaN"]
    assert rows_of(capsys.readouterr().out)[1] == row
    main(["sql", sql, "--format", "json", *options])
    assert list(json.loads(capsys.readouterr().out)[0].values()) == [*row[:3], 2, 0.25, "NaN"]
    main(["sql", sql, "--format", "table", *options])
    shown = capsys.readouterr().out.splitlines()[-1].split()
    assert shown == ["2026-03-01", "12:30:00.500000", "2026-03-01", "12:30:00", "2.0", "0.25", "NaN"]


@pytest.mark.engines("postgres", reason="SQLite has neither superusers nor programs")
@pytest.mark.parametrize("option", [[], ["--as-superuser"]])
def test_a_statement_that_runs_a_program_is_refused(
    client: sqltrack.Client, options: list[str], tmp_path: Path, capsys: Capture, option: list[str]
) -> None:
    tmp_path.chmod(0o777)
    assert main(["sql", f"COPY (SELECT 1) TO PROGRAM 'touch {tmp_path}/intruder'", *options, *option]) == 1
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert "the statement is not a query" in error
    assert not (tmp_path / "intruder").exists()


@pytest.mark.engines("postgres", reason="SQLite has no superusers")
def test_a_superuser_asks_for_all_rights(client: sqltrack.Client, options: list[str], capsys: Capture) -> None:
    sql = "SELECT current_user = session_user AS same"
    assert main(["sql", sql, *options, "--as-superuser"]) == 0
    assert rows_of(capsys.readouterr().out) == [["same"], ["true"]]
    with client as connection:
        is_old = connection.info.server_version < 140000
    assert main(["sql", sql, *options]) == 0
    assert rows_of(capsys.readouterr().out) == [["same"], ["true" if is_old else "false"]]


@pytest.mark.parametrize(
    "text",
    ["{};", "{};;", "{} ; ;\n", ";{}", "{}; -- a comment", "{};\n-- a comment\n;", "/* a; */ ; {} /* b */; /* c; */"],
)
def test_semicolons_and_comments_around_a_query_do_not_count(
    sql_options: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a superuser's queries as in others, and in EXPLAIN."""
    for wanted in ("SELECT 'a;' AS a", "VALUES ('a;')", "WITH b AS (SELECT 'a;' AS a) SELECT a FROM b"):
        assert main(["sql", text.format(wanted), "--format", "csv", *sql_options]) == 0, capsys.readouterr().err
        assert capsys.readouterr().out.splitlines()[1:] == ["a;"]
    assert main(["sql", text.format("EXPLAIN SELECT 1"), *sql_options]) == 0
    capsys.readouterr()
    for texts in ("SELECT 1; SELECT 2", "SELECT 1;; DELETE FROM runs"):
        assert main(["sql", text.format(texts), *sql_options]) == 1


@pytest.mark.parametrize(("format_", "suffix"), [("markdown", "md"), ("latex", "tex")])
def test_markdown_and_latex_go_to_pipes_and_files_alike(
    sql_options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], format_: str, suffix: str
) -> None:
    sql = "SELECT 'a|b_c' AS text, 1.5 AS x, 2 AS x, NULL AS missing"
    assert main(["sql", sql, "--format", format_, *sql_options]) == 0
    text = capsys.readouterr().out
    lines = {
        "markdown": [r"| text   |   x |   x | missing |", "| ------ | --: | --: | ------- |"],
        "latex": [r"text & x & x & missing \\", r"a\textbar{}b\_c & 1.5 & 2 & -- \\"],
    }
    assert set(lines[format_]) <= set(text.splitlines())
    file = tmp_path / f"result.{suffix}"
    main(["sql", sql, "--output", str(file), *sql_options])
    assert file.read_text(encoding="utf-8") == text


def test_json_has_a_short_form(sql_options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["sql", "SELECT 1 AS one", "--json", *sql_options])
    assert json.loads(capsys.readouterr().out) == [{"one": 1}]
