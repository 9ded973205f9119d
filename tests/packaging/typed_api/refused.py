"""Mistakes that type checkers must find: they complain about each comment here that hides no error.

The comment for mypy comes first, then the one for pyright.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqltrack import Client, Experiment, Run, run_add_metrics, run_remove_args, run_set_status, start, track
from sqltrack.args import ParsedOptions, docopt_arguments, docopt_main, register_conversion
from sqltrack.commands import setup
from sqltrack.commands.rm import apply_rm
from sqltrack.config import load_config
from sqltrack.engines import Engine
from sqltrack.notebook import format_dataframe
from sqltrack.pandas import query_dataframe
from sqltrack.polars import query_polars
from sqltrack.queries import best_values, first_value
from sqltrack.sigterm import register
from sqltrack.util import SQL


def refuse_clients(client: Client) -> None:
    Client(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.execute(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.execute(b"SELECT 1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.execute("SELECT %s", 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.execute("SELECT %s", {1, 2})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.executemany("SELECT %s", [1, 2])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    client.executescript(Path("a.sql"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.query("SELECT 1")  # type: ignore[attr-defined]  # pyright: ignore
    client.execute("SELECT 1").fetchone(5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def refuse_experiments(client: Client, experiment: Experiment) -> None:
    Experiment(client, "digits")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Experiment(name="digits")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    experiment.set_name(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    experiment.add_tags(["a"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    experiment.get_run(1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def refuse_runs(client: Client, run: Run) -> None:
    run.add_metrics("loss", 0.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run.add_metrics({"loss": 0.5}, step=0.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run.add_metrics({"loss": 0.5}, epoch=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    run.add_metrics_many({"loss": 0.5})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    run.add_env("now")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run.set_started("now")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run.set_extras(tags="a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    run.set_tags({"a": True})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run.remove_tags(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run.set_status(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with run.start():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    run_add_metrics(client, run, {"loss": 0.5})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run_set_status(1, client, "DONE")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    track("digits", {"lr": 0.1})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    start(0.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.setup(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run_remove_args(client, 1, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def refuse_queries(client: Client) -> None:
    best_values("loss", run_ids=["a"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    best_values("loss", (), False)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    first_value("SELECT 1")  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
    first_value("SELECT 1", client)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    query_dataframe(client, 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    query_polars(client, "SELECT %s", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    format_dataframe(query_polars(client, ""))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    text: str = query_dataframe(client, "")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(text)
    SQL(b"SELECT 1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def refuse_commands(client: Client) -> None:
    setup()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    setup(client, [("a.sql",)])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    apply_rm(client, [5])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    load_config(config_name=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    register([], print)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    register("key", "print")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Engine()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]


def refuse_decorated(
    train: Callable[[ParsedOptions], float], plain: Callable[[], None], numbers: Callable[[int], None]
) -> None:
    docopt_arguments(train)(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    docopt_arguments(train)({}, {})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    docopt_arguments(plain)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    docopt_main(numbers)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    docopt_main(train, main_guard=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    register_conversion("own", str)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    result: str = docopt_main(train)({})  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(result)
