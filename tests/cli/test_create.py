"""sqltrack create prints statements that create users and databases, and they work."""

from __future__ import annotations

import getpass
import os
import select
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from plugins.postgres_server import PostgresServer
from sqltrack.cli import main
from sqltrack.commands.create import create, create_sql
from sqltrack.engines.postgres.sql import quote_if_needed
from sqltrack.errors import AccessDeniedError
from support.databases import connect_to_postgres
from support.processes import Program, running

RIGHTS = "NOSUPERUSER NOCREATEDB NOCREATEROLE INHERIT LOGIN"
TYPED = "se:cr'et\\ ä"
PROGRAM = str(Path(sys.executable).with_name("sqltrack"))


@pytest.fixture(scope="module")
def strict_server(server_binaries: Path) -> Iterator[dict[str, Any]]:
    """Configuration of the superuser of a server that requires passwords over TCP."""
    import psycopg

    with PostgresServer(server_binaries) as server:
        hba = server.data_dir / "pg_hba.conf"
        hba.write_text(f"host all all 127.0.0.1/32 scram-sha-256\n{hba.read_text()}")
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET password_encryption = 'scram-sha-256'")
        server.restart()
        yield {"engine": "postgres", **psycopg.conninfo.conninfo_to_dict(server.dsn)}


@pytest.fixture
def as_superuser(strict_server: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let that server's superuser connect, unless the command line names another user."""
    for name, value in strict_server.items():
        monkeypatch.setenv(f"SQLTRACK_DSN_{name.upper()}", str(value))
    return strict_server


def write_passwords(*lines: str, mode: int = 0o600) -> None:
    file = Path.home() / ".pgpass"
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    file.chmod(mode)


def escaped(password: str) -> str:
    return password.replace("\\", "\\\\").replace(":", "\\:")


def stored_password(config: dict[str, Any], user: str) -> str:
    query = "SELECT rolpassword FROM pg_authid WHERE rolname = %s"
    return str(sqltrack.Client(config).execute(query, (user,)).fetchone()[0])


# Output


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ([], [f"CREATE ROLE alice {RIGHTS};", "CREATE DATABASE alice OWNER alice;"]),
        (["--no-user"], ["CREATE DATABASE alice OWNER alice;"]),
        (["--no-db"], [f"CREATE ROLE alice {RIGHTS};"]),
        (["--no-db", "--no-user"], []),
        (["--dbname", "bob"], [f"CREATE ROLE alice {RIGHTS};", "CREATE DATABASE bob OWNER alice;"]),
    ],
)
def test_the_documented_commands_are_printed(
    options: list[str], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["create", "--user", "alice", *options]) == 0
    assert capsys.readouterr() == ("".join(f"{line}\n" for line in lines), "")


def test_the_function_prints_what_the_configuration_names(capsys: pytest.CaptureFixture[str]) -> None:
    create({"user": "alice", "dbname": "bob"}, no_user=True)
    create({"user": "alice", "dbname": "bob"}, False, True, user="carol")
    assert capsys.readouterr().out == f"CREATE DATABASE bob OWNER alice;\nCREATE ROLE carol {RIGHTS};\n"


def test_user_and_database_may_come_from_where_libpq_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGUSER", "alice")
    assert create_sql({}) == [f"CREATE ROLE alice {RIGHTS};", "CREATE DATABASE alice OWNER alice;"]
    monkeypatch.setenv("PGDATABASE", "bob")
    assert create_sql({}, no_user=True) == ["CREATE DATABASE bob OWNER alice;"]


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("alice_1", "alice_1"),
        ("_", "_"),
        ("Alice", '"Alice"'),
        ("1st", '"1st"'),
        ("müller", '"müller"'),
        ("user", '"user"'),
        ("all", '"all"'),
        ("zone", "zone"),
        ("a-b", '"a-b"'),
        ("alice\n", '"alice\n"'),
        ("o'brien\"; DROP TABLE x; --", '"o\'brien""; DROP TABLE x; --"'),
    ],
)
def test_names_are_quoted_only_when_they_must_be(name: str, spelled: str) -> None:
    assert quote_if_needed(name) == spelled


