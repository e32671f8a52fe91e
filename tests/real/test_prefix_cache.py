"""A turn reads only what is new, and says what it would have said without the cache, token by token."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from modeldeck.backend.chat_messages import ChatMessage, ReplyMode
from modeldeck.config.generation import GenerationSettings
from tests.real.repliers import GREEDY, Talk, never

QUESTIONS = ("What is the capital of France?", "And of Germany?", "Which is larger?", "Why?")
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {},
    "gemma2": {"sliding_window": 24},
    "gemma3_text": {"sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"] * 2},
    "gpt_neox": {},
    "phi3": {"sliding_window": None},
}

UNCUT: dict[str, dict[str, Any]] = {
    "mamba": {},
    "lfm2": {},
    "qwen3_next": {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 32,
        "linear_num_value_heads": 2,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
    },
}
"""State spaces, convolutions and linear attention."""


@pytest.fixture(autouse=True)
def _libraries(libraries: None) -> None:
    """torch and transformers in this process."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_turn_is_the_same_with_the_cache_and_without(kind: str) -> None:
    talk, reused = Talk.with_model(kind, **KINDS[kind]), []
    for question in QUESTIONS:
        talk.turns.append(ChatMessage("user", question))
        said, stats = talk.reply()
        reused.append(stats.reused_tokens)
        kept = talk.replier._kept._cache, talk.replier._kept._ids
        assert talk.afresh()[1].token_ids == stats.token_ids
        talk.replier._kept._cache, talk.replier._kept._ids = kept
        talk.turns.append(ChatMessage("assistant", said))
    if kind in {"llama", "qwen3", "gpt_neox", "phi3"}:
        assert all(reused[1:]), reused


@pytest.mark.parametrize("kind", UNCUT)
def test_layers_that_cannot_be_cut_back_reply_as_without_a_cache(kind: str) -> None:
    talk = Talk.with_model(kind, **UNCUT[kind])
    for question in QUESTIONS[:3]:
        talk.turns.append(ChatMessage("user", question))
        said, stats = talk.reply()
        kept = talk.replier._kept._cache, talk.replier._kept._ids
        assert talk.afresh()[1].token_ids == stats.token_ids
        talk.replier._kept._cache, talk.replier._kept._ids = kept
        talk.turns.append(ChatMessage("assistant", said))


def test_a_turn_reads_only_what_is_new() -> None:
    talk = Talk.with_model()
    first = talk.say("What is the capital of France? " * 20)[1]
    second = talk.say("Why?")[1]
    assert first.reused_tokens == 0
    assert 100 < first.prompt_tokens <= second.reused_tokens


def test_an_edited_turn_falls_back_to_what_is_the_same() -> None:
    talk = Talk.with_model()
    talk.say("One, two, three.")
    talk.say("Four, five, six.")
    whole = talk.reply()[1].prompt_tokens
    talk.turns[2] = ChatMessage("user", "Four, five, nine.")
    said, stats = talk.reply()
    assert 0 < stats.reused_tokens < whole
    assert talk.afresh()[0] == said


def test_another_conversation_shares_no_more_than_its_beginning() -> None:
    talk = Talk.with_model()
    talk.say("One, two, three.")
    talk.turns = [ChatMessage("user", "Something else.")]
    said, stats = talk.reply()
    assert stats.reused_tokens < 10
    assert talk.afresh()[0] == said


@pytest.mark.parametrize(("attention", "anew"), [("sdpa", True), ("eager", False)])
def test_a_long_prompt_is_read_as_a_whole_where_it_shares_little_and_the_rest_needs_a_mask(
    attention: str, anew: bool
) -> None:
    talk = Talk.with_model(attn_implementation=attention)
    talk.say("One, two, three.")
    talk.turns = [ChatMessage("user", "Something else. " * 100)]
    stats = talk.reply()[1]
    assert (stats.reused_tokens == 0) is anew
    assert talk.say("Why?")[1].reused_tokens > stats.prompt_tokens - 10


def test_a_long_prompt_is_stopped_within_a_layer() -> None:
    talk = Talk.with_model()
    talk.say("One, two, three.")
    talk.turns.append(ChatMessage("user", "Four, five, six. " * 100))
    stop, reached = threading.Event(), list[str]()
    attention = talk.replier._model.model.layers[1].self_attn
    handles = [
        attention.q_proj.register_forward_hook(lambda *_: stop.set()),
        attention.o_proj.register_forward_hook(lambda *_: reached.append("the end of the layer")),
    ]
    reached.clear()
    stopped = talk.reply(stop=stop)[1]
    for handle in handles:
        handle.remove()
    assert stopped.prompt_tokens > 256
    assert stopped.new_tokens == 0
    assert reached == []
    assert not attention.q_proj._forward_pre_hooks  # decoding is not looked at so closely
    said, stats = talk.reply()
    assert talk.afresh()[1].token_ids == stats.token_ids
    assert talk.afresh()[0] == said


