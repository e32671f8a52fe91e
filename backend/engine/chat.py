"""A conversation becomes the token ids that this model expects."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from jinja2.meta import find_undeclared_variables

from modeldeck.backend.chat_messages import ChatMessage, ReplyMode
from modeldeck.backend.engine.deadline import template_limits
from modeldeck.backend.engine.failures import first_line, trace
from modeldeck.backend.engine.reasoning import open_tag
from modeldeck.backend.errors import GenerationError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PROBE = "zqprobe"
_OWN_TAGS = re.compile(r"{%-?\s*(end)?generation\s*-?%}")
"""Transformers' own additions to the language of templates."""
REFUSALS = (
    jinja2.TemplateError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,  # of the Python that it is compiled to: a break outside of a loop
    TypeError,
    ValueError,
)
"""What a template raises for content that it was not written for; sums of a string and a list among them."""
_Turns = list[dict[str, str]]
_Form = Callable[[str], str | list[dict[str, str]]]


class Prompts:
    """Applies the chat template; without one, the last user turn is completed as plain text.

    What the user should know about the way it is done is said once, through ``log``.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, log: Callable[[str], None], *, begins_text: bool = False
    ) -> None:
        """``begins_text``: put the token before a prompt that the tokenizer puts before any text, as processors do."""
        self._tokenizer = tokenizer
        self._log = log
        self._said: set[str] = set()
        self._forms: dict[str, _Form | None] = {}
        self._beginning = _beginning(tokenizer) if begins_text else []
        self._sanitizes = True
        self._switches = _thinking_switches(getattr(tokenizer, "chat_template", None))

    @property
    def has_template(self) -> bool:
        """Whether replies are chat and not completion."""
        return bool(getattr(self._tokenizer, "chat_template", None))

    @property
    def digest(self) -> str:
        """SHA-256 of the template, in hex; empty without one."""
        template = getattr(self._tokenizer, "chat_template", None)  # several, by name, for some models
        return sha256(json.dumps(template).encode()).hexdigest() if template else ""

    @property
    def can_think(self) -> bool:
        """Whether the template asks if the model shall reason first."""
        return bool(self._switches)

    def count(self, text: str) -> int:
        """How many tokens a text is, for itself."""
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def ids(
        self,
        messages: Sequence[ChatMessage],
        system_prompt: str = "",
        *,
        mode: ReplyMode = ReplyMode.CHAT,
        thinking: bool | None = None,
    ) -> list[int]:
        """Token ids of the whole prompt. Raises GenerationError when the template refuses the conversation."""
        if mode is ReplyMode.CONTINUE and messages and messages[-1].role == "assistant":
            return self._continued(self.ids(messages[:-1], system_prompt, thinking=thinking), messages[-1].content)
        if mode is ReplyMode.RAW:
            text = next((message.content for message in reversed(messages) if message.role == "user"), "")
            return list(self._tokenizer(text)["input_ids"])
        if not self.has_template:
            return self._completion(_with_system(messages, system_prompt))
        try:
            return self._encode(self._turns(messages, system_prompt), self.options(thinking))
        except REFUSALS as error:
            raise GenerationError(
                f"The model's chat template refuses this conversation: {first_line(error)}", trace(error)
            ) from error

    def written(self, messages: Sequence[ChatMessage], system_prompt: str) -> list[dict[str, Any]]:
        """The turns as the template takes them, for a processor that has more to put into them."""
        return self._written(self._turns(messages, system_prompt))

    def options(self, thinking: bool | None) -> dict[str, Any]:
        """What the template is told besides."""
        return {} if thinking is None else dict.fromkeys(self._switches, thinking)

    def _turns(self, messages: Sequence[ChatMessage], system_prompt: str) -> _Turns:
        turns = _with_system(messages, system_prompt)
        if turns and turns[0]["role"] == "system" and self._form("system") is None:
            self._say("The chat template takes no system prompt; it was put in front of the first user turn.")
            return _fold_system(turns)
        return turns

    def _continued(self, prompt: list[int], reply: str) -> list[int]:
        """The prompt as the reply was written after it, then the reply; what was thought before it is gone."""
        closing = open_tag(self._tokenizer, prompt)
        text = f"\n{closing}\n\n{reply}" if closing else reply
        return [*prompt, *self._tokenizer(text, add_special_tokens=False)["input_ids"]]

    def _completion(self, turns: _Turns) -> list[int]:
        if any(turn["role"] == "system" for turn in turns):
            self._say("This model has no chat template, so the system prompt is not used.")
        if len([turn for turn in turns if turn["role"] == "user"]) > 1:
            self._say("This model has no chat template, so only the last turn is completed, as plain text.")
        text = next((turn["content"] for turn in reversed(turns) if turn["role"] == "user"), "")
        return list(self._tokenizer(text)["input_ids"])

    def _encode(self, turns: _Turns, options: dict[str, Any]) -> list[int]:
        """With control tokens in what people wrote taken as text, where this tokenizer can."""
        if self._sanitizes:
            try:
                return self._template(turns, sanitize_control_tokens=True, **options)
            except (NotImplementedError, TypeError, ValueError):
                self._sanitizes = False
                self._say("This tokenizer cannot tell control tokens in the text from its own.")
        return self._template(turns, **options)

    def _template(self, turns: _Turns, **options: Any) -> list[int]:
        written = self._written(turns)
        with template_limits(sum(len(turn["content"]) for turn in turns)):
            ids = list(
                self._tokenizer.apply_chat_template(
                    written, add_generation_prompt=True, tokenize=True, return_dict=False, **options
                )
            )
        return ids if ids[:1] == self._beginning else [*self._beginning, *ids]

    def _written(self, turns: _Turns) -> list[dict[str, Any]]:
        return [{**turn, "content": (self._form(turn["role"]) or _as_text)(turn["content"])} for turn in turns]

    def _form(self, role: str) -> _Form | None:
        """How the template takes the text of this role; None where it refuses it, or leaves it out unsaid."""
        if role not in self._forms:
            self._forms[role] = next((form for form in (_as_text, _as_parts) if self._shows(role, form)), None)
        return self._forms[role]

    def _shows(self, role: str, form: _Form) -> bool:
        probe = {"role": role, "content": form(_PROBE)}
        others = [] if role == "user" else self._written([{"role": "user", "content": "x"}])
        turns = [*others, probe, *others] if role == "assistant" else [probe, *others]
        try:
            with template_limits(len(_PROBE)):
                text = str(self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))
        except REFUSALS:
            return False
        return _PROBE in text

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._log(text)


def processor_template(folder: Path) -> str | None:
    """The chat template that only a processor reads, in the order in which ``ProcessorMixin`` looks for it."""
    for name in ("processor_config.json", "chat_template.json"):
        try:
            found = json.loads((folder / name).read_text(encoding="utf-8")).get("chat_template")
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
        if isinstance(found, str) and found:
            return found
    return None


def _thinking_switches(template: object) -> list[str]:
    """The names by which the template asks whether to reason."""
    if not isinstance(template, str):
        return []
    plain = _OWN_TAGS.sub("", template)
    try:
        parser = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"])  # nosec B701  # nothing is rendered
        asked = find_undeclared_variables(parser.parse(plain))
    except REFUSALS:
        return []
    return [name for name in ("enable_thinking", "thinking") if name in asked]


def _as_text(content: str) -> str:
    return content


def _as_parts(content: str) -> list[dict[str, str]]:
    """What processors expect, and templates that place images in the text."""
    return [{"type": "text", "text": content}]


def _beginning(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The token that the tokenizer puts before any text, or nothing."""
    begin = tokenizer.bos_token_id
    return [begin] if begin is not None and list(tokenizer("x")["input_ids"])[:1] == [begin] else []


def _with_system(messages: Sequence[ChatMessage], system_prompt: str) -> _Turns:
    turns = [{"role": message.role, "content": message.content} for message in messages]
    if system_prompt and not any(turn["role"] == "system" for turn in turns):
        turns.insert(0, {"role": "system", "content": system_prompt})
    return turns


def _fold_system(turns: _Turns) -> _Turns:
    """The system prompt in front of the first user turn, a blank line between."""
    system, rest = turns[0]["content"], [dict(turn) for turn in turns[1:]]
    for turn in rest:
        if turn["role"] == "user":
            turn["content"] = f"{system}\n\n{turn['content']}"
            return rest
    return [{"role": "user", "content": system}, *rest]
