from __future__ import annotations

import pytest

from modeldeck.config.generation import GenerationSettings
from modeldeck.config.paths import Paths
from modeldeck.config.store import GenerationStore
from modeldeck.tui.generation_draft import GenerationDraft
from modeldeck.tui.settings_line import conflicts, summary


@pytest.fixture
def store(paths: Paths) -> GenerationStore:
    store = GenerationStore(paths.generation_file)
    store.save(None, GenerationSettings(top_p=0.8))
    store.save("m", GenerationSettings(temperature=0.5))
    return store


def test_shows_own_values_and_where_the_others_come_from(store: GenerationStore) -> None:
    draft = GenerationDraft(store, "m")
    assert (draft.text("temperature"), draft.origin("temperature")) == ("0.5", "this model")
    assert (draft.text("top_p"), draft.origin("top_p"), draft.inherited("top_p").value) == ("", "all models", 0.8)
    assert draft.origin("top_k") == "built-in"
    assert draft.origin("min_p") == "model's own"
    assert draft.origin("seed") == "not set"
    assert not draft.changed


def test_typing_the_saved_value_again_is_no_change(store: GenerationStore) -> None:
    draft = GenerationDraft(store, "m")
    draft.enter("temperature", "0.9")
    assert draft.changed
    assert draft.origin("temperature") == "edited"
    draft.enter("temperature", "0.5")
    assert not draft.changed


def test_an_invalid_value_stays_typed_and_the_others_are_saved(store: GenerationStore) -> None:
    draft = GenerationDraft(store, "m")
    draft.enter("temperature", "7")
    draft.enter("top_k", "20")
    assert "0 to 2" in draft.errors["temperature"]
    draft.save("this model")
    assert store.overrides("m") == GenerationSettings(temperature=0.5, top_k=20)
    assert (draft.text("temperature"), draft.changed) == ("7", True)
    draft.enter("temperature", "1")
    draft.save("this model")
    assert store.overrides("m").temperature == 1.0
    assert not draft.changed


def test_an_emptied_field_goes_back_to_the_layer_below(store: GenerationStore) -> None:
    draft = GenerationDraft(store, "m")
    draft.enter("temperature", "")
    assert draft.preview().temperature == 0.7
    draft.save("this model")
    assert store.overrides("m") == GenerationSettings()


def test_saved_for_all_holds_for_this_model_too(store: GenerationStore) -> None:
    draft = GenerationDraft(store, "m")
    draft.enter("temperature", "1.5")
    draft.save("all models")
    assert store.overrides(None) == GenerationSettings(top_p=0.8, temperature=1.5)
    assert store.overrides("m") == GenerationSettings()
    assert store.effective("m").temperature == 1.5
    assert draft.origin("temperature") == "all models"


def test_reset_takes_back_only_the_scope_that_is_saved(store: GenerationStore) -> None:
    draft = GenerationDraft(store, "m")
    draft.reset_all()
    draft.save("this model")
    assert store.overrides("m") == GenerationSettings()
    assert store.overrides(None) == GenerationSettings(top_p=0.8)
    draft.reset_all()
    draft.save("all models")
    assert store.overrides(None) == GenerationSettings()


def test_stop_strings_are_one_a_line(store: GenerationStore) -> None:
    draft = GenerationDraft(store, None)
    draft.enter("stop", "END\n\\n\\n")
    draft.save("all models")
    assert store.overrides(None).stop == ("END", "\n\n")
    assert draft.text("stop") == "END\n\\n\\n"


def test_conflicts_are_told_in_words() -> None:
    assert conflicts(GenerationSettings(do_sample=True, temperature=0.7)) == []
    off = GenerationSettings(do_sample=False, temperature=0.7, top_p=0.9)
    assert conflicts(off) == ["Sampling is off, so Temperature and Top p have no effect"]
    assert conflicts(GenerationSettings(temperature=0, top_k=5)) == ["Temperature 0 is greedy, so Top k has no effect"]
    assert conflicts(GenerationSettings(temperature=0)) == []


def test_summary_is_brief(store: GenerationStore) -> None:
    assert summary(store.effective("m")) == "temp 0.5 · top p 0.8 · 512 tokens"
    assert summary(GenerationSettings(do_sample=False, system_prompt="x", seed=1)) == "greedy · system prompt"
