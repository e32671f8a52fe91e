"""What would fit: the longest conversation with the options that were asked for, and the best options for this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from msgspec.structs import replace

from modeldeck.backend.estimate.estimating import estimate
from modeldeck.backend.estimate.figures import DEFAULT_CONTEXT, Suggestion, Verdict
from modeldeck.backend.estimate.weights import DTYPE_BYTES, load_dtype
from modeldeck.backend.memory_reading import MemoryReading
from modeldeck.backend.models import LoadRequest, ModelFormat, ModelInfo, Quantization

SHORTEST_CONTEXT = 512
"""Tokens; less is no conversation."""
LONGEST_CONTEXT = 2**20
"""Tokens that are tried where the model names no limit."""
_STEP = 256
_GOOD = (Verdict.FITS, Verdict.TIGHT)
_Fits = Callable[[int], bool]
_NO_CREDIT: Mapping[str, int] = {}


def suggest(
    model: ModelInfo,
    request: LoadRequest,
    memory: MemoryReading,
    *,
    context_tokens: int = DEFAULT_CONTEXT,
    credit: Mapping[str, int] = _NO_CREDIT,
    prepared: bool = False,
) -> Suggestion:
    """What fits instead, tight included; about twenty estimates."""

    def verdict(asked: LoadRequest, tokens: int) -> Verdict:
        return estimate(model, asked, memory, context_tokens=tokens, credit=credit, prepared=prepared).verdict

    best = None
    options = list(_options(model, request, prepared=prepared))
    for wanted in _GOOD:
        best = best or next((one for one in options if verdict(one, context_tokens) is wanted), None)
    return Suggestion(
        longest_context=_longest(lambda tokens: verdict(request, tokens) in _GOOD, model.context_length),
        dtype=best.dtype if best is not None else None,
        quantization=best.quantization if best is not None else None,
    )


def _longest(fits: _Fits, limit: int | None) -> int | None:
    """The most tokens that fit, in steps of 256; None where not even 512 do, or nothing sets a limit."""
    top = limit or LONGEST_CONTEXT
    if fits(top):
        return top if limit else None
    low, high = SHORTEST_CONTEXT // _STEP, top // _STEP
    if top < SHORTEST_CONTEXT or not fits(SHORTEST_CONTEXT):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * _STEP) else (low, middle)
    return low * _STEP


def _options(model: ModelInfo, request: LoadRequest, *, prepared: bool) -> Iterator[LoadRequest]:
    """Ways to load, the most faithful first."""
    plain = replace(request, dtype="auto", quantization=Quantization.NONE)
    yield plain
    if DTYPE_BYTES[load_dtype(model, plain)] > 2:
        yield replace(plain, dtype="bfloat16")
    if model.quantization is not None and not (model.format is ModelFormat.GGUF and prepared):
        return  # what is stored quantized cannot be quantized again
    yield replace(plain, quantization=Quantization.INT8)
    yield replace(plain, quantization=Quantization.NF4)
