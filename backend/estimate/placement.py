"""Which devices a request means, as the engine understands it (``backend.engine.devices``), found without torch."""

from __future__ import annotations

from collections.abc import Sequence

from modeldeck.backend.estimate.weights import FP8_CAPABILITY
from modeldeck.backend.memory_reading import DeviceMemory, MemoryReading
from modeldeck.backend.models import DeviceMap, LoadRequest


def devices_for(
    device: str, memory: MemoryReading, device_map: DeviceMap = DeviceMap.AUTO
) -> tuple[DeviceMemory, ...] | None:
    """The devices that the weights would go to first; None when one is named that the reading does not hold.

    ``auto`` is every GPU, else Apple's, else the RAM. Where there are several, the RAM takes what is left over.
    """
    if (found := _devices_named(device, memory)) and device_map is DeviceMap.SINGLE:
        return found[:1]
    return found


def deals_out(request: LoadRequest, targets: Sequence[DeviceMemory]) -> bool:
    """Whether transformers deals the modules out, and not everything goes to one device whatever happens."""
    if targets[0].name == "ram" or request.device_map is DeviceMap.SINGLE:
        return False
    limited = bool(request.memory_limits) and request.cpu_offload
    return request.device == "auto" or len(targets) > 1 or limited


def _devices_named(device: str, memory: MemoryReading) -> tuple[DeviceMemory, ...] | None:
    if device == "cpu":
        return (memory.ram,)
    if device == "auto":
        gpus = tuple(found for found in memory.devices if found.name.startswith("cuda:"))
        return gpus or memory.devices[:1] or (memory.ram,)
    names = ["cuda:0" if name == "cuda" else name for name in device.split("+")]
    found = tuple(one for one in memory.devices if one.name in names)
    if not found and names == ["mps"]:
        return (memory.ram,)  # unified memory, where nothing reports it as a device
    return found if len(found) == len(names) else None


def first_device(device: str, memory: MemoryReading) -> str:
    """Where a load would begin, under the names by which measurements are kept (``cuda:0``, ``ram``)."""
    if device != "auto":
        return "ram" if device == "cpu" else device.partition("+")[0]
    return memory.devices[0].name if memory.devices else "ram"


def keeps_fp8(targets: Sequence[DeviceMemory], memory: MemoryReading) -> bool | None:
    """Whether weights in fp8 stay so on these devices; None where a GPU does not tell how new it is.

    transformers asks the current device, which is the first that the engine sees, whatever device was chosen.
    """
    first = next((device for device in memory.devices if device.name == "cuda:0"), None)
    if first is None or any(not device.name.startswith("cuda:") for device in targets):
        return False
    return None if first.compute_capability is None else first.compute_capability >= FP8_CAPABILITY
