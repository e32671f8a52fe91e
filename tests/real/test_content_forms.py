"""Templates that take the text of a turn as a list of parts, as those do that place images in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modeldeck.backend.chat_messages import ChatMessage
from tests.real.models import CHATML, IDEFICS, LLAVA, make_tokenizer

pytestmark = [pytest.mark.usefixtures("libraries"), pytest.mark.filterwarnings("ignore")]
TALK = (ChatMessage("user", "Hello"), ChatMessage("assistant", "So?"), ChatMessage("user", "More"))
INDEXES = "{% for m in messages %}{{ m['role'] + m['content'][0]['text'] }}{% endfor %}"
ADDS_LISTS = "{% for m in messages %}{% for part in [] + m['content'] %}{{ part['text'] }}{% endfor %}{% endfor %}"
ADDS_TEXT = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + ' ' }}{% endfor %}"
MIXED = (
    "{% for m in messages %}{% if m['role'] == 'user' %}[{% for part in m['content'] %}{{ part['text'] }}{% endfor %}]"
    "{% else %}{{ m['content'] + '!' }}{% endif %}{% endfor %}"
)


def prompts(template: str, **options: Any) -> tuple[Any, list[str]]:
    from modeldeck.backend.engine.chat import Prompts

    said: list[str] = []
    return Prompts(make_tokenizer(template), said.append, **options), said


def text_of(chat: Any, *given: Any) -> str:
    return str(make_tokenizer(None).decode(chat.ids(*given)))


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (LLAVA, "USER: Hello ASSISTANT: So? USER: More ASSISTANT:"),
        (
            IDEFICS,
            "<|im_start|>User: Hello<|im_end|>\nAssistant: So?<|im_end|>\nUser: More<|im_end|>\nAssistant:",
        ),
        (INDEXES, "userHelloassistantSo?userMore"),
        (ADDS_LISTS, "HelloSo?More"),
        (ADDS_TEXT, "user: Hello assistant: So? user: More "),
        (MIXED, "[Hello]So?![More]"),
    ],
    ids=["llava", "idefics", "fails on text", "adds lists", "adds text", "a form for each role"],
)
def test_every_turn_is_written_in_the_form_that_the_template_takes(template: str, text: str) -> None:
    chat, said = prompts(template)
    assert text_of(chat, TALK) == text
    assert said == []


@pytest.mark.parametrize("template", [LLAVA, IDEFICS, INDEXES], ids=["llava", "idefics", "fails on text"])
def test_a_system_prompt_gets_its_place_in_such_a_template_too(template: str) -> None:
    chat, said = prompts(template)
    assert text_of(chat, TALK, "Be brief").count("Be brief") == 1
    assert said == []


def test_where_there_is_no_place_for_it_it_goes_into_the_first_turn() -> None:
    chat, said = prompts(IDEFICS.replace("{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}"))
    assert "User: Be brief\n\nHello" in text_of(chat, TALK, "Be brief")
    assert len(said) == 1


@pytest.mark.parametrize("template", [CHATML, LLAVA, IDEFICS], ids=["chatml", "llava", "idefics"])
def test_control_tokens_that_people_write_stay_text_in_parts(template: str) -> None:
    chat, said = prompts(template)
    end = make_tokenizer(None).convert_tokens_to_ids("<|im_end|>")
    typed = chat.ids([ChatMessage("user", "a<|im_end|>b")])
    assert typed.count(end) == chat.ids([ChatMessage("user", "ab")]).count(end)
    assert "a<|im_end|>b" in make_tokenizer(None).decode(typed)
    assert said == []


def test_the_first_token_is_put_before_a_prompt_once_and_only_as_processors_do() -> None:
    from tokenizers.processors import TemplateProcessing

    from modeldeck.backend.engine.chat import Prompts

    for template in (LLAVA, "{{ bos_token }}" + LLAVA):
        tokenizer = make_tokenizer(template)
        begin = tokenizer.bos_token_id
        plain = Prompts(tokenizer, print, begins_text=True).ids(TALK)
        assert plain.count(begin) == (template != LLAVA)  # this tokenizer begins no text with it
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            f"{tokenizer.bos_token} $A", special_tokens=[(tokenizer.bos_token, begin)]
        )
        assert Prompts(tokenizer, print, begins_text=True).ids(TALK).count(begin) == 1
        assert Prompts(tokenizer, print).ids(TALK).count(begin) == (template != LLAVA)


def test_the_template_of_a_processor_is_read_where_processors_look_first(tmp_path: Path) -> None:
    from modeldeck.backend.engine.chat import processor_template

    assert processor_template(tmp_path) is None
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": LLAVA}))
    assert processor_template(tmp_path) == LLAVA
    (tmp_path / "processor_config.json").write_text(json.dumps({"chat_template": IDEFICS}))
    assert processor_template(tmp_path) == IDEFICS
    for broken in ("[]", "{", '{"chat_template": 1}', '{"chat_template": ""}', "\ud800"):
        (tmp_path / "processor_config.json").write_bytes(broken.encode("utf-8", "surrogatepass"))
        assert processor_template(tmp_path) == LLAVA
