"""What a model keeps in memory, as it really lies there."""

from __future__ import annotations

from collections.abc import Iterator

import torch


def stored_bytes(model: torch.nn.Module) -> int:
    """What parameters and buffers take, and what bitsandbytes keeps to unpack them; tied ones count once."""
    return sum(tensor.numel() * tensor.element_size() for tensor in stored_tensors(model))


def stored_tensors(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Parameters, buffers and the scales of quantized weights, each tied one once."""
    for tensor in (*model.parameters(), *model.buffers(), *_quantization_states(model)):
        yield from _parts(tensor)


def _parts(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """What a tensor really keeps: torchao and quanto show a weight that they have packed as if it were whole."""
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is None or type(tensor) in {torch.Tensor, torch.nn.Parameter}:
        yield tensor
        return
    for name in flatten()[0]:
        yield from _parts(getattr(tensor, name))


def _quantization_states(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Scales, which bitsandbytes hangs on the parameter itself, and after the first token on the module's state."""
    for module in model.modules():
        weight = getattr(module, "weight", None)
        state = getattr(weight, "quant_state", None)
        scales = (getattr(weight, "SCB", None), getattr(getattr(module, "state", None), "SCB", None))
        kept = (*scales, getattr(state, "absmax", None), getattr(getattr(state, "state2", None), "absmax", None))
        yield from (tensor for tensor in kept if isinstance(tensor, torch.Tensor))
