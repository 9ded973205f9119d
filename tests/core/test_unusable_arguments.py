"""An argument of the wrong kind is an error of one sentence, the same on both engines, before a database sees it."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest

import sqltrack
from sqltrack import Experiment, Run
from sqltrack.errors import ConfigError, SQLTrackError, UnusableValueError

TOO_LARGE = 2**63
NUMBERS_AND_NOTHING = (None, 5, b"x", ["x"], {})
NO_IDS = (None, "x", "1", 1.5, [1], TOO_LARGE, -TOO_LARGE - 1)

# The call, the start of its error, and the values.
Call = Callable[[Experiment, Run, Any], Any]
CALLS: list[tuple[str, Call, tuple[Any, ...]]] = [
    ("status must", lambda e, r, x: r.set_status(x), NUMBERS_AND_NOTHING),
    ("status must", lambda e, r, x: r.stop(x), NUMBERS_AND_NOTHING),
    ("terminated must", lambda e, r, x: r.start(terminated=x), NUMBERS_AND_NOTHING),
    ("normal must", lambda e, r, x: r.track(normal=x).__enter__(), NUMBERS_AND_NOTHING),
    ("exception must", lambda e, r, x: r.track(exception=x).__enter__(), NUMBERS_AND_NOTHING),
    ("interrupt must", lambda e, r, x: r.track(interrupt=x).__enter__(), NUMBERS_AND_NOTHING),
    ("comment must", lambda e, r, x: r.set_comment(x), NUMBERS_AND_NOTHING[1:]),
    ("comment must", lambda e, r, x: e.set_comment(x), NUMBERS_AND_NOTHING[1:]),
    ("name must", lambda e, r, x: e.set_name(x), NUMBERS_AND_NOTHING),
    ("name must", lambda e, r, x: Experiment(e.client, name=x), NUMBERS_AND_NOTHING[1:]),
    ("kind must", lambda e, r, x: r.add_link(x, r.id), NUMBERS_AND_NOTHING),
    ("kind must", lambda e, r, x: r.remove_link(x, r.id), NUMBERS_AND_NOTHING),
    ("kind must", lambda e, r, x: e.add_link(x, e.id), NUMBERS_AND_NOTHING),
    ("kind must", lambda e, r, x: e.remove_link(x, e.id), NUMBERS_AND_NOTHING),
    ("to_id must", lambda e, r, x: r.add_link("a", x), NO_IDS),
    ("to_id must", lambda e, r, x: r.remove_link("a", x), NO_IDS),
    ("to_id must", lambda e, r, x: e.add_link("a", x), NO_IDS),
    ("to_id must", lambda e, r, x: e.remove_link("a", x), NO_IDS),
    ("from_id must", lambda e, r, x: sqltrack.run_add_link(r.client, x, "a", r.id), NO_IDS),
    ("run_id must", lambda e, r, x: sqltrack.run_set_status(r.client, x, "a"), NO_IDS),
    ("run_id must", lambda e, r, x: sqltrack.run_set_comment(r.client, x, "a"), NO_IDS),
    ("run_id must", lambda e, r, x: sqltrack.run_add_args(r.client, x, {"a": 1}), NO_IDS),
    ("run_id must", lambda e, r, x: sqltrack.run_add_tags(r.client, x, "a"), NO_IDS),
    ("run_id must", lambda e, r, x: sqltrack.run_remove_tags(r.client, x, "a"), NO_IDS),
    ("run_id must", lambda e, r, x: sqltrack.run_set_started(r.client, x), NO_IDS),
    ("run_id must", lambda e, r, x: sqltrack.run_add_metrics(r.client, x, {"a": 1}), NO_IDS),
    ("run_id must", lambda e, r, x: sqltrack.run_add_metrics_many(r.client, x, [{"a": 1, "step": 1}]), NO_IDS),
    ("run_id must", lambda e, r, x: e.get_run(x), (1.5, [1], TOO_LARGE)),
    ("experiment_id must", lambda e, r, x: sqltrack.experiment_set_comment(e.client, x, "a"), NO_IDS),
    ("experiment_id must", lambda e, r, x: sqltrack.experiment_set_name(e.client, x, "a"), NO_IDS),
    ("experiment_id must", lambda e, r, x: sqltrack.experiment_add_tags(e.client, x, "a"), NO_IDS),
    ("experiment_id must", lambda e, r, x: Experiment(e.client, x), NO_IDS[1:]),
    ("experiment_id must", lambda e, r, x: Run(e.client, x), NO_IDS[1:]),
    ("metrics must", lambda e, r, x: r.add_metrics(x), (None, 3, [1], "x", {1})),
    ("metrics must", lambda e, r, x: sqltrack.run_add_metrics(r.client, r.id, x), (None, 3, [1], "x")),
    ("metrics must", lambda e, r, x: r.add_metrics_many([{"a": 1, "step": 0}, x]), (None, 3, [1], "x")),
    ("rows must", lambda e, r, x: r.add_metrics_many(x), (None, 3, "x", {"step": 1})),
    ("rows must", lambda e, r, x: sqltrack.run_add_metrics_many(r.client, r.id, x), (None, 3, "x", {"step": 1})),
    ("a tag must", lambda e, r, x: r.add_tags(x), NUMBERS_AND_NOTHING),
    ("a tag must", lambda e, r, x: e.set_tags(x), NUMBERS_AND_NOTHING),
    ("a tag must", lambda e, r, x: e.remove_tags(x), NUMBERS_AND_NOTHING),
    ("a name must", lambda e, r, x: r.remove_args(x), (None, 5, [5])),
    ("a name must", lambda e, r, x: r.remove_env(x), (None, 5, [None])),
    ("args must", lambda e, r, x: r.add_args(x), (3, "x", [1])),
    ("args must", lambda e, r, x: r.set_args(x), (3, "x", [1])),
    ("env must", lambda e, r, x: r.add_env(x), (3, "x", [1])),
    ("extras must", lambda e, r, x: r.set_extras(x), (3, "auto", [1])),
    ("a timestamp must", lambda e, r, x: r.set_created(x), (3, "now")),
]


def test_each_is_an_error_that_names_the_argument_and_changes_nothing(experiment: Experiment, run: Run) -> None:
    tables = ("experiments", "runs", "metrics", "run_links", "experiment_links")

    def contents() -> list[Any]:
        return [run.client.execute(f"SELECT * FROM {table}").fetchall() for table in tables]

    before = contents()
    problems = []
    for begin, call, values in CALLS:
        for value in values:
            try:
                call(experiment, run, value)
            except UnusableValueError as error:
                message = str(error)
                if not message.startswith(begin) or error.__cause__ or "\n" in message:
                    problems.append((begin, value, message))
            except Exception as error:
                problems.append((begin, value, repr(error)))
            else:
                problems.append((begin, value, "no error"))
    assert problems == []
    assert contents() == before


def test_an_id_of_a_variable_that_no_database_can_hold_names_the_variable(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB", "99999999999999999999")
    with pytest.raises(UnusableValueError, match="environment variable 'JOB' must be an integer of at most 64 bits"):
        experiment.get_run("JOB")


def test_a_name_in_place_of_an_id_says_how_to_give_it(client: sqltrack.Client) -> None:
    with pytest.raises(UnusableValueError, match="experiment_id must be an int, got 'mine'; give a name as name="):
        Experiment(client, "mine")  # type: ignore[arg-type]


def test_a_large_value_is_not_shown_as_a_whole(run: Run) -> None:
    with pytest.raises(UnusableValueError) as info:
        run.add_metrics(list(range(100_000)))  # type: ignore[arg-type]
    assert len(str(info.value)) < 300


def test_integers_and_texts_of_other_types_are_taken(experiment: Experiment, run: Run) -> None:
    """numpy integers are accepted as ids, and members of text enumerations as their texts."""
    numpy = pytest.importorskip("numpy")
    status = enum.Enum("Status", {"DONE": "done"}, type=str)
    sqltrack.run_set_status(run.client, numpy.int64(run.id), status.DONE)  # type: ignore[attr-defined]
    sqltrack.run_add_metrics(run.client, numpy.int32(run.id), {"loss": 1.0})
    assert run.client.execute("SELECT status FROM runs").fetchall() == [("done",)]
    assert Experiment(run.client, numpy.uint8(experiment.id)).id == experiment.id


def test_a_run_that_was_deleted_stays_an_error_of_its_own(run: Run) -> None:
    for run_id in (-1, 12345, 2**63 - 1):
        with pytest.raises(SQLTrackError, match=f"there is no run with id {run_id}"):
            sqltrack.run_set_status(run.client, run_id, "x")


class Raising:
    """An object that raises if it is asked for its class or shown."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError


