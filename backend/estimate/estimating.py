"""The estimate of one exact load: weights, cache, working memory and the engine, against what is free now.

Arithmetic only, and quick: a list asks for each row that it shows, every second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from modeldeck.backend.estimate import wording
from modeldeck.backend.estimate.cache import cache_bytes
from modeldeck.backend.estimate.figures import DEFAULT_CONTEXT, DeviceNeed, Estimate, Verdict
from modeldeck.backend.estimate.loading_peak import cpu_extra, gguf_extra, gguf_ram_passing, gpu_extra
from modeldeck.backend.estimate.needs import needs_of
from modeldeck.backend.estimate.parts import Parts
from modeldeck.backend.estimate.placement import devices_for, keeps_fp8
from modeldeck.backend.estimate.processor import repacks_nf4
from modeldeck.backend.estimate.splitting import Run
from modeldeck.backend.estimate.weights import (
    DTYPE_BYTES,
    block_bytes,
    blocks_of,
    load_dtype,
    unpacks,
)
from modeldeck.backend.estimate.working import working_bytes
from modeldeck.backend.measurements import Measurement
from modeldeck.backend.memory_reading import DeviceMemory, MemoryReading
from modeldeck.backend.model_shape import ModelShape, WeightBlock
from modeldeck.backend.models import LoadRequest, ModelFormat, ModelInfo, Quantization

TIGHT_SHARE = 0.1
"""A load that leaves less than this share of a device is tight."""
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
    for longest in (model.context_length, request.context_limit):
        context_tokens = min(context_tokens, longest or context_tokens)  # no conversation is longer
    targets = devices_for(request.device, memory, request.device_map)
    if targets is None:
        return _unknown(context_tokens, f"No device {request.device} could be read on this machine.")
    on_cpu, fp8 = targets[0].name == "ram", keeps_fp8(targets, memory)
    count = partial(count_parts, model, request, prepared=prepared, on_cpu=on_cpu, keeps_fp8=fp8)
    parts = count(context_tokens, prompt_tokens)
    if parts is None:
        return _unknown(context_tokens, "The files do not tell how large the weights are.")
    needs = needs_of(parts, targets, memory, credit)
    lost = parts.weight_total - sum(need.weights_bytes for need in needs) - (parts.extra.untouched if on_cpu else 0)
    expected: dict[str, int] = {}
    if measured is not None and (expected := _measured_peaks(measured, needs)):
        covered = max(1, measured.context_tokens)
        if context_tokens > covered:
            shorter = count(covered)
            expected = _lengthened(expected, needs, needs_of(shorter or parts, targets, memory, credit))
    needs = [_finished(need, expected, credit) for need in needs]
    verdict = _verdict(needs, lost, parts, is_gpu=not on_cpu)
    return Estimate(
        verdict=verdict,
        context_tokens=context_tokens,
        devices=tuple(needs),
        measured_bytes=sum(expected.values()) or None,
        grounds=_grounds(parts, needs, targets, measured if expected else None, memory, lost),
    )


def count_parts(
    model: ModelInfo,
    request: LoadRequest,
    context_tokens: int,
    prompt_tokens: int | None = None,
    *,
    prepared: bool = False,
    on_cpu: bool = True,
    keeps_fp8: bool | None = None,
) -> Parts | None:
    """The parts of a load before they are dealt out to devices; None where the size of the weights is unknown.

    ``keeps_fp8`` says whether the device computes with fp8; where it is not known, GPUs are taken to and CPUs not.
    """
    blocks = blocks_of(model)
    if not blocks:
        return None
    dtype = load_dtype(model, request)
    size = DTYPE_BYTES[dtype]
    quantization = request.quantization
    unpacked = unpacks(model, keeps_fp8=not on_cpu if keeps_fp8 is None else keeps_fp8)
    runs = _runs(blocks, request, size, on_cpu=on_cpu, unpacked=unpacked)
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
        unpacked=unpacked,
        weight_total=sum(run.count * run.module_bytes for run in runs),
        cache_total=cache_bytes(shape, context_tokens, size),
        working=working_bytes(
            shape,
            min(prompt_tokens or context_tokens, context_tokens),
            size,
            model.architecture,
            on_cpu=on_cpu,
            attention=request.attention,
        ),
        extra=extra,
        gpu_passing=gpu_extra(blocks, dtype, quantization).passing,
        ram_passing=gguf_ram_passing(model) if model.format is ModelFormat.GGUF and not prepared else 0,
        context_tokens=context_tokens,
    )


def _runs(blocks: Sequence[WeightBlock], request: LoadRequest, size: int, *, on_cpu: bool, unpacked: bool) -> list[Run]:
    """What each block of the model takes as it is loaded, and the adapter beside them."""
    quantization = request.quantization
    repacked = on_cpu and quantization.is_bnb_4bit and repacks_nf4()
    runs = [
        Run(
            block_bytes(
                block,
                size,
                quantization,
                double_quantization=request.double_quantization,
                repacked=repacked,
                unpacked=unpacked,
            ),
            block.count,
            block.name.rsplit(".", 1)[-1].isdigit(),
        )
        for block in blocks
    ]
    return [*runs, Run(request.adapter_bytes, 1, False)] if request.adapter_bytes else runs


def _measured_peaks(measured: Measurement, needs: list[DeviceNeed]) -> dict[str, int]:
    """What each device took before; empty where it was measured on other devices."""
    peaks, holders = measured.peaks, [need.device for need in needs if need.holds_model]
    if len(peaks) == len(holders) == 1:
        return {holders[0]: next(iter(peaks.values()))}
    return dict(peaks) if peaks.keys() == set(holders) else {}


def _lengthened(peaks: dict[str, int], needs: list[DeviceNeed], shorter: list[DeviceNeed]) -> dict[str, int]:
    """The measured peaks, and what a longer conversation adds to them by the estimate: its cache, its prefill."""
    before = {need.device: need.peak_bytes for need in shorter}
    return {
        need.device: peaks[need.device] + max(0, need.peak_bytes - before.get(need.device, 0))
        for need in needs
        if need.device in peaks
    }


def _finished(need: DeviceNeed, expected: Mapping[str, int], credit: Mapping[str, int]) -> DeviceNeed:
    """With its credit, and with parts that add up to what was measured."""
    peak = expected.get(need.device)
    weights, working, engine = need.weights_bytes, need.working_bytes, need.engine_bytes
    if peak is not None:
        peak -= min(need.reclaimable_bytes, peak)
        working = max(0, peak - weights - need.cache_bytes - engine)
        engine = max(0, min(engine, peak - weights - need.cache_bytes))
        if need.device == "ram":  # where rows that no token has asked for are not read; a GPU holds all of them
            weights = min(weights, max(0, peak - need.cache_bytes))
    return DeviceNeed(
        device=need.device,
        weights_bytes=weights,
        cache_bytes=need.cache_bytes,
        working_bytes=working,
        reclaimable_bytes=need.reclaimable_bytes,
        engine_bytes=engine,
        free_bytes=need.free_bytes,
        credit_bytes=credit.get(need.device, 0),
        total_bytes=need.total_bytes,
    )


def _verdict(needs: list[DeviceNeed], lost: int, parts: Parts, *, is_gpu: bool) -> Verdict:
    if lost > 0 or any(need.left_bytes < 0 for need in needs):
        return Verdict.DOES_NOT_FIT
    if is_gpu and any(need.device == "ram" and need.holds_model for need in needs):
        # bitsandbytes refuses a map with the CPU in it (``quantizer_bnb_4bit.validate_environment``).
        quantized = parts.request.quantization is not Quantization.NONE
        return Verdict.DOES_NOT_FIT if quantized else Verdict.OFFLOADS
    if parts.cache_total is None or any(_is_tight(need) for need in needs):
        return Verdict.TIGHT
    return Verdict.FITS


def _is_tight(need: DeviceNeed) -> bool:
    """Of RAM that the load only goes through, what was needed is free again: it has to be there, and a little more."""
    return need.left_bytes < TIGHT_SHARE * (need.total_bytes if need.holds_model else need.needed_bytes)


def _grounds(
    parts: Parts,
    needs: list[DeviceNeed],
    targets: tuple[DeviceMemory, ...],
    measured: Measurement | None,
    memory: MemoryReading,
    lost: int,
) -> tuple[str, ...]:
    model, quantization = parts.model, parts.request.quantization
    said = []
    if measured is not None:
        said.append(wording.measured_ground(measured))
    said += [
        wording.weights_ground(model, parts.dtype, parts.request, parts.weight_total, unpacked=parts.unpacked),
        wording.fp8_ground(model, parts.dtype, known=parts.unpacked or keeps_fp8(targets, memory) is not None),
        wording.experts_ground(model, parts.dtype, quantization),
        wording.cache_ground(parts.cache_total, parts.context_tokens),
        wording.eager_ground(model.architecture, parts.request.attention),
    ]
    if needs and needs[0].device == "ram":
        said.append(wording.passing_ground(parts.extra.passing - parts.extra.staying))
        said.append(wording.staying_ground(parts.extra.staying))
        said.append(wording.untouched_ground(parts.extra.untouched))
    else:
        said.append(wording.unpacking_ground(parts.ram_passing))
    said += [wording.engine_ground(need.engine_bytes, need.device) for need in needs]
    by_name = {device.name: device for device in (*targets, memory.ram)}
    for need in needs:
        said += wording.device_grounds(need, by_name[need.device])
    if lost > 0:
        said.append(f"{wording.size(lost)} of the weights have no room on the devices and in RAM.")
    if memory.problem:
        said.append(f"GPU memory cannot be read: {memory.problem}.")
    return tuple(sentence for sentence in said if sentence)


def _unknown(context_tokens: int, ground: str) -> Estimate:
    return Estimate(verdict=Verdict.UNKNOWN, context_tokens=context_tokens, grounds=(ground,))
