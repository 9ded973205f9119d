"""Experiments are fetched or created, by any number of processes at once."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import sqltrack
from sqltrack import (
    Experiment,
    experiment_add_link,
    experiment_add_tags,
    experiment_remove_link,
    experiment_remove_tags,
    experiment_set_comment,
    experiment_set_name,
    experiment_set_tags,
)
from sqltrack.errors import ConflictError, MissingExperimentError, UnusableValueError
from support.logging_threads import wait_until

pytestmark = pytest.mark.also_on("duckdb")


def row(client: sqltrack.Client, experiment_id: int) -> Any:
    return client.execute(
        "SELECT name, comment, tags, extras FROM experiments WHERE id = %s", (experiment_id,)
    ).fetchone()


def test_an_experiment_is_created_once_per_name(client: sqltrack.Client) -> None:
    first = Experiment(client, name="a")
    assert Experiment(client, name="a").id == first.id
    assert Experiment(client, name="A").id != first.id
    assert Experiment(client, first.id).id == first.id
    assert Experiment(client, first.id, "a").id == first.id
    assert row(client, first.id) == ("a", None, None, None)


def test_an_experiment_can_be_created_with_an_id_of_its_own(client: sqltrack.Client) -> None:
    assert Experiment(client, 4711, "a").id == 4711
    assert Experiment(client, name="a").id == 4711


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.mark.engines("postgres")
def test_an_id_that_is_just_being_chosen_by_hand_is_not_generated(
    client: sqltrack.Client, config: dict[str, Any]
) -> None:
    """PostgreSQL only, because SQLite lets only one transaction write at a time."""
    first = Experiment(client, name="first").id
    with ThreadPoolExecutor() as pool, sqltrack.Client(config) as other:
        other.execute("INSERT INTO experiments (id, name) VALUES (%s, 'by hand')", (first + 1,))
        created = pool.submit(Experiment, client, name="generated")
        wait_until(lambda: sqltrack.Client(config).execute(WAITING).fetchone() == (1,))
        other.commit()
        assert created.result(60).id == first + 2
    assert repr(Experiment(client, name="by hand")) == f"Experiment(id={first + 1})"


def test_an_id_with_a_conflicting_name_is_an_error_that_names_both(client: sqltrack.Client) -> None:
    a, b = Experiment(client, name="a"), Experiment(client, name="b")
    with pytest.raises(ConflictError, match=f"experiment {a.id} is called 'a', not 'c'"):
        Experiment(client, a.id, "c")
    with pytest.raises(ValueError, match=f"experiment {b.id} is called 'b', not 'a'"):
        Experiment(client, b.id, "a")
    with pytest.raises(ValueError, match=f"experiment 'a' has id {a.id}, not 99"):
        Experiment(client, 99, "a")
    assert client.execute("SELECT count(*) FROM experiments").fetchone() == (2,)


def test_an_unknown_id_without_a_name_cannot_be_created(client: sqltrack.Client) -> None:
    with pytest.raises(MissingExperimentError, match="no experiment with id 7; give a name to create it") as info:
        Experiment(client, 7)
    assert info.value.experiment_id == 7
    with pytest.raises(ValueError, match="needs an id or a name"):
        Experiment(client)
    with pytest.raises(ValueError, match="experiment_id must be an int, got 'x'; give a name"):
        Experiment(client, "x")  # type: ignore[arg-type]


def test_generated_ids_step_over_those_chosen_by_hand(client: sqltrack.Client) -> None:
    first = Experiment(client, name="first").id
    for number in range(1, 6):
        Experiment(client, first + number, f"by hand {number}")
    assert Experiment(client, name="generated").id == first + 6


def test_tags_comment_and_name_can_be_changed_in_a_chain(client: sqltrack.Client) -> None:
    experiment = Experiment(client, name="a")
    chained = experiment.set_tags("x", "y").add_tags("z", "x").remove_tags("y", "none").set_comment("c").set_name("b")
    assert chained is experiment
    assert row(client, experiment.id) == ("b", "c", {"x": True, "z": True}, None)
    experiment_set_tags(client, experiment.id, "only")
    experiment_add_tags(client, experiment.id, "more")
    experiment_remove_tags(client, experiment.id, "only")
    experiment_set_comment(client, experiment.id, None)
    experiment_set_name(client, experiment.id, "c")
    assert row(client, experiment.id) == ("c", None, {"more": True}, None)


def test_a_tag_must_be_text(client: sqltrack.Client) -> None:
    with pytest.raises(ValueError, match=r"a tag must be a str, got \['x'\]"):
        Experiment(client, name="a").add_tags(["x"])  # type: ignore[arg-type]


def test_a_name_that_is_taken_is_refused(client: sqltrack.Client) -> None:
    a = Experiment(client, name="a").id
    b = Experiment(client, name="b").set_name("b")
    with pytest.raises(ConflictError, match=f"experiment {a} is called 'a' already"):
        b.set_name("a")


def test_changing_an_experiment_that_is_not_there_is_an_error(client: sqltrack.Client) -> None:
    with pytest.raises(MissingExperimentError):
        experiment_set_comment(client, 5, "x")
    with pytest.raises(MissingExperimentError):
        experiment_add_tags(client, 5, "x")


def test_links_between_experiments_are_added_and_removed(client: sqltrack.Client) -> None:
    a, b = Experiment(client, name="a"), Experiment(client, name="b")
    a.add_link("continues", b.id).add_link("continues", b.id).add_link("quotes", b.id)
    experiment_add_link(client, b.id, "continues", a.id)
    query = "SELECT from_id, kind, to_id FROM experiment_links ORDER BY from_id, kind"
    expected = [(a.id, "continues", b.id), (a.id, "quotes", b.id), (b.id, "continues", a.id)]
    assert client.execute(query).fetchall() == expected
    a.remove_link("quotes", b.id).remove_link("nothing", b.id)
    experiment_remove_link(client, b.id, "continues", a.id)
    assert client.execute(query).fetchall() == expected[:1]
    with pytest.raises(MissingExperimentError, match="no experiment with id 99"):
        a.add_link("continues", 99)


def _create_in_process(config: dict[str, Any], barrier: Any, ids: Any) -> None:
    client = sqltrack.Client(config)
    barrier.wait()
    ids.put(Experiment(client, name="same").id)


@pytest.mark.engines("sqlite", "postgres", reason="other processes do not know the engine of the tests")
def test_many_processes_get_the_same_experiment(config: dict[str, Any]) -> None:
    """Processes that create an experiment with the same name at once get the same experiment."""
    context = multiprocessing.get_context("spawn")
    barrier, ids = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_create_in_process, args=(config, barrier, ids)) for _ in range(4)]
    for process in processes:
        process.start()
    found = {ids.get(timeout=30) for _ in processes}
    for process in processes:
        process.join()
    assert len(found) == 1


@pytest.mark.parametrize("name", ["a\0b", "caf\udce9", "a\0\udcff"])
def test_a_name_that_is_no_utf8_is_escaped(client: sqltrack.Client, name: str) -> None:
    """Names of files and arguments may not be UTF-8; such a name finds its experiment again."""
    escaped = name.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
    experiment = Experiment(client, name=name).set_comment(name)
    assert Experiment(client, name=name).id == experiment.id
    assert row(client, experiment.id)[:2] == (escaped, escaped)
    assert row(client, experiment.set_name(name + name).id)[0] == escaped + escaped
    other = Experiment(client, name="other")
    other.add_link(name, experiment.id)
    assert client.execute("SELECT kind FROM experiment_links").fetchall() == [(escaped,)]
    other.remove_link(name, experiment.id)
    assert client.execute("SELECT kind FROM experiment_links").fetchall() == []


@pytest.mark.parametrize("value", [5, b"x", ["x"]])
def test_text_must_be_text(client: sqltrack.Client, value: Any) -> None:
    """Values of other types raise one of our errors, on all engines."""
    experiment = Experiment(client, name="text")
    for change in (
        lambda: Experiment(client, name=value),
        lambda: experiment.set_name(value),
        lambda: experiment.set_comment(value),
        lambda: experiment.add_link(value, experiment.id),
        lambda: experiment.get_run().set_status(value),
        lambda: experiment.get_run().set_comment(value),
    ):
        with pytest.raises(UnusableValueError, match="must be a str"):
            change()


def test_new_experiments_get_ids_whatever_was_chosen_before(client: sqltrack.Client) -> None:
    """The largest id can be used, and new ids are still found."""
    greatest = 2**63 - 1
    first = Experiment(client, name="first")
    last = Experiment(client, greatest, "last")
    new = Experiment(client, name="new")
    assert last.id == greatest
    assert new.id not in (first.id, greatest)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**400])
def test_an_id_of_more_than_64_bits_is_refused(client: sqltrack.Client, value: int) -> None:
    first = Experiment(client, name="first")
    for use in (
        lambda: Experiment(client, value),
        lambda: Experiment(client, value, "x"),
        lambda: first.add_link("kind", value),
        lambda: first.remove_link("kind", value),
        lambda: experiment_set_comment(client, value, "x"),
        lambda: experiment_add_tags(client, value, "x"),
    ):
        with pytest.raises(UnusableValueError, match="at most 64 bits"):
            use()
