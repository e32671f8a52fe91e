"""The estimate of one exact load: weights, cache, working memory and the engine, against what is free now.

Arithmetic only, and quick: a list asks for each row that it shows, every second.
"""

from __future__ import annotations

from collections.abc import Mapping

from modeldeck.backend.estimate import engine_cost, wording
from modeldeck.backend.estimate.cache import cache_bytes
from modeldeck.backend.estimate.figures import DEFAULT_CONTEXT, DeviceNeed, Estimate, Verdict
from modeldeck.backend.estimate.loading_peak import cpu_extra, gguf_extra, gpu_extra
from modeldeck.backend.estimate.parts import Parts
from modeldeck.backend.estimate.placement import devices_for
from modeldeck.backend.estimate.processor import repacks_nf4
from modeldeck.backend.estimate.splitting import Run, Share, split
from modeldeck.backend.estimate.weights import (
    DTYPE_BYTES,
    NF4_BYTES,
    NF4_REPACKED_BYTES,
    block_bytes,
    blocks_of,
    load_dtype,
)
from modeldeck.backend.estimate.working import working_bytes
from modeldeck.backend.measurements import Measurement
from modeldeck.backend.memory_reading import DeviceMemory, MemoryReading
from modeldeck.backend.model_shape import ModelShape
from modeldeck.backend.models import LoadRequest, ModelFormat, ModelInfo, Quantization

TIGHT_SHARE = 0.1
"""A load that leaves less than this share of a device is tight."""
LONGER = 1.25
"""A measurement holds for conversations up to so many times as long as the measured one."""
_NO_CREDIT: Mapping[str, int] = {}


def estimate(
    model: ModelInfo,
    request: LoadRequest,
    memory: MemoryReading,
    *,
    context_tokens: int = DEFAULT_CONTEXT,
    credit: Mapping[str, int] = _NO_CREDIT,
    measured: Measurement | None = None,
    prepared: bool = False,
    prompt_tokens: int | None = None,
) -> Estimate:
    """What this load needs for a conversation of ``context_tokens``, and whether it fits.

    ``prompt_tokens`` is the longest prompt in it; the whole conversation where nothing is said. ``credit`` is what
    unloading the loaded model gives back, by device name. ``measured`` is what the same load took before. ``prepared``
    says that a GGUF file has a prepared copy, which is then loaded instead.
    """
    context_tokens = min(context_tokens, model.context_length or context_tokens)  # no conversation is longer
    targets = devices_for(request.device, memory)
    if targets is None:
        return _unknown(context_tokens, f"No device {request.device} could be read on this machine.")
    on_cpu = targets[0].name == "ram"
    parts = count_parts(model, request, context_tokens, prompt_tokens, prepared=prepared, on_cpu=on_cpu)
    if parts is None:
        return _unknown(context_tokens, "The files do not tell how large the weights are.")
    if on_cpu:
        needs = [_ram_need(parts, targets[0])]
    elif request.device == "auto":
        needs = _split_needs(parts, targets, memory.ram, credit)
    else:
        needs = [_gpu_need(parts, targets[0], parts.whole_share())]
    lost = parts.weight_total - sum(need.weights_bytes for need in needs) - parts.extra.untouched
    expected = _measured_peaks(measured, needs, parts, context_tokens)
    needs = [_finished(need, expected, credit) for need in needs]
    verdict = _verdict(needs, lost, parts, is_gpu=not on_cpu)
    return Estimate(
        verdict=verdict,
        context_tokens=context_tokens,
        devices=tuple(needs),
        measured_bytes=sum(expected.values()) or None,
        grounds=_grounds(parts, needs, (*targets, memory.ram), measured if expected else None, memory, lost),
    )


def count_parts(
    model: ModelInfo,
    request: LoadRequest,
    context_tokens: int,
    prompt_tokens: int | None = None,
    *,
    prepared: bool = False,
    on_cpu: bool = True,
) -> Parts | None:
    """The parts of a load before they are dealt out to devices; None where the size of the weights is unknown."""
    blocks = blocks_of(model)
    if not blocks:
        return None
    dtype = load_dtype(model, request)
    size = DTYPE_BYTES[dtype]
    quantization = request.quantization
    nf4 = NF4_REPACKED_BYTES if on_cpu and quantization is Quantization.NF4 and repacks_nf4() else NF4_BYTES
    runs = [
        Run(block_bytes(block, size, quantization, nf4), block.count, block.name.rsplit(".", 1)[-1].isdigit())
        for block in blocks
    ]
    shape = model.shape or ModelShape()
    tied = shape.tied_embeddings
    if model.format is ModelFormat.GGUF:
        extra = gguf_extra(model, size, quantization, prepared=prepared)
    else:
        extra = cpu_extra(blocks, model.dtype, dtype, quantization, context_tokens, tied)
    return Parts(
        model=model,
        request=request,
        dtype=dtype,
        runs=runs,
        weight_total=sum(run.count * run.module_bytes for run in runs),
        cache_total=cache_bytes(shape, context_tokens, size),
        working=working_bytes(shape, min(prompt_tokens or context_tokens, context_tokens), size),
        extra=extra,
        gpu_passing=gpu_extra(blocks, dtype, quantization).passing,
        context_tokens=context_tokens,
    )


