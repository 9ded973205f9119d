"""Suggest the right call for names from other trackers: MLflow, W&B, TensorBoard, Neptune, Aim, Trackio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["missing_attribute", "missing_name", "no_block", "no_items"]


def _by_name(*groups: tuple[str, str]) -> Mapping[str, str]:
    return {name: advice for names, advice in groups for name in names.split()}


_METRICS = (
    "log log_metric log_metrics log_scalar log_scalars log_row add_metric add_scalar add_scalars append record",
    "run.add_metrics({'loss': 0.5}, step=step)",
)
_ARGS = (
    "config params parameters hparams hyperparameters log_param log_params log_args log_hparams log_hyperparams "
    "log_hyperparameters add_arg add_config add_hparams add_params set_config set_params save_hyperparameters",
    "run.add_args({'lr': 0.1})",
)
_TAGS = ("set_tag add_tag log_tag log_tags", "run.add_tags('baseline')")
_COMMENT = (
    "notes note description set_note set_notes set_description add_text log_text",
    "run.set_comment('what is new')",
)
_SUMMARY = ("summary set_summary log_summary log_dict add_extra", "run.add_extras({'test_top1': 0.9})")
_FILES = (
    "artifact artifacts log_artifact log_artifacts log_model log_code log_image log_figure log_table log_histogram "
    "add_image add_images add_figure add_audio add_video add_graph add_histogram add_embedding save upload "
    "upload_files use_artifact Artifact Image Audio Video Table Html Histogram Figure",
    "run.add_extras({'path': path}), as files stay where they are",
)
_STOP = (
    "finish end end_run close complete set_terminated set_finished done terminate",
    "run.stop(), or leave the block 'with run.track():'",
)
_START = ("begin init start_run resume", "'with run.track():' or run.start()")
_STORED = ("commit sync wait", "nothing, as values are stored when add_metrics returns")
_NEW_RUN = "experiment.get_run()"
_NEW_EXPERIMENT = "Experiment(client, name='digits')"
_TRACK = "with sqltrack.track('digits') as run:"


def _columns(table: str, names: str, what: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, f"client.execute('SELECT {name} FROM {table} WHERE id = %s', ({what}.id,)).fetchone()")
        for name in names.split()
    )


_OF_RUN = _by_name(
    *_columns("runs", "status comment tags args env extras time_created time_started time_updated", "run"),
    ("metrics history", "client.execute('SELECT * FROM metrics WHERE run_id = %s', (run.id,))"),
    *(_METRICS, _ARGS, _TAGS, _COMMENT, _SUMMARY, _FILES, _STOP, _START, _STORED),
    ("run_id uid uuid", "run.id"),
    ("experiment project", "run.experiment_id"),
    (
        "name run_name display_name title set_name",
        "run.id, and run.add_tags('baseline') or run.set_comment('…') to find a run again",
    ),
    ("define_metric", "run.add_metrics(…, step=step, progress=progress)"),
    ("delete", "sqltrack rm RUN"),
)

_OF_EXPERIMENT = _by_name(
    *_columns("experiments", "name comment tags", "experiment"),
    ("run new_run create_run start_run add_run init_run init start track", _NEW_RUN),
    (
        "runs get_runs list_runs search_runs",
        "client.execute('SELECT * FROM runs WHERE experiment_id = %s', (experiment.id,))",
    ),
    ("experiment_id", "experiment.id"),
    ("description notes set_description", "experiment.set_comment('what is new')"),
    ("set_tag add_tag", "experiment.add_tags('vision')"),
    ("rename", "experiment.set_name('digits')"),
    ("delete", "sqltrack rm --experiment NAME"),
)

_OF_CLIENT = _by_name(
    (
        "experiment project create_experiment get_experiment get_experiment_by_name set_experiment new_experiment init",
        _NEW_EXPERIMENT,
    ),
    ("run create_run new_run start_run", _NEW_RUN),
    ("connect connection open begin transaction", "with client as connection:"),
    ("close disconnect finish flush", "nothing, as each call and each 'with client:' block closes its connection"),
    ("query sql select read_sql", "client.execute('SELECT …'), or sqltrack.pandas.query_dataframe(client, 'SELECT …')"),
    ("fetchone fetchall fetchmany", "client.execute('SELECT …').fetchall()"),
    ("search_runs list_runs runs", "client.execute('SELECT * FROM runs')"),
    ("search_experiments list_experiments experiments", "client.execute('SELECT * FROM experiments')"),
)

_OF_MODULE = _by_name(
    ("init start_run run new_run create_run login autolog SummaryWriter", _TRACK),
    ("set_experiment create_experiment", "sqltrack." + _NEW_EXPERIMENT),
    ("connect set_tracking_uri MlflowClient Api", "sqltrack.Client('runs.db') or sqltrack.Client('postgresql://…')"),
    ("setup", "client.setup()"),
    ("query query_dataframe", "from sqltrack.pandas import query_dataframe"),
    ("search_runs", "sqltrack.Client().execute('SELECT * FROM runs')"),
    *(_METRICS, _ARGS, _TAGS, _COMMENT, _SUMMARY, _FILES, _STOP, _STORED),
)

_HINTS: Mapping[str, Mapping[str, str]] = {"Client": _OF_CLIENT, "Experiment": _OF_EXPERIMENT, "Run": _OF_RUN}


def missing_attribute(obj: object, name: str) -> AttributeError:
    """Return the error for a missing attribute of a client, experiment or run, with the name to use instead.

    Args:
        obj: the object; none of its attributes is read.
        name: name of the attribute.
    """
    cls = type(obj)
    message = f"{cls.__name__!r} object has no attribute {name!r}"
    # Python itself and notebooks often look up names with underscores.
    advice = None if name.startswith("_") else _advice(cls, name)
    return AttributeError(message if advice is None else f"{message}; {advice}", name=name, obj=obj)


def missing_name(name: str) -> AttributeError:
    """Return the error for a name that the package does not have, with the name to use instead."""
    message = f"module 'sqltrack' has no attribute {name!r}"
    advice = None if name.startswith("_") else _module_advice(name)
    return AttributeError(message if advice is None else f"{message}; {advice}", name=name)


def no_items(obj: object) -> TypeError:
    """Return the error for a run that is used like a dict, as Neptune's and Aim's are."""
    message = f"{type(obj).__name__!r} object has no items"
    return TypeError(f"{message}; use: run.add_metrics({{'loss': 0.5}}, step=step), or run.add_args({{'lr': 0.1}})")


def no_block() -> TypeError:
    """Return the error for a run that is used in a `with` statement, as W&B's and MLflow's are."""
    return TypeError("a run is not a context manager; use: with run.track(): or with sqltrack.track('digits') as run:")


def _advice(cls: type, name: str) -> str | None:
    hints = next((_HINTS[base.__name__] for base in cls.__mro__ if base.__name__ in _HINTS), {})
    if name in hints:
        return f"use: {hints[name]}"
    owner = _owner(name)
    if owner is not None:
        return owner
    if name in _OF_RUN:
        return f"a run has it: run = {_NEW_RUN}; use: {_OF_RUN[name]}"
    meant = _similar(name, [known for known in dir(cls) if not known.startswith("_")])
    return None if meant is None else f"did you mean {meant!r}?"


def _owner(name: str) -> str | None:
    """Return advice on the class that has a method which was looked up on another object."""
    from sqltrack.client import Client
    from sqltrack.experiment import Experiment
    from sqltrack.run import Run

    owners: tuple[tuple[Any, str], ...] = (
        (Experiment, f"an experiment has it: experiment = {_NEW_EXPERIMENT}"),
        (Run, f"a run has it: run = {_NEW_RUN}"),
        (Client, f"the client has it: client.{name}(…)"),
    )
    return next((advice for cls, advice in owners if name in vars(cls)), None)


def _module_advice(name: str) -> str | None:
    if name in _OF_MODULE:
        return f"use: {_OF_MODULE[name]}"
    if _is_module(name):
        return f"use: import sqltrack.{name}"
    if name in _OF_RUN:
        return f"use: {_OF_RUN[name]}"
    import sqltrack

    meant = _similar(name, sqltrack.__all__)
    return None if meant is None else f"did you mean {meant!r}?"


def _is_module(name: str) -> bool:
    from importlib.util import find_spec

    return name.isidentifier() and find_spec(f"sqltrack.{name}") is not None


def _similar(name: str, known: list[str]) -> str | None:
    import difflib

    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.75)), None)
