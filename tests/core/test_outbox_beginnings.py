"""Runs that start while the database is away arrive with everything that belongs to them, as in a normal start."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest

import sqltrack
from sqltrack import Client, Experiment, Run, run_from_env, run_functions
from sqltrack.commands import setup
from sqltrack.errors import (
    AccessDeniedError,
    DatabaseError,
    DatabaseUnavailableError,
    MissingExperimentError,
    NotSetUpError,
    UnusableValueError,
)
from sqltrack.outbox import find_outboxes, send_outboxes
from sqltrack.queries import first_value
from support.away import Outage, SocketLink, away, linked_server
from support.databases import ask, connect_to_postgres, connect_to_sqlite
from support.outages import locked_file

# Ids that are chosen during an outage.
IDS = range(2**52, 2**53)

needs_no_pooler = pytest.mark.not_pooled(
    "the database refuses connections, after which a pooler refuses them for a while"
)
needs_links = pytest.mark.skipif(sys.platform == "win32", reason="there are no Unix sockets to link to")


def with_outbox(config: dict[str, Any], tmp_path: Path, **settings: Any) -> dict[str, Any]:
    return {**config, "outbox": "on", "outbox_dir": str(tmp_path / "outbox"), "patience": 0.2, **settings}


@pytest.fixture
def link(create_database: Any, postgres_template: str, tmp_path: Path) -> Iterator[SocketLink]:
    """A link to a PostgreSQL database after setup, by a configuration with an outbox."""
    with linked_server(with_outbox(create_database(postgres_template), tmp_path)) as link:
        yield link


@pytest.fixture
def empty_link(postgres_config: dict[str, Any], tmp_path: Path) -> Iterator[SocketLink]:
    """The same for an empty database."""
    with linked_server(with_outbox(postgres_config, tmp_path)) as link:
        yield link


SCRIPT = """
import json, sys
import sqltrack

client = sqltrack.Client(json.loads(sys.argv[1]))
with sqltrack.track("digits", client=client, args={"lr": 0.1}, env={"HOST": "a"}, tags=["x"], comment="hi") as run:
    first = sqltrack.Experiment(client, name="digits").get_run()
    run.add_link("resumes", first.id)
    sqltrack.Experiment(client, name="other").add_tags("new").add_link("follows", run.experiment_id)
    for step in range(20):
        loss = float("nan") if step == 7 else step / 4
        run.add_metrics({"loss": loss, "epoch": step, "text": "a", "big": 2**70}, step)
    run.add_metrics_many([{"step": step, "loss": 0.5} for step in range(20, 30)])
    run.add_extras({"a": {"b": [1, None]}})
