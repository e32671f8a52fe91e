"""What the monitor asks of a GPU driver's library, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, Protocol, TypeVar

from msgspec import Struct

from modeldeck.backend.text import clean_name

_Call = ParamSpec("_Call")
_Figure = TypeVar("_Figure")


class DriverError(Exception):
    """A call that failed; its text is for the user: ``NVML: driver mismatch (18)``."""

    def __init__(self, library: str, reason: str, code: int, *, absent: bool = False, final: bool = False) -> None:
        self.reason = f"{clean_name(reason, 80)} ({code})"
        """What went wrong, without the library that says so."""
        super().__init__(f"{library}: {self.reason}")
        self.code = code
        self.absent = absent
        """Whether there is no such driver on this machine, which is no fault."""
        self.final = final
        """Whether the device stays as it is until it is reset, so that asking every second is of no use."""


class GpuProcess(Struct, frozen=True):
    """A process that the driver knows."""

    pid: int
    used_bytes: int | None


class Gpu(Struct, frozen=True, kw_only=True):
    """One device now; None is what it does not say."""

    name: str
    used_bytes: int | None
    """None with ``total_bytes`` where the device has no memory of its own and shares the RAM."""
    total_bytes: int | None
    utilization: int | None = None
    """Percent of the time that it was busy."""
    temperature: int | None = None
    """Degrees Celsius."""
    power_watts: float | None = None
    power_limit_watts: float | None = None
    processes: tuple[GpuProcess, ...] = ()
    uuid: str = ""
    compute_capability: tuple[int, int] | None = None
    """NVIDIA's alone."""


class GpuDriver(Protocol):
    """The calls that are needed, so that tests may hand in a driver that fails. Every one may raise DriverError."""

    def open(self) -> None:
        """Open the library; what was open before is closed, so that a mended driver is seen."""

    def close(self) -> None:
        """Let the library go, if it is open. Never raises."""

    def version(self) -> str:
        """``NVIDIA 570.86.15``; untrusted."""

    def handles(self, environ: Mapping[str, str]) -> list[Any]:
        """The devices that this process may use, in the order of ``cuda:0``, ``cuda:1`` ...

        In the place of one that is lost stands the DriverError that says so.
        """

    def count(self) -> int:
        """How many devices the machine has, whoever may use them."""

    def read(self, handle: Any) -> Gpu:
        """The device now. Raises only where its memory cannot be read; other figures are then None."""


def figure(ask: Callable[_Call, _Figure], *args: _Call.args, **kwargs: _Call.kwargs) -> _Figure | None:
    """What the driver says, or None where this one call fails."""
    try:
        return ask(*args, **kwargs)
    except DriverError:
        return None
