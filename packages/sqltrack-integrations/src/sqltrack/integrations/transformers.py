"""Log from the Trainer of Hugging Face Transformers, and from those of TRL, which extend it.

    Trainer(…, callbacks=[SQLTrackCallback(experiment="digits")])

Tested with Transformers 4.50 to 5.24.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqltrack
from sqltrack.integrations._frameworks import require
from sqltrack.integrations._tracker import Tracker

with require("sqltrack.integrations.transformers", "transformers"):
    from transformers.trainer_callback import TrainerCallback

__all__ = ["SQLTrackCallback"]


class SQLTrackCallback(TrainerCallback):
    """A callback of the Trainer that logs to a run.

    Rows have the Trainer's global step; `progress` is the fraction of all steps. Metrics of training, evaluation and
    prediction are stored under the Trainer's names. The training arguments become arguments of the run, with the
    configuration of the model as `model_config`, and the paths of checkpoints extras. If the training resumes from a
    checkpoint, rows after it are removed. Each further call of `train` creates a run, unless you give one.

    Args:
        run: the run to log to, default: the run that environment variables name, or a new one.
        experiment: name or id of the experiment of a new run; may be None if the environment names it.
        client: client for a new run, default: one for the configured database.
        per_rank: whether each rank logs to a run of its own, which is linked to that of rank 0; default: only rank 0
            logs.

    Raises:
        UnusableValueError: (a ValueError) an argument has the wrong type, or nothing names the experiment.
        ConfigError: (a ValueError) the configuration cannot be used.
    """

    def __init__(
        self,
        run: sqltrack.Run | None = None,
        *,
        experiment: str | int | sqltrack.Experiment | None = None,
        client: sqltrack.Client | None = None,
        per_rank: bool = False,
    ) -> None:
        super().__init__()
        self._tracker = Tracker(run, experiment, client, per_rank=per_rank)

    @property
    def run(self) -> sqltrack.Run | None:
        """The run; None before the first use, and on ranks that do not log."""
        return self._tracker.run

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the run, and add the training arguments and the configuration of the model to its arguments."""
        self._tracker.begin(state.global_step or None)
        with self._tracker.guard():
            arguments = dict(args.to_dict())
            config: Any = getattr(kwargs.get("model"), "config", None)
            if hasattr(config, "to_dict"):
                arguments["model_config"] = config.to_dict()
            if state.trial_params:
                arguments["trial_params"] = state.trial_params
            self._tracker.add_args(arguments)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Add the metrics that the Trainer logs, those of evaluations included."""
        self._log(state, logs)

    def on_predict(self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any], **kwargs: Any) -> None:
        """Add the metrics of a prediction."""
        self._log(state, metrics)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Add the paths of the last and the best checkpoint to the extras of the run."""
        with self._tracker.guard():
            checkpoint = {"last": f"{args.output_dir}/checkpoint-{state.global_step}"}
            if state.best_model_checkpoint is not None:
                checkpoint["best"] = state.best_model_checkpoint
            self._tracker.add_extras(checkpoint=checkpoint)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Set the status of the run to COMPLETED."""
        self._tracker.end()

    def _log(self, state: Any, metrics: Mapping[str, Any] | None) -> None:
        with self._tracker.guard():
            progress = state.global_step / state.max_steps if state.max_steps > 0 else 0.0
            self._tracker.log(metrics or {}, state.global_step, progress)
