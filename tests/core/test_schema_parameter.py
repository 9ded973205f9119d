"""The parameter `schema` chooses the schema, even if startup options are refused."""

from __future__ import annotations

from typing import Any

import pytest

import sqltrack
from sqltrack.commands import setup
from sqltrack.errors import DatabaseError, MissingRunError, NotSetUpError, SQLTrackError
from support.refusing_proxy import refusing_proxy


def test_the_schema_parameter_chooses_the_schema_also_with_odd_names(postgres_config: dict[str, Any]) -> None:
    for schema in ("plain", 'My "odd" schéma, \\ with blanks', "select"):
        client = sqltrack.Client(postgres_config, schema=schema)
        setup(client)
        sqltrack.Experiment(client, name="x").get_run().add_metrics({"loss": 1.0})
        tables = client.execute("SELECT count(*) FROM pg_tables WHERE schemaname = %s", (schema,)).fetchone()
        assert tables == (7,)
        assert client.execute("SELECT current_schema()").fetchone() == (schema,)
    with pytest.raises(NotSetUpError):
        sqltrack.Client(postgres_config).execute("SELECT * FROM metrics")


def test_the_schema_parameter_works_where_start_up_options_are_refused(postgres_config: dict[str, Any]) -> None:
    import psycopg

    with psycopg.connect(**{name: value for name, value in postgres_config.items() if name != "engine"}) as connection:
        port = connection.info.port
    with refusing_proxy(port) as proxy_port:
        pooled = {**postgres_config, "host": "127.0.0.1", "port": proxy_port}
        with pytest.raises(SQLTrackError, match="unsupported startup parameter"):
            sqltrack.Client(pooled, options="-c work_mem=8MB").execute("SELECT 1")
        client = sqltrack.Client(pooled, schema='odd "schema"')
        setup(client)
        run = sqltrack.Experiment(client, name="x").get_run()
        with run.track():
            for step in range(10):
                run.add_metrics({"loss": 1.0, f"metric {step}": 1.0}, step=step)
            with client.cursor() as cursor:
                cursor.executemany("INSERT INTO experiments (name) VALUES (%s)", [("a",), ("b",)])
                client.commit()
                cursor.execute("SELECT count(*) FROM experiments")
                assert cursor.fetchone() == (3,)
        assert client.execute("SELECT count(*) FROM metrics").fetchone() == (10,)
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'odd \"schema\"'"
    direct = sqltrack.Client(postgres_config)
    assert direct.execute(tables).fetchone() == (7,)


def test_statements_that_fail_leave_such_a_connection_usable(postgres_config: dict[str, Any]) -> None:
    """A failed statement loses neither the schema nor the connection."""
    import psycopg

    with psycopg.connect(**{name: value for name, value in postgres_config.items() if name != "engine"}) as connection:
        port = connection.info.port
    with refusing_proxy(port) as proxy_port:
        client = sqltrack.Client(postgres_config, host="127.0.0.1", port=proxy_port, schema="odd")
        setup(client)
        run = sqltrack.Experiment(client, name="x").get_run()
        with run.track():
            with pytest.raises(MissingRunError):
                sqltrack.run_add_metrics(client, 4711, {"loss": 1.0})
            with client:
                for sql, message in (("SELEC 1", "SELEC"), ("SELECT 1", "current transaction is aborted")):
                    with pytest.raises(DatabaseError, match=message):
                        client.execute(sql)
                client.rollback()
                client.execute("UPDATE runs SET comment = 'goes on'")
            run.add_metrics({"loss": 1.0})
        assert client.execute("SELECT comment, loss FROM runs JOIN metrics ON run_id = id").fetchall() == [
            ("goes on", 1.0)
        ]
