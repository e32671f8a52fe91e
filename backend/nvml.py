"""The NVIDIA devices that this process may use, through NVML, whose every call may fail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

from modeldeck.backend.text import clean_name

_LIBRARY_NOT_FOUND = 12
_NO_SUCH_VERSION = (3, 13, 25)
"""NOT_SUPPORTED, FUNCTION_NOT_FOUND, ARGUMENT_VERSION_MISMATCH: a driver that is older than the call."""
_MEMORY_V2 = 0x02000028
"""``nvmlMemory_v2``: its used bytes leave out what the driver keeps for itself."""
_PLAIN = {
    4: "no permission",
    9: "driver not loaded",
    12: "library not found",
    15: "GPU is lost",
    16: "GPU must be reset",
    18: "driver mismatch",
}


class NvmlError(Exception):
    """A call that failed; ``code`` is NVML's own number."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Gpu(Struct, frozen=True):
    """One device and its memory now."""

    name: str
    used_bytes: int
    total_bytes: int
    utilization: int | None
    """Percent of the time that it was busy, or None where it does not say."""


class NvmlDriver(Protocol):
    """The calls that are needed, so that tests may hand in a driver that fails. Every one may raise NvmlError."""

    def init(self) -> None:
        """Open the library; may be called again after a failure."""

    def count(self) -> int:
        """How many devices there are."""

    def by_index(self, index: int) -> Any:
        """The handle of a device, in the order of the bus."""

    def by_uuid(self, uuid: str) -> Any:
        """The handle of a device or of a MIG instance, by its whole UUID."""

    def uuid(self, handle: Any) -> str:
        """``GPU-`` and 36 characters."""

    def read(self, handle: Any) -> Gpu:
        """Its memory and how busy it is now."""


class Pynvml:
    """``nvidia-ml-py``, imported when it is first needed."""

    def __init__(self) -> None:
        self._ml: Any = None

    def init(self) -> None:
        """Load the library."""
        import pynvml

        self._ml = pynvml
        self._call("nvmlInit")

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
        """Memory first; a device that does not tell how busy it is is still shown."""
        memory = self._memory(handle)
        try:
            utilization = int(self._call("nvmlDeviceGetUtilizationRates", handle).gpu)
        except NvmlError:
            utilization = None
        name = _string(self._call("nvmlDeviceGetName", handle))
        return Gpu(name, int(memory.used), int(memory.total), utilization)

    def _memory(self, handle: Any) -> Any:
        try:
            return self._call("nvmlDeviceGetMemoryInfo", handle, _MEMORY_V2)
        except NvmlError as error:
            if error.code not in _NO_SUCH_VERSION:
                raise
            return self._call("nvmlDeviceGetMemoryInfo", handle)

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            return getattr(self._ml, name)(*arguments)
        except self._ml.NVMLError as error:
            raise NvmlError(int(error.value), str(error)) from error


def plain_problem(error: NvmlError) -> str:
    """``NVML: driver mismatch (18)``; empty where there is no NVIDIA driver at all, which is no fault."""
    if error.code == _LIBRARY_NOT_FOUND:
        return ""
    return f"NVML: {_PLAIN.get(error.code, clean_name(str(error), 80).lower())} ({error.code})"


def visible_handles(driver: NvmlDriver, environ: Mapping[str, str]) -> list[Any]:
    """The devices in the order of ``cuda:0``, ``cuda:1`` ..., as ``CUDA_VISIBLE_DEVICES`` leaves them.

    CUDA stops at the first entry that it does not know, and so does this. NVML counts in the order of the bus, so
    the engine sets ``CUDA_DEVICE_ORDER=PCI_BUS_ID`` for both to mean the same device. Raises NvmlError.
    """
    count = driver.count()
    wanted = environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return [driver.by_index(index) for index in range(count)]
    handles: list[Any] = []
    chosen: set[str] = set()
    for entry in (entry.strip() for entry in wanted.split(",")):
        if entry in chosen:
            return []  # CUDA sees no device at all when one is named twice
        chosen.add(entry)
        handle = _handle(driver, entry, count)
        if handle is None:
            break
        handles.append(handle)
    return handles


def _handle(driver: NvmlDriver, entry: str, count: int) -> Any | None:
    if entry.isdecimal():
        return driver.by_index(int(entry)) if int(entry) < count else None
    if entry.startswith("MIG-"):
        try:
            return driver.by_uuid(entry)
        except NvmlError:
            return None
    if not entry.startswith("GPU-"):
        return None
    handles = [driver.by_index(index) for index in range(count)]
    return next((handle for handle in handles if driver.uuid(handle).startswith(entry)), None)


def short_label(name: str, total_bytes: int) -> str:
    """``NVIDIA H100 80GB HBM3`` becomes ``H100 80 GB``."""
    plain = re.sub(r"\b(NVIDIA|GeForce|Tesla|Quadro)\b", "", clean_name(name, 80))
    told = re.search(r"[\s-](\d+)\s?GB\b", plain)
    model = plain[: told.start()] if told else plain
    gigabytes = told[1] if told else round(total_bytes / 2**30)
    return f"{' '.join(model.split()) or 'GPU'} {gigabytes} GB"


def _string(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
