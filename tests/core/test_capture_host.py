"""Limits are those of the job, and batch systems tell about it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.capture import _limits, _nvml, _run_capture
from sqltrack.capture._host import describe_host
from sqltrack.capture._job import describe_job
from sqltrack.capture._limits import cpu_limit, memory_limit
from sqltrack.capture._packages import list_packages
from sqltrack.capture._resources import Resources, Usage


def test_the_host_is_described() -> None:
    found = describe_host()
    assert found["cpus"] <= (os.cpu_count() or 1)
    assert found["memory"] > 2**20
    assert found["name"]


def use_cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, membership: str, files: dict[str, str]) -> None:
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(_limits, "_ROOT", str(tmp_path / "cgroup"))
    monkeypatch.setattr(_limits, "_MEMBERSHIP", str(tmp_path / "membership"))


@pytest.mark.parametrize(
    ("membership", "files", "cpus", "memory"),
    [
        ("0::/\n", {}, None, None),
        ("0::/job/step\n", {"job/step/memory.max": "max\n", "job/memory.max": "1048576\n"}, None, 2**20),
        ("0::/job\n", {"job/cpu.max": "50000 100000\n", "job/memory.max": "4096\n"}, 0.5, 4096),
        ("0::/job\n", {"job/cpu.max": "max 100000\n"}, None, None),
        (
            "5:cpu,cpuacct:/job\n4:memory:/job\n",
            {
                "cpu/job/cpu.cfs_quota_us": "25000\n",
                "cpu/job/cpu.cfs_period_us": "100000\n",
                "memory/job/memory.limit_in_bytes": "8192\n",
            },
            0.25,
            8192,
        ),
        ("4:memory:/job\n", {"memory/job/memory.limit_in_bytes": "9223372036854771712\n"}, None, None),
        ("nonsense", {}, None, None),
    ],
)
def test_limits_are_those_of_the_job_in_both_versions_of_cgroups(
    membership: str,
    files: dict[str, str],
    cpus: float | None,
    memory: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_cgroups(tmp_path, monkeypatch, membership, files)
    assert cpu_limit() == (cpus or len(os.sched_getaffinity(0)))
    assert memory_limit() == (memory or _limits._node_memory())


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({}, {}),
        (
            {
                "SLURM_JOB_ID": "77",
                "SLURM_ARRAY_JOB_ID": "70",
                "SLURM_ARRAY_TASK_ID": "3",
                "SLURMD_NODENAME": "node07",
                "SLURM_RESTART_COUNT": "2",
                "SLURM_PROCID": "0",
                "SLURM_JOB_PARTITION": "gpu",
            },
            {
                "system": "slurm",
                "id": "77",
                "array_id": "70",
                "array_index": 3,
                "node": "node07",
                "rank": 0,
                "restarts": 2,
                "queue": "gpu",
            },
        ),
        (
            {"PBS_JOBID": "12[3].server", "PBS_ARRAY_INDEX": "3"},
            {"system": "pbs", "id": "12[3].server", "array_index": 3},
        ),
        ({"LSB_JOBID": "5"}, {"system": "lsf", "id": "5"}),
        ({"LSB_JOBID": "5", "LSB_JOBINDEX": "0", "LSB_RESTART": "Y"}, {"system": "lsf", "id": "5", "restarts": 1}),
        (
            {"LSB_JOBID": "5", "LSB_JOBINDEX": "2", "LSB_RESTART": "N"},
            {"system": "lsf", "id": "5", "array_id": "5", "array_index": 2},
        ),
        (
            {
                "KUBERNETES_SERVICE_HOST": "10.0.0.1",
                "HOSTNAME": "train-0",
                "POD_NAMESPACE": "ml",
                "JOB_COMPLETION_INDEX": "0",
            },
            {"system": "kubernetes", "pod": "train-0", "namespace": "ml", "array_index": 0},
        ),
    ],
    ids=["none", "slurm", "pbs", "lsf", "lsf restarted", "lsf array", "kubernetes"],
)
def test_a_batch_system_tells_about_the_job(variables: dict[str, str], job: dict[str, Any]) -> None:
    assert describe_job(variables) == job


def test_packages_are_found_by_the_names_of_folders(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (
        first / "Foo_Bar-1.2.dist-info",
        second / "foo.bar-9.dist-info",
        second / "old-0.1-py3.10.egg-info",
        second / "numpy-2.0.1+local.dist-info",
        second / "numpy",
    ):
        folder.mkdir(parents=True)
    folders = [str(first), str(second), str(tmp_path / "missing"), ""]
    assert list_packages(folders) == {"foo-bar": "1.2", "numpy": "2.0.1+local", "old": "0.1"}
    (second / "new-3.dist-info").mkdir()
    assert list_packages(folders)["new"] == "3"


def test_without_a_gpu_there_is_nothing_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_nvml, "_loaded", [])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert (_nvml.describe_gpus(), list(_nvml.sample_gpus())) == ({}, [])


def test_resources_are_measured_with_those_of_children() -> None:
    resources = Resources()
    assert resources.summary() == {}
    resources.sample()
    held = bytearray(50 * 2**20)
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    resources.sample()
    found = resources.summary()
    assert found["memory"]["max"] >= len(held)
    assert found["cpu"]["max"] > 0
    assert found["samples"] == 2
    metrics = resources.metrics()
    assert metrics["sys/memory_max"] == found["memory"]["max"]
    assert resources.metrics() == {}


def test_children_that_have_ended_count() -> None:
    resources = Resources()
    resources.sample()
    begun = time.monotonic()
    for _ in range(2):
        subprocess.run([sys.executable, "-S", "-c", "import time\nwhile time.process_time() < 0.2: pass"], check=True)
    resources.sample()
    assert resources.summary()["cpu"]["mean"] * (time.monotonic() - begun) > 0.3


def test_a_process_that_has_ended_is_not_measured_as_idle() -> None:
    # Linux counts pages per CPU and adds them up now and then, so that it may say 0 of a process that has few.
    script = "import time\nheld = b'x' * 2**26\nprint(flush=True)\nwhile time.process_time() < 0.2: pass"
    process = subprocess.Popen([sys.executable, "-S", "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
    resources = Resources(process.pid)
    begun = time.monotonic()
    resources.sample()
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0
    resources.sample()
    assert "cpu" not in resources.summary()
    resources.end(Usage(used.ru_utime + used.ru_stime, 2**40), begun, begun + 1.0)
    found = resources.summary()
    assert found["cpu"]["max"] > 0.15
    assert found["memory"]["max"] == 2**40 > found["memory"]["mean"]


def test_a_process_that_ends_before_the_first_sample_is_measured() -> None:
    resources = Resources(2**22 + 1)
    resources.sample()
    resources.end(Usage(3.0, 5000), 10.0, 12.0)
    assert resources.summary()["cpu"] == {"mean": 1.5, "max": 1.5}
    assert resources.summary()["memory"] == {"mean": 5000, "max": 5000}


def test_the_summary_is_stored_at_the_end(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_run_capture, "_DELAY", 0.0)
    client = sqltrack.Client({**config, "capture": "resources"})
    with sqltrack.track("x", client=client) as run:
        time.sleep(0.2)
    (row,) = client.execute("SELECT extras FROM runs WHERE id = %s", (run.id,))
    assert row[0]["capture"]["resources"]["memory"]["max"] > 2**20


def test_series_are_metrics_in_the_rows_of_the_program(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_run_capture, "_DELAY", 0.0)
    client = sqltrack.Client({**config, "capture": "series"})
    with sqltrack.track("x", client=client) as run:
        deadline = time.monotonic() + 20
        while run.id not in client.metrics.samples and time.monotonic() < deadline:
            time.sleep(0.01)
        run.add_metrics({"loss": 1.0}, step=1)
        run.add_metrics({"loss": 0.5}, step=2)
    rows = client.execute('SELECT step, loss, "sys/memory_max" FROM metrics ORDER BY step').fetchall()
    assert [(row[0], row[1]) for row in rows] == [(1, 1.0), (2, 0.5)]
    assert rows[0][2] > 2**20
    assert client.metrics.samples == {}
