"""A new PostgreSQL database has the schema of version 0.2.0, so databases of that version need no upgrade."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

import sqltrack
from plugins.postgres_binaries import major_of
from sqltrack.commands import setup
from support.databases import connect_to_postgres

pytestmark = [pytest.mark.engines("postgres"), pytest.mark.not_pooled("it compares databases, not connections")]

_OLD_SCHEMA = Path(__file__).with_name("base_0_2_0.sql").read_text(encoding="utf-8")

# What the catalog says of a schema, apart from the order in which things were created.
_CATALOG = {
    "columns": """
        SELECT attrelid::regclass::text, attnum, attname, atttypid::regtype::text, attnotnull, attidentity::text,
            pg_get_expr(adbin, adrelid)
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
    """,
    "sequences": "SELECT to_jsonb(pg_sequences) FROM pg_sequences WHERE schemaname = 'public'",
    "owned": """
        SELECT objid::regclass::text, refobjid::regclass::text, refobjsubid, deptype::text FROM pg_depend
        WHERE classid = 'pg_class'::regclass AND objid IN (SELECT seqrelid FROM pg_sequence)
            AND refclassid = 'pg_class'::regclass
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
    """,
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "functions": "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    "rights": "SELECT relname, relkind::text, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace",
}


@pytest.fixture
def databases(create_database: Callable[..., dict[str, Any]]) -> list[dict[str, Any]]:
    """Configurations of a database of version 0.2.0 and a new one."""
    old, new = create_database(), create_database()
    with connect_to_postgres(old) as connection:
        connection.execute(_OLD_SCHEMA.encode())
    setup(sqltrack.Client(new))
    with connect_to_postgres(new) as connection:
        connection.execute("DROP TABLE setup_scripts")
    return [old, new]


def catalog(config: dict[str, Any]) -> dict[str, list[str]]:
    with connect_to_postgres(config) as connection:
        return {name: sorted(map(repr, connection.execute(query.encode()))) for name, query in _CATALOG.items()}


def test_the_catalogs_are_equal(databases: list[dict[str, Any]]) -> None:
    old, new = map(catalog, databases)
    assert all(old.values())
    assert new == old


def test_the_dumps_are_equal(databases: list[dict[str, Any]], postgres_server: Any) -> None:
    program = shutil.which("pg_dump")
    version = "0" if program is None else subprocess.check_output([program, "--version"], text=True)
    if program is None or int(re.findall(r"\d+", version)[0]) < major_of(postgres_server.version):
        # The packages of the newest servers that the tests fetch have no pg_dump. The catalogs are compared above.
        return
    old, new = (dump(program, config) for config in databases)
    assert "CREATE SEQUENCE" in old
    assert new == old


def dump(program: str, config: dict[str, Any]) -> str:
    """Return a dump without the key that makes each dump unique."""
    names = ("host", "port", "user", "dbname")
    address = psycopg.conninfo.make_conninfo(**{name: config[name] for name in names if name in config})
    text = subprocess.check_output([program, "--dbname", address], text=True)
    return re.sub(r"(?m)^\\(un)?restrict .*$", "", text)


def test_ids_go_on_in_an_old_database(databases: list[dict[str, Any]]) -> None:
    client = sqltrack.Client(databases[0])
    first = sqltrack.Experiment(client, name="a").get_run()
    second = sqltrack.Experiment(client, name="b").get_run()
    assert (first.id, second.id, second.experiment_id) == (1, 2, 2)
