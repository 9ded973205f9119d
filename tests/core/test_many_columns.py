"""Many new metrics of one call become columns at once, on SQLite as safely as one by one."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import sqltrack
from sqltrack import Experiment, Run
from sqltrack.engines.sqlite import _engine, _many_columns, _metrics_table
from sqltrack.errors import DatabaseError, DatabaseLockedError, DiskFullError, SQLTrackError
from support.databases import ask, connect_to_sqlite
from support.interruptions import count_moments, interrupt_at
from support.metrics import RESERVED, logged, rows_as_dicts, same
from support.processes import Script

pytestmark = pytest.mark.one_engine

# The number at which SQLite's definition of the table is edited.
MANY = 100

METRICS = {f"layer{number}.norm": number + 0.5 for number in range(MANY)}

ODD_NAMES = [
    *(
        'a"b',
        "a'b",
        "a`b",
        "[a]",
        "100%",
        "%s",
        "%(a)s",
        "a, b",
        "a) b",
        "); DROP TABLE metrics; --",
        "-- a",
        "/* a",
        "a */",
    ),
    *(
        "?",
        ":a",
        "@a",
        "$a",
        "\\",
        "a\nb",
        "\t",
        " a ",
        "SELECT",
        "primary key",
        "constraint",
        "rowid",
        "ß",
        "ẞ",
        "損失",
        "🦆",
        "́",
    ),
    *("1", "1e5", "x'00'", "NULL", ", CHECK (0)", "a" * 60),
]

VALUES = [1.5, 2, True, "text", datetime(2026, 1, 2, tzinfo=timezone.utc), timedelta(seconds=1.5), {"a": [1]}]

edits_only = pytest.mark.skipif(not _many_columns._can_edit(), reason="this SQLite does not allow edits of definitions")
sqlite_only = pytest.mark.engines("sqlite", reason="PostgreSQL adds many columns by one statement")


def sound(config: dict[str, Any]) -> bool:
    """Return whether SQLite finds no error in a database."""
    with contextlib.closing(connect_to_sqlite(config)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def definition(config: dict[str, Any]) -> str:
    return str(ask(config, "SELECT sql FROM sqlite_master WHERE name = 'metrics'"))


def columns(config: dict[str, Any]) -> list[str]:
    client = sqltrack.Client(config)
    return [name for (name,) in client.execute("SELECT name FROM pragma_table_info('metrics')")]


def grow(client: sqltrack.Client, names: Any, sql_type: str = "FLOAT") -> None:
    """Add columns as other commands and functions do."""
    table = client.engine.metrics_table
    client._session.ask(lambda connection: table.grow(connection, dict.fromkeys(names, sql_type), {}))


@contextlib.contextmanager
def statements(client: sqltrack.Client) -> Iterator[list[str]]:
    """Collect the statements of a block that change the table's definition."""
    found: list[str] = []
    with client as connection:
        connection.set_trace_callback(found.append)
        yield found
        connection.set_trace_callback(None)


@pytest.mark.parametrize("in_block", [False, True])
def test_many_names_of_all_kinds_are_columns_with_their_types(run: Run, in_block: bool) -> None:
    """For any characters in a name, and in the order of the call."""
    names = [f"{name}{suffix}" for name in ODD_NAMES for suffix in ("", "/1", "/2", "/3")]
    metrics = {name: VALUES[number % len(VALUES)] for number, name in enumerate(names)}
    with run.client if in_block else contextlib.nullcontext():
        run.add_metrics(metrics, step=1)
    (row,) = rows_as_dicts(run)
    assert [name for name in row if name not in RESERVED] == names
    for name, value in metrics.items():
        assert type(row[name]) is type(value), name
        assert same(row[name], value), name


def test_columns_that_copies_need_are_added_together(client: sqltrack.Client) -> None:
    """Next to existing ones, with the types that single columns would have."""
    types = {f"m{number}": (float, int, str, bool, dict)[number % 5] for number in range(300)}
    client.metrics.add_columns({name: types[name] for name in list(types)[::7]})
    client.metrics.add_columns(types)
    with client as connection:
        columns = client.engine.table_columns(connection, "metrics")
    assert {name: columns[name].upper() for name in types} == {
        name: client.engine.map_type(client, typ).upper() for name, typ in types.items()
    }


