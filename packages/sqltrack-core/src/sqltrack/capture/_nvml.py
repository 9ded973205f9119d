"""Ask NVIDIA's management library about the GPUs of this process, without creating a CUDA context."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = ["GpuSample", "describe_gpus", "sample_gpus"]

_LIBRARIES = ("libnvidia-ml.so.1", "nvml.dll")
_NAME_SIZE = 96
_UNKNOWN = 2**64 - 1


class GpuSample(NamedTuple):
    """The state of a GPU.

    Attributes:
        memory: bytes in use.
        utilization: share of time in which it was busy, 0 to 1; None if it does not tell, such as a MIG instance.
    """

    memory: int
    utilization: float | None


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class _Utilization(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class _Nvml:
    """The library, which is loaded once; a function that fails returns None."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def call(self, name: str, *arguments: Any) -> bool:
        """Call a function, and return whether it succeeded."""
        function = getattr(self._library, name, None)
        return function is not None and function(*arguments) == 0

    def text(self, name: str, *arguments: Any) -> str | None:
        """Return the text that a function writes."""
        buffer = ctypes.create_string_buffer(_NAME_SIZE)
        has_worked = self.call(name, *arguments, buffer, ctypes.c_uint(_NAME_SIZE))
        return buffer.value.decode("utf-8", "replace") if has_worked else None

    def handle(self, name: str, *arguments: Any) -> Any:
        """Return the device that a function finds."""
        device = ctypes.c_void_p()
        return device if self.call(name, *arguments, ctypes.byref(device)) else None

    def number(self, name: str, *arguments: Any) -> int | None:
        """Return the number that a function finds."""
        value = ctypes.c_uint()
        return value.value if self.call(name, *arguments, ctypes.byref(value)) else None

    def devices(self) -> list[Any]:
        """Return the devices that this process can use, MIG instances one by one."""
        chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
        count = self.number("nvmlDeviceGetCount_v2") or 0
        if chosen is None:
            found = [self.handle("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index)) for index in range(count)]
            return [device for device in found if device is not None]
        devices = []
        for word in chosen.split(","):
            device = self._chosen(word.strip(), count)
            if device is None:
                # CUDA ignores all devices after an unknown one.
                break
            devices.append(device)
        return devices

    def _chosen(self, word: str, count: int) -> Any:
        if word.isdigit():
            return self.handle("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(int(word))) if int(word) < count else None
        # A UUID may be shortened, as long as it is unique.
        whole = self._completed(word, count) if word.startswith("GPU-") else word
        return self.handle("nvmlDeviceGetHandleByUUID", ctypes.c_char_p(whole.encode("ascii", "replace")))

    def _completed(self, word: str, count: int) -> str:
        for index in range(count):
            device = self.handle("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index))
            uuid = None if device is None else self.text("nvmlDeviceGetUUID", device)
            if uuid is not None and uuid.startswith(word):
                return uuid
        return word


_lock = threading.Lock()
_loaded: list[_Nvml | None] = []


def _load() -> _Nvml | None:
    """Return the library, None without a GPU or a driver."""
    with _lock:
        if not _loaded:
            _loaded.append(_open())
        return _loaded[0]


def _open() -> _Nvml | None:
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return None
    if os.name == "posix" and not os.path.exists("/dev/nvidiactl"):
        return None
    for name in _LIBRARIES:
        try:
            nvml = _Nvml(ctypes.CDLL(name))
        except OSError:
            continue
        if nvml.call("nvmlInit_v2"):
            return nvml
    return None


def describe_gpus() -> dict[str, Any]:
    """Return `gpus`, a list of dicts with `name`, `uuid` and `memory` in bytes, and `driver`; empty without GPUs."""
    nvml = _load()
    if nvml is None:
        return {}
    gpus = [_describe(nvml, device) for device in nvml.devices()]
    driver = nvml.text("nvmlSystemGetDriverVersion")
    return {**({"gpus": gpus} if gpus else {}), **({"driver": driver} if driver else {})}


def _describe(nvml: _Nvml, device: Any) -> dict[str, Any]:
    memory = _Memory()
    has_memory = nvml.call("nvmlDeviceGetMemoryInfo", device, ctypes.byref(memory))
    found = {
        "name": nvml.text("nvmlDeviceGetName", device),
        "uuid": nvml.text("nvmlDeviceGetUUID", device),
        "memory": memory.total if has_memory and memory.total != _UNKNOWN else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def sample_gpus() -> Sequence[GpuSample]:
    """Return the present state of each GPU of this process, in the order of CUDA_VISIBLE_DEVICES."""
    nvml = _load()
    return [] if nvml is None else [_sample(nvml, device) for device in nvml.devices()]


def _sample(nvml: _Nvml, device: Any) -> GpuSample:
    memory, use = _Memory(), _Utilization()
    has_memory = nvml.call("nvmlDeviceGetMemoryInfo", device, ctypes.byref(memory))
    has_use = nvml.call("nvmlDeviceGetUtilizationRates", device, ctypes.byref(use))
    return GpuSample(memory.used if has_memory else 0, use.gpu / 100 if has_use else None)
