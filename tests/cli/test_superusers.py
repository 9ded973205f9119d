"""Commands that read never execute other users' code with the rights of a superuser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.doctor import examine
from sqltrack.engines.postgres import _readonly
from sqltrack.engines.schema import TABLES
from support.databases import connect_to_postgres, temporary_role

pytestmark = [
    pytest.mark.engines("postgres", reason="SQLite has no users"),
    pytest.mark.not_pooled("it changes the role of a session"),
]

OWNER_NAME = "owner of tests"
OWNER = f'"{OWNER_NAME}"'

READING = {
    "ls": ["ls"],
    "runs": ["runs"],
    "runs by a condition": ["runs", "--where", "true"],
    "runs by their best": ["runs", "--best", "loss"],
    "show": ["show", "1"],
    "metrics": ["metrics", "1"],
    "metrics as CSV": ["metrics", "1", "--csv"],
    "diff": ["diff", "1", "2"],
    "export": ["export", "--output", "{folder}/files"],
    "copy": ["copy", ".", "{folder}/copy.db", "--setup"],
    "sql": ["sql", "SELECT * FROM runs"],
}

# Objects by which the owner of the tables can have code executed, and the table that the code hides in.
TRAPS = {
    "an unsafe function in a view": "CREATE VIEW {table} AS SELECT * FROM hidden WHERE trap() = 1",
    "one that claims to be safe": "ALTER FUNCTION trap() PARALLEL SAFE; "
    "CREATE VIEW {table} AS SELECT * FROM hidden WHERE trap() = 1",
    "one that claims to be immutable": "ALTER FUNCTION trap() IMMUTABLE PARALLEL SAFE; "
    "CREATE VIEW {table} AS SELECT * FROM hidden WHERE trap() = 1",
    "an index": "ALTER TABLE hidden RENAME TO {table}; CREATE INDEX ON {table} (id) WHERE constant()",
    "a CHECK": "ALTER TABLE hidden RENAME TO {table}; ALTER TABLE {table} ADD CHECK (id > 0 OR constant()) NOT VALID",
    "an operator": "CREATE FUNCTION same(TEXT, TEXT) RETURNS BOOL LANGUAGE SQL AS 'SELECT trap() = 1'; "
    "CREATE OPERATOR === (LEFTARG = TEXT, RIGHTARG = TEXT, FUNCTION = same); "
    "CREATE VIEW {table} AS SELECT * FROM hidden WHERE 'a'::text === 'b'::text",
}


@pytest.fixture
def owned(client: sqltrack.Client, config: dict[str, Any]) -> Iterator[Any]:
    """A superuser's connection to a database whose tables another user owns, in that user's role."""
    experiment = sqltrack.Experiment(client, name="experiment")
    for number in (1, 2):
        experiment.get_run(number).add_metrics({"loss": 1.0}, step=1)
    with closing(connect_to_postgres(config)) as connection, temporary_role(connection, OWNER_NAME):
        connection.execute(f"GRANT CREATE ON SCHEMA public TO {OWNER}")
        for table in (*TABLES, "setup_scripts"):
            connection.execute(f"ALTER TABLE {table} OWNER TO {OWNER}")
        connection.execute(f"SET ROLE {OWNER}")
        try:
            yield connection
        finally:
            connection.execute("RESET ROLE")
            is_executed(connection)


def create_trap(owned: Any) -> None:
    """Create a function that takes on the caller's rights, and writes a file to the server's folder."""
    owned.execute(
        "CREATE FUNCTION trap() RETURNS INT LANGUAGE plpgsql AS "
        "$$ BEGIN SET ROLE NONE; EXECUTE $a$ COPY (SELECT 1) TO PROGRAM 'cat > executed' $a$; RETURN 1; END $$"
    )
    owned.execute(
        "CREATE FUNCTION constant() RETURNS BOOL LANGUAGE plpgsql IMMUTABLE AS "
        "$$ BEGIN RETURN current_setting('tests.is_quiet', true) = 'yes' OR (SELECT public.trap()) = 1; END $$"
    )
    owned.execute("SET tests.is_quiet = 'yes'")


def replace(owned: Any, table: str, script: str) -> None:
    """Replace a table by a view, as its owner can."""
    create_trap(owned)
    owned.execute(f"ALTER TABLE {table} RENAME TO hidden; {script.format(table=table)}; RESET ROLE")


def is_executed(owned: Any) -> bool:
    """Return whether the owner's code has written its file to the server's folder, and remove the file."""
    found: bool = owned.execute("SELECT (pg_stat_file('executed', true)).size IS NOT NULL").fetchone()[0]
    owned.execute("COPY (SELECT 1) TO PROGRAM 'cat > /dev/null; rm -f executed'")
    return found


@pytest.fixture(autouse=True)
def _old_servers_read_as_superuser() -> None:
    """Overrides the fixture of all tests, so that it does not apply here."""


def refuses(arguments: list[str], options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> bool:
    status = main([word.format(folder=tmp_path) for word in arguments] + options)
    return status == 1 and "a superuser's query" in capsys.readouterr().err


@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)
def test_no_command_that_reads_executes_the_owners_code(
    owned: Any, trap: str, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever table it hides in."""
    replace(owned, "runs", trap)
    for arguments in READING.values():
        assert refuses(arguments, options, tmp_path, capsys), arguments
        assert not is_executed(owned), arguments


