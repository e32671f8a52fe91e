"""What each device would hold: everything on one, or accelerate's split over several."""

from __future__ import annotations

from collections.abc import Mapping

from modeldeck.backend.estimate import engine_cost
from modeldeck.backend.estimate.figures import DeviceNeed
from modeldeck.backend.estimate.parts import Parts
from modeldeck.backend.estimate.placement import deals_out
from modeldeck.backend.estimate.splitting import Share, split
from modeldeck.backend.memory_reading import DeviceMemory, MemoryReading
from modeldeck.backend.models import DeviceMap, Quantization


def needs_of(
    parts: Parts, targets: tuple[DeviceMemory, ...], memory: MemoryReading, credit: Mapping[str, int]
) -> list[DeviceNeed]:
    """The parts, dealt out as the engine would."""
    if targets[0].name == "ram":
        return [_ram_need(parts, targets[0])]
    if not deals_out(parts.request, targets):
        needs, offloaded = [_gpu_need(parts, targets[0], parts.whole_share())], 0
    else:
        needs, offloaded = _split_needs(parts, targets, memory.ram, credit)
    if offloaded or not any(target.shares_ram for target in targets):
        needs.append(_ram_beside_gpus(parts, memory.ram, offloaded))
    return needs


def _ram_need(parts: Parts, ram: DeviceMemory) -> DeviceNeed:
    """Everything in RAM: the peak is that of the load or that of the reply, whichever is higher."""
    extra, cache = parts.extra, parts.cache_total or 0
    working = max(extra.passing - cache, extra.staying + parts.working)
    firm = max(extra.passing - extra.reclaimable - cache, parts.working)
    return DeviceNeed(
        device=ram.name,
        weights_bytes=parts.weight_total - extra.untouched,
        cache_bytes=cache,
        working_bytes=firm,
        reclaimable_bytes=max(0, working - firm),
        engine_bytes=engine_cost.engine_ram_bytes(parts.request.quantization),
        free_bytes=ram.free_bytes,
        total_bytes=ram.total_bytes,
    )


def _gpu_need(parts: Parts, gpu: DeviceMemory, share: Share) -> DeviceNeed:
    cache = int((parts.cache_total or 0) * share.layers / max(1, parts.layers))
    working = parts.working if share.layers or share.has_head else 0
    return DeviceNeed(
        device=gpu.name,
        weights_bytes=share.weight_bytes,
        cache_bytes=cache,
        working_bytes=max(parts.gpu_passing - cache, working),
        engine_bytes=engine_cost.gpu_bytes(parts.request.quantization),
        free_bytes=gpu.free_bytes,
        total_bytes=gpu.total_bytes,
    )


def _split_needs(
    parts: Parts, gpus: tuple[DeviceMemory, ...], ram: DeviceMemory, credit: Mapping[str, int]
) -> tuple[list[DeviceNeed], int]:
    """Each GPU's part after accelerate's split, those that get nothing left out; and the weights that go to the RAM."""
    context = engine_cost.GPU_CONTEXT_BYTES  # is there before the split asks what is free
    free = [max(0, gpu.free_bytes + credit.get(gpu.name, 0) - context) for gpu in gpus]
    request = parts.request
    limits = [request.memory_limits.get(gpu.name) for gpu in gpus]
    limits.append(request.memory_limits.get("cpu") if request.cpu_offload else 0)
    shares = split(
        parts.runs,
        free,
        ram.free_bytes + credit.get("ram", 0),
        quantized=request.quantization is not Quantization.NONE,
        sequential=request.device_map is DeviceMap.SEQUENTIAL,
        limits=limits,
    )
    needs = [_gpu_need(parts, gpu, share) for gpu, share in zip(gpus, shares, strict=False) if share.weight_bytes]
    return needs, shares[len(gpus)].weight_bytes


def _ram_beside_gpus(parts: Parts, ram: DeviceMemory, offloaded: int) -> DeviceNeed:
    """The engine itself, what the load goes through on its way to the GPUs, and the weights that stay."""
    return DeviceNeed(
        device=ram.name,
        weights_bytes=offloaded,
        working_bytes=parts.ram_passing,
        engine_bytes=engine_cost.ram_beside_gpu_bytes(parts.request.quantization),
        free_bytes=ram.free_bytes,
        total_bytes=ram.total_bytes,
    )
