"""Log from Stable-Baselines3.

    logger = Logger(None, [SQLTrackWriter(experiment="cartpole", params={"policy": "MlpPolicy"})])
    model.set_logger(logger)

Tested with Stable-Baselines3 2.4 to 2.9.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqltrack
from sqltrack.integrations._frameworks import require
from sqltrack.integrations._tracker import Tracker, first_rank

with require("sqltrack.integrations.stable_baselines3", "stable-baselines3"):
    from stable_baselines3.common.logger import Figure, HParam, Image, KVWriter, Video

__all__ = ["SQLTrackWriter"]


class SQLTrackWriter(KVWriter):
    """A writer for the logger of Stable-Baselines3 that logs to a run.

    Rows have the number of timesteps as `step`. Videos, figures, images, and values that exclude the format "sqltrack"
    are not stored. Values of `HParam` become arguments. The run ends with the program, or when you call `close`.

    Args:
        run: the run to log to, default: the run that environment variables name, or a new one.
        experiment: name or id of the experiment of a new run; may be None if the environment names it.
        client: client for a new run, default: one for the configured database.
        params: arguments to store, default: none.

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
        params: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._tracker = Tracker(run, experiment, client, get_rank=first_rank)
        self._params = params
        self._has_begun = False

    @property
    def run(self) -> sqltrack.Run | None:
        """The run; None before the first use."""
        return self._tracker.run

    def write(self, key_values: Mapping[str, Any], key_excluded: Mapping[str, Any], step: int = 0) -> None:
        """Add values; the logger calls this when it dumps.

        Args:
            key_values: names and values.
            key_excluded: formats that a value is not for, by name.
            step: number of timesteps.
        """
        with self._tracker.guard():
            if not self._has_begun:
                self._has_begun = True
                self._tracker.begin(is_open=False)
                if self._params is not None:
                    self._tracker.add_args(self._params)
            metrics = {}
            for name, value in key_values.items():
                if isinstance(value, HParam):
                    self._tracker.add_args(value.hparam_dict)
                elif not isinstance(value, (Video, Figure, Image)) and "sqltrack" not in (key_excluded.get(name) or ()):
                    metrics[name] = value
            self._tracker.log(metrics, step)

    def close(self) -> None:
        """Set the status of the run to COMPLETED."""
        self._has_begun = False
        self._tracker.end()
