"""Decoder layers as ``torch.compile`` makes them: a few large kernels instead of some fifty small ones.

A CUDA graph spares the GPU the waiting for Python, but not the fifty kernels. All layers of a model are the same code:
compiled one by one they need a thirtieth of the time that the whole model takes to compile, for nearly the same gain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from transformers import Cache


class LayerCache:
    """The keys and values of one layer, as much of transformers' cache as a layer asks for while it reads one token.

    transformers' own is one object for all layers, which looks them up by their number: each layer would be compiled
    for its number.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, position: torch.Tensor) -> None:
        """``keys`` and ``values`` of shape (1, heads, length, size), changed in place; ``position`` of shape (1,)."""
        self.keys = keys
        self.values = values
        self.position = position

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, *_args: object, **_kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put those of the token in their place; all of them."""
        self.keys.index_copy_(2, self.position, keys)
        self.values.index_copy_(2, self.position, values)
        return self.keys, self.values


class CompiledLayers:
    """The layers of a model, each with its cache; compiled when they first run."""

    def __init__(self, layers: Sequence[torch.nn.Module], caches: Sequence[LayerCache]) -> None:
        self._layers = tuple(layers)
        self._forwards = tuple(
            partial(with_cache, compiled(layer), cache) for layer, cache in zip(layers, caches, strict=True)
        )

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the model runs through them."""
        try:
            for layer, forward in zip(self._layers, self._forwards, strict=True):
                layer.forward = forward
            yield
        finally:
            make_plain(self._layers)


def make_plain(layers: Iterable[torch.nn.Module]) -> None:
    """Have them run as they are again, whatever of them was put in place."""
    for layer in layers:
        vars(layer).pop("forward", None)


def compiled(layer: torch.nn.Module) -> Callable[..., Any]:
    """Its forward, compiled for one token; what cannot be compiled as a whole raises when it first runs."""
    return torch.compile(layer.forward, fullgraph=True, dynamic=False)


def are_alike(layers: Sequence[torch.nn.Module]) -> bool:
    """Whether one compiled layer is all of them: the same class and shapes, and nothing put before their forward."""
    return len({_kind(layer) for layer in layers}) == 1 and not any("forward" in vars(layer) for layer in layers)


def _kind(layer: torch.nn.Module) -> tuple[object, ...]:
    parameters = ((name, tuple(one.shape), one.dtype) for name, one in layer.named_parameters())
    return (type(layer), *parameters)


def with_cache(forward: Callable[..., Any], cache: LayerCache, *args: Any, **kwargs: Any) -> Any:
    """Call a layer's forward with its own cache in the place of the model's. Raises TypeError where there is none."""
    names = [name for name, value in kwargs.items() if isinstance(value, Cache)]
    if len(names) != 1:
        raise TypeError("the layers are not given their cache by name")
    return forward(*args, **{**kwargs, names[0]: cache})