print(run.id)
"""


@needs_links
def test_a_script_whose_database_is_away_from_start_to_end_loses_nothing(empty_link: SocketLink) -> None:
    """It ends like any other script, and the tables are created when the outbox is sent."""
    empty_link.cut()
    config = empty_link.config
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(config)], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    run_id = int(ended.stdout)
    assert run_id in IDS
    assert "is away; the run waits in the outbox" in ended.stderr
    assert "calls wait in" in ended.stderr.splitlines()[-1]
    (info,) = find_outboxes(config["outbox_dir"])
    assert (info.state, info.runs) == ("dead", 2)

    empty_link.connect()
    client = Client(config)
    (sent,) = send_outboxes(client)
    assert sent == (info.path, info.calls, 0, 0, True, None, None)
    names = dict(client.execute("SELECT id, name FROM experiments").fetchall())
    sql = "SELECT experiment_id, status, comment, tags, args, env, extras FROM runs WHERE id = %s"
    ((experiment_id, *row),) = client.execute(sql, (run_id,)).fetchall()
    assert names[experiment_id] == "digits"
    description = ["COMPLETED", "hi", {"x": True}, {"lr": 0.1}, {"HOST": "a"}, {"a": {"b": [1, None]}}]
    assert row == description
    times = client.execute(
        "SELECT time_created, time_started, time_updated FROM runs WHERE id = %s", (run_id,)
    ).fetchone()
    assert list(times) == sorted(times)
    assert times[2] <= info.last
    assert client.execute("SELECT kind FROM run_links WHERE from_id = %s", (run_id,)).fetchall() == [("resumes",)]
    assert client.execute("SELECT kind FROM experiment_links").fetchall() == [("follows",)]
    rows = client.execute("SELECT step, loss, epoch, text, extras FROM metrics ORDER BY step").fetchall()
    assert [row[0] for row in rows] == list(range(30))
    assert math.isnan(rows[7][1])
    assert rows[6] == (6, 1.5, 6, "a", {"big": 2**70})
    assert rows[25] == (25, 0.5, None, None, None)


@needs_links
def test_an_experiment_is_found_by_its_name_when_the_database_is_there_again(link: SocketLink) -> None:
    """Until then it has its own id, which remains valid."""
    known = Experiment(Client(link.config), name="known")
    client = Client(link.config)
    client._session._keeper.close_parked()
    known.client._session._keeper.close_parked()
    with link.away():
        again, new = Experiment(client, name="known"), Experiment(client, name="new")
        assert again.id in IDS
        assert new.id in IDS
        assert Experiment(client, name="new").id == new.id
        runs = [again.get_run(), new.get_run(), known.get_run()]
        again.add_tags("away")
    assert runs[0].flush(30)
    again.add_tags("back")
    new.set_comment("back")
    assert again.get_run().id not in IDS
    assert Experiment(client, again.id).id == known.id
    found = client.execute("SELECT id, tags, comment FROM experiments ORDER BY name").fetchall()
    assert found == [(known.id, {"away": True, "back": True}, None), (new.id, None, "back")]
    owners = dict(client.execute("SELECT id, experiment_id FROM runs").fetchall())
    assert [owners[run.id] for run in runs] == [known.id, new.id, known.id]


@needs_links
def test_a_run_whose_id_is_given_keeps_it(link: SocketLink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the run exists, or only its id is given."""
    experiment = Experiment(Client(link.config), name="a")
    existing = experiment.get_run()
    monkeypatch.setenv("SQLTRACK_EXPERIMENT_NAME", "a")
    monkeypatch.setenv("SQLTRACK_RUN_ID", "123")
    client = Client(link.config)
    experiment.client._session._keeper.close_parked()
    with link.away():
        assert run_from_env(client).add_tags("from env").id == 123
        assert Run(client, run_id=existing.id).add_tags("by id").id == existing.id
        assert experiment.get_run(77).start().id == 77
    assert existing.flush(30)
    found = client.execute("SELECT id, experiment_id, tags FROM runs ORDER BY id").fetchall()
    assert found == [
        (existing.id, experiment.id, {"by id": True}),
        (77, experiment.id, None),
        (123, experiment.id, {"from env": True}),
    ]


@needs_links
def test_calls_of_a_run_that_belongs_to_another_experiment_are_refused(
    link: SocketLink, caplog: pytest.LogCaptureFixture
) -> None:
    """None of them changes the run with that id, and calls of other runs arrive."""
    owner = Experiment(Client(link.config), name="a")
    run = owner.get_run(5)
    client = Client(link.config)
    owner.client._session._keeper.close_parked()
    with link.away():
        other = Experiment(client, name="b")
        other.get_run(5).add_tags("stolen").set_status("FAILED")
        fine = other.get_run().add_tags("fine")
    assert fine.flush(30)
    assert client.execute("SELECT tags, status FROM runs ORDER BY id").fetchall() == [
        (None, "PLANNED"),
        ({"fine": True}, "PLANNED"),
    ]
    (refused,) = find_outboxes(link.config["outbox_dir"])
    assert (refused.state, refused.calls) == ("refused", 3)
    assert f"run 5 belongs to experiment {owner.id}, not" in (refused.reason or "")
    assert any(refused.path in record.message for record in caplog.records if record.levelname == "ERROR")
    assert run.id == 5


