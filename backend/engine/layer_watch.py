"""Looks on before each layer of the model: a prompt can be stopped there, and how far it is read is known.

Of a long prompt every part of a layer is looked at as well: on a CPU one layer of a large model takes seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle
from transformers.modeling_layers import GradientCheckpointingLayer

from modeldeck.backend.engine.streaming import ReplyEnded

_EVERY_SECONDS = 0.5
_LONG_PROMPT = 256
"""Tokens; a shorter one is read so soon that looking closer would take longer than it could save."""


class LayerWatch:
    """No stopping criterion and no streamer is asked during prefill, which takes seconds for a long conversation."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._stop = threading.Event()
        self._on_prefill: Callable[[int], None] | None = None
        self._tokens = self._passed = 0
        self._due = 0.0
        self.cut_short = False
        """Whether the last reply was left in the middle of the layers."""
        decoder = decoder_of(model)
        deciding = set(layers_of(decoder))
        self._count = len(deciding)
        watched = {*deciding, *layers_of(model)}
        for layer in watched:
            layer.register_forward_pre_hook(partial(self._before, layer in deciding))
        self._parts = {part for layer in watched for part in _parts_of(layer)}
        self._closer: list[RemovableHandle] = []

    @contextmanager
    def during(self, stop: threading.Event, tokens: int, on_prefill: Callable[[int], None]) -> Iterator[None]:
        """Within the block ``stop`` ends the reply, by ReplyEnded, and progress in reading ``tokens`` is told."""
        self._stop, self._on_prefill = stop, on_prefill
        self._tokens, self._passed, self._due = tokens, 0, monotonic() + _EVERY_SECONDS
        self.cut_short = False
        if tokens >= _LONG_PROMPT:
            self._closer = [part.register_forward_pre_hook(self._before_part) for part in self._parts]
        try:
            yield
        finally:
            self._stop, self._on_prefill = threading.Event(), None
            self._look_less_close()

    def _before(self, decides: bool, _module: torch.nn.Module, _inputs: Any) -> None:
        self._obey()
        if self._on_prefill is None or not decides:
            return
        self._passed += 1
        if self._passed > self._count:  # the prompt is read
            self._on_prefill = None
            self._look_less_close()
        elif (now := monotonic()) >= self._due:
            self._due = now + _EVERY_SECONDS
            self._on_prefill(self._tokens * (self._passed - 1) // self._count)

    def _before_part(self, _module: torch.nn.Module, _inputs: Any) -> None:
        self._obey()

    def _obey(self) -> None:
        if self._stop.is_set():
            self.cut_short = True
            raise ReplyEnded

    def _look_less_close(self) -> None:
        """Token by token a layer is quick, and whoever is asked before each of its parts is not."""
        for handle in self._closer:
            handle.remove()
        self._closer = []


def _parts_of(layer: torch.nn.Module) -> list[torch.nn.Module]:
    """What a layer consists of, and what that consists of; no deeper, for some have hundreds of experts there."""
    return [part for child in layer.children() for part in (list(child.children()) or [child])]


def decoder_of(model: torch.nn.Module) -> torch.nn.Module:
    """The part that reads text, where the model has others."""
    get: Any = getattr(model, "get_decoder", None)
    try:
        found = get() if get is not None else None
    except (AttributeError, NotImplementedError):
        found = None
    return found if isinstance(found, torch.nn.Module) and layers_of(found) else model


def layers_of(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Its layers, in the order in which it has them; empty where none can be told."""
    layers: list[torch.nn.Module] = [
        module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)
    ]
    if layers:
        return layers
    lists = [list(module) for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    return max(lists, key=len, default=[])
