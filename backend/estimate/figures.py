"""What an estimate says. Bytes are bytes; every figure is an estimate unless it says that it was measured here."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from modeldeck.backend.models import Quantization

DEFAULT_CONTEXT = 8192
"""Tokens that an estimate reckons with where nobody says otherwise; never the model's maximum."""


class Verdict(StrEnum):
    """Whether a load fits into what is free now; the words are shown to the user."""

    FITS = "fits"
    TIGHT = "tight"
    """Less than a tenth of the device would be left, or nobody knows how large the cache will be."""
    OFFLOADS = "offloads"
    """Part of the weights would lie in RAM, which is slow."""
    DOES_NOT_FIT = "does not fit"
    UNKNOWN = "unknown"
    """The files do not tell enough, or the device's memory cannot be read."""


class DeviceNeed(Struct, frozen=True, kw_only=True):
    """One device's share of a load, and what that device has."""

    device: str
    """``cuda:0``, ``mps``, or ``ram``."""
    weights_bytes: int = 0
    cache_bytes: int = 0
    """The KV cache, or a constant state, for the context that was asked for."""
    working_bytes: int = 0
    """Activations of the prefill and the logits, or what the load takes for a moment, whichever is more."""
    reclaimable_bytes: int = 0
    """Beside all that: pages of the weights' file that nobody needs any more, which the system takes back when memory
    gets short. They show in the peak and need no room."""
    engine_bytes: int = 0
    """What the engine takes before any weight is there."""
    free_bytes: int = 0
    """Free now, the model that would be unloaded first not counted."""
    credit_bytes: int = 0
    """What unloading the model before it would give back."""
    total_bytes: int = 0

    @property
    def holds_model(self) -> bool:
        """Whether weights would lie there; RAM beside GPUs holds the engine, and what the load goes through."""
        return self.weights_bytes > 0

    @property
    def needed_bytes(self) -> int:
        """All parts that need room."""
        return self.weights_bytes + self.cache_bytes + self.working_bytes + self.engine_bytes

    @property
    def peak_bytes(self) -> int:
        """What would be resident at the most, where nothing else wants the memory."""
        return self.needed_bytes + self.reclaimable_bytes

    @property
    def left_bytes(self) -> int:
        """What would be left; negative where it does not fit."""
        return self.free_bytes + self.credit_bytes - self.needed_bytes


class Estimate(Struct, frozen=True, kw_only=True):
    """What one exact load needs."""

    verdict: Verdict
    context_tokens: int
    devices: tuple[DeviceNeed, ...] = ()
    """The devices that would hold a part, in the order in which they are filled; RAM last, which the engine needs
    beside GPUs, too."""
    measured_bytes: int | None = None
    """The peak of the same load on this machine, all devices with weights together, with what a longer conversation
    adds to it by the estimate; None where it was never measured. The parts of the devices are made to agree with it."""
    grounds: tuple[str, ...] = ()
    """How the figures came about and what was assumed, one sentence each."""

    @property
    def needed_bytes(self) -> int:
        """All parts of all devices that need room."""
        return sum(device.needed_bytes for device in self.devices)

    @property
    def peak_bytes(self) -> int:
        """What would be resident at the most, on all devices together."""
        return sum(device.peak_bytes for device in self.devices)


class Suggestion(Struct, frozen=True, kw_only=True):
    """What would fit instead."""

    longest_context: int | None = None
    """Tokens, with the options that were asked for; None where not even 512 fit, or the model has no such limit."""
    dtype: str | None = None
    """The best options that fit for the context that was asked for, None where nothing does."""
    quantization: Quantization | None = None
