from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from modeldeck.backend.catalog.catalog import Catalog
from modeldeck.backend.catalog.files import ModelFolder
from modeldeck.backend.catalog.gguf_header import read_gguf_header
from modeldeck.backend.model_shape import ModelShape
from modeldeck.backend.models import ModelInfo
from tests.unit.catalog.trees import GgufValue, gguf_bytes, gguf_file

KEYS: dict[str, GgufValue] = {
    "general.architecture": "qwen3moe",
    "general.license": "mit",
    "general.tags": ["chat", "moe"],
    "general.file_type": 15,
    "qwen3moe.context_length": 4096,
    "qwen3moe.block_count": 4,
    "qwen3moe.embedding_length": 64,
    "qwen3moe.feed_forward_length": 96,
    "qwen3moe.attention.head_count": 8,
    "qwen3moe.attention.head_count_kv": 2,
    "qwen3moe.attention.key_length": 16,
    "qwen3moe.expert_count": 8,
    "qwen3moe.expert_used_count": 2,
    "tokenizer.ggml.tokens": ["a", "b", "c"],
}
TENSORS = ((12, (256, 4)), (14, (256, 1)), (12, (256, 8)))
NAMES = ("token_embd.weight", "output.weight", "blk.0.ffn_up_exps.weight")


def row_of(
    folder: Path,
    keys: dict[str, GgufValue],
    tensors: Sequence[tuple[int, Sequence[int]]] = TENSORS,
    names: Sequence[str] = NAMES,
) -> ModelInfo:
    gguf_file(folder / "m.gguf", gguf_bytes(keys, tensors, names=names))
    (row,) = Catalog((folder,), Path("/nowhere"), starter=False).scan()
    return row


def shape_of(folder: Path, keys: dict[str, GgufValue]) -> ModelShape:
    shape = row_of(folder, keys).shape
    assert shape is not None
    return shape


def test_the_header_tells_what_config_json_would(tmp_path: Path) -> None:
    row = row_of(tmp_path, KEYS)
    assert row.shape == ModelShape(
        layers=4,
        hidden_size=64,
        intermediate_size=96,
        attention_heads=8,
        kv_heads=2,
        head_dim=16,
        vocabulary=3,
        experts=8,
        active_experts=2,
    )
    assert (row.licence, row.tags) == ("mit", ("chat", "moe"))
    assert (row.quantization, row.quantization_details) == ("Q4_K_M", "Q4_K 92%, Q6_K 8%")


def test_idle_experts_are_counted_from_their_tensors(tmp_path: Path) -> None:
    row = row_of(tmp_path, KEYS)
    assert row.parameters == 256 * 13
    assert row.active_parameters == 256 * 13 - 256 * 8 * 6 // 8
    dense = {name: value for name, value in KEYS.items() if "expert" not in name}
    assert row_of(tmp_path, dense).active_parameters is None


def test_without_an_output_head_the_embeddings_are_tied(tmp_path: Path) -> None:
    row = row_of(tmp_path, KEYS, TENSORS[:1], NAMES[:1])
    assert row.shape is not None
    assert row.shape.tied_embeddings


def test_lengths_for_each_layer_tell_which_layers_attend(tmp_path: Path) -> None:
    lfm2: dict[str, GgufValue] = {
        "general.architecture": "lfm2",
        "lfm2.block_count": 4,
        "lfm2.embedding_length": 64,
        "lfm2.attention.head_count": 4,
        "lfm2.attention.head_count_kv": [0, 2, 0, 0],
        "lfm2.shortconv.l_cache": 3,
    }
    shape = shape_of(tmp_path, lfm2)
    assert (shape.layer_types, shape.kv_heads) == ({"conv": 3, "full_attention": 1}, 2)
    assert shape.state_elements == 64 * 3


def test_sliding_windows_follow_the_architecture_s_pattern(tmp_path: Path) -> None:
    gemma3: dict[str, GgufValue] = {
        "general.architecture": "gemma3",
        "gemma3.block_count": 12,
        "gemma3.attention.sliding_window": 512,
    }
    shape = shape_of(tmp_path, gemma3)
    assert (shape.layer_types, shape.sliding_window) == ({"sliding_attention": 10, "full_attention": 2}, 512)


