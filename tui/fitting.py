"""What each model would need if it were loaded now, against what is free now: for the list, the details, the dialog."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from modeldeck.backend.estimate.figures import DEFAULT_CONTEXT, Estimate, Verdict
from modeldeck.backend.models import LoadRequest, ModelInfo

if TYPE_CHECKING:
    from modeldeck.backend.measurements import Measurement
    from modeldeck.backend.memory_reading import DeviceMemory, MemoryReading
    from modeldeck.tui.memory_feed import MemoryFeed

_NOTICED = 0.01
"""The share of a device by which its free memory must change before everything is worked out again."""
Measured = Callable[[LoadRequest, str], "Measurement | None"]
"""What a load took before on a kind of device (``cuda``, ``cpu``); None where it was never measured."""


class Fitting:
    """Estimates against one reading, which a newer one replaces only when that makes a difference.

    ``request_for`` says how enter would load a model. Quick: arithmetic over what is in memory.
    """

    def __init__(
        self,
        feed: MemoryFeed,
        request_for: Callable[[ModelInfo], LoadRequest],
        measured: Measured = lambda request, device: None,
    ) -> None:
        self._feed = feed
        self._request_for = request_for
        self._measured = measured
        self._reading: MemoryReading | None = None

    def follow(self, changed: Callable[[], None]) -> None:
        """Call back whenever estimates may be others than before."""

        def look() -> None:
            reading = self._feed.reading
            if reading is not self._reading and _differs(self._reading, reading):
                self._reading = reading
                changed()

        self._feed.subscribe(look)
        look()

    def estimate(
        self, model: ModelInfo, request: LoadRequest | None = None, context_tokens: int = DEFAULT_CONTEXT
    ) -> Estimate | None:
        """What a load needs, as enter would do it where no ``request`` is given; None while the memory is unknown."""
        from modeldeck.backend.estimate.estimating import estimate  # no first frame needs it

        reading = self._reading
        if reading is None or not model.loadable:
            return None
        wanted = request or self._request_for(model)
        kind = "cuda" if reading.devices and wanted.device != "cpu" else "cpu"
        measured = self._measured(wanted, kind)
        return estimate(
            model, wanted, reading, context_tokens=context_tokens, credit=_credit(reading), measured=measured
        )

    def verdict(self, model: ModelInfo) -> Verdict:
        """Whether it fits."""
        found = self.estimate(model)
        return found.verdict if found is not None else Verdict.UNKNOWN


def _differs(before: MemoryReading | None, after: MemoryReading | None) -> bool:
    if before is None or after is None:
        return before is not after
    old, new = _all_devices(before), _all_devices(after)
    if old.keys() != new.keys():
        return True
    noticed = {name: _NOTICED * max(1, device.total_bytes) for name, device in new.items()}
    freed, held = _credit(before), _credit(after)
    return any(
        abs(new[name].free_bytes - old[name].free_bytes) >= noticed[name]
        or abs(held.get(name, 0) - freed.get(name, 0)) >= noticed[name]
        for name in new
    )


def _all_devices(reading: MemoryReading) -> dict[str, DeviceMemory]:
    return {device.name: device for device in (*reading.devices, reading.ram)}


def _credit(reading: MemoryReading) -> dict[str, int]:
    """What unloading the model that is loaded would give back: all that our engines hold."""
    held = {
        device.name: sum(process.used_bytes or 0 for process in device.processes if process.ours)
        for device in reading.devices
    }
    return {name: size for name, size in ({**held, reading.ram.name: reading.engine_bytes}).items() if size}
