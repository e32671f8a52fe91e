"""What the weights of a checkpoint become in memory, told from the names and shapes in its headers.

A block is what ``device_map="auto"`` moves as one: the embeddings, each layer, the head. In each, the weights are told
apart by what transformers 5.23 does with them: ``integrations/bitsandbytes.py`` replaces ``nn.Linear`` and ``Conv1D``,
but not the output head, tied weights, subclasses of ``nn.Linear`` or plain parameters (routers), and not experts, which
``conversion_mapping.py`` merges into parameters of three dimensions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from modeldeck.backend.catalog.packed import is_packed, parameters_of
from modeldeck.backend.catalog.safetensors_header import StoredTensor
from modeldeck.backend.model_shape import ModelShape, WeightBlock

_LAYER = re.compile(r"^(.*?(?:^|\.)(?:layers|layer|h|blocks|block|transformer_blocks))\.(\d+)\.")
_EXPERT = re.compile(r"\.experts\.\d+\.")
_NOT_LOADED = re.compile(
    r"\.rotary_emb\.inv_freq$|\.masked_bias$|\.attn\.bias$|\.attention\.bias$|position_ids$"
    r"|^(?:talker|token2wav|code2wav)\."
)
"""Buffers that old versions stored, which transformers makes itself; and what speaks the replies of an omni model."""
_EMBEDDING = re.compile(r"(^|_)(emb|embd|embed|embeds|embedding|embeddings|wte|wpe)(_|$)|relative_attention_bias")
_HEADS = frozenset({"lm_head", "embed_out", "output", "output_layer", "head", "score"})
_ROUTERS = frozenset({"gate", "router", "wg"})
_CONV1D = frozenset({"gpt2", "openai-gpt"})
"""Architectures whose projections are transposed (``Conv1D``): outputs are their second dimension."""
_OWN_LINEAR = frozenset({"falcon"})
"""Architectures whose projections are a subclass of ``nn.Linear``, which nobody replaces."""
_BUFFERS = ("e_score_correction_bias",)
"""Stored and loaded, but no parameters."""
_OTHER_TOWERS = ("vision", "visual", "audio", "speech", "encoder")
_TOWERS = re.compile("|".join(_OTHER_TOWERS))
_NUMBER = re.compile(r"\.\d+(?=\.)")


class _Role(Struct, frozen=True, gc=False):
    """What the name of a tensor alone says."""

    block: tuple[str, int]
    """The name of the block without its layer's number, and the number; -1 outside of the layers."""
    linear: bool
    router: bool
    expert: bool
    in_experts: bool
    """Whether it belongs to experts, each for itself or merged."""
    head: bool
    skipped: bool
    other_tower: bool
    """Whether its block belongs to an encoder of images or sounds."""


def weight_blocks(
    tensors: Mapping[str, StoredTensor],
    architecture: str | None = None,
    shape: ModelShape | None = None,
    unpacked: bool = False,
    bits: int | None = None,
) -> tuple[WeightBlock, ...]:
    """The blocks in the order in which the network has them: embeddings, layers, what follows, the head.

    ``unpacked`` says that the loader turns packed weights into bfloat16 on every device, as it does with mxfp4;
    ``bits`` is what the configuration says of one packed value, or None.
    """
    shape = shape or ModelShape()
    groups: dict[tuple[str, int], list[tuple[StoredTensor, _Role]]] = {}
    for tensor in tensors.values():
        role = _role_of(tensor.name)
        if not role.skipped and not _is_left_out(role, shape):
            groups.setdefault(role.block, []).append((tensor, role))
    blocks = [
        (key, _block(key, members, tensors, architecture, unpacked, bits))
        for key, members in sorted(groups.items(), key=_order)
    ]
    return tuple(_collapsed(block for _, block in blocks))


def count_parameters(tensors: Mapping[str, StoredTensor], shape: ModelShape | None, bits: int | None = None) -> int:
    """Every parameter of the network once: packed ones unpacked, a tied head and buffers left out."""
    tied = shape is not None and shape.tied_embeddings
    total = 0
    for tensor in tensors.values():
        role = _role_of(tensor.name)
        if not (role.skipped or (tied and role.head) or tensor.name.endswith(_BUFFERS)):
            total += parameters_of(tensor, tensors, bits)
    return total


