"""Names and calls from other trackers are errors that suggest the right call."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import pytest

import sqltrack
from sqltrack import Client, Experiment, Run, _habits, run_add_metrics
from sqltrack.errors import UnusableValueError

METRICS = "run.add_metrics({'loss': 0.5}, step=step)"

HABITS = [
    *(("run", name, METRICS) for name in ("log", "log_metric", "log_metrics", "add_scalar", "log_scalar", "append")),
    *(("run", name, "run.add_args({'lr': 0.1})") for name in ("log_param", "log_params", "config", "hparams")),
    *(("run", name, "run.stop()") for name in ("finish", "end_run", "end", "close", "set_terminated")),
    *(("run", name, "run.add_tags('baseline')") for name in ("set_tag", "add_tag")),
    *(("run", name, "run.add_extras(") for name in ("summary", "log_artifact", "log_model", "add_image", "save")),
    *(("run", name, f"SELECT {name} FROM runs WHERE id = %s") for name in ("args", "status", "tags", "env", "extras")),
    ("run", "name", "run.id"),
    ("run", "notes", "run.set_comment("),
    ("run", "run_id", "run.id"),
    ("run", "metrics", "SELECT * FROM metrics"),
    ("run", "get_run", "an experiment has it"),
    ("run", "execute", "client.execute("),
    ("run", "add_metric_s", "did you mean 'add_metrics'?"),
    ("experiment", "add_metrics", "a run has it: run = experiment.get_run()"),
    ("experiment", "log", f"a run has it: run = experiment.get_run(); use: {METRICS}"),
    ("experiment", "track", "experiment.get_run()"),
    ("experiment", "start_run", "experiment.get_run()"),
    ("experiment", "name", "SELECT name FROM experiments"),
    ("experiment", "get_runs", "SELECT * FROM runs"),
    ("client", "create_experiment", "Experiment(client, name='digits')"),
    ("client", "log_metric", METRICS),
    ("client", "add_args", "a run has it"),
    ("client", "connect", "with client as connection:"),
    ("client", "close", "closes its connection"),
    ("client", "query", "client.execute('SELECT …')"),
    ("client", "search_runs", "client.execute('SELECT * FROM runs')"),
    ("sqltrack", "init", "with sqltrack.track('digits') as run:"),
    ("sqltrack", "start_run", "with sqltrack.track('digits') as run:"),
    ("sqltrack", "SummaryWriter", "with sqltrack.track('digits') as run:"),
    ("sqltrack", "log", METRICS),
    ("sqltrack", "log_metric", METRICS),
    ("sqltrack", "log_params", "run.add_args({'lr': 0.1})"),
    ("sqltrack", "finish", "run.stop()"),
    ("sqltrack", "set_experiment", "sqltrack.Experiment(client, name='digits')"),
    ("sqltrack", "set_tracking_uri", "sqltrack.Client('runs.db')"),
    ("sqltrack", "Runs", "did you mean 'Run'?"),
]


@pytest.mark.parametrize(("owner", "name", "advice"), HABITS, ids=[f"{owner}.{name}" for owner, name, _ in HABITS])
def test_names_from_elsewhere_lead_to_the_right_call(set_up: Client, owner: str, name: str, advice: str) -> None:
    with pytest.raises(AttributeError) as raised:
        getattr(_objects(set_up)[owner], name)
    message = str(raised.value)
    assert re.match(r"('\w+' object|module 'sqltrack') has no attribute '\w+'; ", message)
    assert advice in message
    assert (len(message) < 200, "\n" in message) == (True, False)


@pytest.fixture(scope="module")
def set_up(tmp_path_factory: pytest.TempPathFactory) -> Client:
    """Client of a database after setup; the engine makes no difference."""
    from sqltrack.commands import setup

    client = Client(engine="sqlite", dbpath=tmp_path_factory.mktemp("habits") / "runs.db")
    setup(client)
    return client


def _objects(client: Client) -> dict[str, Any]:
    experiment = Experiment(client, name="digits")
    return {"client": client, "experiment": experiment, "run": experiment.get_run(), "sqltrack": sqltrack}


def test_advice_names_existing_methods(set_up: Client) -> None:
    """The suggested methods exist, and no existing name gets a suggestion."""
    objects = _objects(set_up)
    planned = {"track"}  # of the package
    for owner, hints in (
        ("client", _habits._OF_CLIENT),
        ("experiment", _habits._OF_EXPERIMENT),
        ("run", _habits._OF_RUN),
    ):
        assert [name for name in hints if hasattr(type(objects[owner]), name)] == []
        for advice in hints.values():
            for known, method in re.findall(r"\b(client|experiment|run)\.(\w+)", advice):
                assert hasattr(objects[known], method), advice
    for advice in _habits._OF_MODULE.values():
        for name in re.findall(r"\bsqltrack\.(\w+)\(", advice):
            assert name in planned or hasattr(sqltrack, name), advice


@pytest.mark.parametrize("owner", ["client", "experiment", "run"])
def test_special_names_of_python_and_notebooks_are_as_before(set_up: Client, owner: str) -> None:
    """Objects can be copied, pickled and shown, and lack the attributes that they should lack."""
    obj = _objects(set_up)[owner]
    for copied in (copy.copy(obj), copy.deepcopy(obj), pickle.loads(pickle.dumps(obj))):  # noqa: S301
        assert repr(copied) == repr(obj)
        assert getattr(copied, "id", None) == getattr(obj, "id", None)
    for name in ("_repr_html_", "_ipython_display_", "_ipython_canary_method_should_not_exist_", "__wrapped__", "log"):
        assert not hasattr(obj, name)
    with pytest.raises(AttributeError, match="has no attribute '_log'$"):
        obj._log  # noqa: B018
    assert "log" not in dir(obj)
    assert not isinstance(obj, Iterable)
    with pytest.raises(TypeError, match="not iterable"):
        iter(obj)
    # Before __init__ there is no state to ask.
    with pytest.raises(AttributeError, match="has no attribute 'id'"):
        type(obj).__new__(type(obj)).id  # noqa: B018


def test_notebooks_show_runs_by_their_repr(set_up: Client) -> None:
    formatters = pytest.importorskip("IPython.core.formatters")
    run = _objects(set_up)["run"]
    assert formatters.DisplayFormatter().format(run) == ({"text/plain": repr(run)}, {})


def test_subclasses_get_the_same_advice(set_up: Client) -> None:
    class Job(Run):
        pass

    job = Job(set_up, Experiment(set_up, name="digits").id)
    with pytest.raises(AttributeError, match="'Job' object has no attribute 'log'; use: run.add_metrics"):
        job.log({"loss": 1.0})  # type: ignore[attr-defined]


def test_runs_have_no_items(set_up: Client) -> None:
    """Neptune and Aim use run["loss"]."""
    run: Any = _objects(set_up)["run"]
    with pytest.raises(TypeError, match="'Run' object has no items; use: run.add_metrics"):
        run["loss"].append(0.5)
    with pytest.raises(TypeError, match="'Run' object has no items; use: run.add_metrics"):
        run["lr"] = 0.1


def test_a_run_is_no_block(set_up: Client) -> None:
    run = Experiment(set_up, name="digits").get_run()
    with pytest.raises(TypeError, match=r"use: with run\.track\(\): or with sqltrack\.track"), run:
        pass


def test_the_result_of_track_is_not_a_run(set_up: Client) -> None:
    tracked = sqltrack.track("digits", client=set_up)
    with pytest.raises(AttributeError, match=r"use: with sqltrack\.track\(…\) as run: or run = sqltrack\.start"):
        tracked.add_metrics({"loss": 0.5})
    assert not hasattr(tracked, "_repr_html_")


def test_modules_that_were_not_imported_say_so() -> None:
    """`import sqltrack` alone does not import `sqltrack.pandas`; `from sqltrack import …` does."""
    code = (
        "import sqltrack\n"
        "try: sqltrack.pandas\n"
        "except AttributeError as error: print(error)\n"
        "from sqltrack import statuses\n"
        "print(statuses.__name__)\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.splitlines() == [
        "module 'sqltrack' has no attribute 'pandas'; use: import sqltrack.pandas",
        "sqltrack.statuses",
    ]


CALLS: dict[str, tuple[Any, str]] = {
    "a name in place of the client": (
        lambda run: Experiment("digits"),  # type: ignore[arg-type]
        "client must be a Client, got 'digits'; use: Experiment(client, name='digits')",
    ),
    "a name in place of the id": (
        lambda run: Experiment(run.client, "digits"),  # type: ignore[arg-type]
        "experiment_id must be an int, got 'digits'; give a name as name=…",
    ),
    "a run without a client": (
        lambda run: Run(3),  # type: ignore[arg-type]
        "client must be a Client, got 3; use: client = sqltrack.Client()",
    ),
    "an experiment in place of its id": (
        lambda run: Run(run.client, Experiment(run.client, run.experiment_id)),  # type: ignore[arg-type]
        "give its id: experiment.id",
    ),
    "a run in place of its id": (
        lambda run: run_add_metrics(run.client, run, {"loss": 0.5}),
        "give its id: run.id",
    ),
    "a metric as two arguments": (
        lambda run: run.add_metrics("loss", 0.5),
        "metrics must be a dict of names and values, got 'loss'; use: add_metrics({'loss': 0.5}, step=step)",
    ),
    "a value alone": (
        lambda run: run.add_metrics(0.5),
        "metrics must be a dict of names and values, got 0.5; use: add_metrics({'loss': 0.5}, step=step)",
    ),
    "a fraction as step": (
        lambda run: run.add_metrics({"loss": 0.5}, step=0.5),
        "step must be an integer, got 0.5; a fraction goes to progress=…, a name into the dict",
    ),
    "tags in a list": (lambda run: run.add_tags(["a", "b"]), "add_tags('a', 'b')"),
    "tags with values": (lambda run: run.add_tags({"a": "b"}), "add_extras({'name': 'value'})"),
}


@pytest.mark.parametrize("call", CALLS)
def test_arguments_from_elsewhere_lead_to_the_right_call(run: Run, call: str) -> None:
    function, message = CALLS[call]
    with pytest.raises(UnusableValueError) as raised:
        function(run)
    assert message in str(raised.value)
