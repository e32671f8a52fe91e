from __future__ import annotations

from typing import Any

import pytest

from modeldeck.backend.catalog.quantization import quantization_details, quantization_word

_W4A16 = {"config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int"}, "input_activations": None}}}
_FP8 = {
    "config_groups": {
        "group_0": {"weights": {"num_bits": 8, "type": "float"}, "input_activations": {"num_bits": 8, "type": "float"}}
    }
}


@pytest.mark.parametrize(
    ("details", "word"),
    [
        ({"quant_method": "awq", "bits": 4, "version": "gemm"}, "awq4"),
        ({"quant_method": "gptq", "bits": 8}, "gptq8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bnb-4bit"),
        ({"_load_in_8bit": True}, "bnb-8bit"),
        ({"quant_method": "bitsandbytes"}, "bnb"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ({"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}, "mxfp4"),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized", **_W4A16}, "ct-w4a16"),
        ({"quant_method": "compressed-tensors", "format": "float-quantized", **_FP8}, "ct-fp8"),
        ({"quant_method": "compressed-tensors", "format": "marlin-24"}, "ct-marlin-24"),
        ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4}}}, "hqq4"),
        ({"quant_method": "quanto", "weights": "int8"}, "quanto8"),
        ({"quant_method": "torchao", "quant_type": {"default": {"_type": "Int4WeightOnlyConfig"}}},
         "torchao-Int4WeightOnly"),
        ({"quant_method": "torchao", "quant_type": "int4_weight_only"}, "torchao-int4wo"),
        ({"quant_method": "aqlm", "nbits_per_codebook": 16}, "aqlm16"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "modelopt"),
        ({"bits": 3}, "quantized"),
        ({"quant_method": "gptq", "bits": 10**9}, "gptq"),
        ({"quant_method": "gptq", "bits": True}, "gptq"),
        ({"quant_method": "\x1b[31m" + "x" * 100}, "\u241b[31m" + "x" * 18 + "\u2026"),
    ],
)  # fmt: skip
def test_the_method_and_its_bits_are_one_short_word(details: dict[str, Any], word: str) -> None:
    assert quantization_word(details) == word
    assert len(word) <= 24


def test_the_details_say_groups_and_format() -> None:
    awq = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}
    assert quantization_details(awq) == "4 bits, in groups of 128, format gemm"
    nf4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
    assert quantization_details(nf4) == "nf4, double quantization"
    assert quantization_details({"quant_method": "fp8"}) is None
