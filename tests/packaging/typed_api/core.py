"""Public names of `sqltrack` itself, used as programs use them; only type checkers read this."""

from __future__ import annotations

import argparse
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg
import psycopg.sql
from typing_extensions import assert_type

import sqltrack
from sqltrack import (
    Client,
    Experiment,
    Run,
    SQLTrackError,
    experiment_add_link,
    experiment_add_tags,
    experiment_remove_link,
    experiment_remove_tags,
    experiment_set_comment,
    experiment_set_name,
    experiment_set_tags,
    run_add_args,
    run_add_env,
    run_add_extras,
    run_add_link,
    run_add_metrics,
    run_add_metrics_many,
    run_add_tags,
    run_from_env,
    run_remove_args,
    run_remove_env,
    run_remove_extras,
    run_remove_link,
    run_remove_tags,
    run_set_args,
    run_set_comment,
    run_set_created,
    run_set_env,
    run_set_extras,
    run_set_started,
    run_set_status,
    run_set_tags,
    run_set_updated,
    start,
    track,
)
from sqltrack.client import Result
from sqltrack.engines import Engine
from sqltrack.queries import (
    Query,
    best_values,
    differing_args,
    first_row,
    first_value,
    first_values,
    last_values,
    merged_curves,
    seed_statistics,
)
from sqltrack.seeds import SeedGroup, SeedStatistics
from sqltrack.seeds import seed_statistics as compute_seed_statistics
from sqltrack.sigterm import begun_exit, deregister, register
from sqltrack.statuses import (
    ALIVE_STATES,
    ENDED_STATES,
    GROUPS,
    OTHER,
    UNFINISHED_STATES,
    StatusGroup,
    find_group,
    find_state,
)
from sqltrack.util import SQL, Composable, Composed, ComposedText, Identifier, Literal, Placeholder, coalesce
from sqltrack.wording import coarse_duration, pluralize, short_bytes, short_duration


class LongRun(Run):
    """A subclass, which chained calls must return."""

    def add_epoch(self) -> None:
        """A method that only this class has."""


def create_clients(path: Path) -> None:
    assert_type(Client(), Client)
    assert_type(sqltrack.Client("sqltrack.conf"), Client)
    assert_type(Client(path, keepalive=10), Client)
    assert_type(Client(engine="sqlite", dbpath=path), Client)
    assert_type(Client({"engine": "sqlite"}, busy_timeout=30.0), Client)
    assert_type(Client().config, dict[str, Any])
    assert_type(Client().engine, Engine)


def use_client(client: Client) -> None:
    assert_type(client.execute("SELECT 1"), Result)
    assert_type(client.execute("SELECT %s", [1]), Result)
    assert_type(client.execute("SELECT %(a)s", {"a": None}), Result)
    assert_type(client.execute(SQL("SELECT {}").format(Identifier("id")), (1, 2.0)), Result)
    assert_type(client.execute(psycopg.sql.SQL("SELECT 1")), Result)
    assert_type(client.executemany("INSERT INTO t VALUES (%s)", [(1,), (2,)]), Result)
    assert_type(client.executemany("INSERT INTO t VALUES (%(a)s)", ({"a": i} for i in range(3))), Result)
    assert_type(client.executescript("SELECT 1; SELECT 2"), Result)
    with client as connection:
        # Of any driver, so that you can use all of its methods.
        assert_type(connection, Any)
        client.commit()
        client.rollback()
    with client.cursor() as cursor:
        assert_type(cursor, Any)
    client.setup()
    client.setup("v001.sql", Path("v002.sql"), ("v003.sql", "SELECT 1"))
    client.setup(["v001.sql", Path("v002.sql")])


def read_result(result: Result) -> None:
    assert_type(result.fetchone(), Any)
    assert_type(result.fetchmany(10), list[Any])
    assert_type(result.fetchall(), list[Any])
    assert_type(list(result), list[Any])
    assert_type(result.description, Sequence[Any] | None)
    assert_type(result.rowcount, int)
    result.close()