def test_a_reply_that_was_stopped_in_prefill_leaves_no_half_read_layers() -> None:
    talk = Talk.with_model(attn_implementation="eager")
    talk.say("One, two, three.")
    talk.turns.append(ChatMessage("user", "Four, five, six. " * 30))
    stop = threading.Event()
    layers = talk.replier._model.model.layers
    handle = layers[1].register_forward_hook(lambda *_: stop.set())
    stopped = talk.reply(stop=stop)[1]
    handle.remove()
    assert stopped.new_tokens == 0
    said, stats = talk.reply()
    assert stats.reused_tokens > 5  # the turn before was read by all layers
    assert talk.afresh()[0] == said


def test_a_reply_goes_on_where_its_text_ends() -> None:
    talk = Talk.with_model()
    talk.turns += [ChatMessage("user", "The quick brown"), ChatMessage("assistant", " fox jumps")]
    prompt = talk.replier.prompts.ids(talk.turns[:1])
    text = talk.replier._tokenizer(" fox jumps", add_special_tokens=False)["input_ids"]
    assert talk.replier.prompts.ids(talk.turns, mode=ReplyMode.CONTINUE) == [*prompt, *text]
    said, stats = talk.reply(mode=ReplyMode.CONTINUE)
    assert stats.prompt_tokens == len(prompt) + len(text)
    assert talk.afresh(mode=ReplyMode.CONTINUE)[0] == said


def test_beams_guidance_lookup_and_other_caches_keep_nothing_and_take_nothing() -> None:
    talk = Talk.with_model()
    plain = talk.say("One, two, three.")[0]
    for settings in (
        GenerationSettings(do_sample=False, max_new_tokens=8, num_beams=2),
        GenerationSettings(do_sample=False, max_new_tokens=8, guidance_scale=1.5),
        GenerationSettings(do_sample=False, max_new_tokens=8, cache_implementation="static"),
        GenerationSettings(do_sample=False, max_new_tokens=8, prompt_lookup_num_tokens=4),
    ):
        assert talk.reply(settings)[1].reused_tokens == 0
        assert talk.replier._kept._cache is None
    talk.turns.pop()
    assert talk.reply()[0] == plain


def test_raw_text_is_completed_as_it_stands() -> None:
    talk = Talk.with_model()
    talk.turns.append(ChatMessage("user", "The quick brown"))
    chat, raw = talk.reply()[1], talk.reply(mode=ReplyMode.RAW)[1]
    assert raw.prompt_tokens == talk.replier.prompts.count("The quick brown") < chat.prompt_tokens


def test_prefill_is_told_by_the_layers_that_have_read_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    from modeldeck.backend.engine import layer_watch

    monkeypatch.setattr(layer_watch, "_EVERY_SECONDS", 0.0)
    talk, told = Talk.with_model(), list[tuple[int, int]]()
    talk.turns.append(ChatMessage("user", "One, two, three."))
    _, stats = talk.reply(prefilled=told)
    total = stats.prompt_tokens
    assert told == [(total * layer // 4, total) for layer in range(4)]  # and nothing while it replies


def test_a_reply_is_looked_into_and_the_conversation_goes_on_from_there() -> None:
    from modeldeck.backend.protocol import Generate

    talk = Talk.with_model()
    said, stats = talk.say("What is the capital of France?")
    asked = Generate(1, tuple(talk.turns[:1]), GREEDY)
    for _ in range(2):  # with the cache, and without
        choices = talk.replier.look_into(asked, stats.token_ids, never())
        assert "".join(choice.text for choice in choices) == said
        for choice in choices:  # greedy: each was the likeliest
            assert all(choice.probability >= share for _, share in choice.others)
            assert len(choice.others) == 5
            assert 0 < choice.probability + sum(share for _, share in choice.others) <= 1.0001
        talk.replier.forget()
    talk.turns.append(ChatMessage("user", "Why?"))
    talk.replier.look_into(asked, stats.token_ids, never())
    again, stats = talk.reply()
    assert stats.reused_tokens > 20
    assert talk.afresh()[0] == again


def test_a_look_leaves_a_cache_that_every_kind_of_layer_goes_on_from() -> None:
    from modeldeck.backend.protocol import Generate

    for kind in ("llama", "lfm2", "qwen3_next"):
        talk = Talk.with_model(kind, **UNCUT.get(kind, {}))
        talk.turns.append(ChatMessage("user", "The quick brown"))
        _, stats = talk.reply()
        asked = Generate(1, tuple(talk.turns), GREEDY)
        prompt = talk.replier.prompts.ids(talk.turns)
        talk.replier.look_into(asked, stats.token_ids, never())
        talk.replier.prompts.ids = lambda *_, known=(*prompt, *stats.token_ids, 9), **__: list(known)  # goes on exactly
        again = talk.reply()[1]
        assert talk.afresh()[1].token_ids == again.token_ids
        assert again.reused_tokens == len(prompt) + len(stats.token_ids) - 1


def test_a_look_can_be_stopped() -> None:
    from modeldeck.backend.protocol import Generate

    talk = Talk.with_model()
    _, stats = talk.say("What is the capital of France?")
    arrival = never()
    arrival.stop.set()
    assert talk.replier.look_into(Generate(1, tuple(talk.turns[:1]), GREEDY), stats.token_ids, arrival) == ()
    talk.turns.append(ChatMessage("user", "Why?"))
    assert talk.reply()[0] == talk.afresh()[0]
