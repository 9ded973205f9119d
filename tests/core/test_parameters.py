"""Parameters of queries mean the same on both engines, whichever package their types come from."""

from __future__ import annotations

import array
import ctypes
import enum
import math
from datetime import date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import sqltrack
from sqltrack import Run, util
from sqltrack.errors import SQLTrackError, UnusableValueError


class Number(enum.IntEnum):
    """An enumeration of integers."""

    ONE = 1


NUMBERS: list[Any] = [
    *(np.int8(1), np.int64(1), np.uint64(1), np.float16(1), np.float32(1), np.float64(1)),
    *(np.str_("1"), Number.ONE),
]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda value: type(value).__name__)
def test_scalars_of_numpy_find_equal_values(run: Run, number: Any) -> None:
    run.add_metrics({"x": 1.0}, step=1)
    run.set_comment("1")
    client = run.client
    column, table = ("comment", "runs") if isinstance(number, str) else ("step", "metrics")
    sql = f"SELECT {column} FROM {table} WHERE {column} = "
    assert len(client.execute(f"{sql}%s", (number,)).fetchall()) == 1
    assert len(client.execute(f"{sql}%(number)s", {"number": number}).fetchall()) == 1
    client.executemany("UPDATE runs SET comment = 'found' WHERE id = %s", [(number,)] if column == "step" else [(1,)])
    assert client.execute("SELECT comment FROM runs").fetchone() == ("found",)


@pytest.mark.parametrize("value", [np.bool_(True), np.float32(0.1), np.int64(-(2**63)), np.float64("nan")])
def test_they_are_stored_as_numbers(run: Run, value: Any) -> None:
    run.client.execute("ALTER TABLE metrics ADD COLUMN x " + ("BOOLEAN" if isinstance(value, np.bool_) else "FLOAT"))
    run.client.execute("INSERT INTO metrics (run_id, step, progress, x) VALUES (1, 0, 0, %s)", (value,))
    (found,) = run.client.execute("SELECT x FROM metrics").fetchone()
    found = math.nan if found == "NaN" else found
    assert found == pytest.approx(value.item(), nan_ok=True)
    assert isinstance(found, (bool, int, float))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.datetime64(5, "s"), datetime(1970, 1, 1, 0, 0, 5, tzinfo=timezone.utc)),
        (np.datetime64(5, "D"), date(1970, 1, 6)),
        (np.timedelta64(5, "s"), timedelta(seconds=5)),
        (np.datetime64("NaT"), None),
        (np.array(5), 5),
    ],
)
def test_times_of_numpy_are_bound_as_those_of_python(client: sqltrack.Client, value: Any, plain: Any) -> None:
    assert client.execute("SELECT %s", (value,)).fetchone() == client.execute("SELECT %s", (plain,)).fetchone()


ARRAYS: list[Any] = [np.array([1, 2]), np.array([[1.5]]), array.array("d", [1.5]), ctypes.c_double(1.5)]


@pytest.mark.parametrize("value", ARRAYS, ids=lambda value: type(value).__name__)
def test_arrays_of_several_values_are_refused(client: sqltrack.Client, value: Any) -> None:
    """SQLite would store the bytes of their memory."""
    for call in (
        lambda: client.execute("SELECT %s", (value,)),
        lambda: client.execute("SELECT %(a)s", {"a": value}),
        lambda: client.executemany("UPDATE runs SET comment = %s", [(value,)]),
    ):
        with pytest.raises(SQLTrackError):
            call()


@pytest.mark.engines("sqlite", reason="PostgreSQL has integers of any size")
@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**70, 10**5000], ids=["1", "2", "3", "4"])
def test_an_integer_that_sqlite_cannot_keep_is_told(client: sqltrack.Client, number: int) -> None:
    with pytest.raises(UnusableValueError, match="at most 64 bits, got"):
        client.execute("SELECT %s", (number,))
    with pytest.raises(UnusableValueError, match="at most 64 bits, got"):
        client.executemany("UPDATE runs SET comment = %s", [(number,)])


MISSING: list[Any] = [
    *(pd.NA, pd.NaT, np.ma.masked, np.datetime64("NaT"), np.timedelta64("NaT", "s")),
    *(pa.scalar(None, pa.int64()), np.array(np.datetime64("NaT")), np.ma.array(5.0, mask=True)),
]


