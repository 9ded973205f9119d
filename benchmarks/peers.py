"""Time the same training loop on SQLTrack and on MLflow, with the tracking store of each in SQLite and PostgreSQL.

A step logs 10 metrics. All sides take turns in one process. Needs: pip install mlflow-skinny sqlalchemy alembic
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import sqltrack
from _common import Engine, Write, create_parser, open_engines, percentiles, random_metrics, take_turns, write_json

METRICS = 10
BATCH = 25


def main() -> None:
    options = create_parser(__doc__).parse_args()
    calls = 50 if options.quick else 500
    results = [row for engine in open_engines(options.engines) for row in measure_engine(engine, calls)]
    print_table(results)
    write_json(options.json, results=results)


def measure_engine(engine: Engine, calls: int) -> Iterator[dict[str, Any]]:
    with engine.database() as database, database.peer_url() as url, contextlib.ExitStack() as stack:
        run = sqltrack.Experiment(database.client, name="peers").get_run()
        stack.enter_context(run.track())
        writers: dict[str, Write] = {
            "SQLTrack": lambda step, row: run.add_metrics(row, step=step),
            "MLflow": stack.enter_context(mlflow_writer(url)),
        }
        rows = random_metrics(METRICS, BATCH)
        times = take_turns(list(writers.values()), rows, calls, warm_up=BATCH)
        figures = {name: percentiles(taken) for name, taken in zip(writers, times)}
    for name, figure in figures.items():
        ratio = round(figure["p50"] / figures["SQLTrack"]["p50"], 1)
        yield {"engine": engine.name, "version": engine.version, "peer": name, **figure, "ratio": ratio}


@contextlib.contextmanager
def mlflow_writer(url: str) -> Iterator[Write]:
    """Log to a run of MLflow, whose store is the database that SQLAlchemy's `url` names."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow

    # The creation of its tables is told step by step.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    mlflow.set_tracking_uri(url)
    mlflow.set_experiment("peers")
    with mlflow.start_run():
        yield lambda step, row: mlflow.log_metrics(row, step=step)


def print_table(results: Sequence[dict[str, Any]]) -> None:
    print(f"{'database':20}{'':12}{'p50, µs':>12}{'p99, µs':>12}{'ratio':>8}")
    for row in results:
        print(f"{row['version']:20}{row['peer']:12}{row['p50']:12,.1f}{row['p99']:12,.1f}{row['ratio']:8.1f}")


if __name__ == "__main__":
    main()
