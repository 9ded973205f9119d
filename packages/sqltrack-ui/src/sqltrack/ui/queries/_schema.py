"""The tables, columns, metrics and arguments that SQL of the user can name, and queries to start from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqltrack.engines.admin import Admin
from sqltrack.engines.schema import EXTRAS, KEY, TABLES
from sqltrack.ui.queries._catalog import columns
from sqltrack.ui.queries._columns import Expressions, is_validation
from sqltrack.ui.queries._database import Database
from sqltrack.ui.queries._sql import MOST_ROWS
from sqltrack.util import quote_identifier, quote_text

__all__ = ["EXAMPLES", "Example", "schema"]

# Tables, and arguments and metrics, at most.
_MOST_TABLES, _MOST_NAMES = 100, 5_000
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
# Words that neither database takes as the name of a column, as far as metrics and arguments are called like that.
_RESERVED = frozenset(
    {
        *(
            "all",
            "and",
            "any",
            "as",
            "asc",
            "between",
            "by",
            "case",
            "cast",
            "check",
            "column",
            "constraint",
            "create",
            "cross",
        ),
        *("current_date", "current_time", "default", "delete", "desc", "distinct", "drop", "else", "end", "except"),
        *(
            "exists",
            "fetch",
            "for",
            "foreign",
            "from",
            "full",
            "group",
            "having",
            "in",
            "index",
            "inner",
            "insert",
            "intersect",
        ),
        *(
            "into",
            "is",
            "isnull",
            "join",
            "left",
            "like",
            "limit",
            "natural",
            "not",
            "notnull",
            "null",
            "offset",
            "on",
            "or",
            "order",
        ),
        *("outer", "primary", "references", "returning", "right", "select", "set", "some", "table", "then", "to"),
        *(
            "transaction",
            "true",
            "false",
            "union",
            "unique",
            "update",
            "user",
            "using",
            "values",
            "when",
            "where",
            "window",
        ),
        *("with"),
    }
)


class Example(NamedTuple):
    """A query of the schema card.

    Attributes:
        title: short description of the result.
        sql: the query, about metrics that the database may not have.
    """

    title: str
    sql: str


# The metrics in the queries of the schema card.
_EXAMPLES = ("val_top1", "train_loss")

#: The queries of `docs/schema-card.md`.
EXAMPLES = (
    Example(
        "Learning curve of a run",
        "SELECT step, train_loss, val_top1 FROM metrics WHERE run_id = 1 ORDER BY step",
    ),
    Example(
        "Best value per run; NaN and missing values never win",
        "SELECT run_id, MAX(val_top1) AS best FROM metrics WHERE val_top1 <> 'NaN' GROUP BY run_id ORDER BY best DESC",
    ),
    Example(
        "Best epoch per run, with other metrics of that epoch",
        "SELECT run_id, step, val_top1, train_loss FROM (\n"
        "    SELECT *, ROW_NUMBER() OVER (PARTITION BY run_id ORDER BY val_top1 DESC) AS place\n"
        "    FROM metrics WHERE val_top1 <> 'NaN') AS ranked WHERE place = 1",
    ),
    Example(
        "Mean over seeds",
        "SELECT args ->> 'lr' AS lr, AVG(best) AS mean, COUNT(*) AS seeds FROM runs JOIN (\n"
        "    SELECT run_id, MAX(val_top1) AS best FROM metrics WHERE val_top1 <> 'NaN' GROUP BY run_id) AS b "
        "ON run_id = id\n"
        "GROUP BY args ->> 'lr'",
    ),
    Example(
        "Runs of an experiment by an argument and a tag",
        "SELECT runs.id, status FROM runs JOIN experiments ON experiments.id = experiment_id\n"
        "WHERE experiments.name = 'Baselines' AND runs.args ->> 'model' = 'resnet50' "
        "AND runs.tags ->> 'paper' IS NOT NULL",
    ),
    Example(
        "Running runs, those that may be dead first",
        "SELECT id, time_started, time_updated FROM runs WHERE status = 'RUNNING' ORDER BY time_updated",
    ),
    Example(
        "Runs that resume others",
        "SELECT from_id AS later, to_id AS earlier FROM run_links WHERE kind = 'resumes'",
    ),
    Example(
        "How runs ended, per experiment",
        "SELECT name, status, COUNT(*) FROM runs JOIN experiments ON experiments.id = experiment_id "
        "GROUP BY name, status",
    ),
)


def schema(source: Database, spec: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the names that a query can use, and queries to start from.

    Returns:
        A dict with tables, metrics, args, examples, limits (a dict with rows of a result, and seconds of a query) and
        version.

        Tables are dicts with name, sql (the name as SQL), is_own (whether SQLTrack needs the table) and columns,
        without the metrics. Columns and metrics are dicts with name, sql and type, args are dicts with name, sql and
        runs (the number of runs), and examples are dicts with title and sql, about metrics of this database.
    """
    found, version = source.cached(("schema",), lambda: _read(source))
    return {**found, "limits": {"rows": MOST_ROWS, "seconds": source.timeout}, "version": version}