@pytest.mark.parametrize("table", ["experiments", "metrics", "run_links"])
def test_nor_if_it_hides_in_another_table(
    owned: Any, table: str, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(owned, table, TRAPS["an unsafe function in a view"])
    for name in ("export", "copy", "show"):
        assert refuses(READING[name], options, tmp_path, capsys), name
        assert not is_executed(owned), name


@pytest.mark.parametrize("table", ["runs", "setup_scripts"])
def test_doctor_asks_nothing_more(owned: Any, table: str, client: sqltrack.Client) -> None:
    replace(owned, table, TRAPS["an unsafe function in a view"])
    findings = {finding.check: finding for finding in examine(client)}
    assert not is_executed(owned)
    assert findings["code of others"].result == "problem"
    assert findings["code of others"].found.startswith("a superuser's query is refused here")
    assert findings["connection"].result == "ok"
    assert list(findings)[-2:] == ["connection", "code of others"]


def test_doctor_calls_no_function_that_has_a_name_of_the_servers(
    owned: Any, client: sqltrack.Client, config: dict[str, Any]
) -> None:
    create_trap(owned)
    owned.execute(
        "CREATE FUNCTION public.current_setting(TEXT) RETURNS TEXT LANGUAGE SQL AS "
        "'SELECT trap(); SELECT pg_catalog.current_setting($1)'; RESET ROLE"
    )
    owned.execute(f"ALTER DATABASE {config['dbname']} SET search_path = public, pg_catalog")
    findings = [finding.check for finding in examine(sqltrack.Client(config))]
    assert not is_executed(owned)
    assert findings[-1] == "code of others"


def test_a_superuser_can_trust_the_owner(
    owned: Any, client: sqltrack.Client, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then everything is read, and the owner's code is executed."""
    replace(owned, "runs", TRAPS["an unsafe function in a view"])
    for arguments in READING.values():
        words = [word.format(folder=tmp_path) for word in arguments]
        assert main([*words, *options, "--as-superuser"]) == 0, (arguments, capsys.readouterr().err)
        assert is_executed(owned), arguments
    assert "sizes" in {finding.check for finding in examine(client, as_superuser=True)}


@pytest.mark.parametrize("name", ["runs by their best", "metrics", "diff", "export", "copy"])
def test_the_owners_tables_are_read_as_ever(
    owned: Any, name: str, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A function that is declared unsafe and not called is not a reason to refuse."""
    owned.execute("RESET ROLE")
    assert main([*(word.format(folder=tmp_path) for word in READING[name]), *options]) == 0, capsys.readouterr().err


def test_a_server_without_a_role_for_reading_is_read_as_carefully(
    owned: Any,
    options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PostgreSQL 13 has none. It refuses SQL of the user, and the program checks its own queries."""
    monkeypatch.setattr(_readonly, "_READING_ROLE_VERSION", 10**9)
    owned.execute("RESET ROLE")
    assert main(["show", "1", *options]) == 0
    assert main([*READING["sql"], *options]) == 1
    owned.execute(f"SET ROLE {OWNER}")
    replace(owned, "runs", TRAPS["an unsafe function in a view"])
    for name in ("ls", "show", "export", "copy"):
        assert refuses(READING[name], options, tmp_path, capsys), name
        assert not is_executed(owned), name