def test_every_keyword_of_the_server_is_spelled_as_a_name(postgres_config: dict[str, Any]) -> None:
    with sqltrack.Client(postgres_config) as connection:
        rows = connection.execute("SELECT word, catcode IN ('R', 'T') FROM pg_get_keywords()").fetchall()
        assert len(rows) > 400
        for word, must_be_quoted in rows:
            assert not must_be_quoted or quote_if_needed(word) == f'"{word}"'
            connection.execute(f"CREATE SCHEMA {quote_if_needed('s')}")
            connection.execute(f"ALTER SCHEMA s RENAME TO {quote_if_needed(word)}") if word != "public" else None
            connection.execute("DROP SCHEMA IF EXISTS s")
        schemas = {name for (name,) in connection.execute("SELECT nspname FROM pg_namespace")}
        assert {word for word, _ in rows} <= schemas | {"public"}
        connection.rollback()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--user", ""], "the name of a user must not be empty"),
        (["--user", "alice", "--dbname", ""], "the name of a database must not be empty"),
        (["--user", "a\x1b[31m"], r"the name of a user must not hold control characters, got 'a\\x1b[31m'"),
        (["--user", "ü" * 32], f"the name of a user must be at most 63 bytes long, or PostgreSQL would cut it, "
         f"got '{'ü' * 32}'"),
        (["--engine", "sqlite"], "engine 'sqlite' has no users or rights; setup creates its database; "
         "for a database on a server choose engine=postgres"),
        (["--engine", "nonsense"], "unknown engine 'nonsense', expected 'postgres' or 'sqlite'"),
        (["--user", "a", "--no-user", "--password"], "a password needs a user: ask for no password, or do not leave "
         "out the user"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["create", *arguments]) == 1
    assert capsys.readouterr() == ("", f"sqltrack: {message}\n".replace("\\\\", "\\"))


def test_a_user_that_only_a_service_names_has_to_be_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PGSERVICE", "mine")
    assert main(["create"]) == 1
    assert capsys.readouterr().err == (
        "sqltrack: no user is configured; give one with --user, or user=… in sqltrack.conf\n"
    )


# The output works


