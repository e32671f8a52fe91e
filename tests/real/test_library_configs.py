"""What the catalog reads out of config.json, held to transformers' own configuration classes, caches and modules."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from modeldeck.backend.catalog import config_part
from modeldeck.backend.catalog.config_part import known_config, text_part
from modeldeck.backend.catalog.experts import idle_parameters
from modeldeck.backend.catalog.model_config import config_facts
from modeldeck.backend.catalog.shape import model_shape

pytestmark = [pytest.mark.real_model, pytest.mark.timeout(180)]
ROOT = Path(__file__).parents[2]

LEFT: dict[str, str] = {
    "encoder-decoder": "a composite without a network of its own",
    "vision-encoder-decoder": "a composite without a network of its own",
    "fsmt": "an encoder-decoder that is not loaded for a chat",
    "funnel": "an encoder whose layers lie in blocks of several sizes",
    "nomic_bert": "an encoder; its class ties by a property of its own",
    "pi0": "a robot's policy around a language model",
    "prophetnet": "an encoder-decoder that is not loaded for a chat",
    "reformer": "its layers are told by attn_layers, and it keeps no keys and values",
    "longcat_flash": "its layers are double ones: the file says 28, the cache has 56",
    "hrm_text": "its layers run several times: the file says 16, the cache has 128",
}
"""Types that are not compared."""
LEFT_WITHOUT_FILE = {"jetmoe", "mistral4", "qwen2_5_omni", "qwen3_omni_moe", "shieldgemma2", "dots3_note"}
LEFT_WITHOUT_FILE |= {"dots3_note_text"}
"""Types whose class computes a default that a file, as the library saves it, always holds."""


def output_of(module: str) -> Any:
    """What the module prints as JSON, in a process of its own: this one does not import transformers."""
    command = [sys.executable, "-W", "ignore", "-m", module]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=170)
    assert ended.returncode == 0, ended.stderr.decode()[-2000:]
    return json.loads(ended.stdout)


def turns_text_into_text(name: str, config: dict[str, Any]) -> bool:
    """Whether the model is an encoder-decoder, which the catalog lists as one that cannot chat."""
    known = known_config(name)
    return known.modality == "encoder-decoder" or bool(
        config.get("is_encoder_decoder") or known.defaults.get("is_encoder_decoder")
    )


def differences(config: dict[str, Any], told: dict[str, Any]) -> list[str]:
    shape = model_shape(config)
    ours = structs.asdict(shape) if shape is not None else {}
    ours["context_length"] = config_facts(config).context_length
    wanted = dict(told)
    if set(wanted["layer_types"]) <= {"full_attention"}:
        wanted["layer_types"] = {}
    if wanted["experts"] == 1:
        wanted["experts"] = None
    if not any("sliding" in kind for kind in wanted["layer_types"]):
        wanted["sliding_window"] = None
    # Where the object has no such attribute, or one that stands for none, the catalog may still tell it.
    known = {name: value for name, value in wanted.items() if value not in (None, 0, -1)}
    return [f"{name}: {ours.get(name)} for {value}" for name, value in known.items() if ours.get(name) != value]


def test_every_text_configuration_of_the_library_is_read_as_the_library_reads_it() -> None:
    rows = output_of("tests.real.library_shapes")
    wrong: list[str] = []
    compared: Counter[str] = Counter()
    for name, variation, config, told in rows:
        if name in LEFT or turns_text_into_text(name, config) or (len(config) == 1 and name in LEFT_WITHOUT_FILE):
            continue
        compared[name] += 1
        wrong += [f"{name} {variation}: {difference}" for difference in differences(config, told)]
    assert wrong == []
    assert len(compared) > 220
    assert compared.total() > 1300


def test_the_table_of_names_and_defaults_is_that_of_the_library() -> None:
    table = json.loads(Path(config_part.__file__).with_name("known_configs.json").read_bytes())
    made = output_of("tests.real.library_configs")
    assert table == made, "write it anew: python -m tests.real.library_configs > backend/catalog/known_configs.json"


def test_constant_states_and_idle_experts_are_those_of_the_modules() -> None:
    told = output_of("tests.real.library_modules")
    states = {name: (model_shape(config), elements) for name, config, elements in told["states"]}
    assert {name: shape.state_elements for name, (shape, _) in states.items() if shape is not None} == {
        name: elements for name, (_, elements) in states.items()
    }
    assert len(states) >= 14
    experts = {name: (idle_parameters(text_part(config)), idle) for name, config, idle in told["experts"]}
    assert {name: ours for name, (ours, _) in experts.items()} == {name: idle for name, (_, idle) in experts.items()}
    assert len(experts) >= 50
