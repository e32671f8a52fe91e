"""``generation.toml`` and ``profiles.toml``: what is wrong is told and kept, and a save works or says why not."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from modeldeck.config.declaration import settings_of
from modeldeck.config.document_store import SaveError
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.presets import BUILT_IN_PRESETS
from modeldeck.config.profiles import DEFAULTS, Profiles
from modeldeck.config.store import GenerationStore
from tests.fuzz.broken import words
from tests.fuzz.profiles import fuzzed
from tests.fuzz.reading import modest
from tests.fuzz.toml import toml_documents

_KEYS = (
    *(setting.name for setting in settings_of(GenerationSettings)),
    "schema_version", "preset", "default", "quantization", "context_limit", "devise", '"a b"', "models", "all_models",
)  # fmt: skip
_TABLES = (
    "all_models", "presets", "presets.mine", "model_presets", "models", 'models."org/name@rev"', 'models."\\u0000"',
    f"presets.{next(iter(BUILT_IN_PRESETS))}", "profiles", "profiles.mine", "model_defaults", "presets.'  a'",
)  # fmt: skip
_files = toml_documents(_KEYS, _TABLES) | st.binary(max_size=200)


@given(data=_files, model=words)
@fuzzed
def test_generation_settings_are_read_and_saved_over_anything(data: bytes, model: str, tmp_path: Path) -> None:
    file = tmp_path / "generation.toml"
    file.write_bytes(data)
    store = GenerationStore(file)
    with modest():
        problems = store.load()
    assert all(str(problem).isprintable() for problem in problems)
    for name in store.preset_names:
        assert isinstance(store.preset_values(name), GenerationSettings)
    assert store.effective(model).max_new_tokens
    with suppress(SaveError):
        store.change(model, {"temperature": 0.25})
        again = GenerationStore(file)
        again.load()
        assert again.overrides(model).temperature == 0.25
    with suppress(SaveError):
        store.delete_preset("mine")
        assert "mine" not in store.preset_names
    _tidy(tmp_path)


@given(data=_files, name=words)
@fuzzed
def test_profiles_are_read_and_saved_over_anything(data: bytes, name: str, tmp_path: Path) -> None:
    file = tmp_path / "profiles.toml"
    file.write_bytes(data)
    profiles = Profiles(file)
    with modest():
        problems = profiles.load()
    assert all(str(problem).isprintable() for problem in problems)
    with suppress(SaveError):
        assert profiles.save(name, structs.replace(DEFAULTS, quantization="4bit")) in profiles.names
    _tidy(tmp_path)


def _tidy(folder: Path) -> None:
    """What was kept aside; there would soon be thousands."""
    for file in folder.glob("*.corrupt-*"):
        os.unlink(file)  # noqa: PTH108
