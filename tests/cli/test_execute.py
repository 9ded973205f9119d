"""sqltrack execute executes scripts statement by statement, and leaves nothing half done."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.execute import Outcome, execute
from sqltrack.engines.postgres.sql import POSTGRES
from sqltrack.engines.sqltext import find_backslash, hide_passwords, locate_statements
from sqltrack.errors import ScriptError
from support.processes import running

from .conftest import main_in_terminal

PROGRAM = str(Path(sys.executable).with_name("sqltrack"))


@pytest.fixture
def execute_text(options: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the command with a text on standard input."""

    def run(text: str | bytes, *arguments: str) -> int:
        content = text if isinstance(text, bytes) else text.encode("utf-8")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        return main(["execute", *options, *arguments])

    return run


def tables(client: sqltrack.Client, *names: str) -> list[str]:
    with client as connection:
        return [name for name in names if client.engine.table_columns(connection, name)]


def test_rows_and_tags_are_printed(execute_text: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    script = (
        "\ufeffCREATE TABLE t (a INT);\n-- ; a comment\nINSERT INTO t VALUES (1), (2);;\nSELECT a AS x, a AS x FROM t"
    )
    assert execute_text(script) == 0
    output, errors = capsys.readouterr()
    lines = [line.split() for line in output.splitlines()]
    assert lines[0] == ["CREATE", "TABLE"]
    assert (lines[1][0], lines[1][-1]) == ("INSERT", "2")
    assert lines[2] == ["x", "x", "(2)"]
    assert lines[4:] == [["1", "1"], ["2", "2"], ["SELECT", "2"]]
    assert errors == ""


def test_times_are_shown_as_they_are(
    experiment: sqltrack.Experiment, execute_text: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    experiment.get_run().set_created(datetime(2026, 3, 1, 12, 30, tzinfo=timezone.utc))
    assert execute_text("SELECT time_created FROM runs") == 0
    assert "2026-03-01 12:30:00Z" in capsys.readouterr().out


def test_rows_that_are_too_wide_for_the_terminal_are_shown_one_below_the_other(
    options: list[str], tmp_path: Path
) -> None:
    columns = [f"column_{number}" for number in range(5)]
    path = tmp_path / "wide.sql"
    path.write_text(f"SELECT {', '.join(f'{number} AS {name}' for number, name in enumerate(columns))}")
    lines = main_in_terminal("execute", str(path), *options, COLUMNS="30")
    assert lines[0] == "row 1"
    assert [line.split() for line in lines[1:6]] == [[name, str(number)] for number, name in enumerate(columns)]
    assert lines[6] == "SELECT 1"


def test_json_holds_an_object_for_each_statement(
    execute_text: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute_text("CREATE TABLE t (a INT); SELECT 1 AS a, 'x' AS b; SELECT a FROM t", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {"command": "CREATE TABLE"},
        {"command": "SELECT 1", "rows": [{"a": 1, "b": "x"}]},
        {"command": "SELECT 0", "rows": []},
    ]


def test_json_also_contains_the_statements_before_an_error(
    execute_text: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute_text("CREATE TABLE t (a INT); SELECT nonsense", "--json") == 1
    assert json.loads(capsys.readouterr().out) == [{"command": "CREATE TABLE"}]


def test_nothing_is_executed_of_an_empty_script(
    execute_text: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute_text(" ; -- nothing\n /* at all */") == 0
    assert capsys.readouterr() == ("", "")


def test_files_and_standard_input_are_executed_in_turn(
    execute_text: Callable[..., int], client: sqltrack.Client, tmp_path: Path
) -> None:
    (tmp_path / "1.sql").write_text("CREATE TABLE t (a INT)")
    (tmp_path / "3.sql").write_text("INSERT INTO t SELECT a + 1 FROM t")
    assert execute_text("INSERT INTO t VALUES (1)", "1.sql", "-", "3.sql") == 0
    assert client.execute("SELECT a FROM t ORDER BY a").fetchall() == [(1,), (2,)]


@pytest.mark.parametrize("bad", ["missing.sql", "latin1.sql"])
def test_files_that_cannot_be_read_are_noticed_before_anything_is_executed(
    bad: str, options: list[str], client: sqltrack.Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1.sql").write_text("CREATE TABLE t (a INT)")
    (tmp_path / "latin1.sql").write_bytes(b"SELECT '\xe4'")
    assert main(["execute", *options, "1.sql", bad]) == 1
    message = {
        "missing.sql": "'missing.sql': No such file or directory",
        "latin1.sql": "script 'latin1.sql' must be UTF-8, byte 8 is not",
    }[bad]
    assert capsys.readouterr() == ("", f"sqltrack: {message}\n")
    assert tables(client, "t") == []


def test_an_error_names_place_statement_and_reason_and_ends_it(
    execute_text: Callable[..., int], client: sqltrack.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "CREATE TABLE a (x INT);\n\n/* one\ntwo; */\n SELECT\n  'it''s; ' || nonsense;\nCREATE TABLE b (x INT);"
    assert execute_text(script) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("sqltrack: script '<stdin>' failed in line 5 at \"SELECT 'it''s; ' || nonsense\": ")
    assert "nonsense" in errors.rpartition('": ')[2] or "nonsense" in errors.rpartition(": ")[2]
    assert errors.count("\n") == 1
    assert tables(client, "a", "b") == ["a"]


def test_a_transaction_of_the_script_is_committed_as_a_whole(
    execute_text: Callable[..., int], client: sqltrack.Client
) -> None:
    assert execute_text("CREATE TABLE t (a INT); BEGIN; INSERT INTO t VALUES (1); COMMIT; SELECT 1") == 0
    assert client.execute("SELECT a FROM t").fetchall() == [(1,)]
    assert execute_text("BEGIN; INSERT INTO t VALUES (2); ROLLBACK") == 0
    assert client.execute("SELECT a FROM t").fetchall() == [(1,)]


def test_an_error_rolls_an_open_transaction_back(
    execute_text: Callable[..., int], client: sqltrack.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute_text("CREATE TABLE t (a INT); BEGIN; INSERT INTO t VALUES (1); SELECT nonsense; COMMIT") == 1
    assert capsys.readouterr().err.endswith("; the open transaction was rolled back\n")
    assert client.execute("SELECT a FROM t").fetchall() == []


def test_a_transaction_without_an_end_is_rolled_back(
    execute_text: Callable[..., int], client: sqltrack.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute_text("CREATE TABLE t (a INT);\nBEGIN; COMMIT;\nBEGIN;\nINSERT INTO t VALUES (1)") == 1
    assert capsys.readouterr().err == (
        "sqltrack: script '<stdin>' failed in line 3 at 'BEGIN': the transaction that begins here has no COMMIT, "
        "so it was rolled back\n"
    )
    assert client.execute("SELECT a FROM t").fetchall() == []


def test_a_command_of_psqls_is_an_error_before_anything_is_executed(
    execute_text: Callable[..., int], client: sqltrack.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute_text("CREATE TABLE t (a INT);\nSELECT '\\a', \"\\b\" -- \\c\n;\n\\connect other") == 1
    assert capsys.readouterr().err == (
        "sqltrack: script '<stdin>' failed in line 4 at '\\\\connect': this is a psql command, not SQL; remove "
        "it, or use psql (nothing of the script was executed)\n"
    )
    assert tables(client, "t") == []


def test_several_columns_are_added_all_or_none(execute_text: Callable[..., int], client: sqltrack.Client) -> None:
    assert execute_text("CREATE TABLE t (a INT); ALTER TABLE t ADD COLUMN b INT, ADD COLUMN a INT") == 1
    with client as connection:
        assert list(client.engine.table_columns(connection, "t")) == ["a"]
    assert execute_text("ALTER TABLE t ADD COLUMN b INT, ADD COLUMN c INT") == 0
    assert client.execute("SELECT t.b, t.c FROM t").fetchall() == []


def test_control_sequences_for_terminals_are_not_shown(
    execute_text: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute_text("SELECT '\x1b[31mred' AS \"\x1b[2J\"; SELECT '\x1b' + nonsense") == 1
    output, errors = capsys.readouterr()
    assert "\\x1b[31mred" in output
    assert "\x1b" not in output + errors


def test_the_function_reports_each_statement(client: sqltrack.Client) -> None:
    outcomes: list[Outcome] = []
    execute(client, "SELECT 1 AS a; CREATE TABLE t (a INT)", on_result=outcomes.append)
    assert outcomes == [Outcome("SELECT 1", ["a"], [(1,)]), Outcome("CREATE TABLE", None, [])]
    with pytest.raises(ScriptError) as info:
        execute(client, "SELECT 1;\nSELECT nonsense", name="mine")
    assert (info.value.script, info.value.line, info.value.statement) == ("mine", 2, "SELECT nonsense")


def test_an_unreachable_database_is_one_line(
    engine_name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.sql").write_text("SELECT 1")
    missing = str(tmp_path / "missing")
    target = {"sqlite": ["--dbpath", f"{missing}/x.db"], "postgres": ["--host", missing]}[engine_name]
    assert main(["execute", "--engine", engine_name, *target, "x.sql"]) == 1
    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)


@pytest.mark.unmeasured
def test_ctrl_c_leaves_nothing_of_the_statement(options: list[str], client: sqltrack.Client) -> None:
    client.execute("CREATE TABLE t (a BIGINT)")
    script = (
        "INSERT INTO t VALUES (-1);\n"
        "INSERT INTO t WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000)"
        " SELECT i FROM n;\nINSERT INTO t VALUES (-2)"
    )
    Path("long.sql").write_text(script)
    command = [PROGRAM, "execute", *options, "long.sql"]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("INSERT")
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (130, "", "sqltrack: interrupted\n")
    assert client.execute("SELECT a FROM t").fetchall() == [(-1,)]


def test_a_reader_that_has_seen_enough_is_no_error(options: list[str]) -> None:
    Path("many.sql").write_text("SELECT 'x';\n" * 20_000)
    command = [PROGRAM, "execute", *options, "many.sql"]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 1


# PostgreSQL only


def test_statements_that_cannot_be_in_a_transaction_are_executed(postgres_config: dict[str, Any]) -> None:
    name = f"{postgres_config['dbname']}_created"
    execute(sqltrack.Client(postgres_config), f"CREATE DATABASE {name}; DROP DATABASE {name}; VACUUM")


def test_bodies_and_rules_keep_their_semicolons(postgres_config: dict[str, Any]) -> None:
    client = sqltrack.Client(postgres_config)
    script = """
        CREATE TABLE t (a INT); CREATE TABLE log (a INT);
        CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO log VALUES (1); INSERT INTO log VALUES (2));
        CREATE FUNCTION f() RETURNS INT LANGUAGE sql AS $f$ SELECT 1; SELECT 3; $f$;
        DO $$ BEGIN INSERT INTO t VALUES (1); END $$; /* a /* nested; */ comment; */
        INSERT INTO log SELECT f();
    """
    execute(client, script)
    assert client.execute("SELECT a FROM log ORDER BY a").fetchall() == [(1,), (2,), (3,)]


def test_notices_of_the_server_are_on_stderr(
    postgres_config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.sql").write_text("DROP TABLE IF EXISTS t")
    arguments = [word for name, value in postgres_config.items() for word in (f"--{name}", str(value))]
    assert main(["execute", *arguments, "x.sql"]) == 0
    assert capsys.readouterr() == ("DROP TABLE\n", 'NOTICE: table "t" does not exist, skipping\n')


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE ROLE postgres PASSWORD 'se''cret'",
        "ALTER ROLE x PASSWORD 'se''cret' nonsense",
        "SELECT PASSWORD 'se''cret'",
    ],
)
def test_errors_do_not_show_passwords(statement: str, postgres_config: dict[str, Any]) -> None:
    with pytest.raises(ScriptError, match="PASSWORD '\\*\\*\\*'") as info:
        execute(sqltrack.Client(postgres_config), statement)
    assert "cret" not in str(info.value) + info.value.statement
    assert info.value.__cause__ is None


def test_data_for_copy_is_refused(postgres_config: dict[str, Any]) -> None:
    client = sqltrack.Client(postgres_config)
    with pytest.raises(ScriptError, match="line 3 at '\\\\\\\\.': this is a psql command"):
        execute(client, "COPY t FROM STDIN;\n1\n\\.\n")
    with pytest.raises(ScriptError, match="COPY"):
        execute(client, "CREATE TABLE t (a INT); COPY t FROM STDIN")


# Reading SQL


def test_statements_are_where_their_code_begins() -> None:
    script = "\n-- a;\n;\n/* SELECT 1 */ SELECT 1;  SELECT\n2\n;\n\nSELECT 3 -- end"
    assert locate_statements(script, POSTGRES) == [(4, "SELECT 1"), (4, "SELECT\n2"), (8, "SELECT 3 -- end")]


def test_backslashes_are_found_outside_of_quotes_and_comments() -> None:
    assert find_backslash("SELECT E'\\'', $$\\$$ -- \\\n/* \\ */", POSTGRES) is None
    assert find_backslash("SELECT 1\n \\gset x", POSTGRES) == (2, "\\gset")


def test_the_literals_of_passwords_are_hidden() -> None:
    statement = "ALTER ROLE password /* c */ PASSWORD /* p */ $$a b$$ VALID UNTIL 'now'"
    hidden = "ALTER ROLE password /* c */ PASSWORD /* p */ '***' VALID UNTIL 'now'"
    assert hide_passwords(statement, POSTGRES) == (hidden, ["$$a b$$"])


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("ALTER USER a WITH PASSWORT 'cret' VALID UNTIL '2030-01-01'", "'***' VALID UNTIL '2030-01-01'"),
        ("CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'b', password 'cret')", "password '***')"),
        ("ALTER SERVER s OPTIONS (SET \"ssl_password\" 'cret')", "\"ssl_password\" '***')"),
        ("CREATE SUBSCRIPTION s CONNECTION 'host=h password=cret' PUBLICATION p", "CONNECTION '***' PUBLICATION p"),
        ("SELECT * FROM dblink('host=h password = cret', 'SELECT 1')", "dblink('***', 'SELECT 1')"),
        ("SELECT dblink_connect('postgresql://a:cret@h/d')", "dblink_connect('***')"),
        ("SET app.api_secret = 'cret'", "api_secret = '***'"),
        ("SET password TO E'c\\'cret'", "TO '***'"),
        ("INSERT INTO users (name, password) VALUES ('a', crypt('cret', gen_salt('bf')))", "crypt('***', gen_salt"),
        ("COMMENT ON ROLE a IS 'the password is cret'", "IS '***'"),
        ("SELECT 1 -- pass word: cret", "SELECT 1 /* *** */"),
        ("DO $$BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''cret'''; END$$", "DO $$BEGIN EXECUTE '***'; END$$"),
        ("CREATE ROLE a PASSWORD 'it's cret'", "PASSWORD '***' …"),
        ("CREATE ROLE a PASSWORD 'cret", "PASSWORD '***'"),
        ('CREATE ROLE a PASSWORD "cret"', "PASSWORD '***'"),
        ("ALTER USER a WITH ENCRYPTED PASSWORD cret VALID UNTIL 'now'", "PASSWORD '***' VALID UNTIL 'now'"),
        ("CREATE ROLE a PASSWORD = cret LOGIN", "PASSWORD = '***' LOGIN"),
        ("CREATE ROLE a PASSWORD 12cret-cret", "PASSWORD '***' …"),
        ("CREATE ROLE a PASSWORD !cret", "PASSWORD '***' …"),
        ("CREATE USER MAPPING FOR a SERVER s OPTIONS (password cret)", "password '***')"),
    ],
)
def test_all_that_may_be_a_password_is_hidden(statement: str, shown: str) -> None:
    text, hidden = hide_passwords(statement, POSTGRES)
    assert shown in text
    assert "cret" not in text.replace("api_secret", "")
    assert any("cret" in piece for piece in hidden)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO runs (comment) VALUES ('plain')",
        "COMMENT ON TABLE runs IS 'see https://example.org/a@b' -- note",
        "SET app.num_tokens = '5'",
        "ALTER ROLE a PASSWORD NULL",
        "CREATE FUNCTION f() RETURNS INT AS $$SELECT 1 -- one$$ LANGUAGE SQL",
    ],
)
def test_other_literals_are_shown(statement: str) -> None:
    assert hide_passwords(statement, POSTGRES) == (statement, [])


def test_in_a_terminal_it_says_what_it_waits_for(options: list[str]) -> None:
    shown = main_in_terminal("execute", *options, typed="SELECT 2 + 3 AS five;\n\x04")
    assert "reading SQL until Ctrl-D" in shown
    assert [line.strip() for line in shown[-4:] if line.strip("─ ")] == ["five", "5", "SELECT 1"]


def test_a_query_that_finds_nothing_has_no_table(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("none.sql").write_text("SELECT id FROM runs;")
    assert main(["execute", *options, "none.sql"]) == 0
    assert capsys.readouterr() == ("SELECT 0\n", "")
