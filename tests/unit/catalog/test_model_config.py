from __future__ import annotations

from typing import Any

import pytest

from modeldeck.backend.catalog.model_config import ConfigFacts, config_facts


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, ConfigFacts()),
        (
            {"architectures": ["FooForCausalLM"]},
            ConfigFacts(architecture="FooForCausalLM", architecture_class="FooForCausalLM"),
        ),
        ({"n_ctx": 1024, "torch_dtype": "torch.float16"}, ConfigFacts(context_length=1024, dtype="float16")),
        ({"seq_length": 8192}, ConfigFacts(context_length=8192)),
        ({"max_position_embeddings": True, "n_positions": -1, "seq_length": "9"}, ConfigFacts()),
        (
            {"model_type": "new", "text_config": {"max_position_embeddings": 131072, "dtype": "bfloat16"}},
            ConfigFacts(architecture="new", context_length=131072, dtype="bfloat16"),
        ),
        ({"thinker_config": {"text_config": {"n_positions": 7}}}, ConfigFacts(context_length=7)),
        ({"auto_map": {"AutoModel": "modeling.py"}}, ConfigFacts(needs_remote_code=True)),
        ({"auto_map": {}}, ConfigFacts()),
    ],
)
def test_the_facts_are_found_where_models_keep_them(config: dict[str, Any], expected: ConfigFacts) -> None:
    assert config_facts(config) == expected
