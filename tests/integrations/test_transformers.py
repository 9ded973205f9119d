"""Train with the Trainer of Transformers, and find its own history in the run."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PretrainedConfig, Trainer, TrainerCallback, TrainingArguments

import sqltrack
from sqltrack.integrations.transformers import SQLTrackCallback

pytestmark = pytest.mark.filterwarnings("ignore")

Rows = Callable[[Any], list[dict[str, Any]]]

LONG = {"prompt": "x" * 10_000, "layers": [{"size": 3, "bias": None}]}

IMPORTS = """
import torch
from transformers import Trainer, TrainingArguments
from sqltrack.integrations.transformers import SQLTrackCallback
"""

SCRIPT = """
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.calls = 0
    def forward(self, x, labels):
        self.calls += 1
        if self.calls == 3:
            strike()
        return {"loss": (self.layer(x) - labels).square().mean()}

data = [{"x": torch.ones(1), "labels": torch.zeros(1)}] * 16
options = dict(report_to="none", use_cpu=True, disable_tqdm=True, save_strategy="no", logging_steps=1)
arguments = TrainingArguments("out", num_train_epochs=1, per_device_train_batch_size=2, **options)
callback = SQLTrackCallback(experiment="digits", client=client)
Trainer(Model(), arguments, train_dataset=data, callbacks=[callback]).train()
"""


class Model(torch.nn.Module):
    """A tiny model with the configuration of a large one."""

    def __init__(self, nan: bool = False) -> None:
        super().__init__()
        self.config = PretrainedConfig(options=LONG)
        self.layer = torch.nn.Linear(1, 1)
        self._factor = math.nan if nan else 1.0

    def forward(self, x: Any, labels: Any) -> dict[str, Any]:
        output = self.layer(x)
        return {"loss": (output - labels).square().mean() * self._factor, "logits": output}


class At(TrainerCallback):
    """Calls a function with each global step."""

    def __init__(self, call: Callable[[int], None]) -> None:
        self._call = call

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._call(state.global_step)


DATA = [{"x": torch.tensor([float(i)]), "labels": torch.tensor([float(i % 2)])} for i in range(24)]


def trainer(folder: Path, callbacks: list[Any], nan: bool = False, **options: Any) -> Trainer:
    given = {"num_train_epochs": 2, "per_device_train_batch_size": 2, "logging_steps": 3, "eval_strategy": "epoch"}
    given.update(report_to="none", use_cpu=True, disable_tqdm=True, save_strategy="no")
    given.update(options)
    arguments = TrainingArguments(str(folder / "out"), **given)
    return Trainer(Model(nan), arguments, train_dataset=DATA, eval_dataset=DATA, callbacks=callbacks)


def history(t: Trainer) -> list[dict[str, Any]]:
    """Return the Trainer's history as rows, one for each step."""
    found: dict[int, dict[str, Any]] = {}
    for entry in t.state.log_history:
        found.setdefault(entry["step"], {}).update(entry)
    return list(found.values())


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 4}], ids=["each_batch", "accumulated"])
def test_a_run_has_the_rows_of_the_trainers_history(
    client: sqltrack.Client, rows: Rows, look: Callable[..., Any], tmp_path: Path, options: dict[str, Any]
) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    t = trainer(tmp_path, [callback], **options)
    t.train()
    assert rows(callback.run) == [pytest.approx(row) for row in history(t)]
    assert look(callback.run, "status") == "COMPLETED"
    assert look(callback.run, "args")["num_train_epochs"] == 2
    assert client.execute("SELECT MAX(progress) FROM metrics").fetchone()[0] == 1.0


def test_evaluations_and_predictions_after_the_training_are_in_the_same_run(
    client: sqltrack.Client, rows: Rows, look: Callable[..., Any], tmp_path: Path
) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    t = trainer(tmp_path, [callback])
    t.train()
    t.evaluate(metric_key_prefix="eval_other")
    metrics = t.predict(DATA).metrics  # type: ignore[arg-type]
    last = rows(callback.run)[-1]
    assert metrics is not None
    assert last["test_loss"] == pytest.approx(metrics["test_loss"])
    assert {"eval_loss", "eval_other_loss", "train_loss"} <= set(last)
    assert look(callback.run, "status") == "COMPLETED"


