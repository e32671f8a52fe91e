"""NVIDIA's devices through NVML, whose every call may fail with an error of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from modeldeck.backend.gpu_driver import DriverError, Gpu, GpuProcess, figure
from modeldeck.backend.text import clean_name
from modeldeck.backend.visible_devices import visible_handles

_NOT_SUPPORTED, _LIBRARY_NOT_FOUND, _FUNCTION_NOT_FOUND = 3, 12, 13
_FINAL = frozenset({15, 16})
"""GPU_IS_LOST and RESET_REQUIRED."""
_NO_SUCH_VERSION = frozenset({_NOT_SUPPORTED, _FUNCTION_NOT_FOUND, 25})
"""With ARGUMENT_VERSION_MISMATCH: a driver that is older than the call."""
_MEMORY_V2 = 0x02000028
"""``nvmlMemory_v2``: its used bytes leave out what the driver keeps for itself."""
_TEMPERATURE_OF_THE_GPU = 0
_MIG_ENABLED = 1
_PLAIN = {
    4: "no permission",
    9: "driver not loaded",
    12: "library not found",
    15: "GPU is lost",
    16: "GPU must be reset",
    18: "driver mismatch",
}


class NvmlError(DriverError):
    """A call that failed; ``code`` is NVML's own number."""

    def __init__(self, code: int, message: str) -> None:
        reason = _PLAIN.get(code, message.strip(". ").lower())
        super().__init__("NVML", reason, code, absent=code == _LIBRARY_NOT_FOUND, final=code in _FINAL)


def import_pynvml() -> Any:
    """``nvidia-ml-py``, imported when it is first needed."""
    import pynvml

    return pynvml


