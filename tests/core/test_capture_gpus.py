"""GPUs are those of this process, as CUDA chooses them, and a library that fails is no error."""

from __future__ import annotations

from typing import Any

import pytest

from sqltrack.capture import _nvml
from sqltrack.capture._resources import Resources

UUIDS = ["GPU-aaaa1111", "GPU-bbbb2222", "GPU-cccc3333"]
MIG = "MIG-dddd4444"


class StandIn:
    """Behaves like NVIDIA's library on a machine with three GPUs, one of which has a MIG instance."""

    def __init__(self, broken: str = "") -> None:
        self._broken = broken

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml") and name == object.__getattribute__(self, "_broken"):
            # The code for an unknown error.
            return lambda *_: 999
        return object.__getattribute__(self, name)

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(UUIDS)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, device: Any) -> int:  # noqa: N802
        device._obj.value = index.value + 1
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: Any, device: Any) -> int:  # noqa: N802
        known = [*UUIDS, MIG]
        if uuid.value.decode() not in known:
            return 2
        device._obj.value = known.index(uuid.value.decode()) + 1
        return 0

    def nvmlDeviceGetUUID(self, device: Any, buffer: Any, size: Any) -> int:  # noqa: N802
        buffer.value = [*UUIDS, MIG][device.value - 1].encode()
        return 0

    def nvmlDeviceGetName(self, device: Any, buffer: Any, size: Any) -> int:  # noqa: N802
        buffer.value = b"NVIDIA H200"
        return 0

    def nvmlDeviceGetMemoryInfo(self, device: Any, memory: Any) -> int:  # noqa: N802
        memory._obj.total, memory._obj.used = 1000, 100 * device.value
        return 0

    def nvmlDeviceGetUtilizationRates(self, device: Any, use: Any) -> int:  # noqa: N802
        # MIG instances do not tell.
        use._obj.gpu = 50
        return 3 if device.value > len(UUIDS) else 0

    def nvmlSystemGetDriverVersion(self, buffer: Any, size: Any) -> int:  # noqa: N802
        buffer.value = b"550.1"
        return 0


@pytest.fixture
def use_library(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(library: StandIn, devices: str | None) -> None:
        monkeypatch.setattr(_nvml, "_loaded", [_nvml._Nvml(library)])
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if devices is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)

    return use


@pytest.mark.parametrize(
    ("devices", "uuids"),
    [
        (None, UUIDS),
        ("2,0", [UUIDS[2], UUIDS[0]]),
        ("GPU-bbbb2222", [UUIDS[1]]),
        ("GPU-bb", [UUIDS[1]]),
        (MIG, [MIG]),
        ("1,7,0", [UUIDS[1]]),
        ("GPU-zzzz,0", []),
        ("", []),
    ],
)
def test_gpus_are_those_that_cuda_chooses(use_library: Any, devices: str | None, uuids: list[str]) -> None:
    use_library(StandIn(), devices)
    found = _nvml.describe_gpus()
    assert [gpu["uuid"] for gpu in found.get("gpus", [])] == uuids
    assert all((gpu["name"], gpu["memory"]) == ("NVIDIA H200", 1000) for gpu in found.get("gpus", []))
    assert found["driver"] == "550.1"
    assert len(_nvml.sample_gpus()) == len(uuids)


def test_use_and_memory_are_measured(use_library: Any) -> None:
    use_library(StandIn(), "1")
    resources = Resources()
    resources.sample()
    found = resources.summary()
    assert found["gpu0"] == {"mean": 0.5, "max": 0.5}
    assert found["gpu0_memory"]["max"] == 200


def test_an_instance_of_a_gpu_has_no_utilization(use_library: Any) -> None:
    use_library(StandIn(), MIG)
    resources = Resources()
    resources.sample()
    assert "gpu0" not in resources.summary()
    assert resources.summary()["gpu0_memory"]["max"] == 400


@pytest.mark.parametrize("broken", sorted(name for name in vars(StandIn) if name.startswith("nvml")))
def test_a_function_that_fails_leaves_out_its_field(use_library: Any, broken: str) -> None:
    use_library(StandIn(broken), None)
    found = _nvml.describe_gpus()
    fields = {"nvmlDeviceGetName": "name", "nvmlDeviceGetUUID": "uuid", "nvmlDeviceGetMemoryInfo": "memory"}
    if broken in fields:
        assert all(fields[broken] not in gpu for gpu in found["gpus"])
    Resources().sample()
