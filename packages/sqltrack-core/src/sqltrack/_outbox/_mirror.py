"""SQLTrack's tables in the file of an outbox, so that its runs can be queried as in any other database."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import partial

from sqltrack._outbox._calls import perform
from sqltrack._outbox._journal import Call
from sqltrack._times import utc_now
from sqltrack.errors import MissingExperimentError, MissingRunError, SQLTrackError

__all__ = ["Mirror"]

# Name of experiments of which only runs are known.
_UNNAMED = "experiment {}"

# Seconds to wait for another process that reads the file.
_PATIENCE = 1.0


class Mirror:
    """Applies waiting calls to the file's own tables, too.

    The tables are only for queries. The calls themselves are sent, so calls that fail here are skipped.

    Args:
        path: path of the file.
    """

    def __init__(self, path: str) -> None:
        from sqltrack.client import Client
        from sqltrack.commands.setup import set_up_quietly

        self._client = Client({"engine": "sqlite", "dbpath": path, "outbox": "off", "reconnect": 0})
        self._client.metrics._warnings.is_silent = True
        self._is_broken = False
        # While a run is tracked, no connection creates the file, which may be sent and removed in the meantime.
        self._client._session.track(0)
        try:
            set_up_quietly(self._client)
        except SQLTrackError:
            self._is_broken = True

    def perform(self, calls: Sequence[Call], experiments: Mapping[int, int]) -> None:
        """Apply waiting calls.

        Args:
            calls: the calls.
            experiments: ids of the experiments of runs, where known.
        """
        if self._is_broken:
            return
        for call in calls:
            # For example a full disk, or a link to a run that is not in this file. Sending does not depend on it.
            with contextlib.suppress(Exception):
                self._client._session.perform_within(_PATIENCE, partial(self._perform, call, experiments))

    def close(self) -> None:
        """Close the file."""
        self._client._session.untrack(0)

    def _perform(self, call: Call, experiments: Mapping[int, int]) -> None:
        try:
            perform(self._client, call.name, call.arguments)
        except MissingRunError as missing:
            self._insert_run(missing.run_id, experiments.get(missing.run_id, 0))
            perform(self._client, call.name, call.arguments)
        except MissingExperimentError as missing:
            self._insert_experiment(missing.experiment_id)
            perform(self._client, call.name, call.arguments)

    def _insert_run(self, run_id: int, experiment_id: int) -> None:
        self._insert_experiment(experiment_id)
        sql = "INSERT INTO runs (id, experiment_id, time_created) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
        values = (run_id, experiment_id, utc_now())
        self._client._session.call(lambda connection: connection.execute(sql, values))

    def _insert_experiment(self, experiment_id: int) -> None:
        name = _UNNAMED.format(experiment_id) if experiment_id else "unknown experiment"
        sql = "INSERT INTO experiments (id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING"
        self._client._session.call(lambda connection: connection.execute(sql, (experiment_id, name)))
