"""Token after token through a CUDA graph: the GPU is told once what one step is, and not at every token.

At batch 1 a small model spends most of a step on being told: thirty layers are some hundred kernels, each launched from
Python. A graph needs fixed addresses, so the tokens of a reply go into a static cache, and from there back into the
cache that the next turn goes on with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast

from modeldeck.backend.engine.alarms import alarm
from modeldeck.backend.engine.compiled_layers import make_plain
from modeldeck.backend.engine.failures import first_line, root_of
from modeldeck.backend.engine.fixed_step import (
    MEASURED_TOKENS,
    TOLERANCE,
    FixedStep,
    Step,
    captured,
    synchronize,
    takes_fixed_steps,
    timed,
)
from modeldeck.backend.engine.layer_compiler import LayerCompiler, State
from modeldeck.backend.engine.metering import cache_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LONGEST = 4096
"""Tokens of prompt and reply; every step looks at all of them, and longer conversations go on without a graph."""
_WORTH = 1.1
"""Times as fast as without, below which it is left."""
_ROUNDS = 3
_LOOK_SECONDS = 0.02
"""So often it is asked, in the middle of compiling, whether somebody waits."""
_LONGEST_SECONDS = 20.0
"""It takes one or two where the cache has what is needed."""
_SHARE_OF_FREE = 0.25
"""Of the GPU's free memory the static cache may take so much."""
_KNOWN_INPUTS = frozenset(
    {"input_ids", "position_ids", "past_key_values", "use_cache", "return_dict", "logits_to_keep"}
)


class _Interrupted(Exception):
    """Somebody waits for something else."""


class _LeftOff(BaseException):
    """The compiler has to stop, in the middle of what it does; it must not take this for an error that it can mend."""


