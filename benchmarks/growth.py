"""Time everyday tasks in databases of growing size, to see which times grow.

One size grows at a time: the number of runs, of metric columns, or of rows. The tasks take turns: a call of
`add_metrics` (next to the same upsert by hand in the same table), a new run, the commands `runs`, `show` and `doctor`,
`setup`, and `best_values` with an index.

The largest number of rows is 1,000,000. With --largest it is 10,000,000, which takes minutes more, two of them on
SQLite, and needs 6 GB of free disk.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import sqltrack
from _common import (
    BY_HAND,
    OURS,
    Database,
    Engine,
    Row,
    Turn,
    add_float_columns,
    apart,
    compare,
    connect_by_hand,
    create_parser,
    fill_metrics,
    fill_runs,
    keep_fastest,
    metric_names,
    open_engines,
    print_row,
    random_metrics,
    take_turns,
    write_config_file,
    write_json,
)
from sqltrack.cli import main as run_program
from sqltrack.commands import setup
from sqltrack.queries import best_values

METRICS = 10
BATCH = 25
ROUNDS = 5
QUICK_ROUNDS = 1
# Pairs of connections for add_metrics; the fastest pair counts.
CONNECTIONS = 6
# Batches of add_metrics for each round of the other tasks.
BATCHES = 4

NAMES = metric_names(METRICS)
UPSERT_SQL = (
    f"INSERT INTO metrics (run_id, step, progress, {', '.join(NAMES)}) VALUES (%s, %s, 0{', %s' * METRICS}) "
    f"ON CONFLICT (run_id, step, progress) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in NAMES)}"
)


class Size(NamedTuple):
    """The size of a database; `axis` names the number that grows."""

    axis: str
    runs: int
    columns: int
    rows: int

    @property
    def number(self) -> int:
        return int(getattr(self, self.axis))


SIZES = (
    *(Size("runs", runs, METRICS, 100_000) for runs in (10, 1_000, 100_000)),
    *(Size("columns", 1_000, columns, 10_000) for columns in (10, 100, 1_500)),
    *(Size("rows", 1_000, METRICS, rows) for rows in (10_000, 100_000, 1_000_000)),
)
LARGEST = Size("rows", 1_000, METRICS, 10_000_000)
QUICK_SIZES = (Size("runs", 10, METRICS, 20), Size("columns", 10, METRICS + 1, 20), Size("rows", 10, METRICS, 40))


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--largest", action="store_true", help="also measure 10,000,000 rows")
    options = parser.parse_args()
    rows = []
    for engine in open_engines(options.engines):
        for row in measure_engine(engine, options.quick, largest=options.largest):
            print_row(row)
            rows.append(row)
    write_json(options.json, results=rows)


def measure_engine(engine: Engine, quick: bool, *, largest: bool = False) -> Iterator[Row]:
    sizes, rounds = (QUICK_SIZES, QUICK_ROUNDS) if quick else (SIZES, ROUNDS)
    for size in (*sizes, LARGEST) if largest else sizes:
        with engine.database() as database:
            fill(database, size)
            for question, times in measure_questions(database, rounds).items():
                what = f"{question}, {size.number:,} {size.axis}"
                yield compare(engine, what, times, question=question, axis=size.axis, size=size.number)


def fill(database: Database, size: Size) -> None:
    """Store runs and rows of `METRICS` metrics; further columns are empty, like those of other projects."""
    client = database.client
    fill_runs(client, size.runs, [{"lr": 0.1, "seed": number} for number in range(min(size.runs, 10))])
    fill_metrics(client, size.rows // size.runs, NAMES)
    add_float_columns(client, metric_names(size.columns))
    client.execute(f"CREATE INDEX metrics_best ON metrics (run_id, {NAMES[0]})")
    database.settle()


def measure_questions(database: Database, rounds: int) -> dict[str, dict[str, list[int]]]:
    """Return the nanoseconds of the calls for each task."""
    client = database.client
    experiment = sqltrack.Experiment(client, name="growth")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        # Discard the output of the commands.
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        path = write_config_file(database, folder)
        with apart(client):
            added = keep_fastest(
                lambda: measure_add_metrics(database, experiment.get_run(), rounds * BATCHES),
                1 if rounds == QUICK_ROUNDS else CONNECTIONS,
            )
        turns: dict[str, Turn] = {
            "get_run": lambda number: experiment.get_run(),
            "runs": command("runs", path),
            "show": command("show 1", path),
            "best_values": lambda number: client.execute(*best_values(NAMES[0])).fetchall(),
            "setup": lambda number: setup(client),
            "doctor": command("doctor", path),
        }
        times = take_turns(turns, rounds, warm_up=rounds // 2)
    return {"add_metrics": added, **{question: {OURS: taken} for question, taken in times.items()}}


def measure_add_metrics(database: Database, run: sqltrack.Run, rounds: int) -> dict[str, list[int]]:
    rows = random_metrics(METRICS, BATCH)
    with contextlib.closing(connect_by_hand(database.client.config)) as connection, run.track():
        turns: dict[str, Turn] = {
            OURS: lambda step: run.add_metrics(rows[step % BATCH], step=2 * step),
            BY_HAND: lambda step: connection.execute(UPSERT_SQL, (run.id, 2 * step + 1, *rows[step % BATCH].values())),
        }
        return take_turns(turns, rounds, batch=BATCH, warm_up=2)


def command(words: str, config_path: str) -> Turn:
    """Return a call of the program in this process, without the cost of a new process."""
    return lambda number: run_program([*words.split(), "--config-path", config_path])


if __name__ == "__main__":
    main()
