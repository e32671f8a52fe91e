"""Modules that stand in for ``pynvml`` and ``amdsmi``, and raise what they are told to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml

GB = 2**30
CODES = sorted({value for name, value in vars(pynvml).items() if name.startswith("NVML_ERROR_")})
"""Every code that pynvml declares."""
GPU_CALLS = (
    "nvmlDeviceGetName",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetTemperatureV",
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetEnforcedPowerLimit",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetComputeRunningProcesses_v2",
    "nvmlDeviceGetGraphicsRunningProcesses_v3",
    "nvmlDeviceGetGraphicsRunningProcesses_v2",
    "nvmlDeviceIsMigDeviceHandle",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetCudaComputeCapability",
    "nvmlSystemGetDriverVersion",
    "nvmlDeviceGetMigMode",
    "nvmlShutdown",
)
"""What may fail without a device being lost for it."""


def _process(pid: int, used_bytes: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=used_bytes)


class FakePynvml:
    """``count`` H100s as NVML tells of them; ``failing`` says which call fails with which code.

    A key is the name of a function, or that and the number of a device (``"nvmlDeviceGetMemoryInfo 1"``); the code
    None takes the function away, as an older pynvml would.
    """

    NVMLError = pynvml.NVMLError

    def __init__(self, count: int = 2, failing: dict[str, int | None] | None = None) -> None:
        self.failing = dict(failing or {})
        self.called: list[str] = []
        self.devices = [f"GPU-{index}aaa-bbb" for index in range(count)]
        self.busy: dict[str, int] = dict.fromkeys(self.devices, 7)
        self.used: dict[str, int] = dict.fromkeys(self.devices, 10 * GB)
        self.compute: dict[str, list[Any]] = {}
        self.graphics: dict[str, list[Any]] = {}
        self.instances: dict[str, list[str]] = {}
        """The MIG instances of a device that is cut into some."""

    def run(self, pid: int, used_bytes: int | None, device: int = 0, *, graphics: bool = False) -> None:
        """A process takes memory."""
        lists = self.graphics if graphics else self.compute
        lists.setdefault(self.devices[device], []).append(_process(pid, used_bytes))

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml") or (name in self.failing and self.failing[name] is None):
            raise AttributeError(name)

        def call(*arguments: Any) -> Any:
            self.called.append(name)
            numbers = [self.devices.index(one) for one in arguments[:1] if one in self.devices]
            numbers += [one for one in arguments[:1] if isinstance(one, int)]
            for key in (name, *(f"{name} {number}" for number in numbers)):
                if (code := self.failing.get(key)) is not None:
                    raise pynvml.NVMLError(code)
            answer = getattr(self, f"_{name.removeprefix('nvml').removeprefix('Device')}", None)
            if answer is None:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
            return answer(*arguments)

        return call

    def _Init(self) -> None: ...

    def _Shutdown(self) -> None: ...

    def _SystemGetDriverVersion(self) -> str:
        return "570.86.15"

    def _GetCount(self) -> int:
        return len(self.devices)

    def _GetHandleByIndex(self, index: int) -> str:
        return self.devices[index]

    def _GetHandleByUUID(self, uuid: str) -> str:
        if uuid != "MIG-known":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return uuid

    def _GetUUID(self, handle: str) -> str:
        return handle

    def _GetName(self, handle: str) -> bytes:
        return b"NVIDIA A100-SXM4-40GB MIG 1g.5gb" if handle.startswith("MIG-") else b"NVIDIA H100 80GB HBM3"

    def _GetCudaComputeCapability(self, handle: str) -> tuple[int, int]:
        return (8, 0) if handle.startswith("MIG-") else (9, 0)

    def _GetMemoryInfo(self, handle: str, version: int | None = None) -> SimpleNamespace:
        if handle.startswith("MIG-"):
            return SimpleNamespace(used=GB, total=5 * GB)
        return SimpleNamespace(used=self.used[handle], total=80 * GB)

    def _GetUtilizationRates(self, handle: str) -> SimpleNamespace:
        if handle.startswith("MIG-"):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return SimpleNamespace(gpu=self.busy[handle], memory=0)

    def _GetTemperatureV(self, handle: str, sensor: int) -> int:
        self._refuse_instances(handle)
        return 61

    def _GetTemperature(self, handle: str, sensor: int) -> int:
        self._refuse_instances(handle)
        return 60

    def _GetPowerUsage(self, handle: str) -> int:
        self._refuse_instances(handle)
        return 412_300

    def _GetEnforcedPowerLimit(self, handle: str) -> int:
        self._refuse_instances(handle)
        return 700_000

    def _GetComputeRunningProcesses_v3(self, handle: str) -> list[Any]:
        return self.compute.get(handle, [])

    def _GetComputeRunningProcesses_v2(self, handle: str) -> list[Any]:
        return self.compute.get(handle, [])

    def _GetGraphicsRunningProcesses_v3(self, handle: str) -> list[Any]:
        return self.graphics.get(handle, [])

    def _GetGraphicsRunningProcesses_v2(self, handle: str) -> list[Any]:
        return self.graphics.get(handle, [])

    def _IsMigDeviceHandle(self, handle: str) -> int:
        return int(handle.startswith("MIG-"))

    def _GetDeviceHandleFromMigDeviceHandle(self, handle: str) -> str:
        return self.devices[0]

    def _GetMigMode(self, handle: str) -> list[int]:
        return [int(handle in self.instances)] * 2

    def _GetMaxMigDeviceCount(self, handle: str) -> int:
        return 7

    def _GetMigDeviceHandleByIndex(self, handle: str, index: int) -> str:
        instances = self.instances.get(handle, [])
        if index >= len(instances) or not instances[index]:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return instances[index]

    def _refuse_instances(self, handle: str) -> None:
        if handle.startswith("MIG-"):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


class FakeAmdSmi:
    """Two MI300X as ROCm's module tells of them; ``failing`` names calls, which then raise the code."""

    class AmdSmiException(Exception):
        """As the module's own."""

    class AmdSmiTemperatureType:
        """Its sensors."""

        HOTSPOT, EDGE = "hot", "edge"

    class AmdSmiTemperatureMetric:
        """Its metrics."""

        CURRENT = "now"

    def __init__(self, failing: dict[str, int | None] | None = None, **answers: Any) -> None:
        self.failing = dict(failing or {})
        self.answers: dict[str, Any] = {
            "init": None,
            "shut_down": None,
            "get_processor_handles": ["A", "B"],
            "get_gpu_device_uuid": "aff74a1",
            "get_gpu_asic_info": {"market_name": "AMD Instinct MI300X"},
            "get_gpu_driver_info": {"driver_version": "6.12.12"},
            "get_gpu_vram_usage": {"vram_used": 1024, "vram_total": 196_592},
            "get_gpu_activity": {"gfx_activity": 41, "umc_activity": 3},
            "get_temp_metric": 55,
            "get_power_info": {"current_socket_power": 301, "average_socket_power": "N/A"},
            "get_power_cap_info": {"power_cap": 750_000_000},
            "get_gpu_process_list": [{"pid": 1, "memory_usage": {"vram_mem": 5 * GB}}],
            **answers,
        }

    def __getattr__(self, name: str) -> Any:
        key = name.removeprefix("amdsmi_")
        if key == name or key not in self.answers or self.failing.get(name, 0) is None:
            raise AttributeError(name)

        def call(*arguments: Any) -> Any:
            if name in self.failing:
                error = self.AmdSmiException("Error code:\n\t2 | not supported")
                error.err_code = self.failing[name]  # type: ignore[attr-defined]  # as AmdSmiLibraryException has it
                raise error
            return self.answers[key]

        return call


def no_module() -> Any:
    """What importing does where there is none."""
    raise ModuleNotFoundError("No module named 'amdsmi'")