class Unshown:
    """An object without a text."""

    def __repr__(self) -> str:
        raise RecursionError


class NoOffset(tzinfo):
    """A time zone that fails."""

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        raise RuntimeError("no offset")

    def dst(self, dt: datetime | None) -> timedelta | None:
        return None


def nested() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


def test_an_error_needs_no_text_of_its_value(run: Run) -> None:
    """Objects that cannot be shown, integers of many digits and deep lists raise our errors, not their own."""
    objects = [Raising(), Unshown(), 10**5000, nested(), datetime(2024, 1, 1, tzinfo=NoOffset())]
    experiment = Experiment(run.client, name="experiment")
    for _, call, _ in CALLS:
        for value in objects:
            with contextlib.suppress(SQLTrackError):
                call(experiment, run, value)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: Experiment(x, name="a"),
        lambda x: Experiment(x, 1),
        lambda x: Run(x, 1),
        lambda x: sqltrack.run_add_metrics(x, 1, {"a": 1}),
        lambda x: sqltrack.run_add_metrics_many(x, 1, [{"a": 1, "step": 1}]),
        lambda x: sqltrack.run_add_args(x, 1, {"a": 1}),
        lambda x: sqltrack.run_set_args(x, 1, {"a": 1}),
        lambda x: sqltrack.run_add_extras(x, 1, {"a": 1}),
        lambda x: sqltrack.run_remove_tags(x, 1, "a"),
        lambda x: sqltrack.run_add_link(x, 1, "a", 2),
        lambda x: sqltrack.run_remove_link(x, 1, "a", 2),
        lambda x: sqltrack.run_set_status(x, 1, "a"),
        lambda x: sqltrack.run_set_created(x, 1),
        lambda x: sqltrack.experiment_set_name(x, 1, "a"),
        lambda x: sqltrack.experiment_add_tags(x, 1, "a"),
    ],
)
def test_an_argument_that_is_not_a_client_is_an_error(call: Callable[[Any], Any]) -> None:
    for value in (None, 5, "runs.db", Raising()):
        with pytest.raises(UnusableValueError, match="client must be a Client, got"):
            call(value)


