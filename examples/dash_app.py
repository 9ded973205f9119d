"""A user interface of your own with Dash: the runs of an experiment, their curves, and how they differ.

    python dash_app.py
    python dash_app.py --port 8051

Then open the printed address. The page is on your machine only. Its address holds all that you chose, so you can
bookmark it, and go back and forward.

SQLTrack's configuration names the database; generate_experiment_data.py fills it with runs to look at. Requires: pip
install "sqltrack[full]" dash dash-ag-grid
"""

from __future__ import annotations

import argparse
import json
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode

import pandas as pd
import plotly.graph_objects as go
from dash import Dash, Input, Output, ctx, dcc, html, no_update
from dash_ag_grid import AgGrid

import sqltrack
from sqltrack import queries
from sqltrack.pandas import query_dataframe

# Runs whose curves are drawn until you select some.
BEST = 3
NUMBER = {"function": "params.value == null ? '' : d3.format('.5~g')(params.value)"}
# Properties of the page's components that the callback reads, and those that it sets.
READ = ["address.search", "experiment.value", "metric.value", "best.value", "runs.selectedRows"]
SET = [*READ, "experiment.options", "metric.options", "runs.rowData", "runs.columnDefs", "curves.figure"]
SET += ["comparison.children"]
STYLE = {"fontFamily": "system-ui, sans-serif", "maxWidth": 1100, "margin": "0 auto", "padding": 16}
ROW = {"display": "flex", "flexWrap": "wrap", "gap": 16, "alignItems": "end"}
WIDE = {"flex": "1 1 16rem"}


class Choice(NamedTuple):
    """What the page shows; its address holds these values.

    Attributes:
        experiment: id of the experiment, None for the newest.
        metric: name of the metric, None for the first.
        best: "max" or "min", which value of the metric is the best; None to guess.
        runs: ids of the selected runs.
    """

    experiment: int | None = None
    metric: str | None = None
    best: str | None = None
    runs: tuple[int, ...] = ()


def read_choice(address: str | None) -> Choice:
    """Return the choice in the query of an address, such as "?experiment=1&metric=loss&best=min&runs=3,5"."""
    values = {name: texts[0] for name, texts in parse_qs((address or "").removeprefix("?")).items()}
    experiment, best = values.get("experiment", ""), values.get("best")
    runs = [int(text) for text in values.get("runs", "").split(",") if text.isdecimal()]
    return Choice(
        int(experiment) if experiment.isdecimal() else None,
        values.get("metric"),
        best if best in ("max", "min") else None,
        tuple(dict.fromkeys(runs)),
    )


def write_choice(choice: Choice) -> str:
    """Return the query of the address for a choice."""
    values = {**choice._asdict(), "runs": ",".join(map(str, choice.runs))}
    return "?" + urlencode({name: value for name, value in values.items() if value}, safe=",")


def complete(client: sqltrack.Client, choice: Choice) -> Choice:
    """Return a choice with values for all that it leaves open, or that is gone; None for what does not exist."""
    experiments = read_experiments(client)
    experiment = choice.experiment if choice.experiment in experiments else next(iter(experiments), None)
    metrics = [] if experiment is None else read_metrics(client, experiment)
    metric = choice.metric if choice.metric in metrics else next(iter(metrics), None)
    return Choice(experiment, metric, choice.best or ("min" if "loss" in str(metric) else "max"), choice.runs)


def read_experiments(client: sqltrack.Client) -> dict[int, str]:
    """Return the names of all experiments by id, the newest first."""
    frame = query_dataframe(client, "SELECT id, name FROM experiments ORDER BY id DESC")
    return dict(zip(frame["id"].tolist(), frame["name"]))


def read_metrics(client: sqltrack.Client, experiment: int) -> list[str]:
    """Return the metrics with numbers that an experiment's runs have, those of validation first."""
    columns = query_dataframe(client, "SELECT * FROM metrics WHERE run_id IS NULL").select_dtypes("number").columns
    names = [name for name in columns if name not in ("run_id", "step", "progress")]
    if not names:
        return []
    counts = ", ".join(f"COUNT({queries.column_sql(name)})" for name in names)
    sql = f"SELECT {counts} FROM metrics JOIN runs ON runs.id = metrics.run_id WHERE runs.experiment_id = %s"
    counted = zip(names, queries.first_row(client, sql, (experiment,)))
    return sorted((name for name, count in counted if count), key=lambda name: not name.startswith("val"))