class GraphDecoder:
    """Stands before the model's forward, and takes over where a single token of a reply is to be read."""

    def __init__(self, model: PreTrainedModel, context_length: int | None, capture: Callable[[Step], Step]) -> None:
        """``capture`` makes a step fast: ``captured``, or on a CPU anything that runs it."""
        self._model: Any = model
        self._forward: Callable[..., Any] = model.forward
        self._length = min(context_length or LONGEST, LONGEST)
        self._capture = capture
        self._fixed: FixedStep | None = None
        self._scores = torch.empty(0)
        """What a reply without it says after the tokens that are measured with."""
        self._compiler: LayerCompiler | None = None
        self._replying = self._replied = False
        self.decided = False
        """Whether it was tried here, or ruled out; it is not tried again then."""

    @classmethod
    def of(cls, model: PreTrainedModel, context_length: int | None) -> GraphDecoder | None:
        """One for this model, or None where it lies elsewhere than on one GPU, or takes no single tokens this way."""
        devices = {parameter.device for parameter in model.parameters()}
        if len(devices) != 1 or next(iter(devices)).type != "cuda" or not takes_fixed_steps(model):
            return None
        return cls(model, context_length, captured)

    @property
    def in_use(self) -> bool:
        """Whether replies go through it."""
        return self._fixed is not None

    def prepare(self, interrupted: Callable[[], bool]) -> str:
        """Make it and see whether it helps; a sentence for the log, empty where ``interrupted`` or nothing is to say.

        Takes some tenths of a second, and looks between its steps whether something else is wanted. Where it is in use
        and a reply was given, the next call has the layers compiled elsewhere, and two of the later ones take them up,
        which takes a second each, once, and is left as soon as somebody waits.
        """
        if interrupted():
            return ""
        try:
            with torch.no_grad():
                if not self.decided:
                    return self._try(interrupted)
                return self._try_compiled(interrupted) if self._replied and self._compiler is not None else ""
        except _Interrupted:
            return ""
        except Exception as error:  # noqa: BLE001  # a capture raises whatever a kernel, a library or the model's own code does
            return self._without(error)

    @property
    def waits_for_compiler(self) -> bool:
        """Whether ``prepare`` wants to be called again soon."""
        return self._compiler is not None and self._replied

    def drop(self, *, for_good: bool = False) -> None:
        """Give its memory back; ``for_good`` where it is not to come again."""
        if self._compiler is not None:
            self._compiler.stop()
        self._fixed = self._compiler = None
        self._model.forward = self._forward
        self.decided = for_good

    @contextmanager
    def replying(self, *, plain: bool) -> Iterator[None]:
        """Within the block the tokens of a ``plain`` reply go this way; after it the reply's cache has them all."""
        self._replying = plain
        try:
            yield
        finally:
            self._replying, self._replied = False, True
            if self._fixed is not None:
                self._fixed.write_back()

    def _try(self, interrupted: Callable[[], bool]) -> str:
        look = _raising(interrupted)
        plain, expected, bytes_per_token = self._measure_plain(look)
        if (device := self._model.device).type == "cuda":
            free = torch.cuda.mem_get_info(device)[0]
            if bytes_per_token * self._length > free * _SHARE_OF_FREE:
                self.drop(for_good=True)
                return "Replies are decoded without a CUDA graph: the GPU's memory is needed for other things."
        fixed = FixedStep(self._model, self._forward, self._length, self._capture)
        seconds, scores = fixed.measure(look)
        if not (scores - expected).norm() <= TOLERANCE * expected.norm():  # NaN is not right either
            self.drop(for_good=True)
            return "Replies are decoded without a CUDA graph; this model says something else with it."
        figures = f"{1000 * seconds:.1f} ms a token with it, {1000 * plain:.1f} without"
        if plain < seconds * _WORTH:
            self.drop(for_good=True)
            return f"Replies are decoded without a CUDA graph, which does not help here: {figures}."
        self._fixed, self._scores = fixed, expected
        self._compiler = LayerCompiler.of(self._model, fixed, self._length)

        @wraps(self._forward)  # ``generate`` looks at its parameters
        def forward(*args: Any, **inputs: Any) -> Any:
            return self._step_or_forward(*args, **inputs)

        self._model.forward = forward
        self.decided = True
        return f"Replies are decoded through a CUDA graph: {figures}."

    def _try_compiled(self, interrupted: Callable[[], bool]) -> str:
        """Look how far the compiler is, and take up what it has made."""
        compiler, fixed = self._compiler, self._fixed
        assert compiler is not None
        assert fixed is not None
        state = compiler.state()
        if state is State.RUNNING:
            return ""
        if state is State.LEFT:
            self._compiler = None
            why = compiler.why_left.rstrip(".")
            return f"Layers are not compiled: {why}." if why else ""
        if compiler.import_compiler():
            return ""
        compiler.keep("taking them up ended the engine")  # unless we come past it
        try:
            looking = alarm(_LOOK_SECONDS, _looking_up(interrupted), again=True)
            faster = fixed.with_compiled(compiler.layers, self._capture, looking)
        except _LeftOff as left:
            self._compiler = None  # half of it is done: not again in this process
            make_plain(compiler.layers)
            torch.compiler.reset()
            compiler.leave(str(left), for_good=False)
            return f"Layers are not compiled, until the next load: {left}."
        compiler.keep()
        return self._take_or_leave(compiler, fixed, faster, _raising(interrupted))

    def _take_or_leave(
        self, compiler: LayerCompiler, fixed: FixedStep, faster: FixedStep, look: Callable[[], None]
    ) -> str:
        """Compare both; what is found is kept for all later loads."""
        graph, seconds, scores = inf, inf, self._scores
        for _ in range(_ROUNDS):
            graph = min(graph, fixed.measure(look)[0])
            one, scores = faster.measure(look)
            seconds = min(seconds, one)
        self._compiler = None
        if not (scores - self._scores).norm() <= TOLERANCE * self._scores.norm():
            compiler.leave("the model says something else with them", for_good=True)
            return "Layers are not compiled; the model says something else with them."
        figures = f"{1000 * seconds:.1f} ms a token with them, {1000 * graph:.1f} with the graph alone"
        if graph < seconds * _WORTH:
            compiler.leave(f"they do not help: {figures}", for_good=True)
            return f"Layers are not compiled, which does not help here: {figures}."
        self._fixed = faster
        return f"Replies are decoded through a CUDA graph of compiled layers: {figures}."

    def _without(self, error: Exception) -> str:
        """Go on without what could not be made. Raises what says that the GPU is lost, and not only that."""
        compiler, self._compiler = self._compiler, None
        if compiler is None:
            self.drop(for_good=True)
            synchronize(self._model.device)
            return f"Replies are decoded without a CUDA graph; it cannot be made of this model: {first_line(error)}"
        synchronize(self._model.device)
        compiler.stop()
        root = root_of(error)
        compiler.leave(f"{type(root).__name__}: {first_line(root)}", for_good=True)
        return f"Layers are not compiled: {first_line(root)}"

    def _measure_plain(self, look: Callable[[], None]) -> tuple[float, torch.Tensor, float]:
        """Seconds of a token without it, the scores after the last one, and bytes that the cache grows by."""
        cache = DynamicCache(config=self._model.config)

        def read(token: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
            output = self._forward(
                input_ids=token, position_ids=position, past_key_values=cache, use_cache=True, return_dict=True
            )
            scores: torch.Tensor = output.logits
            return scores

        seconds, scores = timed(read, self._model.device, look)
        return seconds, scores, cache_bytes(cache) / MEASURED_TOKENS

    def _step_or_forward(self, *args: Any, **inputs: Any) -> Any:
        fixed, cache = self._fixed, inputs.get("past_key_values")
        if fixed is None:
            return self._forward(*args, **inputs)
        if self._replying and not args and _is_single_step(inputs) and fixed.takes(cache):
            return CausalLMOutputWithPast(
                logits=fixed(inputs["input_ids"], inputs["position_ids"]), past_key_values=cache
            )
        fixed.write_back()
        return self._forward(*args, **inputs)


def _raising(interrupted: Callable[[], bool]) -> Callable[[], None]:
    def look() -> None:
        if interrupted():
            raise _Interrupted

    return look


def _looking_up(interrupted: Callable[[], bool]) -> Callable[[], None]:
    latest = monotonic() + _LONGEST_SECONDS

    def look() -> None:
        if interrupted():
            raise _LeftOff("somebody waits")
        if monotonic() > latest:
            raise _LeftOff(f"to take up what is kept took {_LONGEST_SECONDS:g} seconds")

    return look


def _is_single_step(inputs: dict[str, Any]) -> bool:
    ids, positions = inputs.get("input_ids"), inputs.get("position_ids")
    return (
        ids is not None
        and positions is not None
        and tuple(ids.shape) == tuple(positions.shape) == (1, 1)
        and all(value is None for name, value in inputs.items() if name not in _KNOWN_INPUTS)
    )