class Nvml:
    """A GpuDriver on ``nvidia-ml-py``; ``load`` gives its module."""

    def __init__(self, load: Callable[[], Any] = import_pynvml) -> None:
        self._load = load
        self._ml: Any = None
        self._is_open = False

    def open(self) -> None:
        """Start NVML anew: a GPU that was reset is seen only by an NVML that was shut down in between."""
        self.close()
        self._ml = self._load()
        self._call("nvmlInit")
        self._is_open = True

    def close(self) -> None:
        """NVML counts who opened it, and shuts down only with the last."""
        if self._is_open:
            self._is_open = False
            figure(self._call, "nvmlShutdown")

    def version(self) -> str:
        """Of the kernel's driver."""
        return f"NVIDIA {_string(self._call('nvmlSystemGetDriverVersion'))}"

    def handles(self, environ: Mapping[str, str]) -> list[Any]:
        """As CUDA sees them: of a GPU that is cut into MIG instances, the first of these."""
        found = visible_handles(self, environ.get("CUDA_VISIBLE_DEVICES"))
        return [self._first_instance(handle) or handle for handle in found]

    def _first_instance(self, handle: Any) -> Any | None:
        mode = None if isinstance(handle, DriverError) else figure(self._call, "nvmlDeviceGetMigMode", handle)
        if not mode or mode[0] != _MIG_ENABLED:
            return None
        most = int(figure(self._call, "nvmlDeviceGetMaxMigDeviceCount", handle) or 0)
        places = (figure(self._call, "nvmlDeviceGetMigDeviceHandleByIndex", handle, place) for place in range(most))
        return next((instance for instance in places if instance is not None), None)

    def count(self) -> int:
        """How many devices there are."""
        return int(self._call("nvmlDeviceGetCount"))

    def by_index(self, index: int) -> Any:
        """A handle."""
        return self._call("nvmlDeviceGetHandleByIndex", index)

    def by_uuid(self, uuid: str) -> Any:
        """A handle."""
        return self._call("nvmlDeviceGetHandleByUUID", uuid)

    def uuid(self, handle: Any) -> str:
        """The device's UUID."""
        return _string(self._call("nvmlDeviceGetUUID", handle))

    def read(self, handle: Any) -> Gpu:
        """Memory first, which alone must be told; everything else is None where it cannot be read."""
        memory = self._memory(handle)
        board = self._board(handle)
        busy = figure(self._call, "nvmlDeviceGetUtilizationRates", handle)
        return Gpu(
            name=_string(figure(self._call, "nvmlDeviceGetName", handle) or ""),
            used_bytes=None if memory is None else int(memory.used),
            total_bytes=None if memory is None else int(memory.total),
            utilization=None if busy is None else int(busy.gpu),
            temperature=self._temperature(board),
            power_watts=self._watts("nvmlDeviceGetPowerUsage", board),
            power_limit_watts=self._watts("nvmlDeviceGetEnforcedPowerLimit", board),
            processes=self._processes(handle),
            uuid=figure(self.uuid, handle) or "",
            compute_capability=figure(self._call, "nvmlDeviceGetCudaComputeCapability", handle),
        )

    def _memory(self, handle: Any) -> Any:
        """Used and total; None where the device says that it has no memory of its own (it shares the RAM)."""
        try:
            return self._call("nvmlDeviceGetMemoryInfo", handle, _MEMORY_V2)
        except NvmlError as error:
            if error.code not in _NO_SUCH_VERSION:
                raise
        try:
            return self._call("nvmlDeviceGetMemoryInfo", handle)
        except NvmlError as error:
            if error.code != _NOT_SUPPORTED:
                raise
            return None

    def _temperature(self, board: Any) -> int | None:
        for name in ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"):  # a driver has one or the other
            degrees = figure(self._call, name, board, _TEMPERATURE_OF_THE_GPU)
            if degrees is not None:
                return int(degrees)
        return None

    def _watts(self, name: str, board: Any) -> float | None:
        milliwatts = figure(self._call, name, board)
        return None if milliwatts is None else int(milliwatts) / 1000

    def _processes(self, handle: Any) -> tuple[GpuProcess, ...]:
        """Those that compute and those that draw, each once: one that does both stands in both lists with one sum."""
        found: dict[int, int | None] = {}
        for kind in ("Compute", "Graphics"):
            for process in self._process_list(kind, handle):
                pid, used = int(process.pid), process.usedGpuMemory
                before = found.get(pid)
                found[pid] = before if used is None else max(int(used), before or 0)
        return tuple(GpuProcess(pid, used) for pid, used in found.items())

    def _process_list(self, kind: str, handle: Any) -> list[Any]:
        for version in ("v3", "v2"):  # the call without a version raises what is no NVMLError where v3 is missing
            listed = figure(self._call, f"nvmlDeviceGet{kind}RunningProcesses_{version}", handle)
            if listed is not None:
                return list(listed)
        return []

    def _board(self, handle: Any) -> Any:
        """What temperature and power belong to: of a MIG instance, the GPU that it is a part of."""
        if not figure(self._call, "nvmlDeviceIsMigDeviceHandle", handle):
            return handle
        return figure(self._call, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle) or handle

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            return getattr(self._ml, name)(*arguments)
        except self._ml.NVMLError as error:
            raise NvmlError(int(error.value), str(error)) from error
        except (AttributeError, UnicodeError) as error:  # an older or newer library than was expected
            raise NvmlError(_FUNCTION_NOT_FOUND, f"{name} {type(error).__name__}") from error


def short_label(name: str, total_bytes: int | None) -> str:
    """``NVIDIA H100 80GB HBM3`` becomes ``H100 80 GB``; of a MIG instance, what it is called."""
    plain = re.sub(r"\b(NVIDIA|GeForce|Tesla|Quadro)\b", "", clean_name(name, 80))
    plain, _, instance = plain.partition(" MIG ")
    told = re.search(r"[\s-](\d+)\s?GB\b", plain)
    model = " ".join((plain[: told.start()] if told else plain).split()) or "GPU"
    if instance:
        return f"{model} MIG {instance.strip()}"
    if told is None and total_bytes is None:
        return model
    return f"{model} {told[1] if told else round((total_bytes or 0) / 2**30)} GB"


def _string(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
