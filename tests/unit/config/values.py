"""What the tests of the settings share: any valid settings, as hypothesis strategies."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from msgspec import UNSET

from modeldeck.config.generation import MAX_SEED, GenerationSettings

storable_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)

_fields: dict[str, st.SearchStrategy[Any]] = {
    "max_new_tokens": st.integers(1, 1_000_000),
    "do_sample": st.booleans(),
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1, exclude_min=True),
    "top_k": st.integers(0, 1_000_000),
    "min_p": st.floats(0, 1),
    "min_new_tokens": st.integers(0, 1_000_000),
    "max_time": st.floats(0, 86_400, exclude_min=True),
    "top_h": st.floats(0, 1, exclude_min=True),
    "typical_p": st.floats(0, 1, exclude_min=True),
    "epsilon_cutoff": st.floats(0, 1, exclude_max=True),
    "eta_cutoff": st.floats(0, 1, exclude_max=True),
    "no_repeat_ngram_size": st.integers(0, 1000),
    "num_beams": st.integers(1, 64),
    "guidance_scale": st.floats(1, 30),
    "prompt_lookup_num_tokens": st.integers(0, 100),
    "cache_implementation": st.sampled_from(["dynamic", "static", "offloaded", "offloaded_static", "quantized"]),
    "repetition_penalty": st.floats(0, 10, exclude_min=True),
    "seed": st.integers(0, MAX_SEED),
    "system_prompt": storable_text,
    "stop": st.lists(storable_text.filter(bool), max_size=4).map(tuple),
}

generation_settings = st.builds(
    GenerationSettings, **{name: st.one_of(st.just(UNSET), field) for name, field in _fields.items()}
)
"""Any valid settings, every field set or left alone."""


def table(path: Path) -> dict[str, Any]:
    """What a TOML file holds."""
    return tomllib.loads(path.read_text())


QUANTIZATIONS = "none, 8bit, 4bit, 4bit-fp4, torchao-int8, torchao-int4, hqq-8bit, hqq-4bit, quanto-int8, quanto-int4"
DEVICES = "auto, cpu, mps, cuda, cuda:N, or several as in cuda:0+cuda:2"
"""What is told of what may be set."""
