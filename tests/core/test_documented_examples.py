"""Documented programs behave as documented, with the documented tables and types."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack import Client, Experiment, Run
from sqltrack.commands import setup
from sqltrack.engines.json import Jsonb, jsonb
from sqltrack.pandas import query_dataframe
from sqltrack.queries import first_row, first_value, first_values
from sqltrack.util import SQL, Identifier
from support.connections import record_connections

TIME = datetime(2024, 5, 7, 12, 30, 15, 123456, tzinfo=timezone.utc)

# Programs


def set_environment(monkeypatch: pytest.MonkeyPatch, config: Mapping[str, Any]) -> None:
    for name, value in config.items():
        monkeypatch.setenv(f"SQLTRACK_DSN_{name.upper()}", str(value))


def table(client: Client, name: str) -> list[Any]:
    return client.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3").fetchall()


# The output of the minimal examples.
SHOWN_HEAD = [
    ["run_id", "step", "progress", "loss"],
    ["0", "1", "0", "0.0", "7.000000"],
    ["1", "1", "1", "0.0", "2.645751"],
    ["2", "1", "2", "0.0", "1.912931"],
    ["3", "1", "3", "0.0", "1.626577"],
    ["4", "1", "4", "0.0", "1.475773"],
]
SHOWN_TAIL = [
    ["85", "1", "85", "0.0", "1.022885"],
    ["86", "1", "86", "0.0", "1.022619"],
    ["87", "1", "87", "0.0", "1.022359"],
    ["88", "1", "88", "0.0", "1.022105"],
    ["89", "1", "89", "0.0", "1.021857"],
    [],
    ["[90", "rows", "x", "4", "columns]"],
]


def test_the_minimal_examples_print_a_line_for_each_step(
    empty_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_environment(monkeypatch, empty_config)

    client = sqltrack.Client()
    setup(client)
    experiment = sqltrack.Experiment(client, name="Minimal")
    run = experiment.get_run()
    with run.track():
        for epoch in range(90):
            metrics = {"loss": 7 ** (1 / (epoch + 1))}
            run.add_metrics(metrics, step=epoch)
    assert capsys.readouterr().out == "(NEW) base.sql\n"

    client = sqltrack.Client()
    print(query_dataframe(client, "SELECT * FROM metrics"))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert (lines[:6], lines[-7:]) == (SHOWN_HEAD, SHOWN_TAIL)


PHASES = [f"{phase}_{what}" for phase in ("train", "val", "test") for what in ("start", "end", "loss", "top1", "top5")]


def documented_type(metric: str) -> str:
    return "TIMESTAMP WITH TIME ZONE" if metric.endswith(("start", "end")) else "FLOAT"


# One statement for each column.
V001 = "BEGIN;\n\n{}\n\nEND;\n".format(
    "\n".join(f"ALTER TABLE metrics ADD COLUMN {name} {documented_type(name)};" for name in PHASES)
)
# One for all.
V001_IN_ONE = "BEGIN;\n\nALTER TABLE metrics\n  {};\n\nEND;\n".format(
    ",\n  ".join(f"ADD COLUMN {name} {documented_type(name)}" for name in PHASES)
)


@pytest.fixture
def empty_client(empty_config: dict[str, Any]) -> Client:
    return Client(empty_config)


def assert_phases_can_be_logged(client: Client) -> None:
    """Check that the columns of the script accept times and numbers, and keep their types."""
    values = {name: TIME if name.endswith(("start", "end")) else 0.5 for name in PHASES}
    run = Experiment(client, name="a").get_run().add_metrics(values, step=1)
    result = client.execute("SELECT * FROM metrics")
    assert [column[0] for column in result.description or ()] == ["run_id", "step", "progress", *PHASES]
    assert result.fetchall() == [(run.id, 1, 0.0, *values.values())]


@pytest.mark.parametrize("given_as", ["path", "str", "tuple"])
def test_a_script_that_defines_metrics_is_given_as_file_or_text(
    empty_client: Client, tmp_path: Path, given_as: str
) -> None:
    path = tmp_path / "v001.sql"
    path.write_text(V001)
    setup(empty_client, [{"path": path, "str": str(path), "tuple": ("v001.sql", V001)}[given_as]])
    assert_phases_can_be_logged(empty_client)


def test_a_script_may_add_all_columns_with_one_statement(empty_client: Client) -> None:
    """SQLite's own ALTER TABLE takes one column (https://sqlite.org/lang_altertable.html)."""
    setup(empty_client, [("v001.sql", V001_IN_ONE)])
    assert_phases_can_be_logged(empty_client)


