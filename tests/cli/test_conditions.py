"""Errors of `sqltrack runs --where` about conditions that the database refuses."""

from __future__ import annotations

import sqlite3

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands._conditions import explain_condition
from sqltrack.commands.runs import list_runs
from sqltrack.engines.sqltext import STANDARD, column_names
from sqltrack.errors import DatabaseError
from support.connections import on_one_connection
from support.extras import add_extras


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Runs 1 and 2 with arguments, a tag, an environment and metrics, one of them in extras."""
    with on_one_connection(client):
        for run_id in (1, 2):
            run = sqltrack.Experiment(client, name="digits").get_run(run_id)
            run.set_args(
                {"lr": 0.1 * run_id, "optimizer": "sgd", "use_amp": run_id == 1, "it's": 3, "Batch": 8 * run_id}
            )
            run.set_tags("paper").set_env({"HOST": f"node{run_id}"}).set_extras({"params": 5 * run_id})
            run.add_metrics({"loss": 1 / run_id, "valAcc": 0.5 * run_id}, step=3)
            add_extras(client, run_id, {3: {"f1": 0.25 * run_id}})
    return client


def number(column: str, name: str, engine_name: str, sql_type: str = "DOUBLE PRECISION") -> str:
    """Return the expression that the advice suggests on an engine."""
    if engine_name == "postgres":
        return f"CAST({column}->>'{name}' AS {sql_type})"
    return f"{column}->>'{name}'"


# The user's condition, and the text after the expression that the advice suggests.
MEANT: list[tuple[str, str, str, str, list[int]]] = [
    ("lr > 0.15", "'lr' is an argument", "args lr", "> 0.15", [2]),
    ("0.15 < args.lr", "'lr' is an argument", "args lr", "> 0.15", [2]),
    ("params.lr > 0.15 AND status = 'PLANNED'", "'lr' is an argument", "args lr", "> 0.15", [2]),
    ("Batch = 8", "'Batch' is an argument", "args Batch", "= 8", [1]),
    ("lrr > 0.15", "did you mean 'lr'? It is an argument", "args lr", "> 0.15", [2]),
    ("optimzer = 'sgd'", "did you mean 'optimizer'? It is an argument", "args optimizer text", "= 'sgd'", [2, 1]),
    ("lower(optimizer) = 'sgd'", "'optimizer' is an argument", "args optimizer text", "= 'sgd'", [2, 1]),
    ("use_amp", "'use_amp' is an argument", "args use_amp boolean", "", [1]),
    ("HOST = 'node2'", "'HOST' is an environment variable", "env HOST text", "= 'node2'", [2]),
    ("paper", "'paper' is a tag", "tags paper boolean", "", [2, 1]),
    ("params > 5", "'params' is one of the extras", "extras params", "> 5", [2]),
]


def test_a_name_in_quotes_is_no_text(client: sqltrack.Client) -> None:
    """Otherwise SQLite would compare the text 'lr', which is greater than any number, and all runs would match."""
    for condition in ('"lr" > 0.15', 'id < 9 AND "loss" < 0', '"f1" > 9'):
        with pytest.raises(DatabaseError) as caught:
            list_runs(client, where=condition)
        assert "write " in str(caught.value.advice)
    assert list_runs(client, where='"id" = 1 AND runs."status" = \'PLANNED\'').number == 1
    assert list_runs(client, where="status <> '\"lr\"'").number == 2
    inner = 'id IN (SELECT "lr" FROM (SELECT run_id AS "lr" FROM metrics) AS inside)'
    assert list_runs(client, where=inner).number == 2


def expression(meant: str, engine_name: str) -> str:
    column, name, *kind = meant.split()
    if kind == ["text"]:
        return f"{column}->>'{name}'"
    return number(column, name, engine_name, *(["BOOLEAN"] if kind == ["boolean"] else []))


@pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 38), reason="older versions of SQLite write it in another way")
def test_a_name_that_is_no_column_is_answered_with_the_expression_that_works(
    client: sqltrack.Client, engine_name: str
) -> None:
    for condition, says, meant, rest, expected in MEANT:
        with pytest.raises(DatabaseError) as caught:
            list_runs(client, where=condition)
        right = expression(meant, engine_name)
        assert caught.value.advice == f"{says}, write {right}", condition
        assert [run["id"] for run in list_runs(client, where=f"{right} {rest}").runs] == expected


METRICS = [
    ("loss < 0.75", "'loss' is a metric", "loss"),
    ("metrics.loss < 0.75", "'loss' is a metric", "loss"),
    ("los < 0.75", "did you mean 'loss'? It is a metric", "loss"),
    ('runs."valAcc" < 1', "'valAcc' is a metric", '"valAcc"'),
]


def test_a_metric_is_answered_with_the_query_that_finds_it(client: sqltrack.Client) -> None:
    for condition, says, name in METRICS:
        with pytest.raises(DatabaseError) as caught:
            list_runs(client, where=condition)
        right = f"id IN (SELECT run_id FROM metrics WHERE {name} > 0.5)"
        assert caught.value.advice == f"{says}, write {right}"
        assert list_runs(client, where=right).number == 1


@pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 38), reason="older versions of SQLite write it in another way")
def test_a_metric_among_the_extras_is_found_as_well(client: sqltrack.Client, engine_name: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        list_runs(client, where="f1 > 0.3")
    right = f"id IN (SELECT run_id FROM metrics WHERE {number('extras', 'f1', engine_name)} > 0.5)"
    assert caught.value.advice == f"'f1' is a metric, write {right}"
    assert list_runs(client, where=right.replace("0.5", "0.3")).number == 1


ADVICE = {
    "started IS NULL": "write time_started",
    "duration > 60": "the runtime is the time from time_started to time_updated",
    "step > 10": "write id IN (SELECT run_id FROM metrics WHERE step > 100)",
    "stauts = 'FAILED'": "did you mean 'status'?",
    "attributes.status = 'FAILED'": "write status",
    "experiments.name = 'digits'": "write experiment",
    "run_id = 1": "write id",
    "qwertyuiop = 1": None,
    "id = ": None,
    "id = 1 AND": None,
}


def test_names_of_the_table_and_of_other_programs_are_known(client: sqltrack.Client) -> None:
    for condition, advice in ADVICE.items():
        with pytest.raises(DatabaseError) as caught:
            list_runs(client, where=condition)
        assert caught.value.advice == advice, condition


@pytest.mark.engines("postgres", reason="SQLite knows the type of each value")
def test_a_number_that_is_compared_as_text_is_answered_with_a_cast(client: sqltrack.Client) -> None:
    for condition in ("args->>'lr' > 0.15", "runs.args ->> 'lr' > 0.15", "args->'lr' > 0.15"):
        with pytest.raises(DatabaseError) as caught:
            list_runs(client, where=condition)
        assert caught.value.advice == "the value is text until it is cast: CAST(args->>'lr' AS DOUBLE PRECISION)"


def test_the_error_is_one_line_that_begins_with_what_the_database_says(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", "--where", "lr > 0.15", *options]) == 1
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert output.err.index("lr") < output.err.index("; 'lr' is an argument, write ")


def test_a_database_that_cannot_be_asked_again_hides_nothing(client: sqltrack.Client) -> None:
    client.execute("ALTER TABLE runs RENAME TO gone")
    assert explain_condition(client, "lr > 0.15", as_superuser=False) is None


def test_names_of_columns_are_found_without_parsing_sql() -> None:
    expression = """a > 0.5 AND t."b""c".d = lower(e) -- f
        OR 'g' = h/* i */.j AND "k" IN (l, 1e5) OR x->>'m' = n"""
    names = list(column_names(expression, STANDARD))
    assert [name for name in names if name not in ("AND", "OR", "IN")] == [
        "a",
        't.b"c.d',
        "e",
        "h.j",
        "k",
        "l",
        "x",
        "n",
    ]
