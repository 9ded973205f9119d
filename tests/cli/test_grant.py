"""sqltrack grant and revoke print statements that give users exactly the requested rights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands import setup
from sqltrack.commands.grant import grant_sql
from sqltrack.commands.metrics import read_curves
from sqltrack.commands.revoke import revoke_public_sql, revoke_sql
from sqltrack.commands.runs import list_runs
from sqltrack.errors import AccessDeniedError, DatabaseError, SQLTrackError, UnusableValueError

TABLES = ("experiments", "experiment_links", "runs", "run_links", "metrics")
OWNER = f"owner_{os.getpid()}"
OTHERS = (f"bob_{os.getpid()}", f"o'brien\"; DROP TABLE runs; --_{os.getpid()}", f"Über {os.getpid()}")


@pytest.fixture(params=[None, 'my "Schema"'])
def shared(request: pytest.FixtureRequest, create_database: Callable[..., dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Configuration of the owner of a database after setup, next to users without rights."""
    import psycopg

    superuser = create_database()
    dbname = superuser["dbname"]

    def execute(*statements: str, **names: str) -> None:
        quoted = {name: psycopg.sql.Identifier(value) for name, value in names.items()}
        with psycopg.connect(**{k: v for k, v in superuser.items() if k != "engine"}, autocommit=True) as connection:
            for statement in statements:
                connection.execute(psycopg.sql.SQL(statement).format(**quoted))

    roles = (OWNER, *OTHERS)
    try:
        for role in roles:
            execute("CREATE ROLE {role} LOGIN", role=role)
        execute("ALTER DATABASE {db} OWNER TO {role}", "ALTER SCHEMA public OWNER TO {role}", db=dbname, role=OWNER)
        config = {**superuser, "user": OWNER, **({} if request.param is None else {"schema": request.param})}
        setup(sqltrack.Client(config))
        yield config
    finally:
        execute("ALTER SCHEMA public OWNER TO {role}", "ALTER DATABASE {db} OWNER TO {role}", db=dbname,
                role=superuser["user"])  # fmt: skip
        for role in roles:
            execute("DROP OWNED BY {role} CASCADE", role=role)
        for role in roles:
            execute("DROP ROLE {role}", role=role)


def connection(config: dict[str, Any]) -> list[str]:
    return [word for name, value in config.items() for word in (f"--{name}", str(value))]


def apply(arguments: list[str], config: dict[str, Any], capsys: pytest.CaptureFixture[str], by: str = OWNER) -> str:
    """Print statements, execute them as the owner, and return them."""
    capsys.readouterr()
    assert main([*arguments, *connection(config)]) == 0
    printed = capsys.readouterr().out
    Path("statements.sql").write_text(printed, encoding="utf-8")
    assert main(["execute", *connection({**config, "user": by}), "statements.sql"]) == 0
    assert capsys.readouterr().err == ""
    return printed


def client_of(user: str, config: dict[str, Any]) -> sqltrack.Client:
    return sqltrack.Client({**config, "user": user})


def log(client: sqltrack.Client, **metrics: Any) -> int:
    run = sqltrack.Experiment(client, name="e").get_run()
    run.add_metrics(metrics, step=1)
    return int(run.id)


