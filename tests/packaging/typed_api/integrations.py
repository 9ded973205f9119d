"""Log from frameworks, which type checkers do not find."""

from typing_extensions import assert_type

from sqltrack import Client, Experiment, Run
from sqltrack.integrations import (
    accelerate,
    catboost,
    hydra,
    keras,
    lightgbm,
    lightning,
    optuna,
    stable_baselines3,
    transformers,
    xgboost,
)
from sqltrack.integrations.accelerate import SQLTrackTracker
from sqltrack.integrations.lightning import SQLTrackLogger
from sqltrack.integrations.sklearn import track_search
from sqltrack.integrations.stable_baselines3 import SQLTrackWriter

client = Client("runs.db")
run = Experiment(client, name="digits").get_run()

logger = SQLTrackLogger(run, save_dir="checkpoints", per_rank=True)
assert_type(logger.run, Run | None)
assert_type(logger.name, str)
assert_type(logger.version, int | str)
SQLTrackLogger(experiment="digits", client=client)

tracker = SQLTrackTracker(experiment=Experiment(client, name="digits"), per_rank=True)
assert_type(tracker.tracker, Run | None)

assert_type(transformers.SQLTrackCallback(experiment=3, per_rank=True).run, Run | None)
assert_type(keras.SQLTrackCallback(experiment="digits", every_batches=100).run, Run | None)
assert_type(xgboost.SQLTrackCallback(experiment="digits", params={"eta": 0.3}).run, Run | None)
assert_type(lightgbm.SQLTrackCallback(experiment="digits").run, Run | None)
assert_type(catboost.SQLTrackCallback(experiment="digits", params={"depth": 3}).run, Run | None)
lightgbm.SQLTrackCallback(run).finish()
catboost.SQLTrackCallback(run).finish(None)
optuna.SQLTrackCallback(run)
hydra.SQLTrackCallback(experiment="digits")

writer = SQLTrackWriter(run, params={"policy": "MlpPolicy"})
writer.write({"loss": 0.5}, {}, 3)
writer.close()
assert_type(stable_baselines3.SQLTrackWriter(run).run, Run | None)
accelerate.SQLTrackTracker(run).finish()
lightning.SQLTrackLogger(run).log_metrics({"loss": 0.5}, 3)

assert_type(track_search(object(), run), list[Run])
track_search(object(), experiment="digits", client=client)