def describe_experiment(client: Client) -> None:
    experiment = Experiment(client, name="digits")
    assert_type(experiment, Experiment)
    assert_type(Experiment(client, 5), Experiment)
    assert_type(Experiment(client, 5, "digits"), Experiment)
    assert_type(experiment.id, int)
    assert_type(experiment.client, Client)
    assert_type(experiment.get_run(), Run)
    assert_type(experiment.get_run("SLURM_JOB_ID"), Run)
    assert_type(experiment.get_run(run_id=5), Run)
    chain = experiment.add_tags("a", "b").remove_tags("a").set_tags().set_comment(None).set_name("new")
    assert_type(chain.add_link("continues", 2).remove_link("continues", 2), Experiment)
    experiment_add_link(client, 1, "continues", 2)
    experiment_remove_link(client, 1, "continues", 2)
    experiment_add_tags(client, 1, "a", "b")
    experiment_remove_tags(client, 1, "a")
    experiment_set_tags(client, 1)
    experiment_set_comment(client, 1, None)
    experiment_set_name(client, 1, "digits")


def describe_run(client: Client, namespace: argparse.Namespace) -> None:
    run = Run(client, 1)
    assert_type(run, Run)
    assert_type(Run(client, run_id="SLURM_JOB_ID"), Run)
    assert_type(run_from_env(client), Run)
    assert_type(run.id, int)
    assert_type(run.experiment_id, int)
    assert_type(run.client, Client)
    chain = run.add_args().add_args(namespace).set_args(None).remove_args("lr", ["a"], {"b": 1})
    chain = chain.add_env().add_env({"HOME": "/"}).set_env(None).remove_env("HOME")
    chain = chain.add_extras({"a": [1]}).set_extras(None).remove_extras("a").add_tags("x").remove_tags("x").set_tags()
    chain = chain.set_comment(None).set_status("PENDING").add_link("resumes", 2).remove_link("resumes", 2)
    chain = chain.set_created().set_started(datetime.now(timezone.utc)).set_updated(None)
    assert_type(chain, Run)
    assert_type(LongRun(client, 1).start().add_tags("a").stop(), LongRun)
    LongRun(client, 1).add_args().add_epoch()


def track_by_one_call(client: Client, experiment: Experiment, namespace: argparse.Namespace) -> None:
    with track("digits") as run:
        assert_type(run, Run)
    with sqltrack.track(5, args=namespace, env={"HOME": "/"}, tags="paper", comment=None, client=client) as run:
        assert_type(run.id, int)
    with track(run_id="SLURM_JOB_ID", args=None, env=None, normal="DONE", exception="BROKEN", interrupt="STOPPED"):
        pass
    assert_type(start("digits", tags=["paper", "seeds"], terminated="TIMEOUT", started=None, updated="auto"), Run)
    assert_type(sqltrack.start(experiment, run_id=5).stop(), Run)


def track_run(run: Run, long_run: LongRun) -> None:
    with run.track() as tracked:
        assert_type(tracked, Run)
        for step in range(3):
            tracked.add_metrics({"loss": 0.5, "name": "x"}, step=step)
    with long_run.track("DONE", exception="BROKEN", interrupt="STOPPED", terminated="ENDED", started=None) as tracked:
        tracked.add_epoch()
    assert_type(run.start(terminated="TIMEOUT", updated=None).stop("COMPLETED"), Run)
    assert_type(run.add_metrics({"loss": 1}, 1, 0.5, None), Run)
    assert_type(run.add_metrics_many([{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.4}]), Run)


