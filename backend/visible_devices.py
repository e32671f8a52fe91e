"""Which devices a process may use, as the environment's lists of visible devices leave them."""

from __future__ import annotations

from typing import Any, Protocol

from modeldeck.backend.gpu_driver import DriverError, figure


class Lookup(Protocol):
    """How a driver's devices are found. Every call may raise DriverError."""

    def count(self) -> int:
        """How many devices there are."""

    def by_index(self, index: int) -> Any:
        """The handle of a device, in the order of the bus."""

    def by_uuid(self, uuid: str) -> Any:
        """The handle of a device or of a MIG instance, by its whole UUID."""

    def uuid(self, handle: Any) -> str:
        """``GPU-`` and 36 characters."""


def visible_handles(driver: Lookup, wanted: str | None) -> list[Any]:
    """The devices in the order of ``cuda:0``, ``cuda:1`` ..., as ``CUDA_VISIBLE_DEVICES`` (``wanted``) leaves them.

    In the place of one that is lost stands the DriverError that says so: the others keep their numbers.
    CUDA stops at the first entry that it does not know, and so does this. NVML counts in the order of the bus, so
    the engine sets ``CUDA_DEVICE_ORDER=PCI_BUS_ID`` for both to mean the same device. Raises DriverError where not
    even their number is told.
    """
    count = driver.count()
    if wanted is None:
        return [_by_index(driver, index) for index in range(count)]
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


def _by_index(driver: Lookup, index: int) -> Any:
    try:
        return driver.by_index(index)
    except DriverError as error:
        return error


def _handle(driver: Lookup, entry: str, count: int) -> Any | None:
    if entry.isdecimal():
        return _by_index(driver, int(entry)) if int(entry) < count else None
    if entry.startswith("MIG-"):
        try:
            return driver.by_uuid(entry)
        except DriverError:
            return None
    if not entry.startswith("GPU-"):
        return None
    handles = (_by_index(driver, index) for index in range(count))
    return next((handle for handle in handles if _uuid(driver, handle).startswith(entry)), None)


def _uuid(driver: Lookup, handle: Any) -> str:
    return "" if isinstance(handle, DriverError) else figure(driver.uuid, handle) or ""
