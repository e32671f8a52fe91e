"""What a model thinks is told apart from what it says, however the tokens fall."""

from __future__ import annotations

from typing import Any

import pytest

from modeldeck.backend.chat_messages import ReplyMode
from tests.real.models import CHATML, make_tokenizer

TEMPLATE: dict[str, Any] = {
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "reasoning_content": {"open": "<think>", "close": "</think>", "content": "text"},
        "content": {"close_pattern": r"\s*<\|im_end\|>", "content": "text"},
    },
}
SWITCH = CHATML + "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
ALWAYS = CHATML + "{% if add_generation_prompt %}<think>\n{% endif %}"


@pytest.fixture(autouse=True)
def _libraries(libraries: None) -> None:
    """torch and transformers in this process."""


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """One in whose vocabulary the tags are tokens, two of them special."""
    made = make_tokenizer(CHATML)
    made.add_tokens(["<think>", "</think>"])
    made.add_special_tokens({"additional_special_tokens": ["[THINK]", "[/THINK]"]})
    return made


def told(tokenizer: Any, reply: str, prompt: str = "", mode: ReplyMode = ReplyMode.CHAT) -> tuple[str, str]:
    """What is thought and what is said."""
    from modeldeck.backend.engine.reasoning import pieces_of

    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    pieces = pieces_of(tokenizer, ids, mode)
    tokens = tokenizer(reply, add_special_tokens=False)["input_ids"]
    found = [piece for token in tokens for piece in pieces.step(token)] + pieces.rest()
    thought = "".join(piece.text for piece in found if piece.reasoning)
    return thought, "".join(piece.text for piece in found if not piece.reasoning)


@pytest.mark.parametrize(
    ("reply", "thought", "said"),
    [
        ("Paris.", "", "Paris."),
        ("  \n Paris.\n", "", "  \n Paris.\n"),
        ("<think>\nFrance, hm.\n</think>\n\nParis.", "France, hm.", "Paris."),
        ("\n<think>a</think>b", "a", "b"),
        ("[THINK]a[/THINK]b", "a", "b"),
        ("<thinking>a < b</thinking>\nc", "a < b", "c"),
        ("<think>never ends", "never ends", ""),
        ("<think></think>Paris.", "", "Paris."),
        ("I <think> so </think>.", "", "I <think> so </think>."),
        ("<thin air", "", "<thin air"),
        ("<", "", "<"),
        ("", "", ""),
    ],
)
def test_tags_at_the_beginning_of_a_reply(tokenizer: Any, reply: str, thought: str, said: str) -> None:
    assert told(tokenizer, reply) == (thought, said)


def test_a_tag_that_the_template_has_written_counts(tokenizer: Any) -> None:
    assert told(tokenizer, "hm.\n</think>\n\nParis.", prompt="<|im_start|>assistant\n<think>\n") == ("hm.", "Paris.")
    assert told(tokenizer, "Paris.", prompt="<think>\n\n</think>\n\n") == ("", "Paris.")


def test_raw_text_has_no_reasoning(tokenizer: Any) -> None:
    assert told(tokenizer, "<think>a</think>b", mode=ReplyMode.RAW) == ("", "<think>a</think>b")


def test_a_response_template_decides_where_there_is_one() -> None:
    tokenizer = make_tokenizer(CHATML)
    tokenizer.response_template = TEMPLATE
    prompt = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert told(tokenizer, "<think>a</think>b<|im_end|>", prompt) == ("a", "b")
    assert told(tokenizer, "a</think>b", prompt + "<think>") == ("a", "b")
    assert told(tokenizer, "plain", prompt) == ("", "plain")


def test_a_reply_that_is_not_what_the_template_says_comes_out_as_it_stands() -> None:
    tokenizer = make_tokenizer(CHATML)
    calls = {"open": "<tool_call>", "close": "</tool_call>", "content": "json"}
    tokenizer.response_template = {**TEMPLATE, "fields": {**TEMPLATE["fields"], "tool_calls": calls}}
    prompt = "<|im_start|>assistant\n"
    thought, said = told(tokenizer, '<think>a</think>b <tool_call>{"a": 1,,}</tool_call> c', prompt)
    assert thought == "a"
    assert said.startswith("b ")
    assert said.endswith(" c")


def test_one_that_cannot_be_read_is_done_without(tokenizer: Any) -> None:
    tokenizer.response_template = {"fields": "nonsense"}
    try:
        assert told(tokenizer, "<think>a</think>b") == ("a", "b")
    finally:
        del tokenizer.response_template


@pytest.mark.parametrize(("template", "can"), [(CHATML, False), (SWITCH, True), (ALWAYS, False)])
def test_a_switch_is_offered_where_the_template_asks(template: str, can: bool) -> None:
    from modeldeck.backend.chat_messages import ChatMessage
    from modeldeck.backend.engine.chat import Prompts

    tokenizer = make_tokenizer(template)
    prompts = Prompts(tokenizer, lambda _text: None)
    assert prompts.can_think is can
    turns = [ChatMessage("user", "hi")]
    ends = [tokenizer.decode(prompts.ids(turns, thinking=thinking)) for thinking in (None, True, False)]
    assert [end.endswith("</think>\n\n") for end in ends] == [False, False, can]


def test_a_reply_goes_on_after_the_reasoning_that_the_template_begins() -> None:
    from modeldeck.backend.chat_messages import ChatMessage
    from modeldeck.backend.engine.chat import Prompts

    tokenizer = make_tokenizer(ALWAYS)
    prompts = Prompts(tokenizer, lambda _text: None)
    turns = [ChatMessage("user", "hi"), ChatMessage("assistant", "The capital is")]
    text = tokenizer.decode(prompts.ids(turns, mode=ReplyMode.CONTINUE))
    assert text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\nThe capital is")
