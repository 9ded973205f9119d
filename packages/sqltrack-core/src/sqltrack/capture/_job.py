"""Describe the job of a batch system by its environment variables: Slurm, PBS, LSF and Kubernetes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from sqltrack.capture._files import read_text

__all__ = ["describe_job"]

# For each system: the variable that shows it, and the variables of each field, the first that is set counts.
_SYSTEMS: Mapping[str, tuple[str, Mapping[str, tuple[str, ...]]]] = {
    "slurm": (
        "SLURM_JOB_ID",
        {
            "id": ("SLURM_JOB_ID",),
            "name": ("SLURM_JOB_NAME",),
            "array_id": ("SLURM_ARRAY_JOB_ID",),
            "array_index": ("SLURM_ARRAY_TASK_ID",),
            "node": ("SLURMD_NODENAME",),
            "nodes": ("SLURM_JOB_NUM_NODES", "SLURM_NNODES"),
            "rank": ("SLURM_PROCID",),
            "restarts": ("SLURM_RESTART_COUNT",),
            "queue": ("SLURM_JOB_PARTITION",),
            "account": ("SLURM_JOB_ACCOUNT",),
            "cluster": ("SLURM_CLUSTER_NAME",),
        },
    ),
    "pbs": (
        "PBS_JOBID",
        {
            "id": ("PBS_JOBID",),
            "name": ("PBS_JOBNAME",),
            "array_id": ("PBS_ARRAY_ID",),
            "array_index": ("PBS_ARRAY_INDEX", "PBS_ARRAYID"),
            "rank": ("PBS_TASKNUM",),
            "queue": ("PBS_QUEUE",),
            "account": ("PBS_ACCOUNT",),
        },
    ),
    "lsf": (
        "LSB_JOBID",
        {
            "id": ("LSB_JOBID",),
            "name": ("LSB_JOBNAME",),
            "array_index": ("LSB_JOBINDEX",),
            "node": ("LSB_EXEC_HOST",),
            "queue": ("LSB_QUEUE",),
            "account": ("LSB_PROJECT_NAME",),
        },
    ),
    "kubernetes": (
        "KUBERNETES_SERVICE_HOST",
        {
            "id": ("JOB_NAME",),
            "pod": ("POD_NAME", "HOSTNAME"),
            "namespace": ("POD_NAMESPACE",),
            "node": ("NODE_NAME",),
            "array_index": ("JOB_COMPLETION_INDEX",),
            "restarts": ("RESTART_COUNT",),
        },
    ),
}

_NUMBERS = frozenset({"array_index", "nodes", "rank", "restarts"})
_NAMESPACE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"


def describe_job(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return what a batch system tells about this job, an empty dict without one.

    Args:
        environ: environment variables, default: those of this process.

    Returns:
        `system` ("slurm", "pbs", "lsf" or "kubernetes") and the fields that are known: `id`, `name`, `array_id`,
        `array_index`, `node`, `nodes`, `rank`, `restarts`, `queue`, `account`, `cluster`, `pod`, `namespace`.
    """
    variables = os.environ if environ is None else environ
    for system, (sign, fields) in _SYSTEMS.items():
        if variables.get(sign):
            found = {name: _first(variables, names) for name, names in fields.items()}
            job = {"system": system, **{name: _value(name, text) for name, text in found.items() if text}}
            return _corrected(job, variables)
    return {}


def _first(variables: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((variables[name] for name in names if variables.get(name)), None)


def _value(name: str, text: str) -> Any:
    is_number = name in _NUMBERS and text.isascii() and text.isdigit() and len(text) < 19
    return int(text) if is_number else text


def _corrected(job: dict[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    if job["system"] == "lsf":
        # LSF sets index 0 for jobs that are not part of an array, and tells of a restart by a letter.
        if job.get("array_index") == 0:
            del job["array_index"]
        elif "array_index" in job:
            job["array_id"] = job.get("id")
        if variables.get("LSB_RESTART") == "Y":
            job["restarts"] = 1
    if job["system"] == "kubernetes" and "namespace" not in job:
        namespace = (read_text(_NAMESPACE, 4096) or "").strip()
        if namespace:
            job["namespace"] = namespace
    return job
