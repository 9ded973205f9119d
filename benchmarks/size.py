"""Measure the size of metrics on disk: a column per metric as in SQLTrack, and a row per value as in MLflow.

One run logs the same values into the tables of both, in SQLite and PostgreSQL, with all indexes. MLflow's own client
creates and fills its tables. Needs: pip install mlflow-skinny sqlalchemy alembic
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import sqltrack
from _common import Engine, create_parser, open_engines, random_metrics, write_json

STEPS = 5_000
QUICK_STEPS = 200
# Metrics per step; all have the same number of values.
METRICS = (1, 10, 100)
# MLflow's limit for one call.
BATCH = 1_000


def main() -> None:
    options = create_parser(__doc__).parse_args()
    values = (QUICK_STEPS if options.quick else STEPS) * max(METRICS) // 10
    results = [row for engine in open_engines(options.engines) for row in measure_engine(engine, values)]
    print_table(results)
    write_json(options.json, results=results)


def measure_engine(engine: Engine, values: int) -> Iterator[dict[str, Any]]:
    for count in METRICS:
        rows = random_metrics(count, values // count)
        with engine.database() as database, database.peer_url() as url:
            run = sqltrack.Experiment(database.client, name="size").get_run()
            with run.track():
                run.add_metrics_many({"step": step, **row} for step, row in enumerate(rows))
            sizes = {"sqltrack": database.metrics_bytes(), "mlflow": weigh_mlflow(url, rows)}
        yield {
            "engine": engine.name,
            "version": engine.version,
            "metrics": count,
            "values": values,
            **{f"{name}_bytes_per_value": round(size / values, 1) for name, size in sizes.items()},
            "ratio": round(sizes["mlflow"] / sizes["sqltrack"], 1),
        }


def weigh_mlflow(url: str, rows: Sequence[dict[str, float]]) -> int:
    """Return the bytes that MLflow's metrics add."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import sqlalchemy
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)
    client = MlflowClient(tracking_uri=url)
    run_id = client.create_run(client.create_experiment("size")).info.run_id
    engine = sqlalchemy.create_engine(url)

    def size() -> int:
        with engine.connect() as connection:
            return int(connection.execute(sqlalchemy.text(SIZES[engine.dialect.name])).scalar() or 0)

    before = size()
    # All metrics of a step have the same time, and steps are some milliseconds apart.
    metrics = [Metric(name, value, 10 * step, step) for step, row in enumerate(rows) for name, value in row.items()]
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH])
    grown = size() - before
    engine.dispose()
    return grown


SIZES = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
    "postgresql": "SELECT pg_total_relation_size('metrics') + pg_total_relation_size('latest_metrics')",
}


def print_table(results: Sequence[dict[str, Any]]) -> None:
    print(f"{'':20}{'':>17}{'bytes per value':>24}")
    print(f"{'database':20}{'metrics per step':>17}{'sqltrack':>12}{'mlflow':>12}{'ratio':>8}")
    for row in results:
        figures = f"{row['sqltrack_bytes_per_value']:12.1f}{row['mlflow_bytes_per_value']:12.1f}{row['ratio']:8.1f}"
        print(f"{row['version']:20}{row['metrics']:17}{figures}")


if __name__ == "__main__":
    main()