def test_nan_and_long_and_nested_parameters_arrive_unchanged(
    client: sqltrack.Client, rows: Rows, look: Callable[..., Any], tmp_path: Path
) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    trainer(tmp_path, [callback], nan=True, logging_nan_inf_filter=False, run_name="x" * 10_000).train()
    stored = look(callback.run, "args")
    assert stored["run_name"] == "x" * 10_000
    assert stored["model_config"]["options"] == LONG
    assert math.isnan(rows(callback.run)[0]["loss"])


def test_each_training_creates_a_run_unless_one_is_given(client: sqltrack.Client, tmp_path: Path) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    t = trainer(tmp_path, [callback], num_train_epochs=1)
    t.train()
    t.train()
    assert client.execute("SELECT id, status FROM runs ORDER BY id").fetchall() == [(1, "COMPLETED"), (2, "COMPLETED")]
    counts = client.execute("SELECT COUNT(*) FROM metrics GROUP BY run_id").fetchall()
    assert len(set(counts)) == 1


def test_a_training_continues_its_run_from_a_checkpoint(
    client: sqltrack.Client, rows: Rows, look: Callable[..., Any], tmp_path: Path
) -> None:
    def stop(step: int) -> None:
        if step == 11:
            raise RuntimeError("no convergence")

    saving = {"logging_steps": 1, "eval_strategy": "no", "save_strategy": "steps", "save_steps": 4}
    callback = SQLTrackCallback(experiment="digits", client=client)
    t = trainer(tmp_path, [callback, At(stop)], **saving)
    with pytest.raises(RuntimeError):
        t.train()
    run = callback.run
    assert run is not None
    assert [row["step"] for row in rows(run)] == list(range(1, 11))
    assert look(run, "extras")["checkpoint"]["last"].endswith("checkpoint-8")
    again = SQLTrackCallback(sqltrack.Run(client, None, run.id))
    t = trainer(tmp_path, [again], **saving, num_train_epochs=3)
    t.train(resume_from_checkpoint=look(run, "extras")["checkpoint"]["last"])
    assert [row["step"] for row in rows(run)] == list(range(1, 37))
    assert rows(run)[8:] == [pytest.approx(row) for row in history(t)[8:]]
    assert look(run, "status") == "COMPLETED"


def test_an_outage_changes_nothing(
    patient_client: sqltrack.Client, outage: Callable[[bool], None], rows: Rows, waits: Any, tmp_path: Path
) -> None:
    callback = SQLTrackCallback(experiment="digits", client=patient_client)
    t = trainer(tmp_path, [At(lambda step: outage(5 <= step < 20)), callback], logging_steps=1)
    t.train()
    assert callback.run is not None
    assert callback.run.flush(60)
    assert rows(callback.run) == [pytest.approx(row) for row in history(t)]
    assert len(waits()) == 1


@pytest.mark.engines("sqlite", reason="the frameworks end in the same way, whatever the database")
def test_a_training_that_does_not_reach_its_end_is_not_completed(end_in_all_ways: Callable[..., None]) -> None:
    end_in_all_ways(IMPORTS, SCRIPT)


@pytest.mark.engines("sqlite", reason="the database is not used")
def test_pickled_and_copied_callbacks_work(client: sqltrack.Client, rows: Rows, tmp_path: Path) -> None:
    callback = SQLTrackCallback(experiment="digits", client=client)
    trainer(tmp_path, [callback], num_train_epochs=1).train()
    for other in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):  # noqa: S301
        assert other.run.id == callback.run.id  # type: ignore[union-attr]
        trainer(tmp_path, [other], num_train_epochs=1).evaluate()
    assert rows(callback.run)
