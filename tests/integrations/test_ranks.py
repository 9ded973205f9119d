"""Train with two processes, connected by gloo: one run, or one for each rank."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from support.variables import database_variables

TORCHRUN = """
import sys
import torch
from transformers import Trainer, TrainingArguments
from sqltrack.integrations.transformers import SQLTrackCallback

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
    def forward(self, x, labels):
        return {"loss": (self.layer(x) - labels).square().mean()}

data = [{"x": torch.ones(1), "labels": torch.zeros(1)}] * 16
options = dict(report_to="none", use_cpu=True, disable_tqdm=True, save_strategy="no", logging_steps=1)
arguments = TrainingArguments("out", num_train_epochs=1, per_device_train_batch_size=2, **options)
callback = SQLTrackCallback(experiment="digits", per_rank="per_rank" in sys.argv)
Trainer(Model(), arguments, train_dataset=data, callbacks=[callback]).train()
"""

LIGHTNING = """
import torch, lightning.pytorch as pl
from torch.utils.data import DataLoader, TensorDataset
from sqltrack.integrations.lightning import SQLTrackLogger

class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
    def training_step(self, batch, index):
        loss = self.layer(batch[0]).square().mean()
        self.log("loss", loss, sync_dist=True)
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)

if __name__ == "__main__":
    trainer = pl.Trainer(
        logger=SQLTrackLogger(experiment="digits"), max_epochs=1, log_every_n_steps=1, accelerator="cpu", devices=2,
        strategy="STRATEGY", enable_progress_bar=False, enable_model_summary=False,
    )
    trainer.fit(Model(), DataLoader(TensorDataset(torch.ones(16, 1)), 2))
"""

ACCELERATE = """
from accelerate import Accelerator
from sqltrack.integrations.accelerate import SQLTrackTracker

tracker = SQLTrackTracker(experiment="digits", per_rank=True)
accelerator = Accelerator(log_with=tracker, cpu=True)
accelerator.init_trackers("digits")
for step in range(3):
    tracker.log({"rank": accelerator.process_index}, step=step)
accelerator.end_training()
"""


def run(config: dict[str, Any], folder: Path, text: str, *arguments: str, torchrun: bool = False) -> None:
    """Run a script, by torchrun or by itself."""
    path = folder / "train.py"
    path.write_text(text, encoding="utf-8")
    settings = database_variables(config)
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"] if torchrun else []
    command = [sys.executable, *launcher, str(path), *arguments]
    environment = {**os.environ, **settings, "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "continues:" not in done.stderr


def test_two_ranks_of_torchrun_have_one_run(config: dict[str, Any], client: sqltrack.Client, tmp_path: Path) -> None:
    run(config, tmp_path, TORCHRUN, torchrun=True)
    assert client.execute("SELECT status FROM runs").fetchall() == [("COMPLETED",)]
    # 16 examples, 2 for each of 2 ranks.
    assert [step for (step,) in client.execute("SELECT step FROM metrics ORDER BY step")] == [1, 2, 3, 4]


@pytest.mark.engines("sqlite", reason="the ranks find each other in the same way, whatever the database")
def test_each_rank_can_have_a_run_that_is_linked_to_that_of_the_first(
    config: dict[str, Any], client: sqltrack.Client, tmp_path: Path
) -> None:
    run(config, tmp_path, TORCHRUN, "per_rank", torchrun=True)
    assert client.execute("SELECT status FROM runs").fetchall() == [("COMPLETED",)] * 2
    ((child, kind, main),) = client.execute("SELECT from_id, kind, to_id FROM run_links").fetchall()
    assert (kind, {child, main}) == ("rank of", {1, 2})


@pytest.mark.engines("sqlite", reason="the ranks find each other in the same way, whatever the database")
def test_each_rank_of_accelerate_can_log_through_its_tracker(
    config: dict[str, Any], client: sqltrack.Client, tmp_path: Path
) -> None:
    run(config, tmp_path, ACCELERATE, torchrun=True)
    assert client.execute("SELECT status FROM runs").fetchall() == [("COMPLETED",)] * 2
    rows = client.execute("SELECT rank, COUNT(*) FROM metrics GROUP BY rank ORDER BY rank")
    assert rows.fetchall() == [(0, 3), (1, 3)]
    ((child, kind, main),) = client.execute("SELECT from_id, kind, to_id FROM run_links").fetchall()
    assert (kind, {child, main}) == ("rank of", {1, 2})


@pytest.mark.engines("sqlite", reason="Lightning starts its ranks in the same way, whatever the database")
@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn"])
def test_two_ranks_of_lightning_have_one_run(
    config: dict[str, Any], client: sqltrack.Client, tmp_path: Path, strategy: str
) -> None:
    """With ddp Lightning starts the script again, with ddp_spawn it pickles the logger."""
    run(config, tmp_path, LIGHTNING.replace("STRATEGY", strategy))
    assert client.execute("SELECT status FROM runs").fetchall() == [("COMPLETED",)]
    assert [step for (step,) in client.execute("SELECT step FROM metrics ORDER BY step")] == [0, 1, 2, 3]
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    assert checkpoint.parts[-4] == "digits"
