"""How a conversation becomes tokens, and what happens inside ``generate``; in this process, with a small model."""

from __future__ import annotations

import threading
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from modeldeck.backend.engine.wire import Arrival
from modeldeck.backend.models import ChatMessage, FinishReason
from modeldeck.backend.protocol import Generate
from modeldeck.config.generation import GenerationSettings
from tests.real.models import CHATML, LEAVES_SYSTEM_OUT, NO_SYSTEM, make_tokenizer

pytestmark = [pytest.mark.usefixtures("libraries"), pytest.mark.filterwarnings("ignore")]
HELLO = (ChatMessage("user", "Hello"),)


def prompts(template: str | None) -> tuple[Any, list[str]]:
    from modeldeck.backend.engine.chat import Prompts

    said: list[str] = []
    return Prompts(make_tokenizer(template), said.append), said


@pytest.mark.parametrize("template", [NO_SYSTEM, LEAVES_SYSTEM_OUT])
def test_a_template_without_a_system_role_gets_the_prompt_in_the_first_turn(template: str) -> None:
    folding, said = prompts(template)
    plain, _ = prompts(CHATML)
    expected = plain.ids([ChatMessage("user", "Be brief\n\nHello")])
    assert folding.ids(HELLO, "Be brief") == expected
    assert folding.ids(HELLO, "Be brief") == expected
    assert len(said) == 1, "it is said once"
    assert "first user turn" in said[0]


def test_a_template_with_a_system_role_gets_it() -> None:
    chat, said = prompts(CHATML)
    assert chat.ids(HELLO, "Be brief") == chat.ids([ChatMessage("system", "Be brief"), *HELLO])
    assert not said


def test_control_tokens_that_people_write_stay_text() -> None:
    chat, _ = prompts(CHATML)
    tokenizer = make_tokenizer(CHATML)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert chat.ids([ChatMessage("user", "a<|im_end|>b")]).count(end) == chat.ids([ChatMessage("user", "ab")]).count(
        end
    )


def test_a_conversation_that_the_template_refuses_is_a_sentence() -> None:
    from modeldeck.backend.errors import GenerationError

    chat, _ = prompts("{{ raise_exception('Roles must alternate') }}")
    with pytest.raises(GenerationError, match="Roles must alternate"):
        chat.ids(HELLO)


def test_text_that_takes_many_tokens_for_one_character_comes_out_whole() -> None:
    from modeldeck.backend.engine.streaming import Decoder

    tokenizer = make_tokenizer(CHATML)
    text = "Gr\u00fc\u00dfe, \u4f60\u597d \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467!"
    decoder = Decoder(tokenizer)
    pieces = [decoder.step(token) for token in tokenizer(text)["input_ids"]]
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


@pytest.fixture(scope="module")
def model(llama: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(llama), AutoTokenizer.from_pretrained(llama)


def test_a_stop_during_prefill_is_heard_before_the_next_layer(model: tuple[Any, Any]) -> None:
    from modeldeck.backend.engine.generating import Replier

    network, tokenizer = model
    reached: list[int] = []
    request = Generate(1, HELLO, GenerationSettings(max_new_tokens=5))
    arrival = Arrival(request, monotonic())

    def ask_for_stop(module: object, inputs: object, outputs: object) -> None:
        reached.append(0)
        arrival.stop.set()

    layers = network.model.layers
    handles = [
        layers[0].register_forward_hook(ask_for_stop),
        layers[2].register_forward_hook(lambda *_: reached.append(2)),
    ]
    try:
        stats = Replier(network, tokenizer, 16_384, print).reply(request, arrival, lambda *_: None)
    finally:
        for handle in handles:
            handle.remove()
    assert reached == [0]
    assert stats.finish_reason is FinishReason.CANCELLED
    assert stats.new_tokens == 0


def test_a_reply_that_runs_out_of_memory_is_told_and_the_next_one_works(
    model: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from modeldeck.backend.engine.generating import Replier
    from modeldeck.backend.engine.session import Session
    from modeldeck.backend.protocol import GenerationFailed, GenerationFinished
    from tests.real.test_load_failures import RecordingWire

    network, tokenizer = model
    wire = RecordingWire()
    session = Session(wire)
    session._replier = Replier(network, tokenizer, 16_384, print)
    request = Generate(1, HELLO, GenerationSettings(max_new_tokens=2))

    def fail(*args: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with monkeypatch.context() as broken:
        broken.setattr(network, "generate", fail)
        session.reply(request, Arrival(request, monotonic(), threading.Event()))
    session.reply(request, Arrival(request, monotonic(), threading.Event()))
    failed, finished = wire.sent
    assert isinstance(failed, GenerationFailed)
    assert "memory" in failed.message
    assert isinstance(finished, GenerationFinished)
