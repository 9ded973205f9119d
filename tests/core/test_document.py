"""The user's document: its signatures, its programs, and its errors."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import pkgutil
import signal
import subprocess
import sys
import types
from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import sqltrack
from sqltrack import Client, Experiment, Run, errors
from sqltrack.commands import main as commands_main
from sqltrack.commands import setup
from sqltrack.engines.engine import Engine
from sqltrack.engines.json import Jsonb, jsonb
from sqltrack.errors import SQLTrackError
from sqltrack.pandas import query_dataframe
from sqltrack.queries import first_row, first_value, first_values
from sqltrack.util import SQL, Composable, Identifier

TIME = datetime(2024, 5, 7, 12, 30, 15, 123456, tzinfo=timezone.utc)

# -- names and signatures -------------------------------------------------------------------------------------------

# Chapter 3.8 by module, annotations left out; `self` stands where the document means it.
SIGNATURES = {
    "sqltrack": {
        "Client": "(config=None, **kwargs)",
        "Client.commit": "(self)",
        "Client.cursor": "(self)",
        "Client.execute": "(self, sql, parameters=())",
        "Client.executemany": "(self, sql, seq_of_parameters)",
        "Client.executescript": "(self, sql_script)",
        "Client.rollback": "(self)",
        "Experiment": "(client, experiment_id=None, name=None)",
        "Experiment.add_link": "(self, kind, to_id)",
        "Experiment.add_tags": "(self, *tags)",
        "Experiment.get_run": "(self, run_id=None)",
        "Experiment.remove_link": "(self, kind, to_id)",
        "Experiment.remove_tags": "(self, *tags)",
        "Experiment.set_comment": "(self, comment)",
        "Experiment.set_name": "(self, name)",
        "Experiment.set_tags": "(self, *tags)",
        "Run": "(client, experiment_id=None, run_id=None)",
        "Run.add_args": "(self, args='auto')",
        "Run.add_env": "(self, env='auto')",
        # Ruling 3: extras are a dict, the document's own function says so, its method says *tags for set_extras.
        "Run.add_extras": "(self, extras=None)",
        "Run.add_link": "(self, kind, to_id)",
        "Run.add_metrics": "(self, metrics, step=0, progress=0.0, updated='auto')",
        "Run.add_tags": "(self, *tags)",
        # Ruling 3: these remove by name, as the document's functions do; its methods take args='auto', env='auto'.
        "Run.remove_args": "(self, *args)",
        "Run.remove_env": "(self, *env)",
        # Ruling 3: called *tags in the document's method, *extras in its function.
        "Run.remove_extras": "(self, *extras)",
        "Run.remove_link": "(self, kind, to_id)",
        "Run.remove_tags": "(self, *tags)",
        "Run.set_args": "(self, args='auto')",
        "Run.set_comment": "(self, comment)",
        "Run.set_created": "(self, dt='auto')",
        "Run.set_env": "(self, env='auto')",
        "Run.set_extras": "(self, extras=None)",
        "Run.set_started": "(self, dt='auto')",
        "Run.set_status": "(self, status)",
        "Run.set_tags": "(self, *tags)",
        "Run.set_updated": "(self, dt='auto')",
        "Run.start": "(self, terminated='CANCELLED', started='auto', updated='auto')",
        "Run.stop": "(self, status='COMPLETED', updated='auto')",
        "Run.track": (
            "(self, normal='COMPLETED', exception='FAILED', interrupt='CANCELLED', terminated='CANCELLED', "
            "started='auto', updated='auto')"
        ),
        "experiment_add_link": "(client, from_id, kind, to_id)",
        "experiment_add_tags": "(client, experiment_id, *tags)",
        "experiment_remove_link": "(client, from_id, kind, to_id)",
        "experiment_remove_tags": "(client, experiment_id, *tags)",
        "experiment_set_comment": "(client, experiment_id, comment)",
        "experiment_set_name": "(client, experiment_id, name)",
        "experiment_set_tags": "(client, experiment_id, *tags)",
        "run_add_args": "(client, run_id, args='auto')",
        "run_add_env": "(client, run_id, env='auto')",
        "run_add_extras": "(client, run_id, extras=None)",
        "run_add_link": "(client, from_id, kind, to_id)",
        "run_add_metrics": "(client, run_id, metrics, step=0, progress=0.0)",
        "run_add_tags": "(client, run_id, *tags)",
        "run_from_env": "(client)",
        "run_remove_args": "(client, run_id, *args)",
        "run_remove_env": "(client, run_id, *env)",
        "run_remove_extras": "(client, run_id, *extras)",
        "run_remove_link": "(client, from_id, kind, to_id)",
        "run_remove_tags": "(client, run_id, *tags)",
        "run_set_args": "(client, run_id, args='auto')",
        "run_set_comment": "(client, run_id, comment)",
        "run_set_created": "(client, run_id, dt='auto')",
        "run_set_env": "(client, run_id, env='auto')",
        "run_set_extras": "(client, run_id, extras=None)",
        "run_set_started": "(client, run_id, dt='auto')",
        "run_set_status": "(client, run_id, status)",
        "run_set_tags": "(client, run_id, *tags)",
        "run_set_updated": "(client, run_id, dt='auto')",
    },
    "sqltrack.commands": {"main": "()", "setup": "(client, scripts=())"},
    "sqltrack.commands.setup": {"setup": "(client, scripts=())"},
    "sqltrack.config": {
        "find_config_file": "(path=None, config_name='sqltrack.conf')",
        "get_env_config": "()",
        "load_config": "(path=None, config_name='sqltrack.conf', **kwargs)",
    },
    "sqltrack.engines": {"create_engine": "(config)"},
    "sqltrack.engines.engine": {
        "Engine": "()",
        "Engine.connect": "(self)",
        "Engine.data_dir": "(self)",
        "Engine.map_type": "(self, client, typ)",
    },
    "sqltrack.engines.json": {"jsonb": "(obj)"},
    "sqltrack.engines.postgres": {
        "PostgresEngine": "(config)",
        "PostgresEngine.connect": "(self, cursor_factory=<class 'psycopg.Cursor'>)",
        "PostgresEngine.data_dir": "(self)",
        "PostgresEngine.map_type": "(self, client, typ)",
    },
    "sqltrack.engines.sqlite": {
        "SQLiteEngine": "(config)",
        "SQLiteEngine.connect": "(self)",
        "SQLiteEngine.data_dir": "(self)",
        "SQLiteEngine.map_type": "(self, client, typ)",
    },
    # Ruling 2: a client or a cursor, so both of the document's names for it mean the first argument.
    "sqltrack.queries": {
        "first_row": "(client, query, parameters=())",
        "first_value": "(client, query, parameters=())",
        "first_values": "(client, query, parameters=())",
    },
    "sqltrack.sigterm": {"deregister": "(key)", "register": "(key, func)"},
    "sqltrack.util": {
        "SQL": "(obj)",
        # Without a default in the document; it has one here, as in psycopg since 3.2.
        "SQL.as_bytes": "(self, context=None)",
        "SQL.as_string": "(self, context=None)",
        "SQL.format": "(self, *args, **kwargs)",
        "SQL.join": "(self, seq)",
        "coalesce": "(*values)",
    },
}

DOCUMENTED = [(module, name, text) for module, names in SIGNATURES.items() for name, text in names.items()]

BASES = [
    ("sqltrack.engines.engine", "Engine", ABC),
    ("sqltrack.engines.postgres", "PostgresEngine", Engine),
    ("sqltrack.engines.sqlite", "SQLiteEngine", Engine),
    ("sqltrack.util", "SQL", Composable),
]


def documented(module: str, name: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def signatures(function: Any) -> Iterator[str]:
    """Yield the signature without annotations, then without one more parameter at its end while that has a default."""
    parameters = [p.replace(annotation=p.empty) for p in inspect.signature(function).parameters.values()]
    yield str(inspect.Signature(parameters))
    while parameters and parameters[-1].default is not inspect.Parameter.empty:
        parameters.pop()
        yield str(inspect.Signature(parameters))


@pytest.mark.parametrize(("module", "name", "signature"), DOCUMENTED, ids=lambda value: value)
def test_signatures_are_as_documented(module: str, name: str, signature: str) -> None:
    assert signature in list(signatures(documented(module, name)))


@pytest.mark.parametrize(("module", "name", "base"), BASES, ids=lambda value: str(value))
def test_classes_have_the_documented_bases(module: str, name: str, base: type) -> None:
    assert base in documented(module, name).__mro__


def test_an_engine_has_a_schema_and_abstract_methods() -> None:
    assert Engine.schema is None
    assert {"connect", "data_dir", "map_type"} <= Engine.__abstractmethods__


def test_every_documented_method_but_one_returns_its_object(client: Client) -> None:
    experiment = Experiment(client, name="a")
    run, other = experiment.get_run(), experiment.get_run()
    chains: dict[Any, list[Any]] = {
        experiment: [
            experiment.add_link("kind", experiment.id),
            experiment.add_tags("tag"),
            experiment.remove_link("kind", experiment.id),
            experiment.remove_tags("tag"),
            experiment.set_comment("comment"),
            experiment.set_name("b"),
            experiment.set_tags("tag"),
        ],
        run: [
            *(run.add_args(), run.add_env(), run.add_extras(), run.add_link("kind", other.id)),
            *(run.add_metrics({"loss": 1.0}), run.add_tags("tag")),
            *(run.remove_args("a"), run.remove_env("a"), run.remove_extras("a")),
            *(run.remove_link("kind", other.id), run.remove_tags("tag")),
            *(run.set_args(), run.set_comment("comment"), run.set_created(), run.set_env(), run.set_extras()),
            *(run.set_started(), run.set_status("status"), run.set_tags("tag"), run.set_updated()),
            *(run.start(), run.stop()),
        ],
    }
    for owner, results in chains.items():
        methods = [name for name in SIGNATURES["sqltrack"] if name.startswith(f"{type(owner).__name__}.")]
        # Those that return something else: Experiment.get_run, and Run.track, which is for `with`.
        assert len(results) == len(methods) - 1
        assert all(result is owner for result in results)
    with run.track() as tracked:
        assert tracked is run


# -- modules --------------------------------------------------------------------------------------------------------

CORE = str(Path(sqltrack.__file__).parent)
MODULES = ["sqltrack", *sorted(module.name for module in pkgutil.walk_packages([CORE], "sqltrack."))]


def defined_in(module: types.ModuleType) -> dict[str, Any]:
    """The public classes and functions of a module that it does not import from another."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isroutine(value))
        and value.__module__ == module.__name__
    }


