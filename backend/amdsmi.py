"""AMD's devices through ``amdsmi``, the module that ROCm ships; where it is not installed there are none.

torch calls them ``cuda:0`` ... too, and leaves out what ``ROCR_VISIBLE_DEVICES`` and then ``HIP_VISIBLE_DEVICES`` (or
``CUDA_VISIBLE_DEVICES``) do not name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from modeldeck.backend.gpu_driver import DriverError, Gpu, GpuProcess, figure
from modeldeck.backend.visible_devices import visible_handles

_UNKNOWN = -1
_MEGABYTE = 2**20
"""What ``amdsmi_get_gpu_vram_usage`` counts in (amd_smi.cc divides by 1024 * 1024)."""
_USAGE = ("used", "total")
_NO_GPU_IS_SO_HOT = 1000
"""Degrees Celsius; what is more was told in thousandths, as some releases do."""
_NO_GPU_TAKES_SO_MUCH = 10_000
"""Watts; what is more was told in millionths."""


class AmdSmiError(DriverError):
    """A call that failed; ``code`` is AMD SMI's own number, -1 where it told none."""

    def __init__(self, reason: str, code: int = _UNKNOWN, *, absent: bool = False) -> None:
        super().__init__("AMD SMI", reason, code, absent=absent)


def import_amdsmi() -> Any:
    """ROCm's module. Raises ImportError, and OSError or KeyError where its library is missing."""
    return importlib.import_module("amdsmi")


class AmdSmi:
    """A GpuDriver on ``amdsmi``; ``load`` gives its module."""

    def __init__(self, load: Callable[[], Any] = import_amdsmi) -> None:
        self._load = load
        self._smi: Any = None
        self._is_open = False

    def open(self) -> None:
        """Start the library anew."""
        self.close()
        try:
            self._smi = self._load()
        except (ImportError, OSError, KeyError, AttributeError) as error:
            raise AmdSmiError("library not found", absent=True) from error
        self._call("amdsmi_init")
        self._is_open = True

    def close(self) -> None:
        """Let the library go."""
        if self._is_open:
            self._is_open = False
            figure(self._call, "amdsmi_shut_down")

    def version(self) -> str:
        """Of the first device's driver."""
        return f"AMD {self._field('amdsmi_get_gpu_driver_info', self.by_index(0), 'driver_version')}"

    def handles(self, environ: Mapping[str, str]) -> list[Any]:
        """The second list counts what the first one left."""
        found = visible_handles(self, environ.get("ROCR_VISIBLE_DEVICES"))
        wanted = environ.get("HIP_VISIBLE_DEVICES", environ.get("CUDA_VISIBLE_DEVICES"))
        return visible_handles(_Chosen(self, found), wanted)

    def count(self) -> int:
        """How many devices there are."""
        return len(self._all())

    def by_index(self, index: int) -> Any:
        """A handle."""
        handles = self._all()
        if index >= len(handles):
            raise AmdSmiError("no such device")
        return handles[index]

    def by_uuid(self, uuid: str) -> Any:
        """AMD has no instances that are named by a UUID."""
        raise AmdSmiError(f"no device {uuid}")

    def uuid(self, handle: Any) -> str:
        """``GPU-`` and the number that AMD gives, as the visible lists write it."""
        return f"GPU-{self._call('amdsmi_get_gpu_device_uuid', handle)}"

    def read(self, handle: Any) -> Gpu:
        """Memory first, which alone must be told; everything else is None where it cannot be read."""
        used, total = self._memory(handle)
        name = figure(self._field, "amdsmi_get_gpu_asic_info", handle, "market_name")
        return Gpu(
            name=str(name or ""),
            used_bytes=used,
            total_bytes=total,
            utilization=_whole(figure(self._field, "amdsmi_get_gpu_activity", handle, "gfx_activity")),
            temperature=self._temperature(handle),
            power_watts=self._power(handle),
            power_limit_watts=self._power_limit(handle),
            processes=self._processes(handle),
            uuid=figure(self.uuid, handle) or "",
        )

    def _all(self) -> list[Any]:
        return list(self._call("amdsmi_get_processor_handles"))

    def _memory(self, handle: Any) -> tuple[int, int]:
        used, total = (_whole(self._field("amdsmi_get_gpu_vram_usage", handle, f"vram_{key}")) for key in _USAGE)
        if used is None or not total:
            raise AmdSmiError("its memory is not told")
        return used * _MEGABYTE, total * _MEGABYTE

    def _temperature(self, handle: Any) -> int | None:
        """At the hottest place, or at the edge: some devices have the one sensor, some the other."""
        for place in ("HOTSPOT", "EDGE"):
            degrees = _whole(figure(self._degrees, handle, place))
            if degrees is not None:
                return degrees // 1000 if degrees >= _NO_GPU_IS_SO_HOT else degrees
        return None

    def _degrees(self, handle: Any, place: str) -> Any:
        sensor, now = self._part("AmdSmiTemperatureType", place), self._part("AmdSmiTemperatureMetric", "CURRENT")
        return self._call("amdsmi_get_temp_metric", handle, sensor, now)

    def _power(self, handle: Any) -> float | None:
        for key in ("current_socket_power", "average_socket_power"):  # a device has one or the other
            watts = _whole(figure(self._field, "amdsmi_get_power_info", handle, key))
            if watts:
                return float(watts)
        return None

    def _power_limit(self, handle: Any) -> float | None:
        cap = _whole(figure(self._field, "amdsmi_get_power_cap_info", handle, "power_cap"))
        if not cap:
            return None
        return cap / 1e6 if cap >= _NO_GPU_TAKES_SO_MUCH else float(cap)

    def _processes(self, handle: Any) -> tuple[GpuProcess, ...]:
        found = {}
        for process in figure(self._call, "amdsmi_get_gpu_process_list", handle) or []:
            pid = _whole(_entry(process, "pid"))
            if pid:
                found[pid] = GpuProcess(pid, _whole(_entry(_entry(process, "memory_usage"), "vram_mem")))
        return tuple(found.values())

    def _field(self, name: str, handle: Any, key: str) -> Any:
        return _entry(self._call(name, handle), key)

    def _call(self, name: str, *arguments: Any) -> Any:
        function = self._part(name)
        try:
            return function(*arguments)
        except self._smi.AmdSmiException as error:
            raise AmdSmiError(str(error), _whole(getattr(error, "err_code", None)) or _UNKNOWN) from error
        except (AttributeError, ValueError) as error:  # a module and a library of two releases; undecodable names
            raise AmdSmiError(f"{name}: {type(error).__name__}") from error

    def _part(self, *names: str) -> Any:
        """Something of the module, which another release may not have."""
        found: Any = self._smi
        for name in names:
            found = getattr(found, name, None)
        if found is None:
            raise AmdSmiError(f"{'.'.join(names)} is missing")
        return found


class _Chosen:
    """What the first list of visible devices left, to choose from again."""

    def __init__(self, driver: AmdSmi, handles: list[Any]) -> None:
        self._driver = driver
        self._handles = handles

    def count(self) -> int:
        return len(self._handles)

    def by_index(self, index: int) -> Any:
        return self._handles[index]

    def by_uuid(self, uuid: str) -> Any:
        return self._driver.by_uuid(uuid)

    def uuid(self, handle: Any) -> str:
        return self._driver.uuid(handle)


def _entry(found: object, key: str) -> Any:
    return found.get(key) if isinstance(found, dict) else None


def _whole(value: object) -> int | None:
    """A number that may have come as text; None for ``N/A`` and everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(value)
    except (ValueError, OverflowError):
        return None