@pytest.mark.parametrize("kind", ["plain", "Upper", "müller", "o'brien\"; DROP TABLE x; --", "a b\\c%s"])
def test_what_is_created_can_be_set_up_by_the_new_user(
    kind: str, postgres_server: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import psycopg

    name = f"{kind}_{os.getpid()}"
    config = {"engine": "postgres", **psycopg.conninfo.conninfo_to_dict(postgres_server.dsn)}
    new = ["--host", config["host"], "--port", config["port"], "--user", name]
    admin = [*new[:4], "--user", config["user"], "--dbname", config["dbname"]]
    try:
        with running([PROGRAM, "create", *new], stdout=subprocess.PIPE) as printing:
            command = [PROGRAM, "execute", *admin]
            executing = subprocess.run(command, stdin=printing.stdout, capture_output=True, text=True)
            assert (printing.wait(timeout=60), executing.returncode) == (0, 0)
        assert (executing.stdout, executing.stderr) == ("CREATE ROLE\nCREATE DATABASE\n", "")
        assert main(["setup", *new]) == 0
        assert capfd.readouterr().out == "(NEW) base.sql\n"
        client = sqltrack.Client({**config, "user": name, "dbname": name})
        assert client.execute("SELECT current_user, current_database()").fetchone() == (name, name)
        run = sqltrack.Experiment(client, name="e").get_run()
        run.add_metrics({"loss": 1.5}, step=1)
        assert client.execute("SELECT loss FROM metrics").fetchall() == [(1.5,)]
    finally:
        with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
            quoted = psycopg.sql.Identifier(name)
            connection.execute(psycopg.sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(quoted))
            connection.execute(psycopg.sql.SQL("DROP ROLE IF EXISTS {}").format(quoted))


@pytest.fixture
def server(as_superuser: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """That server as a new user finds it: only its address is configured."""
    import psycopg

    monkeypatch.delenv("SQLTRACK_DSN_USER")
    monkeypatch.delenv("SQLTRACK_DSN_DBNAME")
    monkeypatch.setenv("LOGNAME", "newcomer")
    yield as_superuser
    with psycopg.connect(**{name: as_superuser[name] for name in as_superuser if name != "engine"}) as connection:
        connection.autocommit = True
        for kind, name in (("DATABASE", "newcomer"), ("DATABASE", "exp"), ("ROLE", "newcomer"), ("ROLE", "carol")):
            connection.execute(f"DROP {kind} IF EXISTS {name}")


def pipe(*words: str, into: tuple[str, ...] = ()) -> tuple[int, str, str]:
    """Pipe the output of `create` into `execute`; return the exit status, stdout and stderr."""
    with running([PROGRAM, "create", *words], stdout=subprocess.PIPE) as printing:
        command = [PROGRAM, "execute", *into]
        done = subprocess.run(command, stdin=printing.stdout, capture_output=True, text=True)
        assert printing.wait(timeout=60) == 0
    return done.returncode, done.stdout, done.stderr


def test_create_piped_into_execute_works_before_user_and_database_exist(
    server: dict[str, Any], program: Program
) -> None:
    """As documented, without options: it uses the user and the database that exist on each server."""
    note = "connecting to database 'postgres' as user 'postgres'\n"
    assert pipe() == (0, "CREATE ROLE\nCREATE DATABASE\n", note)
    assert program("setup").stdout == "(NEW) base.sql\n"


def test_a_configured_administrator_creates_the_database_that_is_configured(
    server: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script's new database is not used for the connection, even if it was named."""
    note = "connecting to database 'postgres'\n"
    assert pipe("--user", "carol", "--no-db", into=("--user", server["user"], "--dbname", "exp"))[::2] == (0, note)
    monkeypatch.setenv("SQLTRACK_DSN_USER", server["user"])
    monkeypatch.setenv("SQLTRACK_DSN_DBNAME", "exp")
    assert pipe("--user", "carol", "--dbname", "exp", "--no-user") == (0, "CREATE DATABASE\n", note)


def test_a_user_who_may_not_connect_is_told_to_name_another(server: dict[str, Any]) -> None:
    """The advice is not the command whose output is being executed."""
    status, output, error = pipe(into=("--user", "newcomer"))
    assert (status, output, error.count("\n")) == (1, "", 1)
    assert error.endswith("; connect as a user who may create users and databases: add --user NAME\n")
    assert "sqltrack create" not in error


def test_a_server_that_does_not_answer_is_reported(server: dict[str, Any]) -> None:
    status, output, error = pipe(into=("--host", "127.0.0.1", "--port", "1"))
    assert (status, output, error.count("\n")) == (1, "", 1)
    assert error.endswith("check host and port and whether it runs, or choose SQLite: sqltrack init --engine sqlite\n")


def test_a_script_that_does_more_is_executed_as_configured_only(server: dict[str, Any], program: Program) -> None:
    """Rows must not get into a database that the user did not name."""
    done = program("execute", input="CREATE ROLE carol; CREATE TABLE t (x INT)")
    assert (done.returncode, done.stdout) == (1, "")
    assert "newcomer" in done.stderr


# Passwords


def test_a_password_on_file_is_encrypted_and_opens_the_database(
    as_superuser: dict[str, Any], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_passwords("other:*:*:alice:wrong", f"*:{as_superuser['port']}:*:alice:{escaped(TYPED)}", "*:*:*:*:wrong")
    monkeypatch.setenv("PGPASSWORD", "wrong")
    assert main(["create", "--user", "alice", "--password"]) == 0
    script = capfd.readouterr().out
    assert script.startswith(f"CREATE ROLE alice {RIGHTS} PASSWORD 'SCRAM-SHA-256$")
    assert TYPED not in script
    Path("create.sql").write_text(script, encoding="utf-8")
    assert main(["execute", "create.sql"]) == 0
    assert stored_password(as_superuser, "alice") in script
    monkeypatch.delenv("PGPASSWORD")
    over_tcp = {**as_superuser, "host": "127.0.0.1", "user": "alice", "dbname": "alice"}
    assert sqltrack.Client(over_tcp).execute("SELECT current_user").fetchone() == ("alice",)
    with pytest.raises(AccessDeniedError, match="authentication failed"):
        sqltrack.Client(over_tcp, password="wrong").execute("SELECT 1")


def test_the_server_says_how_a_password_is_encrypted(
    as_superuser: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    config = {**as_superuser, "options": "-c password_encryption=md5"}
    (statement,) = create_sql(config, no_db=True, user="bob", password=TYPED)
    assert statement.startswith(f"CREATE ROLE bob {RIGHTS} PASSWORD 'md5")
    assert len(statement.split("'")[1]) == 35


def test_a_plain_password_is_a_literal_and_needs_no_connection(capfd: pytest.CaptureFixture[str]) -> None:
    write_passwords(f"*:*:*:*:{escaped(TYPED)}")
    assert main(["create", "--user", "alice", "--host", "nowhere.invalid", "--no-db", "--plain-password"]) == 0
    assert capfd.readouterr().out == f"CREATE ROLE alice {RIGHTS} PASSWORD 'se:cr''et\\ ä';\n"


def test_the_password_file_is_where_the_configuration_says(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_passwords("*:*:*:*:wrong")
    (Path.home() / ".pgpass").rename(tmp_path / "mine")
    write_passwords("*:*:*:*:other")
    config = {"user": "alice", "passfile": str(tmp_path / "mine")}
    assert create_sql(config, no_db=True, plain_password=True)[0].endswith(" PASSWORD 'wrong';")


@pytest.mark.skipif(os.name == "nt", reason="files have no such permissions")
def test_a_password_file_that_others_can_read_is_not_used(
    program: Program,
) -> None:
    write_passwords(f"*:*:*:*:{escaped(TYPED)}", mode=0o640)
    done = program("create", "--user", "alice", "--plain-password", stdin=subprocess.DEVNULL, start_new_session=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "has group or world access" in done.stderr
    assert "sqltrack: the password file has no password for user 'alice', and there is no terminal" in done.stderr
    assert TYPED not in done.stderr


def typed(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    prompts: list[str] = []

    def answer(prompt: str) -> str:
        prompts.append(prompt)
        return answers[len(prompts) - 1]

    monkeypatch.setattr(getpass, "getpass", answer)
    return prompts


def test_without_a_password_on_file_it_is_asked_for_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = typed(monkeypatch, "secret", "secret")
    assert main(["create", "--user", "alice", "--no-db", "--plain-password"]) == 0
    assert capsys.readouterr().out.endswith(" PASSWORD 'secret';\n")
    assert prompts == ["password for the new user 'alice': ", "the same password again: "]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (("secret", "secrets"), "the two passwords are not the same"),
        (("", ""), "a password must not be empty, and not hold control characters"),
        (("sec\x1bret", "sec\x1bret"), "a password must not be empty, and not hold control characters"),
    ],
)
def test_what_is_typed_must_be_a_password(
    answers: tuple[str, str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, *answers)
    assert main(["create", "--user", "alice", "--plain-password"]) == 1
    assert capsys.readouterr() == ("", f"sqltrack: {message}\n")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo terminals")
def test_the_typed_password_is_not_shown() -> None:
    master, slave = os.openpty()
    # In a session without a terminal, the first one that it opens becomes its terminal.
    script = f"exec {shlex.quote(PROGRAM)} create --user alice --no-db --plain-password <{os.ttyname(slave)} >printed"
    with running(["sh", "-c", script], start_new_session=True) as process:
        shown = b""
        for prompt in (b"user 'alice': ", b"again: "):
            shown += read_until(master, prompt)
            os.write(master, b"hidden\n")
        assert process.wait(20) == 0
    os.close(slave)
    os.close(master)
    assert b"hidden" not in shown
    assert Path("printed").read_text() == f"CREATE ROLE alice {RIGHTS} PASSWORD 'hidden';\n"


def read_until(file: int, end: bytes) -> bytes:
    text = b""
    while not text.endswith(end):
        ready, _, _ = select.select([file], [], [], 20)
        assert ready, f"nothing more was shown after {text!r}"
        text += os.read(file, 1000)
    return text


def test_a_password_is_encrypted_without_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_passwords(f"*:*:*:*:{escaped(TYPED)}")
    assert main(["create", "--user", "alice", "--host", str(tmp_path), "--password"]) == 0
    output, errors = capsys.readouterr()
    assert output.startswith(f"CREATE ROLE alice {RIGHTS} PASSWORD 'SCRAM-SHA-256$4096:")
    assert (errors, TYPED in output) == ("", False)


def test_a_user_who_does_not_exist_yet_gets_a_password(
    as_superuser: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configuration already names the new user and database, so the server refuses all connections."""
    write_passwords(f"*:*:*:dora:{escaped(TYPED)}")
    over_tcp = {**as_superuser, "host": "127.0.0.1", "user": "dora", "dbname": "theirs"}
    for name, value in over_tcp.items():
        monkeypatch.setenv(f"SQLTRACK_DSN_{name.upper()}", str(value))
    assert main(["create", "--password"]) == 0
    script, errors = capsys.readouterr()
    assert errors == ""
    assert script.splitlines()[1] == "CREATE DATABASE theirs OWNER dora;"
    for statement in script.splitlines():
        _execute_alone(as_superuser, statement)
    assert sqltrack.Client().execute("SELECT current_user").fetchone() == ("dora",)
    with pytest.raises(AccessDeniedError, match="authentication failed"):
        sqltrack.Client(password="wrong").execute("SELECT 1")


def _execute_alone(config: dict[str, Any], statement: str) -> None:
    with connect_to_postgres(config) as connection:
        connection.execute(statement.encode())