@lru_cache(2**15)  # of nearly all models on a machine the names are the same, and of all their layers what they say
def _role_of(name: str) -> _Role:
    layer = _LAYER.match(name)
    plain = _role_without_numbers(_NUMBER.sub(".0", name))
    return replace(plain, block=(plain.block[0], int(layer[2]))) if layer else plain


@lru_cache(4096)
def _role_without_numbers(name: str) -> _Role:
    layer = _LAYER.match(name)
    parts = name.split(".")
    module = parts[-2] if len(parts) > 1 else ""
    head = layer is None and module in _HEADS and not _TOWERS.search(name)
    embedding = _EMBEDDING.search(module) is not None
    expert = _EXPERT.search(name) is not None
    block = f"{layer[1]}.0" if layer else ".".join(parts[:-1]) or name
    return _Role(
        block=(block, -1),
        linear=parts[-1] == "weight" and not (head or embedding or expert),
        router=module in _ROUTERS,
        expert=expert,
        in_experts=expert or ".experts." in name,
        head=head,
        skipped=_NOT_LOADED.search(name) is not None,
        other_tower=_TOWERS.search(block) is not None,
    )


def _is_left_out(role: _Role, shape: ModelShape) -> bool:
    """What transformers does not load: a tied head, and layers beyond the last one (multi-token prediction)."""
    if role.head and shape.tied_embeddings:
        return True
    return shape.layers is not None and role.block[1] >= shape.layers and not role.other_tower


def _order(item: tuple[tuple[str, int], list[tuple[StoredTensor, _Role]]]) -> tuple[int, str, int]:
    (name, layer), members = item
    if layer >= 0:
        return 1, name, layer
    if any(role.head for _, role in members):
        return 3, name, 0
    module = name.rsplit(".", 1)[-1]
    if _EMBEDDING.search(module):
        return 0, f"{'pos' in module or module == 'wpe'}{name}", 0  # tokens go before positions
    return 2, name, 0


def _block(
    key: tuple[str, int],
    members: list[tuple[StoredTensor, _Role]],
    beside: Mapping[str, StoredTensor],
    architecture: str | None,
    unpacked: bool,
    bits: int | None,
) -> WeightBlock:
    name, layer = key
    replaced = architecture not in _OWN_LINEAR
    has_experts = any(role.in_experts for _, role in members)
    linear = rows = other = fixed = packed = fused = largest = stored = 0
    for tensor, role in members:
        stored += tensor.stored_bytes
        if is_packed(tensor, beside):
            if not unpacked:
                fixed += tensor.stored_bytes
                packed += parameters_of(tensor, beside, bits)
                continue
            other += parameters_of(tensor, beside, bits)
        elif replaced and role.linear and len(tensor.shape) == 2 and not (role.router and has_experts):
            linear += tensor.elements
            rows += tensor.shape[1 if architecture in _CONV1D else 0]
            largest = max(largest, tensor.elements)
        else:
            other += tensor.elements
            fused += tensor.elements if role.expert else 0
    return WeightBlock(
        name=f"{name.removesuffix('.0')}.{layer}" if layer >= 0 else name,
        linear_elements=linear,
        linear_rows=rows,
        other_elements=other,
        fixed_bytes=fixed,
        packed_elements=packed,
        fused_elements=fused,
        largest_elements=largest,
        stored_bytes=stored,
    )


def _collapsed(blocks: Iterable[WeightBlock]) -> Iterable[WeightBlock]:
    """Neighbours that weigh the same become one block with a count."""
    run: WeightBlock | None = None
    count = 0
    for block in blocks:
        if run is not None and replace(block, name=run.name) == run:
            count += 1
            continue
        if run is not None:
            yield replace(run, count=count)
        run, count = block, 1
    if run is not None:
        yield replace(run, count=count)