def read_runs(client: sqltrack.Client, choice: Choice) -> pd.DataFrame:
    """Return the runs of an experiment, the best first, with columns for the arguments in which they differ."""
    assert choice.metric is not None
    best = queries.best_values(choice.metric, maximize=choice.best == "max")
    value = queries.column_sql(choice.metric, "best")
    sql = f"""
        SELECT runs.id, runs.status, best.step, {value} AS value
        FROM runs LEFT JOIN ({best.sql}) AS best ON best.run_id = runs.id
        WHERE runs.experiment_id = %s
    """
    frame = query_dataframe(client, sql, (*best.parameters, choice.experiment))
    runs: pd.DataFrame = frame.sort_values("value", ascending=choice.best == "min", ignore_index=True)
    # Arguments may have the names of columns.
    args: pd.DataFrame = read_differences(client, runs["id"].tolist()).T.add_prefix("args.")
    joined: pd.DataFrame = runs.join(args, on="id")
    return joined


def read_differences(client: sqltrack.Client, runs: list[int]) -> pd.DataFrame:
    """Return the arguments in which runs differ: a row for each argument, and a column for each run."""
    args = query_dataframe(client, *queries.differing_args(client, runs)) if len(runs) > 1 else pd.DataFrame()
    differences: pd.DataFrame = pd.DataFrame(columns=runs)
    if not args.empty:
        args["value"] = args["value"].map(read_json)
        differences = args.pivot(index="name", columns="run_id", values="value").reindex(columns=runs)
    return differences


def read_json(text: str) -> Any:
    """Return a text, number or truth value for its JSON; objects and lists stay JSON."""
    value = json.loads(text)
    return text if isinstance(value, (dict, list)) else value


def draw_curves(client: sqltrack.Client, metric: str, runs: list[int]) -> go.Figure:
    """Return the curves of runs; a run and those that it resumes have one curve."""
    axes = {"xaxis": {"title": "step"}, "yaxis": {"title": metric}}
    figure = go.Figure(layout={**axes, "template": "plotly_white", "height": 380, "margin": {"t": 16}})
    if runs:
        curves = query_dataframe(client, *queries.merged_curves(metric, run_ids=runs)).dropna(subset=[metric])
        for run_id, curve in curves.groupby("merged_id"):
            figure.add_scatter(x=curve["step"], y=curve[metric], name=f"run {run_id}")
    return figure