def describe_run_by_id(client: Client, namespace: argparse.Namespace) -> None:
    run_add_args(client, 1)
    run_add_args(client, 1, namespace)
    run_set_args(client, 1, {"lr": 0.1})
    run_remove_args(client, 1, "lr", ["momentum"])
    run_add_env(client, 1, {"HOME": "/"})
    run_set_env(client, 1, "auto")
    run_remove_env(client, 1, "HOME")
    run_add_extras(client, 1, {"git": "abc"})
    run_set_extras(client, 1, None)
    run_remove_extras(client, 1, {"git": "abc"})
    run_add_tags(client, 1, "a", "b")
    run_set_tags(client, 1)
    run_remove_tags(client, 1, "a")
    run_add_link(client, 1, "resumes", 2)
    run_remove_link(client, 1, "resumes", 2)
    run_add_metrics(client, 1, {"loss": 0.5}, step=1, progress=0.5)
    run_add_metrics_many(client, 1, ({"step": step, "loss": 0.5} for step in range(3)))
    run_set_comment(client, 1, None)
    run_set_status(client, 1, "COMPLETED")
    run_set_created(client, 1)
    run_set_started(client, 1, "auto")
    run_set_updated(client, 1, datetime.now(timezone.utc))


def query(client: Client, postgres: psycopg.Cursor[Any], sqlite: sqlite3.Cursor, result: sqlite3.Row) -> None:
    assert_type(first_row(client, "SELECT 1, 2"), Any)
    assert_type(first_value(postgres, SQL("SELECT 1"), (1,)), Any)
    assert_type(first_values(sqlite, "SELECT id FROM runs WHERE id = %s", result), list[Any])
    best = best_values("accuracy", ("loss",), maximize=False, run_ids=range(3))
    assert_type(best, Query)
    assert_type(best.sql, str)
    assert_type(best.parameters, tuple[Any, ...])
    assert_type(client.execute(*best), Result)
    assert_type(last_values("accuracy", run_ids=[1]), Query)
    assert_type(merged_curves("a", "b", kind="resumes"), Query)
    assert_type(differing_args(client, [1, 2]), Query)
    assert_type(seed_statistics(client, "accuracy", seeds=("seed",), status=None), Query)
    found = compute_seed_statistics(client, "accuracy", over=["seed", "fold"], value="last", statuses=None)
    assert_type(found, SeedStatistics)
    assert_type(found.groups, list[SeedGroup])
    assert_type(found.groups[0].mean, float | None)
    assert_type(found.groups[0].n, int)
    assert_type(found.settings(constant=True), dict[str, dict[int, Any]])


def compose() -> None:
    part = SQL("SELECT {} FROM {t}").format(SQL(", ").join([Identifier("a"), Identifier("b")]), t=Identifier("s", "t"))
    assert_type(part, Composed)
    assert_type(part.as_string(), str)
    assert_type(part.as_bytes(None), bytes)
    assert_type(SQL("a") + Literal(5), Composed)
    assert_type(Placeholder() * 3, Composed)
    assert_type((SQL("a") + Placeholder("b")).join(", "), Composed)
    parts: list[ComposedText] = list(part)
    own: list[Composable] = [SQL("a"), part]
    assert_type(SQL(" ").join(own), Composed)
    assert_type(SQL(" ").join(parts), Composed)
    assert_type(coalesce(None, 1, 2), int | None)


def end_early(run: Run) -> None:
    register(run, lambda: print("ending"))
    register("key", run.stop)
    deregister("key")
    assert_type(begun_exit(), SystemExit | None)
    try:
        run.stop()
    except SQLTrackError as error:
        print(error)


def group_statuses(status: str) -> None:
    group = find_group(status)
    assert_type(group, StatusGroup)
    assert_type(group.symbol + group.ansi + group.light + group.dark + group.name, str)
    assert_type([group.states for group in (*GROUPS, OTHER)], list[tuple[str, ...]])
    assert_type(find_state("CANCELLED by 1000"), str)
    assert_type(ALIVE_STATES + ENDED_STATES + UNFINISHED_STATES, tuple[str, ...])


def word_numbers(run: Run) -> None:
    words = [pluralize(run.id, "run"), pluralize(2, "row of metrics", "rows of metrics")]
    words += [short_bytes(4096), short_duration(1.5), coarse_duration(7980)]
    print(words)