def test_a_later_script_makes_changes(empty_client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    setup(empty_client, [("v001.sql", V001)])
    later = ("v002.sql", "ALTER TABLE metrics RENAME COLUMN test_top1 TO top1")
    setup(empty_client, [("v001.sql", V001), later])
    assert capsys.readouterr().out.splitlines()[2:] == ["(OK) base.sql", "(OK) v001.sql", "(NEW) v002.sql"]


def write_config_file(path: Path, config: Mapping[str, Any]) -> Path:
    path.write_text("".join(f"{name} = {value}\n" for name, value in config.items()))
    return path


@pytest.mark.parametrize("source", ["dict", "kwargs", "path", "path variable", "default location", "environment"])
def test_a_client_is_configured_by_each_documented_source(
    config: dict[str, Any], source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Experiment(Client(config), name="made")
    # Sources with less priority must lose; next to a dict no other source counts.
    if source != "environment":
        write_config_file(tmp_path / "sqltrack.conf", {"engine": "sqlite", "dbpath": "elsewhere.db"})
    if source == "dict":
        monkeypatch.setenv("SQLTRACK_DSN_ENGINE", "nonsense")
        client = Client(config)
    elif source == "kwargs":
        monkeypatch.setenv("SQLTRACK_DSN_ENGINE", "nonsense")
        client = Client(**config)
    elif source == "path":
        client = Client(write_config_file(tmp_path / "my.conf", config))
    elif source == "path variable":
        monkeypatch.setenv("SQLTRACK_CONFIG_PATH", str(write_config_file(tmp_path / "my.conf", config)))
        client = Client()
    elif source == "default location":
        write_config_file(tmp_path / "sqltrack.conf", config)
        client = Client()
    else:
        set_environment(monkeypatch, config)
        client = Client()
    assert table(client, "experiments") == [(made.id, "made", None, None, None)]


def test_blocks_give_connections_and_cursors(client: Client) -> None:
    with client as conn:  # noqa: SIM117 - as users write it
        with conn.cursor() as cursor:
            cursor.execute("INSERT INTO experiments (name) VALUES ('a')")
    with client.cursor() as cursor:
        cursor.execute("INSERT INTO experiments (name) VALUES ('b')")
        cursor.execute("SELECT name FROM experiments ORDER BY name")
        assert cursor.fetchall() == [("a",), ("b",)]
    client.executemany("INSERT INTO experiments (name) VALUES (%s)", [("c",), ("d",)])
    client.executescript("DELETE FROM experiments WHERE name = 'a'; DELETE FROM experiments WHERE name = 'b'")
    assert client.execute("SELECT name FROM experiments ORDER BY name").fetchall() == [("c",), ("d",)]


def test_queries_in_one_block_connect_once_and_a_commit_keeps_the_changes(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = record_connections(client, monkeypatch)

    def do_queries(client: Client, name: str) -> None:
        with client.cursor() as cursor:
            cursor.execute("INSERT INTO experiments (name) VALUES (%s)", (name,))

    with contextlib.suppress(ZeroDivisionError), client:
        do_queries(client, "a")
        do_queries(client, "b")
        client.commit()
        do_queries(client, "c")
        raise ZeroDivisionError
    assert len(opened) == 1
    assert first_values(client, "SELECT name FROM experiments ORDER BY name") == ["a", "b"]


def test_parts_of_results_and_composed_queries(client: Client) -> None:
    client.executemany("INSERT INTO experiments (name, comment) VALUES (%s, %s)", [("a", "x"), ("b", "y")])
    query = SQL("SELECT {columns} FROM {table} WHERE {name} >= %s ORDER BY {name}").format(
        columns=SQL(", ").join([Identifier("name"), Identifier("comment")]),
        table=Identifier("experiments"),
        name=Identifier("name"),
    )
    assert first_row(client, query, ("b",)) == ("b", "y")
    assert first_value(client, query, ("a",)) == "a"
    assert first_values(client, query, ("a",)) == ["a", "b"]
    assert client.execute(query, ("b",)).fetchall() == [("b", "y")]
    with client.cursor() as cursor:
        assert first_values(cursor, query, ("a",)) == ["a", "b"]
    assert list(query_dataframe(client, query, ("a",))["comment"]) == ["x", "y"]


def test_a_cursor_takes_composed_queries(client: Client) -> None:
    Experiment(client, name="a")
    with client.cursor() as cursor:
        cursor.execute(SQL("SELECT {} FROM {}").format(Identifier("name"), Identifier("experiments")))
        assert cursor.fetchall() == [("a",)]


def test_sql_is_composed_as_shown(client: Client) -> None:
    with client as conn:
        names = SQL(", ").join([Identifier("foo"), Identifier("bar")])
        query = SQL("SELECT {0} FROM {1}").format(names, Identifier("table"))
        assert query.as_string(conn) == 'SELECT "foo", "bar" FROM "table"'
        assert query.as_bytes(conn) == b'SELECT "foo", "bar" FROM "table"'
        query = SQL("SELECT * FROM {} WHERE {} = %s").format(Identifier("people"), Identifier("id"))
        assert query.as_string(conn) == 'SELECT * FROM "people" WHERE "id" = %s'
        query = SQL("SELECT * FROM {tbl} WHERE name = {name}").format(tbl=Identifier("people"), name="O'Rourke")
        assert query.as_string(conn) == "SELECT * FROM \"people\" WHERE name = 'O''Rourke'"
        snippet = SQL(", ").join(Identifier(name) for name in ["foo", "bar", "baz"])
        assert snippet.as_string(conn) == '"foo", "bar", "baz"'


def test_experiments_and_runs_are_described_in_a_chain_with_tags_and_links(client: Client) -> None:
    base = Experiment(client, name="base")
    exp = Experiment(client, base.id).set_comment("nice").add_tags("tag")
    assert table(client, "experiments") == [(base.id, "base", "nice", {"tag": True}, None)]

    follow_up = Experiment(client, name="follow-up").add_link("successor", base.id)
    assert table(client, "experiment_links") == [(follow_up.id, "successor", base.id)]

    failed = Run(client, exp.id).set_comment("nice").add_tags("tag", "other").remove_tags("other")
    resumed = Run(client, exp.id).add_link("resumes", failed.id)
    assert first_row(client, "SELECT comment, tags FROM runs WHERE id = %s", (failed.id,)) == ("nice", {"tag": True})
    assert table(client, "run_links") == [(resumed.id, "resumes", failed.id)]


def test_a_job_names_its_run_by_number_or_environment(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = Experiment(client, name="array")
    monkeypatch.setenv("SLURM_JOB_ID", "815")
    assert experiment.get_run("SLURM_JOB_ID").id == 815
    assert experiment.get_run(815).id == 815
    assert Run(client, run_id="SLURM_JOB_ID").experiment_id == experiment.id

    monkeypatch.setenv("SQLTRACK_EXPERIMENT_NAME", "array")
    monkeypatch.setenv("SQLTRACK_RUN_ID", "815")
    assert sqltrack.run_from_env(client).id == 815
    monkeypatch.delenv("SQLTRACK_RUN_ID")
    monkeypatch.delenv("SQLTRACK_EXPERIMENT_NAME")
    monkeypatch.setenv("SQLTRACK_EXPERIMENT_ID", str(experiment.id))
    new = sqltrack.run_from_env(client)
    assert new.id != 815
    assert new.experiment_id == experiment.id


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def interrupt() -> None:
    raise KeyboardInterrupt


def fail() -> None:
    raise ZeroDivisionError


ENDINGS: list[tuple[Callable[[], Any], str, str]] = [
    (int, "COMPLETED", "done"),
    (fail, "FAILED", "broken"),
    (interrupt, "CANCELLED", "stopped"),
    (terminate, "CANCELLED", "preempted"),
]


@pytest.mark.parametrize(("end", "default", "chosen"), ENDINGS, ids=["normal", "exception", "interrupt", "terminated"])
def test_a_tracked_run_ends_with_the_status_that_was_asked_for(
    run: Run, end: Callable[[], Any], default: str, chosen: str
) -> None:
    statuses = {"normal": "done", "exception": "broken", "interrupt": "stopped", "terminated": "preempted"}
    for arguments, expected in (({}, default), (statuses, chosen)):
        with contextlib.suppress(ZeroDivisionError, KeyboardInterrupt, SystemExit), run.track(**arguments):
            assert first_value(run.client, "SELECT status FROM runs") == "RUNNING"
            end()
        assert first_value(run.client, "SELECT status FROM runs") == expected


def test_start_and_stop_leave_the_times_alone_if_told_so(run: Run) -> None:
    query = "SELECT status, time_started, time_updated FROM runs"
    run.start(started=None, updated=None)
    assert first_row(run.client, query) == ("RUNNING", None, None)
    run.stop(updated=None)
    assert first_row(run.client, query) == ("COMPLETED", None, None)
    run.start().stop(status="TIMEOUT")
    status, started, updated = first_row(run.client, query)
    assert (status, started <= updated) == ("TIMEOUT", True)


# Tables and types

# Names in order, and the types that Python reads.
COLUMNS: dict[str, dict[str, type]] = {
    "experiments": {"id": int, "name": str, "comment": str, "tags": dict, "extras": dict},
    "experiment_links": {"from_id": int, "kind": str, "to_id": int},
    "runs": {
        "id": int,
        "experiment_id": int,
        "status": str,
        "time_created": datetime,
        "time_started": datetime,
        "time_updated": datetime,
        "comment": str,
        "tags": dict,
        "args": dict,
        "env": dict,
        "extras": dict,
    },
    "run_links": {"from_id": int, "kind": str, "to_id": int},
    "metrics": {"run_id": int, "step": int, "progress": float},
}


def test_tables_have_the_documented_columns_and_types(client: Client) -> None:
    experiment = Experiment(client, name="a").set_comment("c").add_tags("t")
    experiment.add_link("k", experiment.id)
    client.execute("UPDATE experiments SET extras = %s", (jsonb({"k": "v"}),))
    run = experiment.get_run().set_comment("c").add_tags("t").set_args({"k": "v"}).set_env({"k": "v"})
    run.set_extras({"k": "v"}).add_link("k", run.id).start().stop().add_metrics({}, step=1, progress=0.5)
    for name, columns in COLUMNS.items():
        result = client.execute(f"SELECT * FROM {name}")
        assert [column[0] for column in result.description or ()] == list(columns)
        assert [type(value) for value in result.fetchone()] == list(columns.values())


# Type names that both engines share, the types of SQLite, and those of psycopg's adaptation that hold every value.
COMMON_TYPES: dict[type, str] = {
    str: "TEXT",
    date: "DATE",
    datetime: "TIMESTAMP WITH TIME ZONE",
    timedelta: "INTERVAL",
    Jsonb: "JSONB",
}
SQL_TYPES: dict[str, dict[type, str]] = {
    "sqlite": {int: "INTEGER", float: "REAL", bytes: "BLOB", **COMMON_TYPES},
    "postgres": {int: "BIGINT", float: "DOUBLE PRECISION", bytes: "BYTEA", bool: "BOOLEAN", **COMMON_TYPES},
}


def test_python_types_are_mapped_to_sql_types(client: Client, engine_name: str) -> None:
    expected = SQL_TYPES[engine_name]
    assert {typ: client.engine.map_type(client, typ) for typ in expected} == expected
    with pytest.raises(TypeError, match="no .* type for Python type 'object'"):
        client.engine.map_type(client, object)


def test_metrics_of_the_documented_types_are_added_and_come_back(run: Run) -> None:
    metrics = {"i": 1, "f": 0.5, "s": "x", "b": b"x", "d": date(2024, 5, 7), "t": TIME, "td": timedelta(seconds=1.5)}
    run.add_metrics(metrics, progress=0.5)
    assert table(run.client, "metrics") == [(run.id, 0, 0.5, *metrics.values())]


def test_a_metric_may_be_a_jsonb(run: Run) -> None:
    run.add_metrics({"histogram": jsonb({"bins": [1, 2]})})
    assert first_value(run.client, "SELECT histogram FROM metrics") == {"bins": [1, 2]}


def test_jsonb_marks_a_parameter_as_json_and_leaves_none_alone(client: Client) -> None:
    insert = "INSERT INTO experiments (name, tags, extras) VALUES (%s, %s, %s)"
    client.execute(insert, ("a", jsonb(None), jsonb({"a": [1, {"b": None}]})))
    assert first_row(client, "SELECT tags, extras FROM experiments") == (None, {"a": [1, {"b": None}]})


def test_an_engine_keeps_its_base_script_in_its_folder(client: Client, engine_name: str) -> None:
    folder = client.engine.data_dir()
    assert isinstance(folder, str)
    assert Path(folder) == Path(sqltrack.__file__).parent / "engines" / engine_name
    script = Path(folder, "base.sql").read_text(encoding="utf-8")
    assert all(f"CREATE TABLE {name} (" in script for name in COLUMNS)