@pytest.mark.parametrize("missing", MISSING, ids=lambda value: type(value).__name__)
def test_a_missing_value_is_null_whatever_its_type(run: Run, missing: Any) -> None:
    """By position and by name, in single and repeated statements, with the client and with its connection."""
    client = run.client
    client.execute("CREATE TABLE made (id INTEGER, a DOUBLE PRECISION)")
    client.execute("INSERT INTO made VALUES (1, %s)", (missing,))
    client.execute("INSERT INTO made VALUES (%(id)s, %(a)s)", {"id": 2, "a": missing})
    client.executemany("INSERT INTO made VALUES (%s, %s)", [(3, missing), [4, 0.5], (np.int64(5), missing)])
    client.executemany("INSERT INTO made VALUES (%(id)s, %(a)s)", [{"id": 6, "a": missing}])
    with client as connection:
        connection.execute("INSERT INTO made VALUES (7, %s)", (missing,))
        connection.cursor().execute("INSERT INTO made VALUES (8, %s)", [missing])
    found = dict(client.execute("SELECT id, a FROM made").fetchall())
    assert found == {**dict.fromkeys(range(1, 9)), 4: 0.5}


@pytest.mark.parametrize("number", [np.array(5), np.ma.array(5), pa.scalar(5), np.longdouble(5)])
def test_a_number_of_a_type_that_the_driver_does_not_know_is_bound_as_one(run: Run, number: Any) -> None:
    run.add_metrics({"x": 1.0}, step=5)
    assert run.client.execute("SELECT x FROM metrics WHERE step = %s", (number,)).fetchall() == [(1.0,)]


def test_literals_are_spelled_alike(client: sqltrack.Client) -> None:
    query = util.SQL("SELECT {} + 1, {}").format(util.Literal(2), util.Literal(2**40))
    assert client.execute(query).fetchone() == (3, 2**40)
    assert client.execute("SELECT %s", (b"\x00\xff",)).fetchone() == (b"\x00\xff",)


class Raising:
    """An object that raises if it is asked for its class or shown."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


WRONG: list[Any] = [5, 0, 1.5, object(), Raising(), 10**5000, nested(100_000), np.array([1]), {1}]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_invalid_statements_and_parameters_are_errors(client: sqltrack.Client, number: int) -> None:
    value = WRONG[number]
    for call in (client.execute, client.executescript, lambda sql: client.executemany(sql, [])):
        with pytest.raises(UnusableValueError, match="a query must be str or SQL, got"):
            call(value)
    if type(value) is not list:
        with pytest.raises(UnusableValueError, match="parameters must be a sequence or a mapping, got"):
            client.execute("SELECT %s", value)
        with pytest.raises(UnusableValueError, match="parameters must be a sequence or a mapping, got"):
            client.executemany("UPDATE runs SET comment = %s", [value])


def test_parameters_that_are_not_a_sequence_are_an_error(client: sqltrack.Client) -> None:
    values: list[Any] = [None, 5, "text", {"a": 1}, Raising()]
    for value in values:
        with pytest.raises(UnusableValueError, match="seq_of_parameters must be an iterable, got"):
            client.executemany("UPDATE runs SET comment = %s", value)


def test_a_parameter_that_is_nested_too_deeply_is_an_error_of_ours(client: sqltrack.Client) -> None:
    with pytest.raises(SQLTrackError):
        client.execute("SELECT %s", nested(100_000))


@pytest.mark.parametrize("text", ["SELECT '\0'", "SELECT '\ud800'", "\ud800", "SELECT 1 -- \udcff"])
def test_a_statement_that_no_database_can_read_is_refused(client: sqltrack.Client, text: str) -> None:
    for call in (client.execute, client.executescript, lambda sql: client.executemany(sql, [])):
        with pytest.raises(UnusableValueError, match="must not hold NUL or lone surrogates, got"):
            call(text)


def test_so_are_parameters(client: sqltrack.Client) -> None:
    with pytest.raises(UnusableValueError, match="must not hold lone surrogates, got"):
        client.execute("SELECT %s", ("\ud800",))
    with pytest.raises(UnusableValueError):
        client.execute("SELECT %(a)s", (1,))
    assert client.execute("SELECT 1", None).fetchone() == (1,)  # type: ignore[arg-type]
    assert client.execute("SELECT '%'", {}).fetchone() == ("%",)
