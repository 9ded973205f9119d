"""Track machine learning experiments in a SQL database that you own."""

# The other distributions of SQLTrack add sub-packages from folders of their own.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)
# Last, so found only if the sub-package is not installed: modules that say how to install it.
__path__ = [*__path__, f"{__path__[0]}/_missing"]

from typing import TYPE_CHECKING

from sqltrack.client import Client
from sqltrack.errors import SQLTrackError
from sqltrack.experiment import (
    Experiment,
    experiment_add_link,
    experiment_add_tags,
    experiment_remove_link,
    experiment_remove_tags,
    experiment_set_comment,
    experiment_set_name,
    experiment_set_tags,
    run_from_env,
)
from sqltrack.run import Run
from sqltrack.run_functions import (
    run_add_args,
    run_add_env,
    run_add_extras,
    run_add_link,
    run_add_metrics,
    run_add_metrics_many,
    run_add_tags,
    run_remove_args,
    run_remove_env,
    run_remove_extras,
    run_remove_link,
    run_remove_tags,
    run_set_args,
    run_set_comment,
    run_set_created,
    run_set_env,
    run_set_extras,
    run_set_started,
    run_set_status,
    run_set_tags,
    run_set_updated,
)
from sqltrack.track_functions import start, track

__all__ = [
    "Client",
    "Experiment",
    "Run",
    "SQLTrackError",
    "experiment_add_link",
    "experiment_add_tags",
    "experiment_remove_link",
    "experiment_remove_tags",
    "experiment_set_comment",
    "experiment_set_name",
    "experiment_set_tags",
    "run_add_args",
    "run_add_env",
    "run_add_extras",
    "run_add_link",
    "run_add_metrics",
    "run_add_metrics_many",
    "run_add_tags",
    "run_from_env",
    "run_remove_args",
    "run_remove_env",
    "run_remove_extras",
    "run_remove_link",
    "run_remove_tags",
    "run_set_args",
    "run_set_comment",
    "run_set_created",
    "run_set_env",
    "run_set_extras",
    "run_set_started",
    "run_set_status",
    "run_set_tags",
    "run_set_updated",
    "start",
    "track",
]

# Hidden from type checkers, which find wrong names themselves.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        from sqltrack._habits import missing_name

        raise missing_name(name)