@edits_only
@sqlite_only
def test_the_number_of_statements_does_not_grow_with_the_number_of_names(run: Run) -> None:
    counts = []
    for number in (200, 800):
        with statements(run.client) as executed:
            run.add_metrics({f"m{number}/{i}": 1.0 for i in range(number)})
        counts.append(
            len([text for text in executed if "ALTER" in text or "PRAGMA" in text or "sqlite_master" in text])
        )
    assert counts[0] == counts[1] < 20


@sqlite_only
def test_few_names_are_added_by_nothing_but_alter_table(run: Run) -> None:
    with statements(run.client) as executed:
        run.add_metrics({f"m{number}": 1.0 for number in range(7)})
        run.add_metrics({f"n{number}": 1.0 for number in range(20)})
    assert len([text for text in executed if text.startswith("ALTER TABLE")]) == 27
    assert not [text for text in executed if "writable_schema" in text]


KEY = "run_id INTEGER NOT NULL, step INTEGER NOT NULL DEFAULT 0, progress REAL NOT NULL DEFAULT 0"
DEFINITIONS = {
    "constraints at the end": f"CREATE TABLE metrics ({KEY}, CHECK (step >= 0), PRIMARY KEY (run_id, step, progress))",
    "constraints without commas": f"""CREATE TABLE metrics ({KEY}, loss FLOAT,
        CONSTRAINT a PRIMARY KEY (run_id, step, progress) CONSTRAINT b CHECK (step >= 0)) WITHOUT ROWID""",
    "no constraints": f"CREATE TABLE metrics ({KEY})",
    "comments": f"""create table /* , "m0" FLOAT */ "metrics" ({KEY} -- , "m0" FLOAT)
        , loss, /* PRIMARY KEY, "m0" FLOAT */ PRIMARY KEY (run_id, step, progress) -- the end)
    ) -- , "m0" FLOAT""",
    "texts": f"""CREATE TABLE metrics ({KEY}, loss DEFAULT ', "m0" FLOAT', [a)] DEFAULT ')', "größe ẞ 🦆" TEXT,
        PRIMARY KEY (run_id, step, progress))""",
    "generated": f"""CREATE TABLE metrics ({KEY}, loss FLOAT, "M7" FLOAT AS (loss * 2) STORED, "m9" AS (loss + 1),
        PRIMARY KEY (run_id, step, progress))""",
    "references": f"""CREATE TABLE metrics ({KEY}, PRIMARY KEY (run_id, step, progress),
        FOREIGN KEY (run_id) REFERENCES runs (id) ON DELETE CASCADE)""",
    "a table with a column already": f"CREATE TABLE metrics ({KEY}, m5 FLOAT, PRIMARY KEY (run_id, step, progress))",
}
DEPENDENTS = """
CREATE INDEX by_step ON metrics (run_id, step DESC);
CREATE VIEW steps AS SELECT run_id, step FROM metrics;
CREATE VIEW everything AS SELECT * FROM metrics;
CREATE TABLE seen (step INTEGER);
CREATE TRIGGER see AFTER INSERT ON metrics BEGIN INSERT INTO seen VALUES (new.step); END;
INSERT INTO metrics (run_id, step) VALUES (1, 1);
"""


def grown(config: dict[str, Any], path: Any, made: str) -> tuple[Any, ...]:
    """Return the definition of a table from a script after many columns were added."""
    own = {**config, "dbpath": str(path)}
    client = sqltrack.Client(own)
    sqltrack.commands.setup(client)
    Experiment(client, name="experiment").get_run(1)
    client.executescript("DROP TABLE metrics;" + made + "\n;" + DEPENDENTS)
    grow(client, [f"m{number}" for number in range(100)])
    client.execute("INSERT INTO metrics (run_id, step, m0, m99) VALUES (1, 2, 0.5, 99.5)")
    assert sound(own)
    rows = [client.execute(f"SELECT * FROM {name}").fetchall() for name in ("everything", "metrics", "steps", "seen")]
    return definition(own), client.execute("SELECT * FROM pragma_table_xinfo('metrics')").fetchall(), rows


