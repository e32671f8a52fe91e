"""One token through a model, at addresses that stay: what a CUDA graph can be made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from copy import copy
from inspect import signature
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache, StaticCache
from transformers.cache_utils import DynamicLayer, StaticLayer

from modeldeck.backend.engine.compiled_layers import CompiledLayers, LayerCache

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_WARM_UP_STEPS = 3
"""PyTorch's own advice: libraries choose their kernels and take their workspaces in the first calls."""
_MEASURED_STEPS = 12
MEASURED_TOKENS = _WARM_UP_STEPS + _MEASURED_STEPS
"""How many tokens ``timed`` reads."""
TOLERANCE = 0.05
"""How far scores may be from those of the plain way, as a share of their length: other kernels round otherwise."""
Step = Callable[[], torch.Tensor]
Read = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Takes a token and its position, each of shape (1, 1); scores after it, of shape (1, 1, vocabulary)."""


def captured(step: Step) -> Step:
    """The same step as a graph. Raises what CUDA raises where the step waits for the GPU in its middle."""
    make_stream: Any = torch.cuda.Stream  # not typed
    stream = make_stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP_STEPS):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        scores = step()

    def replay() -> torch.Tensor:
        graph.replay()
        return scores

    return replay


class FixedStep:
    """Reads one token at fixed addresses; holds what the cache of a reply does not have yet."""

    def __init__(self, model: Any, forward: Callable[..., Any], length: int, capture: Callable[[Step], Step]) -> None:
        self._forward = forward
        self._static: Any = StaticCache(config=model.config.get_text_config(decoder=True), max_cache_len=length)
        self._token = torch.zeros((1, 1), dtype=torch.long, device=model.device)
        self._position = torch.zeros_like(self._token)
        self._attention = model.config._attn_implementation
        self._dtype = model.dtype
        self._length = length
        self._cache: Any = None
        """The cache of the reply, which lacks the tokens after ``_written``."""
        self._written = self._read = 0
        self._compiled: CompiledLayers | None = None
        self._run()  # makes the layers' tensors, which then stay where they are
        self._replay = capture(self._run)

    def with_compiled(
        self,
        layers: Sequence[torch.nn.Module],
        capture: Callable[[Step], Step],
        compiling: AbstractContextManager[None],
    ) -> FixedStep:
        """The same step through these layers compiled, in the same cache: only one of the two can be in use.

        Within ``compiling`` it is compiled, and not yet captured. Raises what the compiler and ``capture`` raise.
        """
        position = self._position.view(1)
        caches = [LayerCache(one.keys.detach(), one.values.detach(), position) for one in self._static.layers]
        other = copy(self)
        other._compiled = CompiledLayers(layers, caches)  # kept, for what the graph runs is theirs
        with compiling:
            other._run()
        other._replay = capture(other._run)
        return other

    @property
    def layer_shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of the keys and of the values of one layer: (1, heads, length, size)."""
        first = self._static.layers[0]
        return tuple(first.keys.shape), tuple(first.values.shape)

    def __call__(self, token: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Scores after this token, shape (1, 1, vocabulary); valid until the next call."""
        self._token.copy_(token)
        self._position.copy_(position)
        self._read += 1
        return self._replay()

    def takes(self, cache: Any) -> bool:
        """Whether the next token of this cache has room here; what the cache has is copied the first time."""
        if cache is not self._cache:
            self.write_back()
            if not is_full_attention(cache) or not 0 < cache.get_seq_length() < self._length:
                return False
            self._take(cache)
        return self._read < self._length

    def write_back(self) -> None:
        """The cache of the reply gets the tokens that were read here, and is let go."""
        cache, new = self._cache, slice(self._written, self._read)
        self._cache = None
        if cache is None or new.start == new.stop:
            return
        with suppress(torch.OutOfMemoryError), torch.no_grad():  # what a layer lacks is read anew by the next turn
            for of_reply, static in zip(cache.layers, self._static.layers, strict=True):
                of_reply.update(static.keys[:, :, new], static.values[:, :, new])

    def measure(self, look: Callable[[], None]) -> tuple[float, torch.Tensor]:
        """Seconds of a token, and the scores after the last one."""
        self._rewind(0)
        measured = timed(self, self._token.device, look)
        self._read = 0
        return measured

    def _take(self, cache: Any) -> None:
        self._cache, self._written = cache, cache.get_seq_length()
        self._read = self._written
        for of_reply, static in zip(cache.layers, self._static.layers, strict=True):
            static.keys[:, :, : self._read].copy_(of_reply.keys)
            static.values[:, :, : self._read].copy_(of_reply.values)
        self._rewind(self._read)

    def _rewind(self, length: int) -> None:
        for layer in self._static.layers:
            layer.cumulative_length.fill_(length)

    def _run(self) -> torch.Tensor:
        with nullcontext() if self._compiled is None else self._compiled.in_place():
            return self._scores()

    def _scores(self) -> torch.Tensor:
        output = self._forward(
            input_ids=self._token,
            position_ids=self._position,
            attention_mask=seen_by(self._position, self._length, self._attention, self._dtype),
            past_key_values=self._static,
            use_cache=True,
            return_dict=True,
        )
        scores: torch.Tensor = output.logits
        return scores


def seen_by(position: torch.Tensor, length: int, attention: str, dtype: torch.dtype) -> torch.Tensor:
    """Which of so many places a token at this one attends to, shape (1, 1, 1, length), as this attention wants it."""
    seen = torch.arange(length, device=position.device)[None, None, None, :] <= position
    return seen if attention == "sdpa" else torch.where(seen, 0.0, torch.finfo(dtype).min).to(dtype)


def takes_fixed_steps(model: PreTrainedModel) -> bool:
    """Whether a step of this model is the same kernels for every token, by what transformers says of it."""
    parts: Any = model
    return (
        parts._can_compile_fullgraph
        and parts.config._attn_implementation in ("sdpa", "eager")
        and parts.config is parts.config.get_text_config(decoder=True)
        and _is_quantized_for_it(getattr(model, "hf_quantizer", None))
        and "position_ids" in signature(parts.forward).parameters
        and is_full_attention(DynamicCache(config=parts.config))
        and all(type(layer) is StaticLayer for layer in StaticCache(config=parts.config, max_cache_len=1).layers)
    )


def _is_quantized_for_it(quantizer: Any) -> bool:
    """Of bitsandbytes transformers says that it cannot be compiled; its kernels can be captured all the same."""
    return quantizer is None or bool(quantizer.is_compileable) or "Bnb" in type(quantizer).__name__


def timed(read: Read, device: torch.device, look: Callable[[], None]) -> tuple[float, torch.Tensor]:
    """Seconds of a token, and the scores after the last; the tokens are the same each time, and differ.

    ``look`` is called before each, and may leave by raising.
    """
    positions = torch.arange(MEASURED_TOKENS, device=device)[:, None, None]
    started, scores = 0.0, torch.empty(0)
    for count, position in enumerate(positions):
        if count == _WARM_UP_STEPS:
            synchronize(device)
            started = perf_counter()
        look()
        scores = read(position, position)
    synchronize(device)
    return (perf_counter() - started) / _MEASURED_STEPS, scores.float()


def is_full_attention(cache: Any) -> bool:
    """Whether every layer keeps the keys and values of all tokens, and nothing else."""
    return type(cache) is DynamicCache and all(type(layer) is DynamicLayer for layer in cache.layers)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
