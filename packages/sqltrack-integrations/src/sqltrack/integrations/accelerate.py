"""Log from Hugging Face Accelerate.

    accelerator = Accelerator(log_with=SQLTrackTracker(experiment="digits"))
    accelerator.init_trackers("digits", config={"lr": 0.1})

Tested with Accelerate 1.1 to 1.15.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqltrack
from sqltrack.integrations._frameworks import require
from sqltrack.integrations._ranks import current_rank
from sqltrack.integrations._tracker import Tracker

with require("sqltrack.integrations.accelerate", "accelerate"):
    from accelerate.tracking import GeneralTracker

__all__ = ["SQLTrackTracker"]


class SQLTrackTracker(GeneralTracker):
    """A tracker of Accelerate that logs to a run.

    `init_trackers` stores its configuration as arguments, `log` adds metrics, and `end_training` sets the status.

    The accelerator calls its trackers on rank 0 only. With `per_rank`, call `log` of this tracker itself on the other
    ranks; their runs end with the program, or when you call `finish`.

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

    name = "sqltrack"
    requires_logging_directory = False
    main_process_only: bool = True

    def __init__(
        self,
        run: sqltrack.Run | None = None,
        *,
        experiment: str | int | sqltrack.Experiment | None = None,
        client: sqltrack.Client | None = None,
        per_rank: bool = False,
    ) -> None:
        super().__init__()
        self.main_process_only = not per_rank
        self._tracker = Tracker(run, experiment, client, per_rank=per_rank)
        self._has_begun = False

    @property
    def tracker(self) -> sqltrack.Run | None:
        """The run, for `accelerator.get_tracker("sqltrack", unwrap=True)`; None on ranks that do not log."""
        return self._tracker.run

    def start(self) -> None:
        """Start the run; `init_trackers` calls this, or in earlier versions of Accelerate one of the next methods."""
        self._has_begun = True
        # On other ranks, Accelerate does not call `finish`.
        self._tracker.begin(is_open=current_rank() == 0)

    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Add the configuration that you gave to `init_trackers` to the arguments of the run."""
        self._start_once()
        self._tracker.add_args(values)

    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Add metrics.

        Args:
            values: names and values.
            step: the step, default: that of the previous call.
            kwargs: `progress`, the fraction of the training that is done, default 0.
        """
        self._start_once()
        self._tracker.log(values, step, kwargs.get("progress", 0.0))

    def finish(self) -> None:
        """Set the status of the run to COMPLETED; `end_training` calls this."""
        self._has_begun = False
        self._tracker.end()

    def _start_once(self) -> None:
        if not self._has_begun:
            self.start()