def _ram_need(parts: Parts, ram: DeviceMemory) -> DeviceNeed:
    """Everything in RAM: the peak is that of the load or that of the reply, whichever is higher."""
    extra, cache = parts.extra, parts.cache_total or 0
    working = max(extra.passing - cache, extra.staying + parts.working)
    return DeviceNeed(
        device=ram.name,
        weights_bytes=parts.weight_total - extra.untouched,
        cache_bytes=cache,
        working_bytes=working,
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
        engine_bytes=engine_cost.GPU_CONTEXT_BYTES + engine_cost.GPU_BUFFERS_BYTES,
        free_bytes=gpu.free_bytes,
        total_bytes=gpu.total_bytes,
    )


def _split_needs(
    parts: Parts, gpus: tuple[DeviceMemory, ...], ram: DeviceMemory, credit: Mapping[str, int]
) -> list[DeviceNeed]:
    """Each device's part after accelerate's split; devices that get nothing are left out."""
    context = engine_cost.GPU_CONTEXT_BYTES  # is there before the split asks what is free
    free = [max(0, gpu.free_bytes + credit.get(gpu.name, 0) - context) for gpu in gpus]
    quantized = parts.request.quantization is not Quantization.NONE
    shares = split(parts.runs, free, ram.free_bytes + credit.get("ram", 0), quantized=quantized)
    needs = [_gpu_need(parts, gpu, share) for gpu, share in zip(gpus, shares, strict=False) if share.weight_bytes]
    offloaded = shares[len(gpus)]
    if offloaded.weight_bytes:
        needs.append(
            DeviceNeed(
                device=ram.name,
                weights_bytes=offloaded.weight_bytes,
                engine_bytes=engine_cost.engine_ram_bytes(parts.request.quantization),
                free_bytes=ram.free_bytes,
                total_bytes=ram.total_bytes,
            )
        )
    return needs


def _measured_peaks(
    measured: Measurement | None, needs: list[DeviceNeed], parts: Parts, context_tokens: int
) -> dict[str, int]:
    """What each device took before, and the cache that a longer conversation adds; empty where that does not apply."""
    if measured is None:
        return {}
    peaks = measured.peaks
    if len(peaks) == len(needs) == 1:
        peaks = {needs[0].device: next(iter(peaks.values()))}
    if peaks.keys() != {need.device for need in needs}:
        return {}
    if context_tokens <= LONGER * measured.context_tokens:
        return dict(peaks)
    cache = parts.cache_total or 0
    longer = max(0, cache - measured.cache_bytes)
    return {need.device: peaks[need.device] + int(longer * need.cache_bytes / max(1, cache)) for need in needs}


def _finished(need: DeviceNeed, expected: Mapping[str, int], credit: Mapping[str, int]) -> DeviceNeed:
    """With its credit, and with parts that add up to what was measured."""
    peak = expected.get(need.device)
    weights, working, engine = need.weights_bytes, need.working_bytes, need.engine_bytes
    if peak is not None:
        working = max(0, peak - weights - need.cache_bytes - engine)
        engine = max(0, min(engine, peak - weights - need.cache_bytes))
        weights = min(weights, max(0, peak - need.cache_bytes))
    return DeviceNeed(
        device=need.device,
        weights_bytes=weights,
        cache_bytes=need.cache_bytes,
        working_bytes=working,
        engine_bytes=engine,
        free_bytes=need.free_bytes,
        credit_bytes=credit.get(need.device, 0),
        total_bytes=need.total_bytes,
    )


def _verdict(needs: list[DeviceNeed], lost: int, parts: Parts, *, is_gpu: bool) -> Verdict:
    if lost > 0 or any(need.left_bytes < 0 for need in needs):
        return Verdict.DOES_NOT_FIT
    if is_gpu and needs[-1].device == "ram":
        # bitsandbytes refuses a map with the CPU in it (``quantizer_bnb_4bit.validate_environment``).
        quantized = parts.request.quantization is not Quantization.NONE
        return Verdict.DOES_NOT_FIT if quantized else Verdict.OFFLOADS
    if any(need.left_bytes < TIGHT_SHARE * need.total_bytes for need in needs):
        return Verdict.TIGHT
    return Verdict.FITS


def _grounds(
    parts: Parts,
    needs: list[DeviceNeed],
    devices: tuple[DeviceMemory, ...],
    measured: Measurement | None,
    memory: MemoryReading,
    lost: int,
) -> tuple[str, ...]:
    model, quantization = parts.model, parts.request.quantization
    said = []
    if measured is not None:
        said.append(wording.measured_ground(measured))
    said += [
        wording.weights_ground(model, parts.dtype, quantization, parts.weight_total),
        wording.experts_ground(model, parts.dtype, quantization),
        wording.cache_ground(parts.cache_total, parts.context_tokens),
    ]
    if needs and needs[0].device == "ram":
        said.append(wording.passing_ground(parts.extra.passing - parts.extra.staying))
        said.append(wording.staying_ground(parts.extra.staying))
    said += [wording.engine_ground(need.engine_bytes, need.device) for need in needs]
    by_name = {device.name: device for device in devices}
    for need in needs:
        said += wording.device_grounds(need, by_name[need.device])
    if lost > 0:
        said.append(f"{wording.size(lost)} of the weights have no room on the devices and in RAM.")
    if memory.problem:
        said.append(f"GPU memory cannot be read: {memory.problem}.")
    return tuple(sentence for sentence in said if sentence)


def _unknown(context_tokens: int, ground: str) -> Estimate:
    return Estimate(verdict=Verdict.UNKNOWN, context_tokens=context_tokens, grounds=(ground,))
