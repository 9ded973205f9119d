"""`sqltrack tidy` moves metrics from the column extras into their own columns, without changing them."""

from __future__ import annotations

import math
from typing import Any

import pytest

import sqltrack
from sqltrack.engines.admin import admin_of
from sqltrack.engines.json import Jsonb
from support.dumps import dump
from support.extras import add_extras, by_name, column, extras
from support.metrics import rows_as_dicts
from support.plans import tidy

pytestmark = pytest.mark.one_engine

FITTING: dict[str, list[Any]] = {
    "float": [0.1, -1e300, 5e-324],
    "huge floats": [3.4028234663852886e38, 1e23, -1.5e300],
    "int": [1, -(2**63), 2**63 - 1],
    "bool": [True, False, True],
    "text": ["a", "", "ä\n'\"%"],
    "json": [{"a": [1, None]}, [1, 2.5], {}],
    "mixed numbers": [1, 0.5, -3],
    "a%b\"c;'": [0.5, 1.5, 2.5],
    "größe 🙂": [0.5, 1.5, 2.5],
}


@pytest.mark.parametrize("name", FITTING)
def test_values_get_a_column_in_which_they_are_the_same(client: sqltrack.Client, run: sqltrack.Run, name: str) -> None:
    values = FITTING[name]
    add_extras(client, run.id, {step: {name: value} for step, value in enumerate(values)})
    assert [list(kept) for kept in extras(client)] == [[name]] * 3
    (item,) = tidy(client)
    assert (item.name, item.values, item.moved, item.superseded, item.why) == (name, 3, 3, 0, None)
    assert item.change == "add"
    assert column(client, name) == values
    assert [type(value) for value in column(client, name)] == [
        float if name == "mixed numbers" else type(value) for value in values
    ]
    # Extras that become empty are NULL.
    assert extras(client) == [None] * 3
    assert tidy(client) == []


def test_nan_and_infinities_are_floats_where_others_are_numbers(client: sqltrack.Client, run: sqltrack.Run) -> None:
    values = [0.5, math.nan, math.inf, -math.inf]
    add_extras(client, run.id, {step: {"loss": value} for step, value in enumerate(values)})
    tidy(client)
    first, second, third, fourth = column(client, "loss")
    assert (first, third, fourth) == (0.5, math.inf, -math.inf)
    assert math.isnan(second)
    assert client.execute("SELECT step FROM metrics WHERE loss = 'NaN'").fetchall() == [(1,)]


def test_nan_goes_to_a_column_of_numbers_also_if_it_is_alone(client: sqltrack.Client, run: sqltrack.Run) -> None:
    run.add_metrics({"loss": 0.5}, 0)
    add_extras(client, run.id, {1: {"loss": math.nan}})
    tidy(client)
    assert math.isnan(column(client, "loss")[1])


STAYING: dict[str, list[Any]] = {
    "only NaN": [math.nan, math.inf],
    "numbers and text": [1, "x"],
    "numbers and truth": [1, True],
    "text and NaN and truth": ["NaN", True],
    "nothing": [None, None],
    "dates": ["2026-01-01", "2026-01-02"],
    "times": ["2026-01-01 12:00:00+00:00"],
    "durations": ["1 day, 0:00:01", "0:00:01.5"],
    "bytes": ["b'a'"],
    "nanoseconds": ["6 nanoseconds", "0 days 00:00:00.000000006"],
    "times with nanoseconds": ["2024-01-02 03:04:05.000000006+00:00"],
    "months": ["5 months"],
    "more digits than a float has": ["0.1000000000000000000001"],
    "fractions": ["1/3"],
    "complex numbers": ["1j", "(1+2j)"],
    "great integers": ["0xffffffff"],
    "run_id": [1],
    "step": [1],
    "extras": [1],
}


@pytest.mark.parametrize("name", STAYING)
def test_values_that_a_column_would_change_stay(client: sqltrack.Client, run: sqltrack.Run, name: str) -> None:
    add_extras(client, run.id, {step: {name: value} for step, value in enumerate(STAYING[name])})
    before = dump(client)
    (item,) = tidy(client)
    assert (item.moved, item.column, bool(item.why)) == (0, None, True)
    assert dump(client) == before


def test_a_name_that_cannot_be_a_column_stays_and_others_of_its_row_do_not(
    client: sqltrack.Client, run: sqltrack.Run, engine_name: str
) -> None:
    name = "LOSS" if engine_name == "sqlite" else "x" * 64
    run.add_metrics({"loss": 0.5}, 0)
    add_extras(client, run.id, {0: {name: 1.5, "new": 2.5}})
    items = by_name(tidy(client))
    assert items[name].why is not None
    assert items["new"].moved == 1
    assert extras(client) == [{name: 1.5}]


