"""What each model would need if it were loaded now, against what is free now: for the list, the details, the dialog."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modeldeck.backend.estimate.credit import added, held_by
from modeldeck.backend.estimate.figures import DEFAULT_CONTEXT, Estimate, Suggestion, Verdict
from modeldeck.backend.estimate.planning import Holder, Room, make_room
from modeldeck.backend.models import LoadRequest, ModelFormat, ModelInfo

if TYPE_CHECKING:
    from modeldeck.backend.measurements import Measurement
    from modeldeck.backend.memory_reading import DeviceMemory, MemoryReading
    from modeldeck.backend.residents import Resident
    from modeldeck.tui.memory_feed import MemoryFeed

_NOTICED = 0.01
"""The share of a device by which its free memory must change before everything is worked out again."""
Measured = Callable[[LoadRequest, str], "Measurement | None"]
"""What a load took before on a device (``cuda:0``, ``ram``); None where it was never measured."""
FindCopy = Callable[[Path], "Path | None"]
"""Finds the prepared copy of a GGUF file; touches the disk."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Everything that is said about one load before it is tried."""

    estimate: Estimate
    """With what ``room`` gives back."""
    suggestion: Suggestion
    memory: MemoryReading
    room: Room


class Fitting:
    """Estimates against one reading, which a newer one replaces only when that makes a difference.

    ``request_for`` says how enter would load a model, ``residents`` what is held, ``most_models`` how many may be.
    Quick: arithmetic over what is in memory.
    """

    def __init__(
        self,
        feed: MemoryFeed,
        request_for: Callable[[ModelInfo], LoadRequest],
        residents: Iterable[Resident],
        most_models: int,
        measured: Measured,
        find_copy: FindCopy,
    ) -> None:
        self._feed = feed
        self._request_for = request_for
        self._residents = residents
        self._most_models = most_models
        self._measured = measured
        self._find_copy = find_copy
        self._prepared: dict[str, bool] = {}
        self._reading: MemoryReading | None = None
        self._followers: list[Callable[[], None]] = []

    def start(self) -> None:
        """Follow the memory from now on."""
        self._feed.subscribe(self._look)
        self._look()

    def follow(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever estimates may be others than before; returns what ends that."""
        self._followers.append(changed)
        return lambda: self._followers.remove(changed)

    def outdate(self) -> None:
        """A load was measured, or would be another one: whoever shows estimates asks again."""
        for changed in tuple(self._followers):
            changed()

    def look_for_copy(self, model: ModelInfo) -> bool:
        """Find out whether a GGUF file has a prepared copy; blocking, and remembered for the estimates."""
        if model.format is ModelFormat.GGUF:
            self._prepared[model.id] = self._find_copy(Path(model.path)) is not None
        return self._prepared.get(model.id, False)

    def note_copy(self, model: ModelInfo, prepared: bool) -> None:
        """Somebody has looked for the prepared copy, or has cleared it: what loads need may be something else."""
        if self._prepared.get(model.id, False) != prepared:
            self._prepared[model.id] = prepared
            self.outdate()

    def estimate(
        self,
        model: ModelInfo,
        request: LoadRequest | None = None,
        context_tokens: int = DEFAULT_CONTEXT,
        credit: Mapping[str, int] | None = None,
    ) -> Estimate | None:
        """What a load needs, as enter would do it where no ``request`` is given; None while the memory is unknown.

        ``credit`` is what comes back before it; where nothing is said, all that may make room.
        """
        from modeldeck.backend.estimate.estimating import estimate  # no first frame needs it
        from modeldeck.backend.estimate.placement import first_device

        reading = self._reading
        if reading is None or not model.loadable:
            return None
        wanted = request or self._request_for(model)
        return estimate(
            model,
            wanted,
            reading,
            context_tokens=context_tokens,
            credit=self._most_credit(reading) if credit is None else credit,
            measured=self._measured(wanted, first_device(wanted.device, reading)),
            prepared=self._prepared.get(model.id, False),
        )

    def fit(self, model: ModelInfo, request: LoadRequest, context_tokens: int) -> Fit | None:
        """The estimate and what would fit instead; some twenty estimates."""
        from modeldeck.backend.estimate.suggesting import suggest  # as above

        room = self.room(model, request, context_tokens)
        found, reading = self.estimate(model, request, context_tokens, room.credit), self._reading
        if found is None or reading is None:
            return None
        prepared, credit = self._prepared.get(model.id, False), self._most_credit(reading)
        other = suggest(model, request, reading, context_tokens=context_tokens, credit=credit, prepared=prepared)
        return Fit(found, other, reading, room)

    def room(self, model: ModelInfo, request: LoadRequest, context_tokens: int = DEFAULT_CONTEXT) -> Room:
        """Which of the models that are held make room for this load."""
        self._reading = self._feed.reading or self._reading  # a difference that no list shows is one here

        def judge(credit: Mapping[str, int]) -> Verdict:
            found = self.estimate(model, request, context_tokens, credit)
            return found.verdict if found is not None else Verdict.UNKNOWN

        return make_room(model.id, self._holders(self._reading), judge, self._most_models)

    def uuids_of(self, device: str) -> dict[str, str]:
        """The UUIDs of the GPUs that a request names, as far as somebody tells them."""
        return {name: uuid for name in device.split("+") if ":" in name and (uuid := self.uuid_of(name))}

    def uuid_of(self, device: str) -> str:
        """The UUID of a GPU that a load may name; empty where there is none, or nobody tells it."""
        found = self._reading.devices if self._reading is not None else ()
        name = "cuda:0" if device == "cuda" else device
        return next((gpu.uuid for gpu in found if gpu.name == name), "")

    def verdict(self, model: ModelInfo, request: LoadRequest | None = None) -> Verdict:
        """Whether it fits."""
        found = self.estimate(model, request)
        return found.verdict if found is not None else Verdict.UNKNOWN

    def _holders(self, reading: MemoryReading | None) -> list[Holder]:
        return [
            Holder(
                model_id=one.model_id,
                held=held_by(reading, *one.held_at) if reading is not None and one.held_at is not None else {},
                last_used=one.last_used,
                pinned=one.pinned,
                generating=one.generating,
            )
            for one in self._residents
        ]

    def _most_credit(self, reading: MemoryReading) -> dict[str, int]:
        return added(one.held for one in self._holders(reading) if not one.pinned)

    def _look(self) -> None:
        reading = self._feed.reading
        if reading is not self._reading and self._differs(self._reading, reading):
            self._reading = reading
            self.outdate()

    def _differs(self, before: MemoryReading | None, after: MemoryReading | None) -> bool:
        if before is None or after is None:
            return before is not after
        return _devices_differ(before, after, self._most_credit(before), self._most_credit(after))


def _devices_differ(
    before: MemoryReading, after: MemoryReading, freed: Mapping[str, int], held: Mapping[str, int]
) -> bool:
    old, new = _all_devices(before), _all_devices(after)
    if old.keys() != new.keys():
        return True
    noticed = {name: _NOTICED * max(1, device.total_bytes) for name, device in new.items()}
    return any(
        abs(new[name].free_bytes - old[name].free_bytes) >= noticed[name]
        or abs(held.get(name, 0) - freed.get(name, 0)) >= noticed[name]
        for name in new
    )


def _all_devices(reading: MemoryReading) -> dict[str, DeviceMemory]:
    return {device.name: device for device in (*reading.devices, reading.ram)}
