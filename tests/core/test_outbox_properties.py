"""The database ends up the same for all calls of a script and all outages."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

import sqltrack
from sqltrack._metric_values import make_row
from sqltrack._outbox._coding import decode, encode
from sqltrack.commands.setup import set_up_quietly
from sqltrack.experiment import experiment_add_tags, experiment_remove_tags, experiment_set_comment
from sqltrack.run_functions import run_add_extras, run_remove_args, run_set_status
from support.away import away, outbox_files, with_outbox
from support.dumps import dump

pytestmark = pytest.mark.not_pooled("the database refuses connections, after which a pooler refuses them for a while")

# Offsets that no zone has any more, and one of less than a minute.
ZONES = st.sampled_from([timezone.utc, timezone(timedelta(hours=14)), timezone(-timedelta(seconds=13))])
VALUES = st.one_of(
    st.booleans(),
    st.integers(min_value=-3, max_value=3),
    st.sampled_from([2**70, -(2**63), 2**63, 10**400]),
    st.floats(),
    st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324, None, "", "NaN", "a\0b", "\ud800"]),
    st.text(max_size=4),
    st.binary(max_size=4),
    st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=ZONES),
    st.dates(),
    st.timedeltas(timedelta(days=-1000), timedelta(days=1000)),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(
        st.sampled_from(["kind", "content", "a"]), st.one_of(st.integers(), st.text(max_size=2)), max_size=2
    ),
)
NAMES = st.sampled_from(["loss", "Loss", "acc", "select", "kind", "x" * 64, "100 %"])
TIMES = st.sampled_from([None, *(datetime(2020, 1, day, tzinfo=timezone.utc) for day in (1, 2, 3))])
METRICS = st.dictionaries(NAMES, VALUES, max_size=4)
ITEMS = st.dictionaries(st.sampled_from(["a", "b", "password"]), VALUES, max_size=2)
KEYS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=2, unique=True)
TEXTS = st.one_of(st.none(), st.text(max_size=3))
STATUSES = st.sampled_from(["PLANNED", "RUNNING", "COMPLETED", "FAILED", "odd"])
STEPS = st.integers(0, 2)

Call = tuple[str, tuple[Any, ...]]


def call(name: str, *arguments: Any) -> st.SearchStrategy[Call]:
    return st.tuples(st.just(name), st.tuples(*arguments))


ROWS = st.lists(st.builds(lambda step, metrics: {"step": step, **metrics}, STEPS, METRICS), max_size=3)
CALLS = st.one_of(
    call("add_metrics", METRICS, STEPS, st.sampled_from([0.0, 0.5]), TIMES),
    call("add_metrics", METRICS, STEPS, st.just(0.0), TIMES),
    call("add_metrics_many", ROWS, TIMES),
    *(call(f"{verb}_{column}", ITEMS) for verb in ("add", "set") for column in ("args", "env", "extras")),
    *(call(f"remove_{column}", KEYS) for column in ("args", "env", "extras")),
    *(call(f"{verb}_tags", KEYS) for verb in ("add", "set", "remove")),
    call("set_comment", TEXTS),
    call("set_status", STATUSES),
    *(call(f"set_{name}", TIMES) for name in ("created", "started", "updated")),
    *(call(f"{verb}_link", st.sampled_from(["resumes", "x"]), st.sampled_from([1, 2])) for verb in ("add", "remove")),
    call("start", TIMES),
    call("stop", STATUSES, TIMES),
    call("experiment", KEYS, KEYS, TEXTS),
    call("experiment_name", st.sampled_from(["one", "two", "é"])),
    call("experiment_link", st.sampled_from([1, 2])),
    call("function", ITEMS, STATUSES, KEYS),
)


def contents(config: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a database, without the time of its setup."""
    found = dump(sqltrack.Client(config))
    del found["setup_scripts"]
    return found


def make(client: sqltrack.Client, run: sqltrack.Run, name: str, arguments: tuple[Any, ...]) -> None:
    """Make one of the calls of `CALLS`."""
    experiment = sqltrack.Experiment.__new__(sqltrack.Experiment)
    experiment.client, experiment.id = client, run.experiment_id
    if name == "start":
        run.start(started=arguments[0], updated=arguments[0])
    elif name.endswith("_tags"):
        getattr(run, name)(*arguments[0])
    elif name == "experiment":
        experiment.add_tags(*arguments[0]).remove_tags(*arguments[1]).set_comment(arguments[2])
    elif name == "experiment_name":
        experiment.set_name(arguments[0])
    elif name == "experiment_link":
        experiment.add_link("follows", arguments[0]).remove_link("other", arguments[0])
    elif name == "function":
        items, status, keys = arguments
        run_add_extras(client, run.id, items)
        run_remove_args(client, run.id, keys)
        run_set_status(client, run.id, status)
        experiment_add_tags(client, run.experiment_id, *keys)
        experiment_remove_tags(client, run.experiment_id, *keys[:1])
        experiment_set_comment(client, run.experiment_id, status)
    else:
        getattr(run, name)(*arguments)


