"""Train with Lightning, and find in the run what Lightning's own logger of CSV files has."""

from __future__ import annotations

import copy
import csv
import math
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

import sqltrack
from sqltrack.integrations.lightning import SQLTrackLogger

pytestmark = pytest.mark.filterwarnings("ignore")

Rows = Callable[[Any], list[dict[str, Any]]]

LONG = {"prompt": "x" * 10_000, "layers": [{"size": 3, "bias": None}]}

IMPORTS = """
import torch, lightning.pytorch as pl
from torch.utils.data import DataLoader, TensorDataset
from sqltrack.integrations.lightning import SQLTrackLogger
"""

SCRIPT = """
class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
    def training_step(self, batch, index):
        loss = self.layer(batch[0]).mean()
        self.log("loss", loss)
        if index == 2:
            strike()
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

trainer = pl.Trainer(
    logger=SQLTrackLogger(experiment="digits", client=client), max_epochs=1, log_every_n_steps=1, accelerator="cpu",
    enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
)
trainer.fit(Model(), DataLoader(TensorDataset(torch.ones(8, 1)), 2))
"""


class Model(pl.LightningModule):
    """A tiny model.

    Args:
        at: called with the number of each batch.
        nan: whether the loss is NaN.
        options: become a hyperparameter.
    """

    def __init__(self, at: Callable[[int], None] = print, nan: bool = False, options: Any = None) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["at"])
        self.layer = torch.nn.Linear(3, 1)
        self._at = at
        self._nan = nan

    def training_step(self, batch: Any, index: int) -> Any:
        loss = self.layer(batch[0]).square().mean()
        self.log("loss", loss * math.nan if self._nan else loss, on_step=True, on_epoch=True)
        self._at(self.global_step)
        return loss

    def validation_step(self, batch: Any, index: int, dataloader_idx: int = 0) -> None:
        self.log("val_loss", self.layer(batch[0]).square().mean())

    test_step = validation_step

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.01)


def data() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(torch.randn(40, 3, generator=generator)), 4)


def trainer(logger: Any, folder: Path, **options: Any) -> pl.Trainer:
    given = {"max_epochs": 2, "log_every_n_steps": 2, **options}
    return pl.Trainer(
        logger=logger,
        default_root_dir=str(folder),
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        **given,
    )


def merged(path: Path) -> list[dict[str, float]]:
    """Return the rows of Lightning's CSV file, which has several for one step."""
    rows: dict[int, dict[str, float]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            values = {name: float(value) for name, value in row.items() if value}
            rows.setdefault(int(values.pop("step")), {}).update(values)
    return [{"step": step, **rows[step]} for step in sorted(rows)]


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2}], ids=["each_batch", "accumulated"])
def test_a_run_has_the_rows_of_lightnings_own_logger(
    client: sqltrack.Client, rows: Rows, tmp_path: Path, options: dict[str, Any]
) -> None:
    logger = SQLTrackLogger(experiment="digits", client=client)
    own = CSVLogger(str(tmp_path))
    t = trainer([logger, own], tmp_path, **options)
    t.fit(Model(), data(), [data(), data()])
    t.test(Model(), data(), verbose=False)
    own.save()
    expected = merged(Path(own.log_dir, "metrics.csv"))
    found = rows(logger.run)
    assert len(found) == len(expected)
    assert found == [pytest.approx(row) for row in expected]
    assert "val_loss/dataloader_idx_1" in {name for row in found for name in row}
    assert logger.run is not None
    sql = "SELECT MAX(progress), (SELECT status FROM runs) FROM metrics"
    assert client.execute(sql).fetchone() == (1.0, "COMPLETED")


def test_nan_and_long_and_nested_hyperparameters_arrive_unchanged(
    client: sqltrack.Client, rows: Rows, look: Callable[..., Any], tmp_path: Path
) -> None:
    logger = SQLTrackLogger(experiment="digits", client=client)
    trainer(logger, tmp_path, max_epochs=1).fit(Model(nan=True, options=LONG), data())
    assert look(logger.run, "args") == {"nan": True, "options": LONG}
    assert math.isnan(rows(logger.run)[-1]["loss_epoch"])


def test_checkpoints_are_below_experiment_and_run(
    client: sqltrack.Client, look: Callable[..., Any], tmp_path: Path
) -> None:
    logger = SQLTrackLogger(experiment="digits", client=client, save_dir=str(tmp_path / "saved"))
    checkpoint = pl.callbacks.ModelCheckpoint(monitor="val_loss", save_last=True)
    t = trainer(logger, tmp_path, callbacks=[checkpoint])
    t.fit(Model(), data(), data())
    assert logger.run is not None
    folder = tmp_path / "saved" / "digits" / f"version_{logger.run.id}" / "checkpoints"
    stored = look(logger.run, "extras")["checkpoint"]
    assert Path(stored["best"]).parent == Path(stored["last"]).parent == folder
    assert Path(stored["best"]).exists()
    assert stored["monitor"] == "val_loss"
    assert stored["best_value"] == pytest.approx(float(checkpoint.best_model_score))  # type: ignore[arg-type]
    # A logger for the same run finds the folder again.
    assert SQLTrackLogger(logger.run).name == "digits"