def _read(source: Database) -> dict[str, Any]:
    tables = source.ask(lambda connection: dict(_tables(source, connection)))
    metrics = list(_metrics(source))
    args = list(_args(source))
    return {
        "tables": [_table(name, tables[name]) for name in _own_first(tables)],
        "metrics": metrics,
        "args": args,
        "examples": [example._asdict() for example in _examples(source, args)],
    }


def _tables(source: Database, connection: Any) -> Iterator[tuple[str, dict[str, str]]]:
    for name in source.admin(connection).list_tables()[:_MOST_TABLES]:
        yield name, source.client.engine.table_columns(connection, name)


def _own_first(tables: Mapping[str, Any]) -> list[str]:
    return [*(name for name in TABLES if name in tables), *(name for name in tables if name not in TABLES)]


def _table(name: str, types: Mapping[str, str]) -> dict[str, Any]:
    names = [column for column in types if name != "metrics" or column in (*KEY, EXTRAS)]
    return {
        "name": name,
        "sql": _identifier(name),
        "is_own": name in TABLES,
        "columns": [
            {"name": column, "sql": _identifier(column), "type": types[column].upper() or None} for column in names
        ],
    }


def _metrics(source: Database) -> Iterator[dict[str, Any]]:
    """Yield the metrics: those with columns first, then those in extras."""
    places = source.places()
    for name, sql_type in places.columns.items():
        yield {"name": name, "sql": _identifier(name), "type": sql_type.upper() or None}
    for name in _names(source, "metric"):
        if name not in places.columns:
            yield {"name": name, "sql": source.admin().json_value_sql(EXTRAS, name, float), "type": "in extras"}


def _names(source: Database, group: str) -> list[str]:
    listed = columns(source, {"kinds": [group], "limit": _MOST_NAMES})["columns"]
    return list(dict.fromkeys(item["column"][-1] for item in listed))


def _args(source: Database) -> Iterator[dict[str, Any]]:
    for item in columns(source, {"kinds": ["args"], "limit": _MOST_NAMES})["columns"]:
        _, *path = item["column"]
        yield {"name": ".".join(path), "sql": _argument_sql(source.admin(), path), "runs": item.get("count")}


def _argument_sql(admin: Admin, path: Sequence[str]) -> str:
    # The short form does not find such names in all databases.
    if any('"' in name for name in path):
        return admin.json_path_sql("args", path).text
    *parents, name = path
    return admin.json_value_sql("".join(["args", *(f" -> {quote_text(parent)}" for parent in parents)]), name, str)


def _identifier(name: str) -> str:
    """Return a name as SQL, quoted if it must be."""
    return name if _PLAIN.fullmatch(name) and name not in _RESERVED else quote_identifier(name)


def _examples(source: Database, args: list[dict[str, Any]]) -> list[Example]:
    """Return the queries of the schema card, about a run, metrics and an argument of this database."""
    kind = Expressions(source.admin(), source.places()).metric_kind
    names = [name for name in source.places().columns if kind(name) == "number"]
    # Those of the card, if they exist; then one that is measured on other data than those trained on.
    names.sort(key=lambda name: (name not in _EXAMPLES, not is_validation(name)))
    words = {word: name for word, name in zip(_EXAMPLES, map(_identifier, names)) if not set(_EXAMPLES) <= set(names)}
    runs = source.fetch("SELECT MAX(run_id) AS id FROM metrics")
    if runs[0]["id"] is not None:
        words["run_id = 1"] = f"run_id = {runs[0]['id']}"
    if args and not any(item["name"] == "lr" for item in args):
        words["args ->> 'lr' AS lr"] = f"{args[0]['sql']} AS {_identifier(args[0]['name'])}"
        words["args ->> 'lr'"] = args[0]["sql"]
    if not words:
        return list(EXAMPLES)
    pattern = re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in sorted(words, key=len, reverse=True)))
    return [
        Example(example.title, pattern.sub(lambda found: words[found.group()], example.sql)) for example in EXAMPLES
    ]
