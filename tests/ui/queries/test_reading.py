"""How the database is read: versions, caches, threads, lost connections, rights and limits."""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.commands import setup
from sqltrack.errors import NotSetUpError
from sqltrack.ui import queries
from sqltrack.ui.queries._cache import Cache, size_of

pytestmark = pytest.mark.no_outbox

# Calls of each function that only read.
CALLS: dict[str, dict[str, Any]] = {
    "about": {},
    "columns": {"search": "l"},
    "runs": {"sort": [{"column": ["metric", "min", "loss"], "descending": True}]},
    "facets": {},
    "best": {"metric": "loss"},
    "curves": {"runs": [1, 2, 3], "metrics": ["loss"], "group": "all_but_seed"},
    "metrics": {"runs": [1, 2, 3]},
    "run": {"id": 1},
    "compare": {"runs": [1, 2]},
    "experiments": {},
    "live": {},
    "changes": {"runs": [1, 2]},
}


def ask(source: queries.Database, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = getattr(queries, name)(source, CALLS[name])
    answer.pop("time", None)
    return answer


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE metrics SET loss = 0.75 WHERE run_id = 1 AND step = 0",
        "DELETE FROM metrics WHERE run_id = 1 AND step = 3",
        "UPDATE runs SET status = 'CANCELLED' WHERE id = 1",
        "UPDATE experiments SET name = 'renamed' WHERE name = 'first'",
        "ALTER TABLE metrics ADD COLUMN another FLOAT",
    ],
)
def test_every_change_changes_the_version(changing: queries.Database, change: str) -> None:
    before = changing.version()
    changing.client.execute(change)
    assert changing.version() != before


def test_reading_does_not_change_the_version(source: queries.Database) -> None:
    assert all(ask(source, name)["version"] for name in CALLS)
    ask_undisturbed(source)


def ask_undisturbed(source: queries.Database) -> dict[str, dict[str, Any]]:
    """Return all answers of one version. On PostgreSQL, autovacuum and other databases change it now and then."""
    for _ in range(10):
        answers = {name: ask(source, name) for name in CALLS}
        if {answer["version"] for answer in answers.values()} == {source.version()}:
            return answers
    raise AssertionError("the version changes all the time")


def test_the_second_answer_comes_from_the_cache_and_is_equal(
    source: queries.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ask_undisturbed(source)
    statements: list[str] = []
    fetch = queries.Database.fetch

    def record(self: queries.Database, sql: str, *args: Any, **kwargs: Any) -> Any:
        statements.append(sql)
        return fetch(self, sql, *args, **kwargs)

    monkeypatch.setattr(queries.Database, "fetch", record)
    again = {name: ask(source, name) for name in CALLS}
    if source.version() == answers["about"]["version"]:
        assert again == answers
        assert not any("FROM metrics" in sql or "COUNT" in sql for sql in statements)


def test_threads_share_a_database(source: queries.Database) -> None:
    expected = {name: ask(source, name) for name in CALLS}
    with queries.Database(source.client) as shared, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda name: (name, ask(shared, name)), [*CALLS] * 4))
    for name, answer in answers:
        expected[name].pop("version", None)
        answer.pop("version", None)
        assert answer == expected[name]


def test_a_file_is_not_changed_by_looking_at_it(sqlite_file: Path) -> None:
    before = hashlib.sha256(sqlite_file.read_bytes()).hexdigest()
    with queries.Database(sqltrack.Client(engine="sqlite", dbpath=str(sqlite_file))) as source:
        for name in CALLS:
            ask(source, name)
    assert hashlib.sha256(sqlite_file.read_bytes()).hexdigest() == before


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    """A SQLite database with runs."""
    from .conftest import fill

    path = tmp_path / "looked.db"
    client = sqltrack.Client(engine="sqlite", dbpath=str(path))
    setup(client)
    fill(client)
    return path


