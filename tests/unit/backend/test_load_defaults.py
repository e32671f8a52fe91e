from __future__ import annotations

import pytest

from modeldeck.backend.load_defaults import default_request
from modeldeck.backend.models import ModelFormat, ModelInfo, ModelSource, Quantization
from modeldeck.config.settings import Settings

SETTINGS = Settings(device="cuda:1", dtype="float16", quantization="8bit", gguf_copies_gb=1.5)


def a_model(format: ModelFormat, quantization: str | None = None) -> ModelInfo:  # noqa: A002  # as in ModelInfo
    return ModelInfo(id="x", name="x", path="/x", source=ModelSource.FOLDER, format=format, quantization=quantization)


def test_the_settings_count() -> None:
    request = default_request(SETTINGS, a_model(ModelFormat.SAFETENSORS))
    assert (request.model_id, request.path) == ("x", "/x")
    assert (request.device, request.dtype, request.quantization) == ("cuda:1", "float16", Quantization.INT8)
    assert request.prepared_copy_limit_bytes == 1_500_000_000
    assert not request.trust_remote_code


@pytest.mark.parametrize(
    "model", [a_model(ModelFormat.SAFETENSORS, "awq"), a_model(ModelFormat.GGUF, "Q4_1"), a_model(ModelFormat.GGUF)]
)
def test_what_is_stored_quantized_is_not_quantized_again(model: ModelInfo) -> None:
    assert default_request(SETTINGS, model).quantization is Quantization.NONE
