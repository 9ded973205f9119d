"""Time the queries of the page with 100,000 runs of 14 rows, and with 100 curves of 10,000 points.

"first" asks a database without anything in its caches, "again" repeats the question. On PostgreSQL the user is a role
that may only read, and for some questions also a superuser, whose conditions in SQL take longer to check.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from _common import Engine, Row, compare, fill_metrics, fill_runs, metric_names, run_benchmark, take_turns
from sqltrack.client import Client
from sqltrack.ui import queries
from sqltrack.util import quote_identifier

RUNS, QUICK_RUNS = 100_000, 200
STEPS = 14
CURVES, POINTS = 100, 10_000
QUICK_CURVES, QUICK_POINTS = 4, 100
ROUNDS, QUICK_ROUNDS = 3, 1

LR = ["args", "lr"]
BEST = ["metric", "max", "metric_0"]
FILTERED = {"filter": {"facets": [{"column": LR, "values": [0.1]}], "where": "status = 'COMPLETED'"}}


class Question(NamedTuple):
    """A query of the page."""

    what: str
    ask: Callable[[queries.Database, dict[str, Any]], Mapping[str, Any]]
    spec: dict[str, Any]


def main() -> None:
    run_benchmark(__doc__, measure_engine)


def measure_engine(engine: Engine, quick: bool) -> Iterator[Row]:
    runs, curves, points, rounds = (
        (QUICK_RUNS, QUICK_CURVES, QUICK_POINTS, QUICK_ROUNDS) if quick else (RUNS, CURVES, POINTS, ROUNDS)
    )
    with engine.database() as database:
        fill_runs(database.client, runs, settings())
        fill_metrics(database.client, STEPS, metric_names(4))
        database.settle()
        questions = questions_of_runs(runs)
        with reader(database.client) as client:
            for question in questions:
                yield measure(engine, client, question, rounds)
        if client is not database.client:
            for question in questions:
                if question.spec in ({}, FILTERED) and question.ask is queries.runs:
                    what = f"{question.what}, as superuser"
                    yield measure(engine, database.client, question._replace(what=what), rounds)
    with engine.database() as database:
        fill_runs(database.client, curves)
        fill_metrics(database.client, points, metric_names(4))
        database.settle()
        for question in questions_of_curves(curves, points):
            yield measure(engine, database.client, question, rounds)


@contextlib.contextmanager
def reader(client: Client) -> Iterator[Client]:
    """Return a client of the same database whose role may only read; the same client if the database has no roles."""
    if client.config["engine"] != "postgres":
        yield client
        return
    role, password = f"sqltrack_bench_reader_{os.getpid()}", secrets.token_hex()
    schema = quote_identifier(str(client.config["schema"]))
    client.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    try:
        client.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        client.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}")
        yield Client({**client.config, "user": role, "password": password})
    finally:
        client.execute(f"DROP OWNED BY {role}")
        client.execute(f"DROP ROLE {role}")


def settings() -> list[dict[str, Any]]:
    """Return arguments of runs: 40 different ones, with 20 names each."""
    fixed = {f"option_{number}": number for number in range(16)}
    return [
        {"lr": 10.0 ** -(1 + number % 4), "model": {"name": f"net{number % 5}"}, "seed": number, "amp": True, **fixed}
        for number in range(40)
    ]


def questions_of_runs(runs: int) -> list[Question]:
    of = f"{runs:,} runs"
    return [
        Question(f"first page, {of}", queries.runs, {}),
        Question(f"sorted by best, {of}", queries.runs, {"sort": [{"column": BEST, "descending": True}]}),
        Question(f"sorted by argument, {of}", queries.runs, {"sort": [{"column": LR}]}),
        Question(f"filtered, {of}", queries.runs, FILTERED),
        Question(f"facets, {of}", queries.facets, {}),
        Question(f"filtered facets, {of}", queries.facets, FILTERED),
        Question(f"columns, {of}", queries.columns, {"search": "option"}),
        Question(f"experiments, {of}", queries.experiments, {}),
        Question(f"live, {of}", queries.live, {}),
        Question(f"changes of 100 runs, {of}", queries.changes, {"runs": list(range(1, 101))}),
    ]


def questions_of_curves(curves: int, points: int) -> list[Question]:
    of = f"{curves} curves of {points:,}"
    whole = {"runs": list(range(1, curves + 1)), "metrics": ["metric_0"]}
    zoomed = {**whole, "range": [points * 0.4, points * 0.5]}
    return [
        Question(f"{of} points", queries.curves, whole),
        Question(f"{of} points, smoothed", queries.curves, {**whole, "smoothing": 0.9}),
        Question(f"{of} points, zoomed", queries.curves, zoomed),
        Question(f"{of} points, mean", queries.curves, {**whole, "group": "all_but_seed"}),
        Question(f"one run of {points:,} points", queries.run, {"id": 1}),
    ]


def measure(engine: Engine, client: Client, question: Question, rounds: int) -> Row:
    """Return the times of a query."""
    with queries.Database(client, timeout=600.0) as warm:
        question.ask(warm, question.spec)

        def first(_: int) -> None:
            with queries.Database(client, timeout=600.0) as cold:
                question.ask(cold, question.spec)

        times = take_turns({"first": first, "again": lambda _: question.ask(warm, question.spec)}, rounds, warm_up=0)
    return compare(engine, question.what, times)


if __name__ == "__main__":
    main()