def begin(config: dict[str, Any]) -> tuple[sqltrack.Client, sqltrack.Run]:
    """Return a client of a new database, and one of its two runs."""
    set_up_quietly(sqltrack.Client({**config, "outbox": "off"}))
    client = sqltrack.Client(config)
    for experiment_id in (1, 2):
        run = sqltrack.Experiment(client, name=f"experiment {experiment_id}").get_run()
        created = datetime(2020, 1, 1, tzinfo=timezone.utc)
        client.execute("UPDATE runs SET time_created = %s WHERE id = %s", (created, run.id))
    return client, run


@pytest.fixture
def create_config(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], dict[str, Any]]:
    """Return a function that creates one empty database after the other."""
    if engine_name == "sqlite":
        paths = iter(range(10**6))
        return lambda: {"engine": "sqlite", "dbpath": str(tmp_path / f"{next(paths)}.db")}
    create: Callable[[], dict[str, Any]] = request.getfixturevalue("create_database")
    return create


# Failing examples are not reduced, because each attempt takes a second.
@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(calls=st.lists(CALLS, min_size=1, max_size=12), cut=st.integers(0, 11))
def test_calls_have_the_same_effect_directly_and_through_the_outbox(
    create_config: Callable[[], dict[str, Any]], tmp_path: Path, calls: list[Call], cut: int
) -> None:
    """All of them go through the outbox, or all from the moment on at which the database is away."""
    folder = tmp_path / "outbox"
    direct, always, interrupted = (create_config() for _ in range(3))
    client, run = begin(direct)
    for name, arguments in calls:
        make(client, run, name, arguments)
    expected = contents(direct)

    client, run = begin(with_outbox(always, folder, outbox="always"))
    for name, arguments in calls:
        make(client, run, name, arguments)
    assert run.flush(20)
    assert contents(always) == expected

    client, run = begin(with_outbox(interrupted, folder, patience=10.0))
    for name, arguments in calls[:cut]:
        make(client, run, name, arguments)
    outbox = client._session.outbox
    assert outbox is not None
    # Only from now on: a busy server may take longer to create the runs. At its end the run would wait as well.
    outbox._patience, outbox._left_to_wait = 0.05, 0
    with away(interrupted):
        for name, arguments in calls[cut:]:
            make(client, run, name, arguments)
    assert run.flush(20)
    assert contents(interrupted) == expected
    assert not any("refused" in name for name in outbox_files(folder))


def is_same(one: Any, other: Any) -> bool:
    """Return whether two values are equal and of one type; NaN equals NaN, and zeros have a sign."""
    if isinstance(one, float):
        return type(other) is float and repr(one) == repr(other)
    if isinstance(one, datetime):
        return type(other) is datetime and one.isoformat() == other.isoformat()
    return type(one) is type(other) and bool(one == other)


@settings(max_examples=200)
@given(value=st.one_of(VALUES, st.datetimes(timezones=ZONES), st.timedeltas(), st.integers()))
@example(value=date.min)
@example(value=datetime.min.replace(tzinfo=timezone(timedelta(hours=14))))
@example(value=datetime.max.replace(tzinfo=timezone(-timedelta(hours=14))))
@example(value=2**14_000)
@example(value={"kind": "row", "content": [{"kind": "x"}]})
def test_a_value_comes_back_from_its_text_as_it_was(value: Any) -> None:
    """With its type, and a datetime also with its zone."""
    row = make_row(7, {"loss": value, "of lists": [value] if isinstance(value, (int, str)) else []}, 2**63 - 1, 0.1)
    row = row.detached()
    text = encode((row, None, [row], {"runs": value if type(value) is not object else None}))
    decoded, nothing, (again,), items = decode(text)
    assert nothing is None
    for found in (decoded, again):
        assert found.key == row.key
        assert found.names == row.names
        assert all(map(is_same, found.values, row.values))
        assert found.types == row.types
        assert found.kept == row.kept
    assert is_same(items["runs"], value)
    assert text.isascii()
