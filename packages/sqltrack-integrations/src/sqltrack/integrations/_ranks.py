"""The rank of this process among those that train together, and the main run that they share."""

from __future__ import annotations

import itertools
import os
import sys
from datetime import timedelta
from typing import Any

from sqltrack.errors import SQLTrackError

__all__ = ["announce_main_run", "current_rank", "find_main_run"]

# Launchers set one of these: torchrun and accelerate, Slurm, Open MPI, MPICH, jsrun; Lightning only the last.
_VARIABLES = (
    "RANK",
    "SLURM_PROCID",
    "OMPI_COMM_WORLD_RANK",
    "PMI_RANK",
    "JSM_NAMESPACE_RANK",
    "LOCAL_RANK",
)

# The keys under which rank 0 announces the ids of its runs. All ranks begin their runs in the same order.
_KEY = "sqltrack/main_run/{}"
_numbers = itertools.count(1)

# Seconds that a rank waits for that id.
_PATIENCE = 60.0


def current_rank() -> int:
    """Return the rank of this process: that of `torch.distributed`, or else of a launcher's variable, or else 0."""
    distributed = _distributed()
    if distributed is not None:
        return int(distributed.get_rank())
    for name in _VARIABLES:
        text = os.environ.get(name, "")
        if text.isdecimal():
            return int(text)
    return 0


def announce_main_run(run_id: int) -> None:
    """Tell the other ranks the id of the run of rank 0, if `torch.distributed` connects them."""
    store = _store()
    if store is not None:
        store.set(_KEY.format(next(_numbers)), str(run_id))


def find_main_run() -> int:
    """Wait for the id of the run of rank 0, and return it.

    Raises:
        SQLTrackError: the ranks are not connected, or rank 0 does not announce a run.
    """
    store = _store()
    if store is None:
        raise SQLTrackError(
            "cannot link the run of this rank: torch.distributed does not connect it with rank 0",
            "plan the main run, and set SQLTRACK_RUN_ID for all ranks",
        )
    key = _KEY.format(next(_numbers))
    try:
        store.wait([key], timedelta(seconds=_PATIENCE))
        return int(store.get(key))
    except (RuntimeError, ValueError) as error:
        raise SQLTrackError(f"rank 0 has announced no run within {_PATIENCE:g} seconds") from error


def _distributed() -> Any:
    """Return `torch.distributed` if this program has initialized it, otherwise None."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed
    return None


def _store() -> Any:
    distributed = _distributed()
    return None if distributed is None else distributed.distributed_c10d._get_default_store()
