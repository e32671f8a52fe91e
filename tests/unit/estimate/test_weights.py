"""Bytes of the weights, by worked examples."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from modeldeck.backend.estimate.estimating import count_parts, estimate
from modeldeck.backend.estimate.weights import block_bytes, load_dtype
from modeldeck.backend.model_shape import WeightBlock
from modeldeck.backend.models import ModelFormat, Quantization
from modeldeck.backend.quantizers import linear_bytes
from tests.unit.estimate.samples import GB, LLAMA_8B, asked, machine

BLOCK = WeightBlock(name="layers.0", linear_elements=1_000_000, linear_rows=1000, other_elements=2000, fixed_bytes=7)


def test_a_block_in_each_form() -> None:
    assert block_bytes(BLOCK, 4, Quantization.NONE) == 4 * 1_002_000 + 7
    assert block_bytes(BLOCK, 2, Quantization.NONE) == 2 * 1_002_000 + 7
    assert block_bytes(BLOCK, 2, Quantization.INT8) == 1_000_000 + 4 * 1000 + 2 * 2000 + 7
    assert block_bytes(BLOCK, 2, Quantization.NF4) == 515_869 + 2 * 2000 + 7


@pytest.mark.parametrize(
    ("quantization", "options", "expected"),
    [
        (Quantization.NF4, {}, 515_869),  # 0.5159 for each element
        (Quantization.FP4, {"double_quantization": False}, 562_500),
        (Quantization.FP4, {"repacked": True}, 531_250),
        (Quantization.TORCHAO_INT8, {}, 1_005_000),
        (Quantization.TORCHAO_INT4, {}, 531_250),
        (Quantization.HQQ_8, {}, 1_062_500),
        (Quantization.HQQ_4, {}, 562_500),
        (Quantization.QUANTO_INT8, {}, 1_002_000),
        (Quantization.QUANTO_INT4, {}, 531_250),
    ],
)
def test_what_each_quantizer_makes_of_a_million_elements_in_1000_rows(
    quantization: Quantization, options: dict[str, bool], expected: int
) -> None:
    assert linear_bytes(quantization, 1_000_000, 1000, 2, **options) == expected


@pytest.mark.parametrize(
    ("quantization", "gigabytes"),
    [("none", 16.06), ("8bit", 9.09), ("4bit", 5.70)],  # 8.03 billion parameters, 1.05 of them in table and head
)
def test_llama_3_1_8b(quantization: str, gigabytes: float) -> None:
    parts = count_parts(LLAMA_8B, asked(quantization=quantization), 8192, on_cpu=False)
    assert parts is not None
    assert parts.weight_total / 1e9 == pytest.approx(gigabytes, abs=0.01)


def test_the_dtype_is_the_one_asked_for_else_that_of_the_config_else_the_stored_one() -> None:
    assert load_dtype(LLAMA_8B, asked(dtype="float16")) == "float16"
    assert load_dtype(replace(LLAMA_8B, load_dtype="float32"), asked()) == "float32"
    assert load_dtype(replace(LLAMA_8B, load_dtype=None), asked()) == "bfloat16"
    assert load_dtype(replace(LLAMA_8B, format=ModelFormat.GGUF, dtype=None), asked()) == "float32"


def test_without_headers_the_number_of_parameters_and_the_shape_are_enough() -> None:
    model = replace(LLAMA_8B, weights=(), format=ModelFormat.GGUF, dtype=None, load_dtype=None)
    parts = count_parts(model, asked(), 8192)
    assert parts is not None
    assert parts.weight_total == 4 * (LLAMA_8B.parameters or 0)
    quantized = count_parts(model, asked(dtype="bfloat16", quantization="4bit"), 8192, prepared=True, on_cpu=False)
    assert quantized is not None
    assert quantized.weight_total / 1e9 == pytest.approx(5.70, abs=0.02)


@pytest.mark.parametrize(
    ("stored", "device", "gigabytes"),
    [
        ("fp8", "cpu", 16.06),  # without a GPU transformers makes bfloat16 of it
        ("fp8", "cuda:0", 9.08),
        ("ct-w8a8", "cuda:0", 16.06),  # unpacked with the first token, wherever it is
        ("awq4", "cuda:0", 9.08),
    ],
)
def test_what_is_stored_packed_counts_as_what_the_loader_makes_of_it(
    stored: str, device: str, gigabytes: float
) -> None:
    """Llama-3.1-8B with 6.98 billion of its elements in a byte each."""
    blocks = tuple(
        replace(block, linear_elements=0, packed_elements=block.linear_elements, fixed_bytes=block.linear_elements)
        for block in LLAMA_8B.weights
    )
    model = replace(LLAMA_8B, weights=blocks, quantization=stored)
    parts = count_parts(model, asked(device), 8192, on_cpu=device == "cpu")
    assert parts is not None
    assert parts.weight_total / 1e9 == pytest.approx(gigabytes, abs=0.01)
    found = estimate(model, asked(device), machine(80 * GB))
    older = "A GPU below compute capability 8.9 cannot keep fp8: it would need 7.0 GB more, for bfloat16."
    assert (older in found.grounds) is ((stored, device) == ("fp8", "cuda:0"))


@pytest.mark.parametrize(
    ("capability", "gigabytes"), [((9, 0), 9.08), ((8, 9), 9.08), ((8, 6), 16.06), ((7, 5), 16.06)]
)
def test_how_new_a_gpu_is_decides_what_becomes_of_fp8(capability: tuple[int, int], gigabytes: float) -> None:
    blocks = tuple(
        replace(block, linear_elements=0, packed_elements=block.linear_elements, fixed_bytes=block.linear_elements)
        for block in LLAMA_8B.weights
    )
    memory = machine(80 * GB)
    memory = replace(memory, devices=(replace(memory.devices[0], compute_capability=capability),))
    found = estimate(replace(LLAMA_8B, weights=blocks, quantization="fp8"), asked("cuda:0"), memory)
    assert found.devices[0].weights_bytes / 1e9 == pytest.approx(gigabytes, abs=0.01)
    assert not any("compute capability" in ground for ground in found.grounds)  # it is known
    second = replace(memory.devices[0], name="cuda:1", compute_capability=(9, 0))
    both = replace(memory, devices=(memory.devices[0], second))
    asked_for = estimate(replace(LLAMA_8B, weights=blocks, quantization="fp8"), asked("cuda:1"), both)
    assert asked_for.devices[0].weights_bytes / 1e9 == pytest.approx(gigabytes, abs=0.01)  # the first one is asked


def test_a_pickle_is_reckoned_from_its_size() -> None:
    model = replace(LLAMA_8B, weights=(), parameters=None, format=ModelFormat.PICKLE, size_bytes=16_000_000_000)
    parts = count_parts(model, asked(), 8192)
    assert parts is not None
    assert parts.weight_total == 16_000_000_000
    assert count_parts(replace(model, dtype=None, load_dtype=None), asked(), 8192) is None
