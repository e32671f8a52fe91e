"""The least that PyTorch has to keep account of while a model computes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from itertools import chain

import torch

_ORDINARY = frozenset({torch.Tensor, torch.nn.Parameter, torch.nn.Buffer})


def without_gradients(model: torch.nn.Module) -> AbstractContextManager[object]:
    """What everything that is asked of a model runs within: ``inference_mode`` where it can, else ``no_grad``.

    In ``inference_mode`` tensors have no versions and no views to follow, which is a twentieth of a token of a small
    model on a CPU; the kernels, and so the replies, are the same. Writing on such a tensor outside of it raises,
    so it is one or the other for as long as a model is loaded: caches go from one reply to the next. Weights of a type
    of their own (quantized) and weights that are fetched for each layer know only ``no_grad``.
    """
    return torch.inference_mode() if _all_ordinary(model) else torch.no_grad()


def _all_ordinary(model: torch.nn.Module) -> bool:
    """Whether its tensors are PyTorch's own, and all there."""
    return all(type(one) in _ORDINARY and not one.is_meta for one in chain(model.parameters(), model.buffers()))