def test_texts_that_name_no_file_or_variable_are_told(run: Run) -> None:
    for text in ("\ud800", "a\0b"):
        with pytest.raises(UnusableValueError, match="is not set"):
            Experiment(run.client, name="experiment").get_run(text)
        for make in (
            lambda: sqltrack.Client(text),  # noqa: B023
            lambda: sqltrack.Client(text + ".db"),  # noqa: B023
            lambda: sqltrack.Client(engine="sqlite", dbpath=text),  # noqa: B023
        ):
            with pytest.raises(ConfigError, match="must not hold NUL or lone surrogates, got"):
                make()


def test_an_array_without_a_dimension_holds_no_rows(run: Run) -> None:
    numpy = pytest.importorskip("numpy")
    with pytest.raises(UnusableValueError, match="rows must be an iterable of dicts, got array"):
        run.add_metrics_many(numpy.array(3))
    with pytest.raises(UnusableValueError, match="rows must be"):
        run.add_metrics_many(Raising())  # type: ignore[arg-type]


def test_a_time_zone_that_fails_is_told(run: Run) -> None:
    moment = datetime(2024, 1, 1, tzinfo=NoOffset())
    for call in (run.set_created, run.set_started):
        with pytest.raises(UnusableValueError, match="cannot get the UTC offset of the datetime"):
            call(moment)


def test_an_object_that_cannot_be_asked_for_its_class_is_stored_by_its_name(run: Run) -> None:
    run.set_args({"x": Raising(), "y": 1}).add_metrics({"a": Raising(), "b": 1.0})
    assert run.client.execute("SELECT b FROM metrics").fetchone() == (1.0,)
    args = run.client.execute("SELECT args FROM runs").fetchone()[0]
    assert "Raising object>" in args["x"]
    assert args["y"] == 1


@pytest.mark.engines("postgres", reason="SQLite indexes texts of any length")
def test_a_name_that_is_too_long_for_an_index_is_an_error_that_says_so(experiment: Experiment, run: Run) -> None:
    name = "".join(chr(0x4E00 + number) for number in range(9000))
    for call in (lambda: run.add_link(name, run.id), lambda: experiment.set_name(name)):
        with pytest.raises(UnusableValueError, match="a name or kind is too long"):
            call()
