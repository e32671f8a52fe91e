"""``python -m modeldeck.backend.engine.compiling``: compile one layer of a model, so that its engine need not.

Compiling takes half a minute, and nobody is to wait for it. What comes of it lies in the compiler's cache on disk,
where the engine finds it in a second. The layer has random weights: the code is the same. It is run here first,
captured and compared, so that a compiler that crashes, hangs or computes something else takes no engine with it.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any

import torch
from msgspec import Struct, json
from transformers import CONFIG_MAPPING, StaticCache

from modeldeck.backend.engine.compiled_layers import LayerCache, compiled, with_cache
from modeldeck.backend.engine.failures import first_line, root_of
from modeldeck.backend.engine.fixed_step import TOLERANCE, captured, seen_by
from modeldeck.backend.engine.layer_watch import decoder_of, layers_of
from modeldeck.backend.linux import die_with_parent


class LayerToCompile(Struct, frozen=True):
    """What the code of a layer depends on."""

    module: str
    """Of transformers, where the model's class is."""
    model_class: str
    config: dict[str, Any]
    attention: str
    """The implementation of attention."""
    dtype: str
    """Of activations and cache, without ``torch.``."""
    dtypes: dict[str, str]
    """Of the layer's parameters."""
    device: str
    length: int
    """Tokens that the cache has room for."""
    keys: tuple[int, ...]
    """Their shape in one layer: (1, heads, length, size)."""
    values: tuple[int, ...]


class _Reached(Exception):
    """The first layer was called, with these arguments."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.given = args, kwargs


def main() -> None:
    """Read what to compile from stdin; the argument is the engine's process.

    Ends with status 0, or with what went wrong as the last line on stderr.
    """
    die_with_parent()
    if os.getppid() != int(sys.argv[1]):
        sys.exit("The engine is gone.")
    os.nice(19)
    try:
        with torch.no_grad():
            compile_layer(json.decode(sys.stdin.buffer.read(), type=LayerToCompile))
    except Exception as error:  # noqa: BLE001  # whatever it is, the engine is told in one line
        traceback.print_exc()
        root = root_of(error)
        sys.exit(f"{type(root).__name__}: {first_line(root)}")


def compile_layer(wanted: LayerToCompile) -> None:
    """Compile the first layer and try it. Raises whatever the compiler raises, RuntimeError where the two differ."""
    device, dtype = torch.device(wanted.device), _dtype(wanted.dtype)
    model = _without_weights(wanted)
    layer = layers_of(decoder_of(model))[0]
    position = torch.zeros((1, 1), dtype=torch.long, device=device)
    args, kwargs = _arguments(model, layer, position, wanted)
    outputs = []
    for forward in (layer.forward, compiled(layer)):
        keys, values = (torch.zeros(shape, dtype=dtype, device=device) for shape in (wanted.keys, wanted.values))
        cache = LayerCache(keys, values, position.view(1))

        def step(forward: Any = forward, cache: LayerCache = cache) -> torch.Tensor:
            output = with_cache(forward, cache, *args, **kwargs)
            hidden: torch.Tensor = output if isinstance(output, torch.Tensor) else output[0]
            return hidden

        run = captured(step) if device.type == "cuda" else step
        outputs.append(run().float().clone())
    expected, got = outputs
    if not (got - expected).norm() <= TOLERANCE * expected.norm():
        raise RuntimeError("the compiled layer computes something else")


def _without_weights(wanted: LayerToCompile) -> Any:
    config: Any = CONFIG_MAPPING[wanted.config["model_type"]].from_dict(wanted.config)
    config._attn_implementation = wanted.attention
    before = torch.get_default_dtype()
    torch.set_default_dtype(_dtype(wanted.dtype))
    try:
        with torch.device("meta"):
            model = getattr(importlib.import_module(wanted.module), wanted.model_class)(config)
    finally:
        torch.set_default_dtype(before)  # the cache of the compiler goes by it, and the engine looks there with another
    return model.eval()


def _arguments(
    model: Any, layer: torch.nn.Module, position: torch.Tensor, wanted: LayerToCompile
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the model calls its first layer with for one token; only that layer and what is small get memory."""
    decoder = decoder_of(model)
    device = position.device
    layers = set(layers_of(decoder))
    for child in decoder.children():
        if child is not model.get_input_embeddings() and layers.isdisjoint(child.modules()):
            child.to_empty(device=device)
    layer.to_empty(device=device)
    for name, parameter in layer.named_parameters():
        parameter.data = parameter.data.to(_dtype(wanted.dtypes[name])).normal_(0, 0.02)
    for buffer in (buffer for buffer in decoder.buffers() if not buffer.is_meta):
        buffer.zero_()

    def reached(_layer: torch.nn.Module, args: Any, kwargs: Any) -> None:
        raise _Reached(args, kwargs)

    handle = layer.register_forward_pre_hook(reached, with_kwargs=True)
    size: int = model.config.get_text_config(decoder=True).hidden_size
    try:
        decoder(
            inputs_embeds=torch.randn((1, 1, size), device=device, dtype=_dtype(wanted.dtype)),
            position_ids=position,
            attention_mask=seen_by(position, wanted.length, wanted.attention, _dtype(wanted.dtype)),
            past_key_values=StaticCache(config=model.config, max_cache_len=wanted.length),
            use_cache=True,
        )
    except _Reached as reached_with:
        return reached_with.given
    finally:
        handle.remove()
    raise RuntimeError("the model runs past its first layer")


def _dtype(name: str) -> torch.dtype:
    found: torch.dtype = getattr(torch, name)
    return found


if __name__ == "__main__":
    main()
