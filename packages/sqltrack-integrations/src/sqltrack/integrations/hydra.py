"""Log the jobs of Hydra, with one run for each job.

In the configuration:

    hydra:
      callbacks:
        sqltrack:
          _target_: sqltrack.integrations.hydra.SQLTrackCallback
          experiment: digits

Tested with Hydra 1.3.
"""

from __future__ import annotations

import os
from typing import Any

import sqltrack
from sqltrack import _updates
from sqltrack.integrations._frameworks import require
from sqltrack.integrations._tracker import Tracker, first_rank

with require("sqltrack.integrations.hydra", "hydra-core"):
    from hydra.core.utils import JobReturn, JobStatus
    from hydra.experimental.callback import Callback

__all__ = ["SQLTrackCallback"]


class SQLTrackCallback(Callback):
    """A callback of Hydra that tracks each job, one alone or all of a multirun, as a run.

    The configuration of the job becomes the arguments, and its overrides and its output folder extras, under the key
    `hydra`. During the job the environment names the run. So `with sqltrack.track() as run:` in your function, and the
    callbacks of other frameworks, log to it. A job that raises is FAILED, one that Ctrl-C or SIGTERM ends is CANCELLED.

    Args:
        run: not used by configurations; a run that all jobs are linked to, as "job of".
        experiment: name or id of the experiment; may be None if `run` or the environment names it.
        client: client to use, default: one for the configured database.

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
    ) -> None:
        super().__init__()
        self._tracker = Tracker(run, experiment, client, get_rank=first_rank)
        self._run: sqltrack.Run | None = None
        self._environment: dict[str, str | None] = {}

    def on_job_start(self, config: Any, **kwargs: Any) -> None:
        """Start a run for the job, and name it in the environment."""
        with self._tracker.guard():
            from omegaconf import OmegaConf

            arguments = {name: value for name, value in _plain(config).items() if name != "hydra"}
            self._run = self._tracker.create_child("job of", arguments)
            if self._run is None:
                return
            node = config.hydra
            overrides = list(OmegaConf.select(config, "hydra.overrides.task") or ())
            self._run.add_extras({"hydra": {"overrides": overrides, "output_dir": node.runtime.output_dir}})
            self._name(self._run)

    def on_job_end(self, config: Any, job_return: JobReturn, **kwargs: Any) -> None:
        """Set the status of the run."""
        with self._tracker.guard():
            run, self._run = self._run, None
            self._forget()
            if run is not None and run._tracking is not None:
                run.stop("COMPLETED" if job_return.status == JobStatus.COMPLETED else "FAILED")

    def _name(self, run: sqltrack.Run) -> None:
        names = {
            "SQLTRACK_EXPERIMENT_ID": str(run.experiment_id),
            "SQLTRACK_EXPERIMENT_NAME": None,
            _updates.RUN_VARIABLE: str(run.id),
        }
        self._environment = {name: os.environ.get(name) for name in names}
        _set(names)

    def _forget(self) -> None:
        _set(self._environment)
        self._environment = {}


def _plain(config: Any) -> dict[str, Any]:
    """Return a configuration as a dict, with interpolated values; without them if one cannot be resolved."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    task = OmegaConf.masked_copy(config, [name for name in config if name != "hydra"])
    try:
        plain: Any = OmegaConf.to_container(task, resolve=True)
    except OmegaConfBaseException:
        plain = OmegaConf.to_container(task)
    return dict(plain)


def _set(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
