"""The generation form without a screen, and the words about settings."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from modeldeck.backend.generation_limits import Abilities
from modeldeck.config.generation import BUILT_IN, GenerationSettings
from modeldeck.config.generation_layers import Layer, Layers
from modeldeck.config.paths import Paths
from modeldeck.config.store import GenerationStore
from modeldeck.tui.generation_desk import GenerationDesk
from modeldeck.tui.generation_draft import GenerationDraft
from modeldeck.tui.settings_line import conflicts, said_values, summary


@pytest.fixture
def store(paths: Paths) -> GenerationStore:
    store = GenerationStore(paths.generation_file)
    store.save(None, GenerationSettings(top_p=0.8))
    store.save("m", GenerationSettings(temperature=0.5))
    return store


@pytest.fixture
def desk(store: GenerationStore) -> GenerationDesk:
    return GenerationDesk(store)


def user(preset: GenerationSettings | None = None, **settings: object) -> Layers:
    """Settings for all models over the built-in ones, and a preset."""
    said = {Layer.BUILT_IN: BUILT_IN, Layer.ALL_MODELS: GenerationSettings(**settings)}  # type: ignore[arg-type]  # its own fields
    return Layers(said if preset is None else {**said, Layer.PRESET: preset})


class TestTheDraft:
    def test_shows_own_values_and_where_the_others_come_from(self, desk: GenerationDesk) -> None:
        draft = GenerationDraft(desk, "m")
        assert (draft.text("temperature"), draft.origin("temperature")) == ("0.5", "this model")
        assert (draft.text("top_p"), draft.origin("top_p"), draft.below("top_p").value) == ("", "all models", 0.8)
        assert draft.origin("top_k") == draft.origin("min_p") == "built-in"
        assert not draft.changed

    async def test_every_layer_is_named(self, desk: GenerationDesk, tmp_path: Path) -> None:
        (tmp_path / "generation_config.json").write_text(json.dumps({"top_k": 20, "min_p": 0.1, "top_p": 0.95}))
        await desk.learn("m", str(tmp_path), None, None)
        desk.store.choose_preset("precise", "m")
        desk.keep_for_session("m", {"seed": 7})
        draft = GenerationDraft(desk, "m")
        names = ("max_new_tokens", "min_p", "top_p", "top_k", "temperature", "seed")
        assert [draft.origin(name) for name in names] == [
            "built-in",
            "model file",
            "preset",
            "preset",
            "this model",
            "this session",
        ]
        assert desk.layers("m").held("top_p", below=Layer.PRESET).layer is Layer.ALL_MODELS
        assert desk.layers("m").held("top_p", below=Layer.ALL_MODELS).value == 0.95

    def test_typing_the_saved_value_again_is_no_change(self, desk: GenerationDesk) -> None:
        draft = GenerationDraft(desk, "m")
        draft.enter("temperature", "0.9")
        assert draft.changed
        assert draft.origin("temperature") == "edited"
        draft.enter("temperature", "0.5")
        assert not draft.changed

    def test_an_invalid_value_stays_typed_and_the_others_are_saved(self, desk: GenerationDesk) -> None:
        draft = GenerationDraft(desk, "m")
        draft.enter("temperature", "7")
        draft.enter("top_k", "20")
        assert "0 to 2" in draft.errors["temperature"]
        draft.save("this model")
        assert desk.store.overrides("m") == GenerationSettings(temperature=0.5, top_k=20)
        assert (draft.text("temperature"), draft.changed) == ("7", True)
        assert draft.preview().effective.temperature == 0.5
        draft.enter("temperature", "1")
        draft.save("this model")
        assert desk.store.overrides("m").temperature == 1.0
        assert not draft.changed

    def test_an_emptied_field_goes_back_to_the_layer_below(self, desk: GenerationDesk) -> None:
        draft = GenerationDraft(desk, "m")
        draft.enter("temperature", "")
        assert draft.preview().effective.temperature == 0.7
        draft.save("this model")
        assert desk.store.overrides("m") == GenerationSettings()

    def test_reset_goes_down_one_layer_at_a_time(self, desk: GenerationDesk) -> None:
        desk.keep_for_session("m", {"temperature": 1.5})
        draft = GenerationDraft(desk, "m")
        draft.enter("temperature", "1.7")
        texts = []
        for _ in range(4):
            draft.reset("temperature")
            texts.append(draft.text("temperature"))
        assert texts == ["1.5", "0.5", "", ""]

    def test_what_was_saved_by_others_meanwhile_stays(self, desk: GenerationDesk, paths: Paths) -> None:
        """F23: two instances edit the same model, each another setting."""
        draft = GenerationDraft(desk, "m")
        draft.enter("seed", "5")
        GenerationStore(paths.generation_file).change("m", {"top_k": 9})
        draft.save("this model")
        assert desk.store.overrides("m") == GenerationSettings(temperature=0.5, top_k=9, seed=5)

    def test_saved_for_all_holds_for_this_model_too(self, desk: GenerationDesk) -> None:
        desk.keep_for_session("m", {"temperature": 1.9})
        draft = GenerationDraft(desk, "m")
        draft.enter("temperature", "1.5")
        draft.save("all models")
        assert desk.store.overrides(None) == GenerationSettings(top_p=0.8, temperature=1.5)
        assert desk.store.overrides("m") == GenerationSettings()
        assert desk.effective("m").temperature == 1.5
        assert draft.origin("temperature") == "all models"

    def test_for_this_session_nothing_is_written(self, desk: GenerationDesk, paths: Paths) -> None:
        before = paths.generation_file.read_bytes()
        draft = GenerationDraft(desk, "m")
        draft.enter("top_k", "3")
        draft.enter("temperature", "")
        assert draft.save("this session")
        assert paths.generation_file.read_bytes() == before
        assert (desk.effective("m").top_k, desk.effective("m").temperature) == (3, 0.7)
        assert desk.effective("other").top_k == 50
        assert draft.save("this model"), "what holds for the session is saved with the rest"
        assert desk.store.overrides("m") == GenerationSettings(temperature=0.7, top_k=3)
        assert draft.origin("top_k") == "this model"

    def test_for_all_models_and_this_session(self, desk: GenerationDesk) -> None:
        draft = GenerationDraft(desk, None)
        draft.enter("top_k", "3")
        draft.save("this session")
        assert desk.effective("m").top_k == desk.effective(None).top_k == 3
        desk.keep_for_session("m", {"top_k": 4})
        assert (desk.effective("m").top_k, desk.effective("n").top_k) == (4, 3)

    def test_reset_takes_back_only_the_scope_that_is_saved(self, desk: GenerationDesk) -> None:
        draft = GenerationDraft(desk, "m")
        draft.reset_all()
        draft.save("this model")
        assert desk.store.overrides("m") == GenerationSettings()
        assert desk.store.overrides(None) == GenerationSettings(top_p=0.8)
        draft.reset_all()
        draft.save("all models")
        assert desk.store.overrides(None) == GenerationSettings()

    def test_stop_strings_are_one_a_line(self, desk: GenerationDesk) -> None:
        draft = GenerationDraft(desk, None)
        draft.enter("stop", "END\n\\n\\n")
        draft.save("all models")
        assert desk.store.overrides(None).stop == ("END", "\n\n")
        assert draft.text("stop") == "END\n\\n\\n"

    def test_what_a_preset_covers_is_told(self, desk: GenerationDesk) -> None:
        desk.store.choose_preset("precise", None)
        draft = GenerationDraft(desk, "m")
        draft.enter("top_p", "0.5")
        draft.save("all models")
        assert draft.hidden_by_preset() == ("top_p",)
        assert (desk.preset_title("m"), desk.preset_title("n")) == ("precise*", "precise")


class TestTheDesk:
    async def test_a_reply_waits_for_the_models_own_file(self, desk: GenerationDesk, tmp_path: Path) -> None:
        (tmp_path / "generation_config.json").write_text('{"top_k": 20, "top_p": "much"}')
        desk.learn("m", str(tmp_path), None, "cpu")
        settings = await desk.ready("m")
        assert (settings.top_k, settings.top_p, settings.temperature) == (20, 0.8, 0.5)

    async def test_what_the_model_cannot_do_is_not_asked_of_it(self, desk: GenerationDesk, tmp_path: Path) -> None:
        await asyncio.wait({desk.learn("m", str(tmp_path), None, "cpu")})
        desk.keep_for_session(None, {"cache_implementation": "offloaded"})
        assert desk.effective("n").cache_implementation == "offloaded"
        assert not desk.effective("m").cache_implementation
        assert any("needs the model on a GPU" in line for line in conflicts(desk.layers("m"), desk.abilities("m")))


class TestConflicts:
    def test_greedy_beside_sampling(self) -> None:
        assert conflicts(user(do_sample=True, temperature=0.7)) == []
        off = user(do_sample=False, temperature=0.7, top_p=0.9)
        assert conflicts(off) == ["Sampling is off, so Temperature and Top p have no effect"]
        assert conflicts(user(temperature=0, top_k=5)) == ["Temperature 0 is greedy, so Top k has no effect"]
        assert conflicts(user(temperature=0)) == []
        assert conflicts(user(do_sample=False)) == []

    def test_what_a_preset_replaces_is_none(self) -> None:
        assert conflicts(user(preset=GenerationSettings(do_sample=False), temperature=1.0)) == []

    def test_beams_guidance_and_lengths(self) -> None:
        assert conflicts(user(num_beams=4)) == ["With 4 Beams the reply comes at its end, not word by word"]
        assert conflicts(user(guidance_scale=2.0)) == ["Guidance scale doubles the work of every reply"]
        (said,) = conflicts(user(min_new_tokens=600))
        assert said == "Min new tokens 600 is more than Max new tokens 512, which holds"
        (said,) = conflicts(user(num_beams=2, prompt_lookup_num_tokens=5))[1:]
        assert said == "Prompt lookup does not go together with Beams, so it is left out"

    def test_over_the_context(self) -> None:
        def over(most: int, prompt: int) -> list[str]:
            return conflicts(user(max_new_tokens=most), context_length=8192, prompt_tokens=prompt)

        assert over(512, 7000) == []
        assert over(9000, 0) == ["Max new tokens 9,000 is more than the model's context of 8,192 has room for"]
        assert over(512, 8000) == ["About 192 of the model's 8,192 tokens are left, so the reply ends by then"]
        assert "begin a new chat" in over(512, 9000)[0]

    def test_what_the_model_cannot_do(self) -> None:
        able = Abilities(rewinds=False)
        assert able.missing == {"prompt_lookup_num_tokens", "guidance_scale", "cache_implementation"}
        said = conflicts(user(prompt_lookup_num_tokens=5, guidance_scale=3.0, cache_implementation="static"), able)
        assert len([line for line in said if "keeps a running state" in line]) == 3


def test_summary_is_brief(desk: GenerationDesk) -> None:
    assert summary(desk.effective("m")) == "temp 0.5 · top p 0.8 · 512 tokens"
    assert summary(desk.effective("m"), "precise*") == "precise* · temp 0.5 · top p 0.8 · 512 tokens"
    assert summary(GenerationSettings(do_sample=False, system_prompt="x", seed=1)) == "greedy · system prompt"
    assert summary(GenerationSettings(num_beams=3)) == "3 beams"


def test_what_a_preset_says_is_brief() -> None:
    settings = GenerationSettings(do_sample=False, stop=("a", "b"), top_k=0)
    assert said_values(settings) == "sampling off · top k 0 · stop strings a b"