@sqlite_only
@pytest.mark.parametrize("made", DEFINITIONS.values(), ids=DEFINITIONS)
def test_the_table_is_as_alter_table_would_have_made_it(
    config: dict[str, Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    """Exactly the same, even for tables that users have created, and objects that depend on the table still work."""
    result = grown(config, tmp_path / "edited.db", made)
    monkeypatch.setattr(_metrics_table, "add_many", lambda *_: False)
    assert result == grown(config, tmp_path / "altered.db", made)


@sqlite_only
@pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 37), reason="this SQLite has no strict tables")
def test_columns_that_alter_table_refuses_stay_refused(run: Run, config: dict[str, Any]) -> None:
    """A strict table allows few types of columns, and stays unchanged if an edit would add another."""
    run.client.executescript(
        f"DROP TABLE metrics; CREATE TABLE metrics ({KEY}, PRIMARY KEY (run_id, step, progress)) STRICT"
    )
    before = definition(config)
    flags = {f"flag{number}": True for number in range(MANY)}
    with pytest.raises(DatabaseError, match="unknown datatype"):
        run.add_metrics(flags)
    assert definition(config) == before
    with pytest.raises(DatabaseError, match="unknown datatype"):
        run.add_metrics({**METRICS, **flags})
    run.add_metrics(METRICS)
    assert rows_as_dicts(run)[0].items() >= METRICS.items()
    assert sound(config)


def forbid_edits(connection: sqlite3.Connection) -> None:
    """Make SQLite refuse changes of its own tables, as on macOS."""

    def allow(action: int, name: str | None, *_: Any) -> int:
        return sqlite3.SQLITE_IGNORE if action == sqlite3.SQLITE_PRAGMA and name == "writable_schema" else 0

    connection.set_authorizer(allow)


def forbid_pragmas(connection: sqlite3.Connection) -> None:
    connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_PRAGMA else 0)


def lower_limits(connection: Any) -> None:
    if not hasattr(connection, "setlimit"):
        pytest.skip("this Python has no setlimit()")
    connection.setlimit(sqlite3.SQLITE_LIMIT_COLUMN, 100)


def shorten_statements(connection: Any) -> None:
    """Limit statements to less than the new definition of the table; statements that log remain possible."""
    if not hasattr(connection, "setlimit"):
        pytest.skip("this Python has no setlimit()")
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, 2000)


@sqlite_only
@pytest.mark.parametrize("restrict", [forbid_edits, lower_limits, shorten_statements], ids=lambda f: f.__name__)
def test_where_the_definition_cannot_be_edited_columns_are_added_one_by_one(
    run: Run, config: dict[str, Any], restrict: Callable[[Any], None]
) -> None:
    """As many as possible are added; the block continues, and its earlier changes remain."""
    client = run.client
    table = client.engine.metrics_table
    with client as connection:
        client.execute("UPDATE runs SET comment = 'before'")
        restrict(connection)
        with contextlib.suppress(sqlite3.Error):
            table.grow(connection, dict.fromkeys(METRICS, "FLOAT"), {})
        client.execute("UPDATE runs SET status = 'after'")
    assert client.execute("SELECT comment, status FROM runs").fetchall() == [("before", "after")]
    columns = [name for name in client.engine.table_columns(client.engine.connect(), "metrics") if name in METRICS]
    assert columns == list(METRICS)[: len(columns)]
    assert len(columns) > 50
    run.add_metrics(METRICS)
    assert rows_as_dicts(run)[0].items() >= METRICS.items()
    assert sound(config)


# Concurrent processes


