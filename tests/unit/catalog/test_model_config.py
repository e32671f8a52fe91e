from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_KEYS = st.sampled_from(
    ["model_type", "architectures", "dtype", "torch_dtype", "n_ctx", "text_config", "quantization_config", "auto_map"]
)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(_KEYS, _ANYTHING | st.dictionaries(_KEYS, _ANYTHING)))
def test_no_value_of_a_wrong_kind_does_harm(config: dict[str, Any]) -> None:
    facts = config_facts(config)
    assert facts.context_length is None or facts.context_length > 0
    assert facts.dtype is None or isinstance(facts.dtype, str)
