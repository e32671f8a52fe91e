"""A model moves from its GPU to RAM and back, in its engine: what can be, and how it is asked for."""

from __future__ import annotations

from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.errors import ParkingFailed
from modeldeck.backend.memory_reading import MemoryReading
from modeldeck.backend.models import ModelStatus, Quantization
from modeldeck.backend.protocol import Moved, MoveFailed, Park, ProtocolError, Wake
from modeldeck.backend.residents import Resident
from modeldeck.backend.text import clean_text

PARKABLE = frozenset({Quantization.NONE, Quantization.INT8, Quantization.NF4, Quantization.FP4})
"""The quantizations for which ``tests/real/test_parking.py`` shows the same logits before and after."""

SPARED_BYTES = 10**9
"""Of RAM, which everything else on the machine may need the next moment."""


def refuse_parking(resident: Resident) -> None:
    """Raise ParkingFailed with the reason where this model cannot be parked, or not now."""
    loaded = resident.loaded
    if resident.generating:
        raise ParkingFailed("A reply is being written; stop it first.")
    if resident.status is not ModelStatus.LOADED or loaded is None:
        raise ParkingFailed("It is being moved or unloaded; wait for that.")
    if loaded.device == "cpu":
        raise ParkingFailed("It lies in RAM already, and stays there until it is unloaded.")
    if "+" in loaded.device or not loaded.device.startswith("cuda"):
        raise ParkingFailed(f"Only a model on a single CUDA GPU can be parked; this one is on {loaded.device}.")
    if loaded.quantization not in PARKABLE:
        raise ParkingFailed(f"A model quantized with {loaded.quantization} cannot be parked.")


def refuse_without_room(resident: Resident, memory: MemoryReading | None) -> None:
    """Raise ParkingFailed where RAM has no room for the weights; where nobody can tell, the engine finds out."""
    if memory is None or resident.loaded is None:
        return
    needed, free = resident.loaded.weight_bytes, max(0, memory.ram.free_bytes - SPARED_BYTES)
    if needed > free:
        raise ParkingFailed(
            f"It takes {needed / 1e9:.1f} GB of RAM, and {free / 1e9:.1f} GB can be spared; unload it instead."
        )


async def move(engine: EngineClient, *, parks: bool) -> Moved:
    """Have the engine move its model. Raises ParkingFailed, with the model where it was, and EngineDied."""
    with engine.open_stream() as stream:
        await engine.send((Park if parks else Wake)(stream.request_id))
        event = await stream.next()
    if isinstance(event, MoveFailed):
        raise ParkingFailed(clean_text(event.message), clean_text(event.detail))
    if not isinstance(event, Moved):
        died = ProtocolError(f"the engine answered a move with {type(event).__name__}")
        await engine.kill("The engine answered with something else, and was ended; load the model again.")
        raise ParkingFailed("The engine answered with something else, and was ended.", str(died))
    return event