@pytest.mark.parametrize("user", OTHERS, ids=["plain", "hostile", "blank"])
def test_readers_read_and_do_not_write(user: str, shared: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    apply(["revoke", "--public"], shared, capsys)
    client = client_of(user, shared)
    with pytest.raises(AccessDeniedError, match="permission denied for database"):
        client.execute("SELECT 1")
    log(sqltrack.Client(shared), loss=0.5)
    apply(["grant", user], shared, capsys)
    for table in TABLES:
        assert len(client.execute(f"SELECT * FROM {table}").fetchall()) == (table in ("experiments", "runs", "metrics"))
    for statement in (
        "INSERT INTO experiments (id, name) VALUES (9, 'x')",
        "DELETE FROM metrics",
        "SELECT nextval('runs_id_seq')",
    ):
        with pytest.raises(AccessDeniedError, match="permission denied"):
            client.execute(statement)
    # Even tables that the owner creates later.
    sqltrack.Client(shared).execute("CREATE TABLE later (a INT)")
    assert client.execute("SELECT a FROM later").fetchall() == []


@pytest.mark.parametrize("user", OTHERS, ids=["plain", "hostile", "blank"])
def test_writers_track_runs_and_lose_no_new_metric(
    user: str, shared: dict[str, Any], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    owner = sqltrack.Client(shared)
    log(owner, loss=0.5)
    printed = apply(["grant", user, "--write"], shared, capsys)
    assert printed.count("\n--") == 4
    client = client_of(user, shared)
    run = sqltrack.Experiment(client, name="mine").get_run()
    with run.track():
        run.add_metrics({"loss": 0.25}, step=1)
        run.add_metrics({"new": 7.5, "loss": 0.125}, step=2)
    run.add_tags("tag")
    with client:
        run.add_metrics({"another": 1.5}, step=3)
        run.add_metrics({"another": 1.5, "new": 7.5}, step=3)
    messages = [record.getMessage() for record in caplog.records]
    assert [message for message in messages if "this user may not add columns" in message] == [
        f"metric {name!r} is stored in the column metrics.extras: this user may not add columns "
        "(sqltrack tidy, executed by the owner, does)"
        for name in ("new", "another")
    ]
    (found,) = [record for record in list_runs(client, best="new")[0] if record["id"] == run.id]
    assert (found["best"], found["best_step"]) == (7.5, 2)
    assert read_curves(client, run.id, ["new"]).points[0]["new"] == 7.5
    assert client.execute("SELECT step, loss FROM metrics WHERE run_id = %s ORDER BY step", (run.id,)).fetchall() == [
        (1, 0.25),
        (2, 0.125),
        (3, None),
    ]
    waiting = client.execute("SELECT step, extras FROM metrics_pending ORDER BY step").fetchall()
    assert waiting == [(2, {"new": 7.5}), (3, {"another": 1.5, "new": 7.5})]
    # For a metric that cannot have a column the owner adds metrics.extras, to which pending metrics are moved.
    log(owner, **{"x" * 64: 1.0})
    query = "SELECT extras FROM metrics WHERE run_id = %s AND step = 2"
    assert client.execute(query, (run.id,)).fetchone() == ({"new": 7.5},)
    run.add_metrics({"new": 8.5}, step=4)
    assert client.execute("SELECT extras FROM metrics WHERE step = 4").fetchone() == ({"new": 8.5},)
    client.execute("DELETE FROM runs")
    assert client.execute("SELECT count(*) FROM metrics").fetchone() == (0,)


def test_members_of_the_owner_add_columns(
    shared: dict[str, Any], create_database: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    user = OTHERS[0]
    by = create_database()["user"]
    apply(["grant", user, "--as-owner"], shared, capsys, by=by)
    client = client_of(user, shared)
    log(client, new=1.5)
    assert client.execute("SELECT new FROM metrics").fetchall() == [(1.5,)]
    apply(["revoke", user, "--as-owner"], shared, capsys, by=by)
    with pytest.raises(SQLTrackError):
        client.execute("SELECT new FROM metrics")


@pytest.mark.not_pooled("it changes settings of new sessions, and a pooler reuses earlier ones")
@pytest.mark.parametrize("user", OTHERS, ids=["plain", "hostile", "blank"])
@pytest.mark.parametrize("right", ["--read", "--write"])
def test_after_revoke_nothing_remains(
    right: str, user: str, shared: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    apply(["grant", user, right], shared, capsys)
    client = client_of(user, shared)
    assert client.execute("SELECT count(*) FROM runs").fetchone() == (0,)
    apply(["revoke", user], shared, capsys)
    with pytest.raises(DatabaseError):
        client.execute("SELECT count(*) FROM runs")
    query = "SELECT count(*) FROM pg_default_acl"
    assert sqltrack.Client(shared).execute(query).fetchone() == (0,)
    apply(["revoke", "--public"], shared, capsys)
    with pytest.raises(AccessDeniedError, match="permission denied for database"):
        client.execute("SELECT 1")


# Output


def test_the_documented_statements_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--user", "alice", "--dbname", "db", "--schema", "s"]
    assert main(["grant", "bob", *options]) == 0
    assert capsys.readouterr().out.splitlines()[:3] == [
        "GRANT CONNECT ON DATABASE db TO bob;",
        "GRANT USAGE ON SCHEMA s TO bob;",
        "GRANT SELECT ON ALL TABLES IN SCHEMA s TO bob;",
    ]
    assert main(["revoke", "--public", *options]) == 0
    assert capsys.readouterr().out == "REVOKE CONNECT ON DATABASE db FROM PUBLIC;\n"


def test_the_owner_can_be_another_than_the_configured_user(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grant", "bob", "--user", "postgres", "--owner", "Alice"]) == 0
    assert 'ALTER DEFAULT PRIVILEGES FOR ROLE "Alice" IN SCHEMA public GRANT' in capsys.readouterr().out


def test_all_names_are_quoted() -> None:
    names: dict[str, Any] = {"dbname": "d;", "owner": "o;", "schema": "s;"}
    statements = grant_sql("u;", **names, as_owner=True) + revoke_sql("u;", **names, as_owner=True)
    statements += revoke_public_sql(dbname="d;")
    for statement in statements:
        bare = statement
        for name in ("d;", "o;", "s;", "u;"):
            bare = bare.replace(f'"{name}"', "")
        assert bare.count(";") == 1
        assert bare.endswith(";")


@pytest.mark.parametrize("command", ["grant", "revoke"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["public"], "'public' means all users, expected the name of one user"),
        (["alice"], "user 'alice' owns the tables and has all rights, expected another user"),
        ([""], "the name of a user must not be empty"),
        (["a\nb"], "the name of a user must not hold control characters, got 'a\\nb'"),
        (["bob", "--owner", ""], "the name of a user must not be empty"),
        (["bob", "--schema", "s" * 64], "the name of a schema must be at most 63 bytes long, or PostgreSQL would cut "
         f"it, got '{'s' * 64}'"),
        (["bob", "--engine", "sqlite"], "engine 'sqlite' has no users or rights; setup creates its "
         "database; for a database on a server choose engine=postgres"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line(
    command: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--user", "alice", *arguments]) == 1
    assert capsys.readouterr() == ("", f"sqltrack: {message}\n")


@pytest.mark.parametrize(
    "arguments",
    [["grant"], ["grant", "bob", "--read", "--write"], ["revoke"], ["revoke", "bob", "--public"]],
)
def test_a_wrong_command_line_ends_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as info:
        main(arguments)
    assert info.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_name_of_everybody_is_refused_by_the_function() -> None:
    with pytest.raises(UnusableValueError, match="'public' means all users"):
        grant_sql("public", dbname="d", owner="o")
