"""Capture the context of a run while it is tracked: a thread collects what takes long, and stores it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqltrack._logging import get_logger
from sqltrack.capture._facts import Facts
from sqltrack.engines.json import Jsonb
from sqltrack.engines.schema import CAPTURE
from sqltrack.errors import DatabaseLockedError, DatabaseUnavailableError, SQLTrackError

if TYPE_CHECKING:
    from sqltrack.capture._resources import Resources, Usage
    from sqltrack.capture._streams import CopiedStreams
    from sqltrack.client import Client

__all__ = ["RunCapture"]

# Seconds before the facts that are ready at once are collected, so that imports for them do not slow down the start of
# a run, and seconds before the slower ones are.
_SOON, _DELAY = 0.02, 0.25

# Seconds that the end of a run waits for the thread.
_AT_END = 0.9

# Seconds between two attempts to store, if the database is locked or away.
_RETRY = 5.0

# Seconds between two measurements, and between two times that their summary is stored.
_SAMPLE, _SUMMARY = 5.0, 60.0

# Of one call of the thread, and of the program: seconds to wait for the database, and for locks, which the program may
# hold while the thread waits.
_LIMITS: Mapping[str, Any] = {"patience": 1.0, "lock_limit": 0.2}
_LIMITS_IN_TURN: Mapping[str, Any] = {"patience": 1.0, "lock_limit": 1.0}


class RunCapture:
    """The capture of one run.

    No method raises an error of the database or of the system.

    Args:
        client: client of the run.
        run_id: id of the run.
        names: what to capture.
        argv: as for `Facts`.
        folder: as for `Facts`.
        pid: id of the process whose resources are measured, default: this one.
        is_foreign: as for `Facts`.

    Attributes:
        facts: the facts so far.
        written: the facts as they were last stored.
    """

    def __init__(
        self,
        client: Client,
        run_id: int,
        names: Collection[str],
        argv: Sequence[str] | None = None,
        folder: str | None = None,
        pid: int | None = None,
        *,
        is_foreign: bool = False,
    ) -> None:
        self._client = client
        self._run_id = run_id
        self._names = names
        self.facts: Facts = Facts(names, client.config, argv, folder, is_foreign=is_foreign)
        self._own_pid = os.getpid()
        self._begun = time.monotonic()
        self._measured_pid = pid
        self._hurry = threading.Event()
        self._stored: Mapping[str, Any] = {}
        self.written: Mapping[str, Any] = {}
        self._lock = threading.Lock()
        self._streams: CopiedStreams | None = None
        self._resources: Resources | None = None
        self._thread = threading.Thread(target=self._work, name=f"sqltrack-capture-{run_id}", daemon=True)

    def begin(self) -> None:
        """Start the thread."""
        if "output" in self._names and self._measured_pid is None:
            from sqltrack.capture._streams import CopiedStreams

            self._streams = CopiedStreams()
            self._streams.begin()
        # The system may allow no more threads, or the interpreter is exiting.
        with contextlib.suppress(RuntimeError):
            self._thread.start()

    def finish(self, patience: float = _AT_END, usage: Usage | None = None) -> None:
        """Store the facts at the end of the run, and stop the thread.

        Args:
            patience: seconds to wait for the thread.
            usage: CPU time and memory of the measured process, after its end.
        """
        ended = time.monotonic()
        if self._own_pid != os.getpid():
            # A forked child, which has no such thread.
            return
        self.abandon()
        if self._streams is not None:
            self.facts.add("output", self._streams.read())
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(patience)
        if self._resources is not None and usage is not None:
            self._resources.end(usage, self._begun, ended)
        self._note_resources()
        self._store_in_turn()

    def abandon(self) -> None:
        """Stop the thread and the collection of output, and store nothing more."""
        self._hurry.set()
        self._client.metrics.samples.pop(self._run_id, None)
        if self._streams is not None:
            self._streams.end()

    def _work(self) -> None:
        try:
            self._hurry.wait(_SOON)
            self.facts.collect_ready()
            self._attempt()
            self._hurry.wait(_DELAY)
            self.facts.collect_slow()
            self._begin_measuring()
            self._store_in_thread()
            if self._resources is not None:
                self._measure(self._resources)
        except Exception as error:
            get_logger("capture").info("cannot capture the context of run %s: %r", self._run_id, error)

    def _begin_measuring(self) -> None:
        if "resources" in self._names:
            from sqltrack.capture._resources import Resources

            self._resources = Resources(self._measured_pid)
            self._resources.sample()
            if "series" in self._names:
                self._client.metrics.samples[self._run_id] = self._resources.metrics

    def _store_in_thread(self) -> None:
        """Store the facts, and try again while the database is locked or away, until the run ends."""
        while not self._attempt():
            if self._hurry.wait(_RETRY):
                return

    def _attempt(self) -> bool:
        """Store the facts, and return whether that has succeeded."""
        outbox = self._client._session.outbox
        facts = self.facts.read()
        if facts == self._stored:
            return True
        try:
            if outbox is not None and not outbox.is_direct:
                self._submit(facts)
                return True
            try:
                shared = self._with_shared_packages(facts)
                # Not by the outbox, which would take a lock of this process for an outage.
                self._client._session.perform(lambda: self._merge(shared))
            except DatabaseUnavailableError:
                if outbox is None:
                    return False
                self._submit(facts)
        except DatabaseLockedError:
            return False
        except SQLTrackError as error:
            get_logger("capture").info("the context of run %s was not stored: %s", self._run_id, error)
            return True
        with self._lock:
            self._stored = facts
        return True

    def _with_shared_packages(self, facts: dict[str, Any]) -> dict[str, Any]:
        packages = facts.get("packages")
        if not isinstance(packages, dict):
            return facts
        from sqltrack.capture._package_lists import share_packages

        return {**facts, "packages": share_packages(self._client, packages, _LIMITS) or packages}

    def _merge(self, facts: Mapping[str, Any]) -> None:
        self._client._rows.merge_json("runs", self._run_id, "extras", Jsonb({CAPTURE: dict(facts)}), _LIMITS)
        self.written = facts

    def _submit(self, facts: Mapping[str, Any]) -> None:
        """Store facts in the order of the other calls, in the caller's block if one is open, or in the outbox."""
        session = self._client._session
        items = Jsonb({CAPTURE: dict(facts)})
        session.submit(self._client._rows.merge_json, "runs", self._run_id, "extras", items, _LIMITS_IN_TURN)
        self.written = facts

    def _store_in_turn(self) -> None:
        facts = self.facts.read()
        with self._lock:
            if facts == self._stored:
                return
        try:
            self._submit(self._with_known_packages(facts))
        except SQLTrackError as error:
            get_logger("capture").info("the context of run %s was not stored: %s", self._run_id, error)
            return
        with self._lock:
            self._stored = facts

    def _with_known_packages(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Return facts with the hash of a list that this process has stored already, or the list itself."""
        packages = facts.get("packages")
        if not isinstance(packages, dict):
            return facts
        from sqltrack.capture._package_lists import known_hash

        return {**facts, "packages": known_hash(self._client, packages) or packages}

    def _measure(self, resources: Resources) -> None:
        stored_at = time.monotonic()
        while not self._hurry.wait(_SAMPLE):
            resources.sample()
            if time.monotonic() - stored_at >= _SUMMARY:
                stored_at = time.monotonic()
                self._note_resources()
                self._attempt()
        resources.sample()

    def _note_resources(self) -> None:
        if self._resources is not None:
            self.facts.add("resources", self._resources.summary())