@pytest.mark.parametrize("architecture", ["falcon", "mpt", "nemotron_h"])
def test_what_the_header_tells_goes_before_the_library_s_defaults(tmp_path: Path, architecture: str) -> None:
    told: dict[str, GgufValue] = {
        "general.architecture": architecture,
        f"{architecture}.block_count": 6,
        f"{architecture}.attention.head_count": 8,
        f"{architecture}.attention.head_count_kv": 2,
    }
    shape = shape_of(tmp_path, told)
    assert (shape.layers, shape.attention_heads, shape.kv_heads) == (6, 8, 2)


def test_mla_is_told_by_its_ranks(tmp_path: Path) -> None:
    deepseek: dict[str, GgufValue] = {
        "general.architecture": "deepseek2",
        "deepseek2.block_count": 2,
        "deepseek2.attention.kv_lora_rank": 512,
        "deepseek2.attention.key_length_mla": 192,
        "deepseek2.attention.value_length_mla": 128,
        "deepseek2.rope.dimension_count": 64,
    }
    shape = shape_of(tmp_path, deepseek)
    assert (shape.kv_lora_rank, shape.qk_rope_head_dim, shape.qk_nope_head_dim, shape.v_head_dim) == (512, 64, 128, 128)


def test_a_split_model_that_is_all_here_is_counted_over_its_parts(tmp_path: Path) -> None:
    first: dict[str, GgufValue] = {**KEYS, "split.count": 2}
    gguf_file(tmp_path / "m-00001-of-00002.gguf", gguf_bytes(first, TENSORS[:1], names=NAMES[:1]))
    second = gguf_bytes({"split.count": 2}, TENSORS[1:], names=NAMES[1:])
    later = gguf_file(tmp_path / "m-00002-of-00002.gguf", second)
    (row,) = Catalog((tmp_path,), Path("/nowhere"), starter=False).scan()
    assert (row.parameters, row.active_parameters) == (256 * 13, 256 * 7)
    assert (row.quantization, row.file_count) == ("Q4_K_M", 2)
    assert row.size_bytes == sum(file.stat().st_size for file in tmp_path.glob("*.gguf"))
    assert row.shape is not None
    assert not row.shape.tied_embeddings
    assert "split into 2 files" in row.problems[0]

    later.write_bytes(second[:100])
    (row,) = Catalog((tmp_path,), Path("/nowhere"), starter=False).scan()
    assert row.parameters is None
    assert "m-00002-of-00002.gguf is cut off" in row.problems[0]

    later.unlink()
    (row,) = Catalog((tmp_path,), Path("/nowhere"), starter=False).scan()
    assert row.parameters is None
    assert row.problems == ("1 of the 2 parts of this model are missing.",)


@pytest.mark.parametrize("value", [0, 2**32 - 1, "text", ["a"], [2**31] * 10, [0] * 5000])
@pytest.mark.parametrize("key", ["block_count", "attention.head_count", "attention.head_count_kv", "expert_count"])
def test_s9_no_value_of_the_header_does_harm(tmp_path: Path, key: str, value: GgufValue) -> None:
    row = row_of(tmp_path, {**KEYS, f"qwen3moe.{key}": value})
    assert row.problems == ()
    assert row.shape is None or row.shape.layers is None or 0 < row.shape.layers <= 4096
    assert row.parameters == 256 * 13


def test_s9_many_arrays_are_passed_over_and_not_taken_in(tmp_path: Path) -> None:
    many: dict[str, GgufValue] = {f"junk.{index}": [7] * 4096 for index in range(200)}
    gguf_file(tmp_path / "m.gguf", gguf_bytes({**KEYS, **many}, TENSORS, names=NAMES))
    header = read_gguf_header(ModelFolder(str(tmp_path)), "m.gguf")
    assert header.parameters == 256 * 13
    assert sum(len(value) for value in header.values.values() if isinstance(value, list)) <= 2**16
