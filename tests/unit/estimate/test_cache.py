"""The cache by layer type, by worked examples."""

from __future__ import annotations

from modeldeck.backend.estimate.cache import cache_bytes
from modeldeck.backend.model_shape import ModelShape
from tests.unit.estimate.samples import LLAMA_8B_SHAPE

KIB = 1024


def test_llama_3_1_8b_takes_128_kib_a_token() -> None:
    assert cache_bytes(LLAMA_8B_SHAPE, 1, 2) == 128 * KIB
    assert cache_bytes(LLAMA_8B_SHAPE, 8192, 2) == 2**30


def test_sliding_layers_keep_one_token_less_than_their_window() -> None:
    shape = ModelShape(
        layers=6,
        kv_heads=2,
        head_dim=64,
        layer_types={"sliding_attention": 5, "full_attention": 1},
        sliding_window=512,
    )
    row = 2 * 2 * 64 * 2
    assert cache_bytes(shape, 100, 2) == 6 * 100 * row
    assert cache_bytes(shape, 8192, 2) == (5 * 511 + 8192) * row


def test_mla_caches_the_latent_and_the_rotary_key() -> None:
    # DeepSeek-V3: 61 layers x (512 + 64) x 2 bytes = 70,272 bytes a token
    shape = ModelShape(layers=61, kv_heads=128, head_dim=64, kv_lora_rank=512, qk_rope_head_dim=64)
    assert cache_bytes(shape, 1, 2) == 70_272


def test_a_state_does_not_grow_and_its_recurrent_part_is_float32() -> None:
    # mamba-130m: 24 layers, 1536 channels x 4 of convolution, x 16 of state
    shape = ModelShape(
        layers=24, state_size=16, conv_kernel=4, state_elements=1536 * 20, layer_types={"linear_attention": 24}
    )
    expected = 24 * 1536 * (4 * 2 + 16 * 4)
    assert cache_bytes(shape, 1, 2) == cache_bytes(shape, 100_000, 2) == expected


def test_a_mixed_network_adds_states_and_keys_and_a_layer_that_caches_nothing_adds_nothing() -> None:
    shape = ModelShape(
        layers=4,
        kv_heads=1,
        head_dim=8,
        state_elements=100,
        layer_types={"linear_attention": 1, "full_attention": 1, "hybrid": 1, "dummy": 1},
    )
    assert cache_bytes(shape, 10, 4) == 2 * (2 * 8 * 10 * 4) + 2 * 400


def test_what_the_files_do_not_tell_is_not_guessed() -> None:
    assert cache_bytes(ModelShape(), 10, 2) is None
    assert cache_bytes(ModelShape(layers=2), 10, 2) is None
    assert cache_bytes(ModelShape(layers=2, layer_types={"linear_attention": 2}), 10, 2) is None