@needs_links
def test_the_tables_are_created_when_the_database_is_there(
    empty_link: SocketLink, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Client(empty_link.config)
    with empty_link.away():
        client.setup()
        assert capsys.readouterr().out == "(LATER) base.sql\n"
        run = Experiment(client, name="a").get_run()
    assert run.flush(30)
    assert client.execute("SELECT id FROM runs").fetchall() == [(run.id,)]


@needs_links
def test_scripts_of_the_users_own_are_not_executed_later(empty_link: SocketLink) -> None:
    with empty_link.away(), pytest.raises(DatabaseUnavailableError):
        Client(empty_link.config).setup(("v1.sql", "CREATE TABLE a (b INTEGER)"))


WRONG: dict[str, tuple[dict[str, Any], type[DatabaseError]]] = {
    "host": ({"host": "nowhere.invalid"}, DatabaseUnavailableError),
    "database": ({"dbname": "nowhere"}, DatabaseUnavailableError),
    "role": ({"user": "nobody"}, AccessDeniedError),
    "schema": ({"schema": "nowhere"}, NotSetUpError),
}


@needs_links
@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_configuration_is_an_error_at_once(link: SocketLink, what: str, tmp_path: Path) -> None:
    """A typo must not make a training write to a file for days."""
    parameters, error = WRONG[what]
    with pytest.raises(error):
        Experiment(Client({**link.config, **parameters}), name="a")
    assert not (tmp_path / "outbox").exists()


@needs_links
def test_mistakes_of_the_caller_are_errors_also_during_an_outage(link: SocketLink) -> None:
    client = Client(link.config)
    with link.away():
        with pytest.raises(UnusableValueError):
            Experiment(client)
        with pytest.raises(UnusableValueError):
            Run(client)
        run = Experiment(client, name="a").get_run()
        with pytest.raises(UnusableValueError):
            run.add_metrics({"": 1.0})
        with pytest.raises(UnusableValueError):
            run.set_status(None)  # type: ignore[arg-type]
    assert run.flush(30)
    with pytest.raises(MissingExperimentError):
        Experiment(client, 10**9)


def test_runs_begin_while_another_process_locks_the_database(config: dict[str, Any], tmp_path: Path) -> None:
    """SQLite does not reuse their ids afterwards."""
    client = Client(with_outbox(config, tmp_path, reconnect=0.2))
    experiment = Experiment(client, name="a")
    connect, lock = {
        "sqlite": (connect_to_sqlite, "BEGIN IMMEDIATE"),
        "postgres": (connect_to_postgres, "BEGIN; LOCK TABLE experiments, runs"),
    }[config["engine"]]
    connection = connect(config)
    connection.execute(lock)
    run = experiment.get_run().start()
    connection.execute("ROLLBACK")
    connection.close()
    assert run.flush(30)
    assert experiment.get_run().id not in IDS
    assert ask(config, "SELECT count(*) FROM runs WHERE status = 'RUNNING'") == 1


@needs_links
def begin_as_the_experiment_arrives(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Client, Run]:
    """Return a run of an experiment whose own calls arrive just before those of the run are kept in another file."""
    client = Client(with_outbox(config, tmp_path))
    first = Experiment(client, name="first").get_run()
    # It exists, so that its id in the database is not the one that it gets in the outage.
    Experiment(Client(config), name="late")
    outage = Outage(config)
    outage.begin()
    first.set_comment("in the outage")
    experiment = Experiment(client, name="late")
    assert experiment.id in IDS
    outbox = client._session.outbox
    assert outbox is not None
    keep = outbox._keep

    def keep_late(name: str, arguments: tuple[Any, ...], reason: DatabaseError | None) -> None:
        if name == "begin_run":
            outage.end()
            assert outbox.flush(30)
        keep(name, arguments, reason)

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "_keep", keep_late)
        return client, experiment.get_run()


@pytest.mark.parametrize(
    ("call", "sql", "expected"),
    [
        ((run_functions.run_add_metrics, 1, {"loss": 0.5}, 3), "SELECT loss FROM metrics", 0.5),
        ((run_functions.run_set_status, 1, "FAILED"), "SELECT status FROM runs", "FAILED"),
        ((run_functions.run_set_comment, 1, "why"), "SELECT comment FROM runs", "why"),
        ((run_functions.run_set_args, 1, {"lr": 2}), "SELECT args ->> 'lr' FROM runs", 2),
    ],
    ids=["metrics", "status", "comment", "args"],
)
def test_the_first_call_of_a_process_is_kept_while_another_one_locks_the_file(
    sqlite_config: dict[str, Any], tmp_path: Path, call: tuple[Any, ...], sql: str, expected: Any
) -> None:
    """As in `sqltrack log`, and in a spawned worker, which begins no run of its own."""
    direct = Client({**sqlite_config, "outbox": "off"})
    Experiment(direct, name="experiment").get_run()
    client = Client(with_outbox(sqlite_config, tmp_path))
    with locked_file(sqlite_config):
        function, *arguments = call
        function(client, *arguments)
        assert sum(info.calls for info in find_outboxes(tmp_path / "outbox")) == 1
    assert Run(client, run_id=1).flush(30)
    assert first_value(direct, sql) == expected