def show_runs(runs: pd.DataFrame, metric: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return rows and columns of the table of runs."""
    # AG Grid would take dots in the names of fields for paths.
    fields = {name: f"field_{place}" for place, name in enumerate(runs.columns)}
    own = {"value": {"headerName": metric, "valueFormatter": NUMBER}}
    columns = [{"field": field, **own.get(name, {"headerName": name})} for name, field in fields.items()]
    rows = runs.astype(object).where(runs.notna(), None).rename(columns=fields)
    records: Any = rows.assign(id=runs["id"].astype(str)).to_dict("records")
    return records, columns


def show_differences(differences: pd.DataFrame, runs: pd.DataFrame, metric: str) -> html.Table:
    """Return the comparison as a table: the best values, and the arguments in which the runs differ."""
    best = runs.set_index("id")["value"]
    values: dict[Any, list[str]] = {metric: [f"{best[run_id]:.5g}" for run_id in differences.columns]}
    values |= {name: ["–" if pd.isna(value) else str(value) for value in row] for name, row in differences.iterrows()}
    head = html.Tr([html.Th("run"), *(html.Th(run_id) for run_id in differences.columns)])
    body = [html.Tr([html.Th(name), *map(html.Td, cells)]) for name, cells in values.items()]
    return html.Table([html.Thead(head), html.Tbody(body)], style={"textAlign": "left", "borderSpacing": "20px 4px"})


def build_layout() -> html.Main:
    """Return the parts of the page, which are empty until its address was read."""
    best = dcc.RadioItems({"max": "largest", "min": "smallest"}, id="best", inline=True)
    names = ("experiment", "metric")
    lists = [html.Label([name.title(), dcc.Dropdown(id=name, clearable=False)], style=WIDE) for name in names]
    selection = {"rowSelection": {"mode": "multiRow"}}
    parts = [
        dcc.Location(id="address", refresh=False),
        html.H1("Experiments"),
        html.Div([*lists, html.Fieldset([html.Legend("Best value"), best], style={"margin": 0})], style=ROW),
        html.H2("Runs"),
        AgGrid(id="runs", getRowId="params.data.id", dashGridOptions=selection, style={"height": 320}),
        html.H2("Curves"),
        dcc.Graph(id="curves"),
        html.H2("Comparison"),
        html.Div(id="comparison"),
    ]
    return html.Main(parts, style=STYLE)


def build_app(client: sqltrack.Client) -> Dash:
    """Return the page. Its address is the only state: controls change the address, and all follows the address."""
    app = Dash(__name__, title="Experiments", update_title="", serve_locally=True)
    app.layout = build_layout

    def update(address: str | None, experiment: Any, metric: Any, best: Any, selected: Any) -> Any:
        shown = choice = complete(client, read_choice(address))
        if ctx.triggered_id not in (None, "address"):
            # The table tells the runs in its own order.
            runs = shown.runs if set(selected_runs(selected)) == set(shown.runs) else selected_runs(selected)
            choice = Choice(experiment, metric, best, runs if experiment == shown.experiment else ())
            if choice == shown:
                return no_update
            choice = complete(client, choice)
        parts = show(client, choice, selected_runs(selected))
        if choice != shown:
            parts["address.search"] = write_choice(choice)
        if choice != shown and choice[:3] == shown[:3]:
            # More rows may be selected in the meantime, so the table is left alone.
            parts |= {"runs.rowData": no_update, "runs.columnDefs": no_update}
        return parts

    # A single callback sees all changes in their order. Two that trigger each other lose some of several quick clicks.
    app.callback({name: Output(*name.split(".")) for name in SET}, [Input(*name.split(".")) for name in READ])(update)
    return app


def selected_runs(selected: Any) -> tuple[int, ...]:
    """Return the ids of the selected rows: a list if the user selected them, an object if the page did."""
    names = selected["ids"] if isinstance(selected, dict) else [row["id"] for row in selected or []]
    return tuple(map(int, names))


def show(client: sqltrack.Client, choice: Choice, selected: tuple[int, ...]) -> dict[str, Any]:
    """Return what the parts of the page show for a choice, by property."""
    parts: dict[str, Any] = dict.fromkeys(SET, no_update)
    parts |= {"experiment.value": choice.experiment, "metric.value": choice.metric, "best.value": choice.best}
    if set(choice.runs) != set(selected):
        parts["runs.selectedRows"] = {"ids": list(map(str, choice.runs))}
    parts["experiment.options"] = [{"label": name, "value": id_} for id_, name in read_experiments(client).items()]
    if choice.experiment is None or choice.metric is None:
        nothing = {"metric.options": [], "runs.rowData": [], "runs.columnDefs": [], "curves.figure": go.Figure()}
        return parts | nothing | {"comparison.children": "No run has a metric with numbers yet."}
    runs = read_runs(client, choice)
    known = runs["id"].tolist()
    shown = [run_id for run_id in choice.runs if run_id in known] or known[:BEST]
    parts["metric.options"] = read_metrics(client, choice.experiment)
    parts["runs.rowData"], parts["runs.columnDefs"] = show_runs(runs, choice.metric)
    parts["curves.figure"] = draw_curves(client, choice.metric, shown)
    parts["comparison.children"] = show_differences(read_differences(client, shown), runs, choice.metric)
    return parts


def main() -> None:
    """Serve the page on this machine until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Look at experiments with Dash.")
    parser.add_argument("--port", type=int, default=8050, help="port to listen on (default: %(default)s)")
    build_app(sqltrack.Client()).run(port=parser.parse_args().port)


if __name__ == "__main__":
    main()
