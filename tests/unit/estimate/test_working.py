"""Working memory and what a load takes for a moment, by worked examples."""

from __future__ import annotations

import pytest
from msgspec import structs

from modeldeck.backend.estimate.eager import matrix_bytes
from modeldeck.backend.estimate.loading_peak import Extra, cpu_extra, gguf_extra, gpu_extra
from modeldeck.backend.estimate.working import working_bytes
from modeldeck.backend.model_shape import ModelShape, WeightBlock
from modeldeck.backend.models import Attention, ModelFormat, Quantization
from tests.unit.estimate.samples import LLAMA_8B, LLAMA_8B_SHAPE

NONE, INT8 = Quantization.NONE, Quantization.INT8
TABLE = WeightBlock(name="model.embed_tokens", other_elements=1000_000, stored_bytes=4_000_000)
LAYER = WeightBlock(
    name="model.layers.0", count=2, linear_elements=500_000, largest_elements=200_000, stored_bytes=2_000_000
)
EXPERTS = WeightBlock(
    name="model.layers.0", count=2, other_elements=600_000, fused_elements=600_000, stored_bytes=2_400_000
)


def test_the_prefill_counts_the_states_and_the_widest_part_of_a_layer() -> None:
    # a token of Llama-3.1-8B: 4096 x (2 x 2 + 8) for the states, 3 x 14336 x 2 in the feed-forward part
    assert working_bytes(LLAMA_8B_SHAPE, 8192, 2) == 8192 * (4096 * 12 + 3 * 14336 * 2)


def test_a_short_prompt_is_outweighed_by_the_logits() -> None:
    assert working_bytes(LLAMA_8B_SHAPE, 1, 2) == 28 * 128_256


def test_sliding_layers_hold_a_whole_prompt_until_the_token_after_it() -> None:
    plain = ModelShape(layers=2, hidden_size=8, attention_heads=1, kv_heads=1, head_dim=8)
    sliding = ModelShape(
        layers=2,
        hidden_size=8,
        attention_heads=1,
        kv_heads=1,
        head_dim=8,
        layer_types={"sliding_attention": 2},
        sliding_window=101,
    )
    mask = 1100 * 1100 * 3
    assert working_bytes(sliding, 1100, 2) - working_bytes(plain, 1100, 2) == 2 * 1000 * (2 * 8) * 2 + mask


GEMMA_2 = ModelShape(layers=2, hidden_size=8, attention_heads=16, kv_heads=8, head_dim=256)


@pytest.mark.parametrize(
    ("architecture", "element_bytes", "on_cpu", "for_each_score"),
    [
        ("gemma2", 2, False, 2 + 4),  # the scores, and their softmax in float32
        ("gemma2", 2, True, 2 + 4 + 4),  # and the scores in float32, which the CPU makes first
        ("gemma2", 4, True, 4 + 4),
        ("gpt_oss", 2, False, 3 * 2),
        ("gpt-oss", 4, True, 3 * 4),
    ],
)
def test_without_fused_attention_each_head_has_scores_of_tokens_by_tokens(
    architecture: str, element_bytes: int, on_cpu: bool, for_each_score: int
) -> None:
    fused = working_bytes(GEMMA_2, 8192, element_bytes, "llama", on_cpu=on_cpu)
    eager = working_bytes(GEMMA_2, 8192, element_bytes, architecture, on_cpu=on_cpu)
    assert eager - fused == 16 * 8192 * 8192 * for_each_score  # 6.4 GB with 6 bytes


def test_a_window_that_is_full_needs_a_mask_of_tokens_by_tokens() -> None:
    shape = structs.replace(GEMMA_2, layer_types={"full_attention": 1, "sliding_attention": 1}, sliding_window=4096)
    assert matrix_bytes(shape, "gemma3_text", 4095, 2, on_cpu=False) == 0
    assert matrix_bytes(shape, "gemma3_text", 8192, 2, on_cpu=False) == 8192 * 8192 * 3
    assert matrix_bytes(GEMMA_2, "llama", 8192, 2, on_cpu=False) == 0


def test_attention_that_is_asked_for_unfused_keeps_its_scores() -> None:
    """Eight heads in bfloat16: the scores and their softmax in float32, which a GPU makes of them at once."""
    heads = GEMMA_2.attention_heads or 0
    eager = matrix_bytes(GEMMA_2, "llama", 8192, 2, on_cpu=False, attention=Attention.EAGER)
    assert eager == 8192 * 8192 * heads * 6
    assert eager == matrix_bytes(GEMMA_2, "gemma2", 8192, 2, on_cpu=False)


def test_weights_that_stay_as_they_are_stay_mapped_and_unread_rows_are_not_there() -> None:
    assert cpu_extra((TABLE, LAYER), "float32", "float32", NONE, 10, True) == Extra(passing=0, staying=0)
    unread = cpu_extra((TABLE, LAYER), "float32", "float32", NONE, 10, False).untouched
    assert unread == 4_000_000 - 10 * 65536


def test_converted_weights_need_the_file_beside_them_until_the_load_ends() -> None:
    assert cpu_extra((TABLE, LAYER), "float32", "bfloat16", NONE, 10, False) == Extra(
        passing=8_000_000, staying=0, reclaimable=8_000_000
    )


def test_quantized_weights_leave_their_mapped_pages_behind() -> None:
    extra = cpu_extra((TABLE, LAYER), "float32", "float32", INT8, 10, True)
    assert extra == Extra(passing=4_000_000 + 12 * 200_000, staying=4_000_000, reclaimable=4_000_000)


def test_merged_experts_are_there_twice_on_the_cpu_and_once_more_for_a_layer_on_a_gpu() -> None:
    assert cpu_extra((EXPERTS,), "float32", "float32", NONE, 10, True).staying == 2 * 600_000 * 4
    assert gpu_extra((EXPERTS,), "bfloat16", NONE).passing == 2 * 600_000 * 2 // 3
    assert gpu_extra((LAYER,), "bfloat16", INT8).passing == 2 * 2 * 200_000


def test_a_gguf_file_is_mapped_while_it_is_unpacked_and_its_copy_is_not() -> None:
    from msgspec.structs import replace

    model = replace(LLAMA_8B, weights=(), format=ModelFormat.GGUF, size_bytes=5_000_000_000)
    assert gguf_extra(model, 4, NONE, prepared=False).passing == 5_000_000_000 + 900 * 128_256
    assert gguf_extra(model, 2, NONE, prepared=False).passing == 5_000_000_000 + 900 * 128_256  # as measured, too
    assert gguf_extra(model, 4, NONE, prepared=True) == Extra(passing=0, staying=0)
    assert gguf_extra(model, 2, NONE, prepared=True).passing == 4 * (LLAMA_8B.parameters or 0)