def test_a_file_that_is_replaced_is_read_anew(sqlite_file: Path, tmp_path: Path) -> None:
    with queries.Database(sqltrack.Client(engine="sqlite", dbpath=str(sqlite_file))) as source:
        assert queries.runs(source, {})["total"] == 6
        version = source.version()
        other = sqltrack.Client(engine="sqlite", dbpath=str(tmp_path / "other.db"))
        setup(other)
        for end in ("-wal", "-shm"):
            Path(f"{sqlite_file}{end}").unlink(missing_ok=True)
        (tmp_path / "other.db").replace(sqlite_file)
        assert source.version() != version
        assert queries.runs(source, {})["total"] == 0


def test_a_missing_file_is_not_created(tmp_path: Path) -> None:
    path = tmp_path / "missing.db"
    with queries.Database(sqltrack.Client(engine="sqlite", dbpath=str(path))) as source:
        with pytest.raises(NotSetUpError):
            queries.runs(source, {})
        assert not path.exists()
        setup(sqltrack.Client(engine="sqlite", dbpath=str(path)))
        assert queries.runs(source, {})["total"] == 0


def test_lost_connections_are_replaced(own_config: dict[str, Any]) -> None:
    client = sqltrack.Client(own_config)
    with queries.Database(client) as source:
        assert queries.runs(source, {})["total"] == 0
        client.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        sqltrack.Experiment(client, name="e").get_run()
        assert queries.runs(source, {})["total"] == 1
        assert queries.changes(source, {"runs": [1]})["runs"][0]["status"] == "PLANNED"


def test_closing_cancels_running_statements(filled: sqltrack.Client) -> None:
    source = queries.Database(filled)
    numbers = "(SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5)"
    many = " CROSS JOIN ".join(f"{numbers} AS t{index}" for index in range(14))
    errors: list[BaseException] = []

    def read() -> None:
        try:
            source.fetch(f"SELECT COUNT(*) AS number FROM {many}")
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    while not source._in_use:
        time.sleep(0.01)
    time.sleep(0.2)
    source.close()
    thread.join(10)
    assert not thread.is_alive()
    assert errors


def test_two_looks_at_once_compute_a_result_once() -> None:
    cache, calls = Cache(), list[int]()

    def compute() -> int:
        calls.append(1)
        time.sleep(0.05)
        return 7

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: cache.get("key", "1", compute), range(4)))
    assert results == [(7, "1")] * 4
    assert len(calls) == 1


def test_a_failed_computation_is_not_kept() -> None:
    cache = Cache()
    with pytest.raises(ZeroDivisionError):
        cache.get("key", "1", lambda: 1 // 0)
    assert cache.get("key", "1", lambda: 2) == (2, "1")


def test_the_cache_stays_within_its_limit_and_drops_the_oldest() -> None:
    cache = Cache(10_000)
    for number in range(100):
        cache.get(number, "1", lambda: "x" * 1_000)
        cache.get(0, "1", lambda: "x" * 1_000)
        assert cache.bytes <= 10_000
    assert cache.peek(0, "1") is not None
    assert cache.peek(50, "1") is None
    assert cache.get("large", "1", lambda: "x" * 20_000)[0] == "x" * 20_000
    assert cache.bytes <= 10_000
    assert size_of({"a": [1.0] * 100}) > 1_000


def test_slow_results_are_kept_for_a_while_although_the_data_change(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("sqltrack.ui.queries._cache._SLOW", 0.5)
    monkeypatch.setattr("sqltrack.ui.queries._cache.time.monotonic", lambda: now[0])
    cache = Cache()

    def slow() -> float:
        now[0] += 2.0
        return now[0]

    assert cache.get("key", "1", slow) == (2.0, "1")
    now[0] += 15.0
    assert cache.get("key", "2", slow) == (2.0, "1")
    now[0] += 10.0
    assert cache.get("key", "2", slow) == (29.0, "2")
    assert cache.get("quick", "1", lambda: "a") == ("a", "1")
    assert cache.get("quick", "2", lambda: "b") == ("b", "2")
