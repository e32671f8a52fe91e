"""A model computes with as little account as its weights allow, and says the same as with more."""

from __future__ import annotations

from typing import Any

import pytest

from modeldeck.backend.protocol import Generate
from modeldeck.config.generation import GenerationSettings
from tests.real.repliers import GREEDY, Talk, never

SAMPLED = GenerationSettings(do_sample=True, temperature=0.9, seed=7, max_new_tokens=16)
QUESTIONS = ("What is the capital of France?", "And of Germany?")


@pytest.fixture(autouse=True)
def _libraries(libraries: None) -> None:
    """torch and transformers in this process."""


def modes_of(talk: Talk) -> set[bool]:
    """Gets, at each pass through the model, whether that is in inference mode."""
    import torch

    seen: set[bool] = set()

    def look(*_seen: object) -> None:
        assert not torch.is_grad_enabled()
        seen.add(torch.is_inference_mode_enabled())

    talk.replier._model.register_forward_pre_hook(look)
    return seen


def replies_and_looks(talk: Talk) -> list[Any]:
    """Each reply goes on with the cache of the look before, and each look with that of the reply."""
    said: list[Any] = []
    for question, settings in zip(QUESTIONS, (GREEDY, SAMPLED), strict=True):
        tokens = talk.say(question, settings)[1].token_ids
        asked = Generate(1, tuple(talk.turns[:-1]), GREEDY)
        said += [tokens, talk.replier.look_into(asked, tokens, never())]
    return said


@pytest.mark.parametrize("kind", ["llama", "gemma3_text", "mamba", "lfm2"])
def test_replies_and_looks_are_the_same_as_without_inference_mode(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    talk = Talk.with_model(kind)
    modes = modes_of(talk)
    said = replies_and_looks(talk)
    assert modes == {True}
    for module in ("generating", "looking"):
        monkeypatch.setattr(f"modeldeck.backend.engine.{module}.without_gradients", lambda _model: torch.no_grad())
    other = Talk.with_model(kind)
    modes = modes_of(other)
    assert replies_and_looks(other) == said
    assert modes == {False}


def test_weights_of_a_type_of_their_own_keep_to_no_grad() -> None:
    import torch

    class Packed(torch.nn.Parameter):
        """As quantizers have them."""

    talk = Talk.with_model()
    layer = talk.replier._model.model.layers[0].mlp.up_proj
    layer.weight = Packed(layer.weight.data, requires_grad=False)
    modes = modes_of(talk)
    talk.say(QUESTIONS[0])
    assert modes == {False}


def test_weights_that_are_fetched_for_each_layer_keep_to_no_grad() -> None:
    from accelerate import cpu_offload  # type: ignore[import-untyped]  # it says nothing of its types

    talk = Talk.with_model()
    cpu_offload(talk.replier._model.model.layers[0], execution_device="cpu")
    modes = modes_of(talk)
    said = replies_and_looks(talk)
    assert modes == {False}
    assert said == replies_and_looks(Talk.with_model())