@needs_no_pooler
def test_a_run_may_begin_while_its_experiment_arrives(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, run = begin_as_the_experiment_arrives(config, tmp_path, monkeypatch)
    assert run.add_metrics({"loss": 0.5}, step=1).flush(30)
    sql = """
        SELECT name, step, loss FROM metrics JOIN runs ON runs.id = run_id
        JOIN experiments ON experiments.id = experiment_id
    """
    assert client.execute(sql).fetchall() == [("late", 1, 0.5)]
    assert sum(info.calls for info in find_outboxes(str(tmp_path / "outbox"))) == 0


@needs_no_pooler
def test_an_experiment_that_has_arrived_keeps_its_id_in_the_next_outage(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its calls, and its runs, name it by the id of the first outage."""
    client, run = begin_as_the_experiment_arrives(config, tmp_path, monkeypatch)
    assert run.flush(30)
    with away(config):
        again = Experiment(client, name="late")
        again.add_tags("again")
        again.get_run().add_metrics({"loss": 0.25}, step=2)
    assert run.flush(30)
    sql = (
        "SELECT name, COUNT(*) FROM experiments JOIN runs ON experiment_id = experiments.id GROUP BY name ORDER BY name"
    )
    assert client.execute(sql).fetchall() == [("first", 1), ("late", 2)]
    assert [list(tags) for (tags,) in client.execute("SELECT tags FROM experiments WHERE name = 'late'")] == [["again"]]
    assert sum(info.calls for info in find_outboxes(str(tmp_path / "outbox"))) == 0


def test_an_answer_that_is_lost_leaves_no_second_run(link: SocketLink, monkeypatch: pytest.MonkeyPatch) -> None:
    """The waiting run has the id that the database has assigned."""
    from sqltrack import _creation

    insert = _creation._insert_run

    def insert_and_lose(*arguments: Any) -> Any:
        insert(*arguments)
        monkeypatch.undo()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    experiment = Experiment(Client(link.config), name="a")
    monkeypatch.setattr(_creation, "_insert_run", insert_and_lose)
    run = experiment.get_run()
    assert run.flush(30)
    assert experiment.client.execute("SELECT id FROM runs").fetchall() == [(run.id,)]


@needs_links
def test_a_begin_keeps_its_time(link: SocketLink) -> None:
    client = Client(link.config)
    with link.away():
        before = datetime.now(timezone.utc)
        run = Experiment(client, name="a").get_run()
        after = datetime.now(timezone.utc)
    assert run.flush(30)
    assert before <= client.execute("SELECT time_created FROM runs").fetchone()[0] <= after


def test_track_uses_the_outbox_of_a_set_up_database_only_if_it_is_away(config: dict[str, Any], tmp_path: Path) -> None:
    with sqltrack.track("a", client=Client(with_outbox(config, tmp_path)), args=None, env=None) as run:
        run.add_metrics({"loss": 1.0})
    assert run.id not in IDS
    assert not (tmp_path / "outbox").exists()


def test_setting_up_says_the_same_as_without_an_outbox(
    empty_config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Client(with_outbox(empty_config, tmp_path))
    setup(client)
    setup(client)
    assert capsys.readouterr().out == "(NEW) base.sql\n(OK) base.sql\n"


def test_without_a_configured_database_no_run_begins_in_the_outbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who forgot to choose a database has no use for a file for a server that does not exist."""
    config = {"engine": "postgres", "host": str(tmp_path), "reconnect": 0, "outbox_dir": str(tmp_path / "outbox")}
    monkeypatch.setattr("sqltrack.engines.postgres.PostgresEngine.is_default_target", lambda engine: True)
    with pytest.raises(DatabaseUnavailableError, match="choose SQLite: sqltrack init --engine sqlite"):
        sqltrack.start("experiment", args=None, client=Client(config))
    assert not (tmp_path / "outbox").exists()


def test_a_database_is_configured_by_parameters_and_by_variables_of_libpq(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGSERVICE", "PGUSER"):
        monkeypatch.delenv(name, raising=False)
    assert Client(engine="postgres").engine.is_default_target()
    for name, value in {"host": "h", "port": 5433, "dbname": "d", "schema": "s", "service": "t"}.items():
        assert not Client({"engine": "postgres", name: value}).engine.is_default_target()
    assert not Client(engine="sqlite").engine.is_default_target()
    monkeypatch.setenv("PGHOST", "h")
    assert not Client(engine="postgres").engine.is_default_target()
