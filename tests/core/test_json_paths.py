"""Expressions for values in JSON, and texts that tell when data change."""

from __future__ import annotations

import math
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import sqltrack
from sqltrack.engines.admin import JsonValue, admin_of

VALUES = {
    "text": "x",
    "number": 1.5,
    "whole": 2,
    "yes": True,
    "no": False,
    "nothing": None,
    "list": [1, "a"],
    "nan": math.nan,
    "infinity": -math.inf,
    "huge": 10**400,
    "nested": {"a": {"b": 3}, 'q"': {"\\'\n": 4}},
    "": 5,
}


def read(client: sqltrack.Client, *path: str) -> tuple[Any, ...]:
    """Return kind, text and number of a value in the arguments of the only run."""
    value = admin_of(client.engine).json_path_sql("runs.args", path)
    assert isinstance(value, JsonValue)
    row = client.execute(f"SELECT {value.kind}, {value.text}, {value.number} FROM runs").fetchone()
    return tuple(row)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("text",), ("string", "x", None)),
        (("number",), ("number", "1.5", 1.5)),
        (("whole",), ("number", "2", 2)),
        (("yes",), ("boolean", "true", None)),
        (("no",), ("boolean", "false", None)),
        (("nothing",), ("null", None, None)),
        (("missing",), (None, None, None)),
        (("text", "below"), (None, None, None)),
        (("nested", "a", "b"), ("number", "3", 3)),
        (("nested", 'q"', "\\'\n"), ("number", "4", 4)),
        (("nested", 'q"', "missing"), (None, None, None)),
        (("",), ("number", "5", 5)),
    ],
)
def test_values_have_a_kind_a_text_and_a_number(
    run: sqltrack.Run, path: tuple[str, ...], expected: tuple[Any, ...]
) -> None:
    run.set_args(VALUES)
    assert read(run.client, *path) == expected


def test_texts_for_nan_and_infinities_are_numbers(run: sqltrack.Run) -> None:
    run.set_args(VALUES)
    kind, text, number = read(run.client, "nan")
    assert (kind, text, str(number).lower()) == ("string", "NaN", "nan")
    assert read(run.client, "infinity") == ("string", "-Infinity", -math.inf)


def test_numbers_beyond_the_range_of_floats_are_no_error(run: sqltrack.Run) -> None:
    run.set_args(VALUES)
    kind, _, number = read(run.client, "huge")
    assert kind == "number"
    assert number in (None, math.inf)


def test_lists_and_objects_have_a_kind(run: sqltrack.Run) -> None:
    run.set_args(VALUES)
    assert read(run.client, "list")[0] == "array"
    assert read(run.client, "nested")[0::2] == ("object", None)


def test_seconds_between_times_keep_their_fractions(run: sqltrack.Run) -> None:
    begin = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=timezone.utc)
    run.set_started(begin).set_updated(begin + timedelta(days=40, seconds=1, milliseconds=1))
    sql = admin_of(run.client.engine).seconds_between_sql("time_started", "time_updated")
    (seconds,) = run.client.execute(f"SELECT {sql} FROM runs").fetchone()
    assert seconds == pytest.approx(40 * 86_400 + 1.001, abs=1e-6)


def test_the_version_changes_with_the_data_only(run: sqltrack.Run) -> None:
    engine = run.client.engine
    connection = admin_of(engine).connect_read_only()
    try:
        admin = admin_of(engine, connection)

        def version() -> str:
            with admin.read_only(5.0, as_superuser=True, own_sql=True):
                return admin.data_version()

        def undisturbed() -> str:
            """Return a version that reading leaves alone; autovacuum may change it now and then."""
            for _ in range(10):
                before = version()
                run.client.execute("SELECT * FROM runs").fetchall()
                if version() == before:
                    return before
            raise AssertionError("the version changes all the time")

        first = undisturbed()
        run.add_metrics({"loss": 1.0}, step=1)
        second = undisturbed()
        assert second != first
        run.add_metrics({"loss": 3.0}, step=1)
        assert version() not in (first, second)
    finally:
        engine.abort(connection)


def test_another_thread_cancels_a_statement(client: sqltrack.Client) -> None:
    engine = client.engine
    connection = admin_of(engine).connect_read_only()
    numbers = "(SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5)"
    many = " CROSS JOIN ".join(f"{numbers} AS t{index}" for index in range(14))
    thread = threading.Timer(0.2, admin_of(engine, connection).cancel)
    begin = time.monotonic()
    thread.start()
    try:
        with pytest.raises(engine.driver_error):
            connection.execute(f"SELECT COUNT(*) FROM {many}").fetchall()
        assert time.monotonic() - begin < 20
    finally:
        thread.join()
        engine.abort(connection)
