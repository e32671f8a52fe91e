"""What headers tell about the weights: packed ones counted, and each layer as transformers will hold it."""

from __future__ import annotations

from math import prod

import pytest

from modeldeck.backend.catalog.packed import parameters_of
from modeldeck.backend.catalog.safetensors_header import DTYPES, StoredTensor
from modeldeck.backend.catalog.weight_blocks import count_parameters, weight_blocks
from modeldeck.backend.model_shape import ModelShape, WeightBlock


def stored(**tensors: tuple[str, tuple[int, ...]]) -> dict[str, StoredTensor]:
    """Tensors by name; ``__`` stands for a dot."""
    found = {}
    for label, (dtype, shape) in tensors.items():
        name = label.replace("__", ".")
        word, bits = DTYPES[dtype]
        found[name] = StoredTensor(name, word, shape, prod(shape), prod(shape) * bits // 8)
    return found


PACKED = [
    # a 64 x 128 linear layer (8,192 parameters) as each method packs it
    pytest.param(
        {
            "qweight": ("I32", (8, 128)),
            "qzeros": ("I32", (1, 16)),
            "scales": ("F16", (1, 128)),
            "g_idx": ("I32", (64,)),
        },
        id="gptq 4 bit",
    ),
    pytest.param(
        {"qweight": ("I32", (16, 128)), "qzeros": ("I32", (1, 32)), "scales": ("F16", (1, 128))}, id="gptq 8 bit"
    ),
    pytest.param(
        {"qweight": ("I32", (64, 16)), "qzeros": ("I32", (1, 16)), "scales": ("F16", (1, 128))}, id="awq 4 bit"
    ),
    pytest.param(
        {
            "weight": ("U8", (4096, 1)),
            "weight__absmax": ("U8", (128,)),
            "weight__nested_absmax": ("F32", (1,)),
            "weight__quant_map": ("F32", (16,)),
            "weight__quant_state__bitsandbytes__nf4": ("U8", (80,)),
        },
        id="bitsandbytes 4 bit",
    ),
    pytest.param({"weight": ("I8", (128, 64)), "SCB": ("F32", (128,))}, id="bitsandbytes 8 bit"),
    pytest.param({"weight": ("F8_E4M3", (128, 64)), "weight_scale_inv": ("F32", (1, 1))}, id="fp8"),
    pytest.param(
        {"weight_packed": ("I32", (128, 8)), "weight_scale": ("BF16", (128, 1)), "weight_shape": ("I64", (2,))},
        id="compressed-tensors 4 bit",
    ),
    pytest.param(
        {
            "weight_packed": ("U8", (128, 32)),
            "weight_scale": ("F8_E4M3", (128, 4)),
            "weight_global_scale": ("F32", (1,)),
        },
        id="nvfp4",
    ),
]


@pytest.mark.parametrize("packed", PACKED)
def test_packed_weights_are_counted_exactly(packed: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    tensors = stored(**{f"model__layers__0__mlp__up_proj__{name}": tensor for name, tensor in packed.items()})
    assert count_parameters(tensors, None) == 64 * 128
    (block,) = weight_blocks(tensors)
    assert block.fixed_bytes + 4 * block.other_elements >= block.stored_bytes
    assert block.linear_elements == 0, "what is packed already is not quantized again"


def test_mxfp4_experts_are_counted_and_become_bfloat16() -> None:
    tensors = stored(
        model__layers__0__mlp__experts__gate_up_proj_blocks=("U8", (4, 32, 2, 16)),
        model__layers__0__mlp__experts__gate_up_proj_scales=("U8", (4, 32, 2)),
    )
    assert count_parameters(tensors, None) == 4 * 32 * 64
    (block,) = weight_blocks(tensors, "gpt_oss", unpacked=True)
    assert (block.other_elements, block.fixed_bytes) == (4 * 32 * 64, 0)


def test_packed_weights_tell_how_many_elements_they_stand_for() -> None:
    tensors = stored(
        model__layers__0__mlp__up_proj__weight=("F8_E4M3", (256, 128)),
        model__layers__0__mlp__up_proj__weight_scale_inv=("F32", (2, 1)),
        model__layers__1__mlp__up_proj__weight_packed=("I32", (256, 32)),
        model__layers__1__mlp__up_proj__weight_scale=("BF16", (256, 1)),
    )
    fp8, int8 = weight_blocks(tensors, "llama", bits=8)
    assert (fp8.packed_elements, fp8.fixed_bytes) == (256 * 128, 256 * 128 + 8)
    assert (int8.packed_elements, int8.fixed_bytes) == (256 * 128, 256 * 128 + 512)


def test_bits_that_the_config_tells_are_used_where_shapes_do_not() -> None:
    tensors = stored(a__qweight=("I32", (8, 128)))
    assert parameters_of(tensors["a.qweight"], tensors, bits=2) == 8 * 128 * 16
    assert parameters_of(tensors["a.qweight"], tensors) == 8 * 128 * 8


def test_equal_layers_are_one_block_and_come_between_table_and_head() -> None:
    layers = {
        f"model__layers__{index}__{part}": tensor
        for index in range(12)
        for part, tensor in (("mlp__up_proj__weight", ("BF16", (16, 8))), ("norm__weight", ("BF16", (8,))))
    }
    tensors = stored(
        lm_head__weight=("BF16", (100, 8)),
        model__embed_tokens__weight=("BF16", (100, 8)),
        model__norm__weight=("BF16", (8,)),
        **layers,
    )
    blocks = weight_blocks(tensors, "llama", ModelShape(layers=12))
    assert [(block.name, block.count) for block in blocks] == [
        ("model.embed_tokens", 1),
        ("model.layers.0", 12),
        ("model.norm", 1),
        ("lm_head", 1),
    ]
    assert blocks[1] == WeightBlock(
        name="model.layers.0",
        count=12,
        linear_elements=128,
        linear_rows=16,
        other_elements=8,
        largest_elements=128,
        stored_bytes=272,
    )
    assert count_parameters(tensors, ModelShape(tied_embeddings=True)) == 800 + 12 * 136 + 8


def test_what_is_not_loaded_is_no_block() -> None:
    tensors = stored(
        model__layers__0__mlp__up_proj__weight=("BF16", (8, 8)),
        model__layers__1__mlp__up_proj__weight=("BF16", (8, 8)),  # multi-token prediction
        model__layers__0__self_attn__rotary_emb__inv_freq=("F32", (4,)),
        lm_head__weight=("BF16", (100, 8)),
    )
    (block,) = weight_blocks(tensors, "llama", ModelShape(layers=1, tied_embeddings=True))
    assert (block.name, block.count, block.stored_bytes) == ("model.layers.0", 1, 128)


def test_conv1d_counts_its_outputs_in_the_second_dimension() -> None:
    tensors = stored(h__0__attn__c_attn__weight=("F32", (8, 24)))
    assert weight_blocks(tensors, "gpt2")[0].linear_rows == 24
    assert weight_blocks(tensors, "gpt_bigcode")[0].linear_rows == 8