@sqlite_only
@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_transaction_that_reads_still_sees_the_table_as_it_was(
    client: sqltrack.Client, config: dict[str, Any], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a rollback journal the new columns wait for the reader, and nothing changes if it does not end."""
    monkeypatch.setattr(_engine, "is_network_file_system", lambda _: mode == "DELETE")
    assert ask(config, f"PRAGMA journal_mode = {mode}") == mode.lower()
    run = Experiment(sqltrack.Client({**config, "busy_timeout": 0.1}), name="experiment").get_run()
    run.add_metrics({"loss": 0.5})
    with contextlib.closing(connect_to_sqlite(config)) as reader:
        reader.execute("BEGIN")
        width = len(reader.execute("SELECT * FROM metrics").fetchone())
        with pytest.raises(DatabaseLockedError) if mode == "DELETE" else contextlib.nullcontext():
            grow(run.client, METRICS)
        assert len(reader.execute("SELECT * FROM metrics").fetchone()) == width
        reader.execute("COMMIT")
        assert len(reader.execute("SELECT * FROM metrics").fetchone()) == width + (MANY if mode == "WAL" else 0)
        run.add_metrics(METRICS)
        assert len(reader.execute("SELECT * FROM metrics").fetchone()) == width + MANY
    assert sound(config)


def test_a_process_that_does_not_know_the_columns_leaves_their_values_alone(run: Run, config: dict[str, Any]) -> None:
    """Its statements were prepared for the old table."""
    other = Run(sqltrack.Client(config), run_id=run.id)
    with run.track(), sqltrack.Experiment(other.client, name="other").get_run().track():
        for step in range(8):
            other.add_metrics({"loss": 1.0}, step=step)
        run.add_metrics(METRICS, step=3)
        for step in range(8):
            other.add_metrics({"loss": 2.0}, step=step)
    assert logged(run, "loss") == [2.0] * 8
    assert rows_as_dicts(run)[3].items() >= METRICS.items()


def test_a_query_of_the_same_block_can_be_read_to_its_end(run: Run) -> None:
    for step in range(3):
        run.add_metrics({"loss": step + 0.5}, step=step)
    with run.client as connection:
        rows = connection.execute("SELECT step, loss FROM metrics ORDER BY step")
        assert rows.fetchone() == (0, 0.5)
        run.add_metrics(METRICS, step=9)
        assert [*rows][:2] == [(1, 1.5), (2, 2.5)]
    assert rows_as_dicts(run)[3].items() >= METRICS.items()


@sqlite_only
def test_a_block_that_is_rolled_back_takes_many_columns_away(run: Run, config: dict[str, Any]) -> None:
    run.add_metrics({"loss": 0.5}, step=0)
    before = definition(config)
    with run.track(), run.client:
        run.add_metrics(METRICS, step=1)
        run.client.rollback()
        run.add_metrics({"loss": 1.5}, step=1)
    assert definition(config) == before
    assert logged(run, "loss") == [0.5, 1.5]
    run.add_metrics(METRICS, step=2)
    assert rows_as_dicts(run)[2].items() >= METRICS.items()
    assert sound(config)


ADD_TOGETHER = """
run = Run(client, run_id=RUN)
confirm("ready")
sys.stdin.read()
with run.track() if NUMBER % 2 else client:
    for call in range(2):
        names = [*(f"same{call}/{i}" for i in range(150)), *(f"own{call}/NUMBER/{i}" for i in range(100))]
        run.add_metrics(dict.fromkeys(names, NUMBER + 0.5), step=NUMBER)
"""
ADD_ONE_BY_ONE = """
confirm("ready")
sys.stdin.read()
for call in range(2):
    for name in [f"same{call}/{i}" for i in range(0, 150, 5)]:
        try:
            client.execute(f'ALTER TABLE metrics ADD COLUMN "{name}" REAL')
        except Exception as error:
            assert "duplicate column" in str(error), error
"""


@sqlite_only
def test_processes_that_add_the_same_and_other_columns_at_once_get_all(run: Run, config: dict[str, Any]) -> None:
    """Even next to a process that adds them by ALTER TABLE, as former versions do."""
    texts = [ADD_TOGETHER.replace("RUN", str(run.id)).replace("NUMBER", str(number)) for number in range(3)]
    with contextlib.ExitStack() as stack:
        reading, writing = os.pipe()
        begin = stack.enter_context(os.fdopen(writing, "wb"))
        with os.fdopen(reading, "rb") as stdin:
            scripts = [stack.enter_context(Script(text, config, stdin=stdin)) for text in (*texts, ADD_ONE_BY_ONE)]
        assert [script.read_line() for script in scripts] == ["ready"] * 4
        begin.close()
        for script in scripts:
            script.succeed()
    for number, row in enumerate(rows_as_dicts(run)):
        stored = {name for name, value in row.items() if value == number + 0.5}
        assert stored == {
            *(f"same{call}/{i}" for call in range(2) for i in range(150)),
            *(f"own{call}/{number}/{i}" for call in range(2) for i in range(100)),
        }
    assert sound(config)


@sqlite_only
def test_no_more_columns_are_added_than_there_is_room_for(run: Run, config: dict[str, Any]) -> None:
    """Two clients know the old table; the second finds it nearly full."""
    first, second = (Run(sqltrack.Client(config), run_id=run.id).add_metrics({"loss": 0.5}) for _ in range(2))
    for number, other in enumerate((first, second)):
        with other.track():
            other.add_metrics({f"m{number}/{i}": i + 0.5 for i in range(1200)}, step=number)
    for number, row in enumerate(rows_as_dicts(run)):
        stored = {**row, **(row["extras"] or {})}
        assert all(stored[f"m{number}/{i}"] == i + 0.5 for i in range(1200))
    assert sound(config)


# Interruptions


@pytest.fixture
def renew(run: Run, config: dict[str, Any]) -> Callable[[], None]:
    """Recreate the table, without new columns and with one row."""
    run.add_metrics({"loss": 0.5})
    first = definition(config)

    def renew() -> None:
        with contextlib.closing(connect_to_sqlite(config)) as connection:
            connection.executescript("DROP TABLE metrics; " + first)
            connection.execute("INSERT INTO metrics (run_id, loss) VALUES (?, 0.5)", (run.id,))
            connection.commit()

    return renew


@pytest.fixture(params=[25, pytest.param(10**6, marks=pytest.mark.faults)], ids=["some", "all"])
def moments(
    request: pytest.FixtureRequest, config: dict[str, Any], renew: Callable[[], None]
) -> Callable[[int], Iterator[int]]:
    """Return some of these moments, spread evenly; for each the table is new, and must be sound afterwards."""

    def spread(number: int) -> Iterator[int]:
        for moment in [*range(0, number, max(number // request.param, 1)), number - 1]:
            renew()
            yield moment
            assert sound(config), f"interrupted before line {moment}"
            assert ask(config, "SELECT loss FROM metrics") == 0.5

    return spread


def count(renew: Callable[[], None], function: Callable[[], Any]) -> int:
    """Return the number of moments in adding columns, once all caches are filled."""
    for _ in range(2):
        renew()
        number = count_moments(function)
    return number


KILL = f"""
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from support.interruptions import count_moments, interrupt_at

def grow(client):
    table = client.engine.metrics_table
    client._session.ask(lambda connection: table.grow(connection, dict.fromkeys(names, "REAL"), {{}}))

names = [f"m{{i}}" for i in range({MANY})]
for number in range(2):
    # The second time nothing is imported any more.
    other = Client(engine="sqlite", dbpath=f"{{config['dbpath']}}.{{number}}")
    setup(other)
    lines = count_moments(lambda: grow(other))
confirm(lines)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        interrupt_at(int(line), lambda: grow(client), lambda: os.kill(os.getpid(), signal.SIGKILL))
        os._exit(0)
    confirm(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@edits_only
@sqlite_only
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_process_that_is_killed_leaves_all_columns_or_none(
    config: dict[str, Any], moments: Callable[[int], Iterator[int]]
) -> None:
    found = []
    with Script(KILL, config) as script:
        *_, lines = [script.read_line() for _ in range(3)]
        for moment in moments(int(lines)):
            script.send_line(str(moment))
            assert script.read_line() == str(-signal.SIGKILL)
            found.append(len(columns(config)) - 4)
    assert set(found) == {0, MANY}
    assert found == sorted(found)


class TakesTooLongError(Exception):
    """Raised by a handler of SIGALRM."""


@edits_only
@sqlite_only
@pytest.mark.parametrize("error", [KeyboardInterrupt, TakesTooLongError])
@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_caller_that_catches_an_interruption_can_continue(
    config: dict[str, Any],
    renew: Callable[[], None],
    moments: Callable[[int], Iterator[int]],
    error: type[BaseException],
    in_block: bool,
) -> None:
    """No lock, no partial columns and no right to edit definitions remains."""
    client = sqltrack.Client({**config, "busy_timeout": 2})
    with client._session.keeping_connections():
        for moment in moments(count(renew, lambda: grow(client, METRICS))):
            interrupt = mock.Mock(side_effect=error)
            with contextlib.suppress(error, SQLTrackError), client if in_block else contextlib.nullcontext():
                interrupt_at(moment, lambda: grow(client, METRICS), interrupt)
            assert len(columns(config)) in (4, 4 + MANY)
            grow(client, METRICS)
            assert len(columns(config)) == 4 + MANY
            with pytest.raises(DatabaseError, match="may not be modified"):
                client.execute("UPDATE sqlite_master SET sql = sql")


@edits_only
@sqlite_only
def test_a_transaction_that_a_handler_has_ended_takes_no_column_of_others_away(
    config: dict[str, Any], renew: Callable[[], None], moments: Callable[[int], Iterator[int]]
) -> None:
    """For example if a process is terminated and continues. Connections that know the table notice the changes."""
    engine = sqltrack.Client(config).engine
    with contextlib.closing(connect_to_sqlite(config)) as reader, contextlib.closing(engine.connect()) as connection:
        engine.set_autocommit(connection, True)

        def grow_on_it() -> None:
            engine.metrics_table.grow(connection, dict.fromkeys(METRICS, "REAL"), {})

        def interrupt() -> None:
            engine.abort_within(connection)
            with contextlib.closing(connect_to_sqlite(config)) as other:
                for name in [name for name in (*list(METRICS)[:1], "other") if name not in columns(config)]:
                    other.execute(f'ALTER TABLE metrics ADD COLUMN "{name}" REAL')
                other.execute("UPDATE metrics SET other = 1.5")
                other.commit()

        outcomes = set()
        for moment in moments(count(renew, grow_on_it)):
            assert len(reader.execute("SELECT * FROM metrics").fetchone()) == 4
            outcome = "returned"
            try:
                interrupt_at(moment, grow_on_it, interrupt)
            except sqlite3.Error:
                outcome = "raised"
            found = columns(config)
            assert len(reader.execute("SELECT * FROM metrics").fetchone()) == len(found)
            assert ask(config, "SELECT other FROM metrics") == 1.5
            outcomes.add((outcome, len(found)))
        assert outcomes >= {("returned", 5 + MANY), ("raised", 6)}
        assert ("returned", 6) not in outcomes


@pytest.mark.no_outbox
@sqlite_only
@pytest.mark.parametrize("in_block", [False, True])
def test_a_full_disk_is_told_and_changes_nothing(run: Run, config: dict[str, Any], in_block: bool) -> None:
    run.add_metrics({"loss": 0.5})
    before = definition(config)
    names = [f"{number}/{'long' * 100}" for number in range(MANY)]
    with run.track():
        run.client.execute("PRAGMA max_page_count = 1")
        with pytest.raises(DiskFullError), run.client if in_block else contextlib.nullcontext():
            run.add_metrics(dict.fromkeys(names, 0.5))
        if in_block:
            assert definition(config) == before
        run.client.execute("PRAGMA max_page_count = 100000")
        run.add_metrics(dict.fromkeys(names, 0.5))
    assert sound(config)
    assert list(rows_as_dicts(run)[0].values()) == [run.id, 0, 0.0, 0.5] + [0.5] * MANY