def test_a_training_continues_its_run_from_a_checkpoint(client: sqltrack.Client, rows: Rows, tmp_path: Path) -> None:
    def stop(step: int) -> None:
        if step == 17:
            raise RuntimeError("no convergence")

    logger = SQLTrackLogger(experiment="digits", client=client)
    with pytest.raises(RuntimeError):
        trainer(logger, tmp_path, max_epochs=2, enable_checkpointing=True).fit(Model(stop), data())
    assert logger.run is not None
    assert client.execute("SELECT status FROM runs").fetchall() == [("FAILED",)]
    assert rows(logger.run)[-1]["step"] == 15
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    again = SQLTrackLogger(sqltrack.Run(client, None, logger.run.id))
    own = CSVLogger(str(tmp_path))
    t = trainer([again, own], tmp_path, max_epochs=3)
    t.fit(Model(), data(), ckpt_path=str(checkpoint))
    own.save()
    assert [row["step"] for row in rows(logger.run)] == list(range(1, 30, 2))
    later = merged(Path(own.log_dir, "metrics.csv"))
    assert rows(logger.run)[5:] == [pytest.approx(row) for row in later]
    assert client.execute("SELECT status FROM runs").fetchall() == [("COMPLETED",)]


def test_an_outage_changes_nothing(
    patient_client: sqltrack.Client, outage: Callable[[bool], None], rows: Rows, waits: Any, tmp_path: Path
) -> None:
    logger = SQLTrackLogger(experiment="digits", client=patient_client)
    own = CSVLogger(str(tmp_path))
    trainer([logger, own], tmp_path).fit(Model(lambda step: outage(5 <= step < 15)), data(), data())
    own.save()
    assert logger.run is not None
    assert logger.run.flush(60)
    assert rows(logger.run) == [pytest.approx(row) for row in merged(Path(own.log_dir, "metrics.csv"))]
    assert len(waits()) == 1


@pytest.mark.engines("sqlite", reason="the frameworks end in the same way, whatever the database")
def test_a_training_that_does_not_reach_its_end_is_not_completed(
    end_in_all_ways: Callable[..., None], ending_statuses: dict[str, str]
) -> None:
    end_in_all_ways(IMPORTS, SCRIPT, ending_statuses | {"sys.exit()": "FAILED"})


@pytest.mark.engines("sqlite", reason="the database is not used")
def test_pickled_and_copied_loggers_work(client: sqltrack.Client, rows: Rows, tmp_path: Path) -> None:
    logger = SQLTrackLogger(experiment="digits", client=client)
    trainer(logger, tmp_path, max_epochs=1).fit(Model(), data())
    for other in (copy.deepcopy(logger), pickle.loads(pickle.dumps(logger))):  # noqa: S301
        assert other.version == logger.version
        other.log_metrics({"extra": 1.0}, 100)
    assert rows(logger.run)[-1] == {"step": 100, "extra": 1.0}


@pytest.mark.engines("sqlite", reason="the database does not matter")
def test_the_command_line_of_lightning_creates_the_logger(
    config: dict[str, Any], client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # It warns about deprecated features when it is imported.
    from lightning.pytorch.cli import LightningCLI

    for name, value in config.items():
        monkeypatch.setenv(f"SQLTRACK_DSN_{name.upper()}", str(value))
    path = "sqltrack.integrations.lightning.SQLTrackLogger"
    logger = [f"--trainer.logger={path}", "--trainer.logger.experiment=digits"]
    options = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", f"--trainer.default_root_dir={tmp_path}"]
    monkeypatch.setattr(sys, "argv", ["train.py", "fit", *logger, *options])
    LightningCLI(CommandLineModel, save_config_callback=None)
    assert client.execute("SELECT name FROM experiments").fetchall() == [("digits",)]
    assert client.execute("SELECT COUNT(*) FROM metrics").fetchone()[0] > 0


class CommandLineModel(Model):
    def __init__(self) -> None:
        super().__init__()

    def train_dataloader(self) -> Any:
        return data()


def test_a_program_may_log_through_the_logger(client: sqltrack.Client, rows: Rows) -> None:
    logger = SQLTrackLogger(experiment="digits", client=client)
    logger.experiment.add_metrics({"accuracy": 0.5}, step=3)
    logger.log_metrics({"loss": 0.5}, 4)
    logger.log_metrics({"error": 0.5})
    logger.finalize("success")
    assert rows(logger.run) == [{"step": 3, "accuracy": 0.5}, {"step": 4, "loss": 0.5, "error": 0.5}]


def test_on_other_ranks_the_logger_does_nothing(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    logger = SQLTrackLogger(experiment="digits", client=client)
    logger.experiment.add_metrics({"accuracy": 0.5})
    logger.log_metrics({"loss": 0.5}, 1)
    assert logger.version == ""
    assert logger.name == "sqltrack"
    assert client.execute("SELECT COUNT(*) FROM runs").fetchone()[0] == 0
