"""Choose an experiment and a metric, and see the best runs and their curves; they update with each choice.

`marimo run marimo_notebook.py` shows it as a page, `marimo edit marimo_notebook.py` with its code. SQLTrack's
configuration names the database; generate_experiment_data.py fills it with runs to look at. Requires: pip install
"sqltrack[full]" marimo
"""

import marimo

app = marimo.App(width="medium", app_title="Experiments")


@app.cell
def _():
    import marimo as mo
    import plotly.graph_objects as go

    import sqltrack
    import sqltrack.notebook as stn
    from sqltrack import queries
    from sqltrack.pandas import query_dataframe

    client = sqltrack.Client()
    return client, go, mo, queries, query_dataframe, sqltrack, stn


@app.cell
def _(client, mo, query_dataframe):
    experiments = query_dataframe(client, "SELECT id, name FROM experiments ORDER BY id")
    mo.stop(experiments.empty, mo.md("The database has no experiments yet."))
    columns = list(
        query_dataframe(client, "SELECT * FROM metrics WHERE run_id IS NULL").select_dtypes("number").columns
    )
    metrics = [name for name in columns if name not in ("run_id", "step", "progress")]
    names = dict(zip(experiments["name"], experiments["id"]))
    experiment = mo.ui.dropdown(names, value=next(iter(names)), label="Experiment")
    metric = mo.ui.dropdown(metrics, value="val_top1" if "val_top1" in metrics else metrics[0], label="Metric")
    direction = mo.ui.radio({"greatest": True, "smallest": False}, value="greatest", label="Best is the", inline=True)
    shown = mo.ui.slider(1, 20, value=5, label="Curves of the best", show_value=True)
    return direction, experiment, metric, shown


@app.cell
def _(direction, experiment, metric, mo, shown):
    mo.vstack([mo.md("# Experiments"), mo.hstack([experiment, metric, direction, shown], wrap=True, justify="start")])
    return


@app.cell
def _(client, direction, experiment, metric, queries, query_dataframe):
    best = queries.best_values(metric.value, maximize=direction.value)
    quoted = '"' + metric.value.replace('"', '""') + '"'
    runs = query_dataframe(
        client,
        f"""
        SELECT runs.id, runs.status, best.step, best.{quoted}, runs.time_updated AS updated, runs.tags, runs.args
        FROM runs JOIN ({best.sql}) AS best ON best.run_id = runs.id
        WHERE runs.experiment_id = %s
        """,
        (*best.parameters, int(experiment.value)),
    ).sort_values(metric.value, ascending=not direction.value, ignore_index=True)
    return (runs,)


@app.cell
def _(mo, runs, stn):
    mo.vstack(
        [
            mo.Html(f"<style>{stn.stylesheet()}</style>"),
            mo.Html(stn.format_dataframe(runs.head(20)).to_html(escape=False, index=False, border=0)),
        ]
    )
    return


@app.cell
def _(client, go, metric, mo, queries, query_dataframe, runs, shown):
    mo.stop(runs.empty, mo.md("No run of this experiment has a value."))
    chosen = runs["id"].head(shown.value).tolist()
    curves = query_dataframe(client, *queries.merged_curves(metric.value, run_ids=chosen))
    figure = go.Figure(
        layout={"template": "plotly_white", "xaxis": {"title": "step"}, "yaxis": {"title": metric.value}}
    )
    for merged_id, curve in curves.dropna(subset=[metric.value]).groupby("merged_id"):
        figure.add_scatter(x=curve["step"], y=curve[metric.value], name=f"run {merged_id}")
    mo.ui.plotly(figure)
    return curves, figure


if __name__ == "__main__":
    app.run()