def test_the_modules_are_found() -> None:
    assert SIGNATURES.keys() | {"sqltrack.engines.sqlite._values", "sqltrack.errors", "sqltrack._rows"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_all_lists_what_a_module_offers_in_order(name: str) -> None:
    module = importlib.import_module(name)
    listed = module.__all__
    # Constants, classes, functions: as ruff sorts them (RUF022).
    assert listed == sorted(listed, key=lambda entry: (not entry.isupper(), not entry[0].isupper(), entry))
    assert len(listed) == len(set(listed))
    assert defined_in(module).keys() <= set(listed)
    # Not in vars() alone: a module may load what it offers when it is asked for.
    assert [entry for entry in listed if not hasattr(module, entry)] == []


def test_the_package_offers_what_the_document_does_and_the_root_of_all_errors() -> None:
    names = {name.partition(".")[0] for name in SIGNATURES["sqltrack"]}
    beyond = {"SQLTrackError", "run_add_metrics_many"}
    assert set(sqltrack.__all__) == names | beyond


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for cls_or_function in defined_in(module).values():
        assert inspect.getdoc(cls_or_function), cls_or_function
        if not inspect.isclass(cls_or_function) or getattr(cls_or_function, "_is_protocol", False):
            continue
        for member_name, member in vars(cls_or_function).items():
            if not member_name.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
                # getdoc() finds the docstring of the method that is overridden, too.
                assert inspect.getdoc(getattr(cls_or_function, member_name)), f"{cls_or_function}.{member_name}"


# -- programs of the document ---------------------------------------------------------------------------------------


def set_environment(monkeypatch: pytest.MonkeyPatch, config: Mapping[str, Any]) -> None:
    for name, value in config.items():
        monkeypatch.setenv(f"SQLTRACK_DSN_{name.upper()}", str(value))


def table(client: Client, name: str) -> list[Any]:
    return client.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3").fetchall()


# As printed in chapter 2.
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


def test_the_minimal_examples_print_what_the_document_shows(
    empty_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Chapter 2, with the exponent of 3.1.3, which gives the figures shown."""
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


# 3.2.3: one statement for each column.
V001 = "BEGIN;\n\n{}\n\nEND;\n".format(
    "\n".join(f"ALTER TABLE metrics ADD COLUMN {name} {documented_type(name)};" for name in PHASES)
)
# 3.8.3: one for all.
V001_IN_ONE = "BEGIN;\n\nALTER TABLE metrics\n  {};\n\nEND;\n".format(
    ",\n  ".join(f"ADD COLUMN {name} {documented_type(name)}" for name in PHASES)
)


@pytest.fixture
def empty_client(empty_config: dict[str, Any]) -> Client:
    return Client(empty_config)


def assert_phases_can_be_logged(client: Client) -> None:
    """The columns of the script take times and numbers, and keep their types."""
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
def test_a_client_is_configured_as_chapter_3_3_says(
    config: dict[str, Any], source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Experiment(Client(config), name="made")
    # What has less priority must lose, and beside a dict nothing else counts.
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
    with client as conn:  # noqa: SIM117 - as the document writes it
        with conn.cursor() as cursor:
            cursor.execute("INSERT INTO experiments (name) VALUES ('a')")
    with client.cursor() as cursor:
        cursor.execute("INSERT INTO experiments (name) VALUES ('b')")
        cursor.execute("SELECT name FROM experiments ORDER BY name")
        assert cursor.fetchall() == [("a",), ("b",)]
    client.executemany("INSERT INTO experiments (name) VALUES (%s)", [("c",), ("d",)])
    client.executescript("DELETE FROM experiments WHERE name = 'a'; DELETE FROM experiments WHERE name = 'b'")
    assert client.execute("SELECT name FROM experiments ORDER BY name").fetchall() == [("c",), ("d",)]


def test_queries_in_one_block_connect_once_and_a_commit_keeps_what_was_done(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    connect = client.engine.connect
    monkeypatch.setattr(client.engine, "connect", lambda: opened.append(connect()) or opened[-1])

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
    """3.8.10: a cursor's execute() takes composables."""
    Experiment(client, name="a")
    with client.cursor() as cursor:
        cursor.execute(SQL("SELECT {} FROM {}").format(Identifier("name"), Identifier("experiments")))
        assert cursor.fetchall() == [("a",)]


def test_sql_is_composed_as_shown(client: Client) -> None:
    """3.8.10."""
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


# -- tables and types -----------------------------------------------------------------------------------------------

# 3.2.1 to 3.2.3: names in order, and what Python reads.
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


# 3.2.3; what both engines call alike, the types of SQLite, and those of psycopg's adaptation that hold every value.
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
    """3.2.3 lists Jsonb among the types that are inferred."""
    run.add_metrics({"histogram": jsonb({"bins": [1, 2]})})
    assert first_value(run.client, "SELECT histogram FROM metrics") == {"bins": [1, 2]}


def test_jsonb_marks_a_parameter_as_json_and_leaves_none_alone(client: Client) -> None:
    insert = "INSERT INTO experiments (name, tags, extras) VALUES (%s, %s, %s)"
    client.execute(insert, ("a", jsonb(None), jsonb({"a": [1, {"b": None}]})))
    assert first_row(client, "SELECT tags, extras FROM experiments") == (None, {"a": [1, {"b": None}]})


def test_an_engine_keeps_its_base_script_in_its_folder(client: Client, engine_name: str) -> None:
    folder = client.engine.data_dir()
    assert isinstance(folder, str)
    assert Path(folder) == Path(CORE, "engines", engine_name)
    script = Path(folder, "base.sql").read_text(encoding="utf-8")
    assert all(f"CREATE TABLE {name} (" in script for name in COLUMNS)


# -- errors ---------------------------------------------------------------------------------------------------------


class Mistake(NamedTuple):
    """A call that raises an error of class `error`, whose message holds `value` as repr() shows it."""

    error: str
    make: Callable[[dict[str, Any], pytest.MonkeyPatch], Any]
    value: str


# The builtin class that each error is as well; those below DatabaseError stand for what the database says.
BUILTIN_BASES = {
    "AccessDeniedError": errors.DatabaseError,
    "ConfigError": ValueError,
    "ConflictError": ValueError,
    "DatabaseError": SQLTrackError,
    "DatabaseLockedError": errors.DatabaseError,
    "DatabaseUnavailableError": errors.DatabaseError,
    "DiskFullError": errors.DatabaseError,
    "MissingExperimentError": ValueError,
    "MissingPackageError": ImportError,
    "MissingRunError": ValueError,
    "NaiveDatetimeError": ValueError,
    "NotADatabaseError": errors.DatabaseError,
    "NotConnectedError": RuntimeError,
    "NotSetUpError": errors.DatabaseError,
    "ReadOnlyDatabaseError": errors.DatabaseError,
    "SQLTrackError": Exception,
    "ScriptError": errors.DatabaseError,
    "StatementTimeoutError": errors.DatabaseError,
    "TooManyConnectionsError": errors.DatabaseUnavailableError,
    "UnusableValueError": ValueError,
}

SHOWN_IN_TEST_CLIENT = {
    *("ConfigError", "DatabaseError", "DatabaseUnavailableError"),
    *("NotADatabaseError", "NotConnectedError", "NotSetUpError"),
}

SHOWN_IN_TEST_UNAVAILABLE = {"DiskFullError", "TooManyConnectionsError"}


def run_of(config: dict[str, Any]) -> Run:
    return Experiment(Client(config), name="a").get_run(1)


def write_while_another_does(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    impatience = {"sqlite": {"busy_timeout": 0.05}, "postgres": {"options": "-c lock_timeout=50"}}
    lock = {"sqlite": "DELETE FROM experiments", "postgres": "LOCK TABLE experiments"}
    with Client(config) as connection:
        connection.execute(lock[config["engine"]])
        Client(config, **impatience[config["engine"]]).execute("INSERT INTO experiments (name) VALUES ('a')")


def write_where_one_may_only_read(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    forbid = {"sqlite": "PRAGMA query_only = ON", "postgres": "SET TRANSACTION READ ONLY"}
    client = Client(config)
    with client:
        client.execute(forbid[config["engine"]])
        client.execute("INSERT INTO experiments (name) VALUES ('a')")


def read_for_too_long(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = (
        "WITH RECURSIVE a (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a WHERE n < 100000000) SELECT MAX(n) FROM a"
    )
    client = Client(config)
    with client as connection, client.engine.reading(connection, 0.01):
        connection.execute(numbers).fetchall()


def run_the_program_without_the_cli(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqltrack.cli", None)
    commands_main()


def test_what_the_program_lacks_is_not_taken_for_the_program() -> None:
    code = "import sys; sys.modules['sqltrack.cli._parser'] = None; from sqltrack.commands import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "ModuleNotFoundError: import of sqltrack.cli._parser halted" in done.stderr


MISTAKES = [
    Mistake("ConflictError", lambda config, _: Experiment(Client(config), run_of(config).experiment_id, "b"), "'b'"),
    Mistake("DatabaseLockedError", write_while_another_does, "db"),
    Mistake("MissingExperimentError", lambda config, _: Experiment(Client(config), 4711), "4711"),
    Mistake("MissingPackageError", run_the_program_without_the_cli, "'sqltrack-cli'"),
    Mistake("MissingRunError", lambda config, _: Run(Client(config), run_id=4711), "4711"),
    Mistake(
        "NaiveDatetimeError",
        lambda config, _: run_of(config).set_started(datetime(2024, 5, 7)),
        "datetime.datetime(2024, 5, 7, 0, 0)",
    ),
    Mistake("ReadOnlyDatabaseError", write_where_one_may_only_read, "db"),
    Mistake(
        "ScriptError", lambda config, _: setup(Client(config), [("x.sql", "SELECT nonsense")]), "'SELECT nonsense'"
    ),
    Mistake("StatementTimeoutError", read_for_too_long, "0.01"),
    Mistake("UnusableValueError", lambda config, _: run_of(config).add_tags(5), "5"),
    Mistake("UnusableValueError", lambda config, _: run_of(config).add_metrics({"a": object()}), "'object'"),
    Mistake("UnusableValueError", lambda config, _: run_of(config).add_metrics({"": 1.0}), "''"),
    Mistake("UnusableValueError", lambda config, _: run_of(config).add_metrics({"a": 1.0}, step=0.5), "0.5"),
]


def assert_reads_as_one_of_ours(message: str) -> None:
    """Lower case, but for names of databases, and no full stop."""
    assert message[0].islower() or message.startswith(("PostgreSQL", "SQLite")), message
    assert not message.endswith((".", "!", "\n")), message


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake.error}-{mistake.value}")
def test_a_mistake_raises_its_own_error_that_shows_the_value(
    config: dict[str, Any], mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SQLTrackError) as info:
        mistake.make(config, monkeypatch)
    assert type(info.value).__name__ == mistake.error
    assert mistake.value in str(info.value)
    assert_reads_as_one_of_ours(str(info.value))


def test_a_user_whom_the_server_does_not_know_is_denied_access(postgres_config: dict[str, Any]) -> None:
    with pytest.raises(errors.AccessDeniedError, match='role "nobody else"') as info:
        Client({**postgres_config, "user": "nobody else"}).execute("SELECT 1")
    assert_reads_as_one_of_ours(str(info.value))


def test_every_error_has_a_place_in_the_family_and_a_test() -> None:
    assert set(BUILTIN_BASES) == set(errors.__all__)
    for name, base in BUILTIN_BASES.items():
        assert issubclass(getattr(errors, name), base)
        assert issubclass(getattr(errors, name), SQLTrackError)
    raised = {mistake.error for mistake in MISTAKES} | SHOWN_IN_TEST_CLIENT | SHOWN_IN_TEST_UNAVAILABLE
    raised |= {"AccessDeniedError"}
    assert raised == set(BUILTIN_BASES) - {"SQLTrackError"}


@pytest.mark.parametrize("name", errors.__all__)
def test_the_first_line_of_an_errors_docstring_is_a_message(name: str) -> None:
    assert_reads_as_one_of_ours((getattr(errors, name).__doc__ or "").partition("\n")[0])


def test_an_error_without_a_message_says_what_its_class_stands_for() -> None:
    assert str(errors.NotConnectedError()) == str(errors.NotConnectedError.__doc__)
    assert str(errors.ConfigError("it's 'x'")) == "it's 'x'"