def test_values_that_a_column_would_alter_stay_and_the_others_go(client: sqltrack.Client, run: sqltrack.Run) -> None:
    run.add_metrics({"loss": 0.5}, 0)
    add_extras(client, run.id, {1: {"loss": 2**53 + 1}, 2: {"loss": 3}, 3: {"loss": "text"}, 4: {"loss": None}})
    (item,) = tidy(client)
    assert (item.values, item.moved) == (4, 2)
    assert "2 values would not be the same" in str(item.why)
    assert column(client, "loss") == [0.5, None, 3, None, None]
    assert extras(client) == [None, {"loss": 2**53 + 1}, None, {"loss": "text"}, None]


def test_text_in_a_column_of_numbers_stays(client: sqltrack.Client, run: sqltrack.Run) -> None:
    run.add_metrics({"loss": 0.5}, 0)
    add_extras(client, run.id, {1: {"loss": "diverged"}, 2: {"other": 1}})
    item = by_name(tidy(client))["loss"]
    assert (item.moved, str(item.why).split(" of type ")[0]) == (0, "the column")
    assert "does not hold such values (str)" in str(item.why)
    assert extras(client) == [None, {"loss": "diverged"}, None]


def test_integers_that_no_column_holds_stay(client: sqltrack.Client, run: sqltrack.Run) -> None:
    add_extras(client, run.id, {0: {"n": 2**64 + 1}, 1: {"n": 2**80 + 1}, 2: {"n": 0.5}})
    assert tidy(client)[0].moved == 1
    assert extras(client) == [{"n": 2**64 + 1}, {"n": 2**80 + 1}, None]


def test_a_column_of_integers_holds_floats_afterwards(client: sqltrack.Client, run: sqltrack.Run) -> None:
    run.add_metrics({"count": 3}, 0)
    add_extras(client, run.id, {1: {"count": 0.5}})
    (item,) = tidy(client)
    assert (item.moved, item.why) == (1, None)
    assert column(client, "count") == [3, 0.5]


def test_where_both_have_a_value_the_column_counts_and_it_says_so(client: sqltrack.Client, run: sqltrack.Run) -> None:
    run.add_metrics({"loss": 9.5}, 0).add_metrics({"loss": math.nan}, 2)
    add_extras(client, run.id, {0: {"loss": 0.5, "other": 1.0}, 1: {"loss": 1.5}, 2: {"loss": math.nan}})
    item = by_name(tidy(client))["loss"]
    assert (item.moved, item.superseded) == (3, 1)
    values = column(client, "loss")
    assert values[:2] == [9.5, 1.5]
    assert math.isnan(values[2])
    assert extras(client) == [None] * 3


def test_a_row_that_would_grow_too_big_keeps_values_without_room(
    client: sqltrack.Client, run: sqltrack.Run, engine_name: str
) -> None:
    values = {f"m{number}": number + 0.5 for number in range(1200)}
    add_extras(client, run.id, {0: values, 1: {"m0": 0.25}})
    items = tidy(client)
    moved = sum(item.moved for item in items)
    first, second = rows_as_dicts(run)
    left = first["extras"] or {}
    assert moved + len(left) == 1201
    assert (engine_name == "sqlite") == (not left)
    for name, value in values.items():
        assert (first[name], left.get(name)) in ((value, None), (None, value))
    assert second["m0"] == 0.25
    assert all((item.why is not None) == (item.name in left) for item in items)


@pytest.mark.engines("postgres")
def test_a_full_row_keeps_the_remaining_extras_after_any_number_of_attempts(
    client: sqltrack.Client, run: sqltrack.Run
) -> None:
    add_extras(client, run.id, {0: {f"m{number}": number + 0.5 for number in range(1200)}})
    for _ in range(12):
        items = tidy(client)
        if not any(item.moved for item in items):
            break
    assert len(extras(client)[0]) == len(items) > 0
    assert {(item.moved, item.why) for item in items} == {(0, "the row would grow too big")}


def test_metrics_that_wait_in_another_table_are_moved_too(
    client: sqltrack.Client, run: sqltrack.Run, engine_name: str
) -> None:
    if engine_name == "sqlite":
        assert admin_of(client.engine).pending_table is None
        return
    sql = "INSERT INTO metrics_pending (run_id, step, progress, extras) VALUES (%s, %s, 0, %s)"
    client.executemany(sql, [(run.id, step, Jsonb({"loss": step + 0.5, "run_id": 1})) for step in range(3)])
    (first, second) = tidy(client)
    assert (first.moved, second.moved) == (3, 0)
    assert column(client, "loss") == [0.5, 1.5, 2.5]
    assert extras(client) == [{"run_id": 1}] * 3
    assert client.execute("SELECT COUNT(*) FROM metrics_pending").fetchone() == (0,)
    # The column exists by now, but metrics of a user who may not change the table are still pending.
    client.executemany(sql, [(run.id, step, Jsonb({"loss": step + 0.5})) for step in range(2_500)])
    client.execute("UPDATE metrics SET loss = NULL")
    assert by_name(tidy(client))["loss"].moved == 2_500
    assert column(client, "loss") == [step + 0.5 for step in range(2_500)]


def test_a_database_without_extras_gets_none(client: sqltrack.Client, run: sqltrack.Run) -> None:
    run.add_metrics({"loss": 0.5}, 0)
    before = dump(client)
    assert tidy(client) == []
    assert dump(client) == before
