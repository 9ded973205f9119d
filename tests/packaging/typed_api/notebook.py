"""Public names for data frames and notebooks; only type checkers read this."""

from __future__ import annotations

import sqlite3
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pandas
import polars
import psycopg
from typing_extensions import assert_type

from sqltrack import Client
from sqltrack.notebook import (
    compare_runs,
    format_bool,
    format_comparison,
    format_dataframe,
    format_datetime,
    format_datetime_relative,
    format_float,
    format_json,
    format_marked,
    format_percentage,
    format_status,
    format_string,
    format_tags,
    format_timedelta,
    group_curves,
    init_notebook_mode,
    metric_curves,
    plot_metrics,
    seed_statistics,
    stylesheet,
    textcolor,
    to_html,
)
from sqltrack.pandas import query_dataframe
from sqltrack.polars import query_polars
from sqltrack.queries import best_values
from sqltrack.util import SQL, Identifier


def query(client: Client, sqlite: sqlite3.Cursor, postgres: psycopg.Cursor[Any]) -> None:
    assert_type(query_dataframe(client, "SELECT * FROM metrics"), pandas.DataFrame)
    assert_type(query_dataframe(client, *best_values("loss")), pandas.DataFrame)
    assert_type(query_dataframe(sqlite, "SELECT %s", parameters=[1]), pandas.DataFrame)
    assert_type(query_polars(client, SQL("SELECT {}").format(Identifier("id")), {"id": 1}), polars.DataFrame)
    assert_type(query_polars(postgres, "SELECT 1"), polars.DataFrame)


def show(frame: pandas.DataFrame) -> None:
    init_notebook_mode()
    assert_type(format_dataframe(frame), pandas.DataFrame)
    formatting = {"loss": format_float, "progress": None}
    assert_type(format_dataframe(frame, formatting, "", False, string_ellipsis=False), pandas.DataFrame)
    assert_type(format_dataframe(frame, {"loss": lambda loss: f"{loss:.5f}"}), pandas.DataFrame)
    assert_type(format_comparison(frame), pandas.DataFrame)
    assert_type(to_html(frame), str)
    assert_type(stylesheet(), str)


def analyze(client: Client) -> None:
    assert_type(compare_runs(client, 3, 20, formatting={"loss (last)": format_float}, env=False), pandas.DataFrame)
    assert_type(seed_statistics(client, "accuracy", ["seed", "fold"], experiment="digits"), pandas.DataFrame)


def plot(client: Client) -> None:
    curves = metric_curves(client, [1, 2], "loss", x=("metric", "time"), smoothing=0.9, join=True)
    assert_type(curves, pandas.DataFrame)
    assert_type(group_curves(curves, {1: "a", 2: "b"}, band="ci"), pandas.DataFrame)
    plot_metrics(client, [1, 2], ["loss", "accuracy"])
    plot_metrics(client, range(5), "loss", group_by=["model", "lr"], band="sem", log_y=True, width=8.5)


def format_values() -> None:
    assert_type(format_datetime(datetime.now(timezone.utc), "T", timespec="minutes"), str)
    assert_type(format_datetime_relative(date.today(), na_rep=""), str)
    assert_type(format_timedelta(timedelta(seconds=5)), str)
    assert_type(format_float(0.5, ".3f"), str)
    assert_type(format_percentage(0.5, mul=1, spec=".0f"), str)
    assert_type(format_bool(True), str)
    assert_type(format_marked(False), str)
    assert_type(format_string("text", "right"), str)
    assert_type(format_json({"a": [1]}), str)
    assert_type(format_status("RUNNING"), str)
    assert_type(format_tags({"a": True}), str)
    assert_type(format_tags(["a", "b"]), str)
    assert_type(textcolor("a", ["red", "green"]), str)
