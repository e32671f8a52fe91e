"""A conversation becomes the token ids that this model expects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jinja2

from modeldeck.backend.engine.failures import first_line, trace
from modeldeck.backend.errors import GenerationError
from modeldeck.backend.models import ChatMessage

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PROBE = "zqprobe"
_Turns = list[dict[str, str]]


class Prompts:
    """Applies the chat template; without one, the last user turn is completed as plain text.

    What the user should know about the way it is done is said once, through ``log``.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, log: Callable[[str], None]) -> None:
        self._tokenizer = tokenizer
        self._log = log
        self._said: set[str] = set()
        self._takes_system: bool | None = None
        self._sanitizes = True

    @property
    def has_template(self) -> bool:
        """Whether replies are chat and not completion."""
        return bool(getattr(self._tokenizer, "chat_template", None))

    def ids(self, messages: Sequence[ChatMessage], system_prompt: str = "") -> list[int]:
        """Token ids of the whole prompt. Raises GenerationError when the template refuses the conversation."""
        turns = [{"role": message.role, "content": message.content} for message in messages]
        if system_prompt and not any(turn["role"] == "system" for turn in turns):
            turns.insert(0, {"role": "system", "content": system_prompt})
        if not self.has_template:
            return self._completion(turns)
        if turns and turns[0]["role"] == "system" and not self._system_is_taken():
            turns = _fold_system(turns)
            self._say("The chat template takes no system prompt; it was put in front of the first user turn.")
        try:
            return self._encode(turns)
        except jinja2.TemplateError as error:
            raise GenerationError(
                f"The model's chat template refuses this conversation: {first_line(error)}", trace(error)
            ) from error

    def _completion(self, turns: _Turns) -> list[int]:
        if any(turn["role"] == "system" for turn in turns):
            self._say("This model has no chat template, so the system prompt is not used.")
        if len([turn for turn in turns if turn["role"] == "user"]) > 1:
            self._say("This model has no chat template, so only the last turn is completed, as plain text.")
        text = next((turn["content"] for turn in reversed(turns) if turn["role"] == "user"), "")
        return list(self._tokenizer(text)["input_ids"])

    def _encode(self, turns: _Turns) -> list[int]:
        """With control tokens in what people wrote taken as text, where this tokenizer can."""
        if self._sanitizes:
            try:
                return self._template(turns, sanitize_control_tokens=True)
            except (NotImplementedError, TypeError, ValueError):
                self._sanitizes = False
                self._say("This tokenizer cannot tell control tokens in the text from its own.")
        return self._template(turns)

    def _template(self, turns: _Turns, **options: Any) -> list[int]:
        return list(
            self._tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, tokenize=True, return_dict=False, **options
            )
        )

    def _system_is_taken(self) -> bool:
        """Whether the template has a place for a system turn; some refuse it, and some leave it out unsaid."""
        if self._takes_system is None:
            probe = [{"role": "system", "content": _PROBE}, {"role": "user", "content": "x"}]
            try:
                rendered = self._tokenizer.apply_chat_template(probe, add_generation_prompt=True, tokenize=False)
                self._takes_system = _PROBE in str(rendered)
            except jinja2.TemplateError:
                self._takes_system = False
        return self._takes_system

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._log(text)


def _fold_system(turns: _Turns) -> _Turns:
    """The system prompt in front of the first user turn, a blank line between."""
    system, rest = turns[0]["content"], [dict(turn) for turn in turns[1:]]
    for turn in rest:
        if turn["role"] == "user":
            turn["content"] = f"{system}\n\n{turn['content']}"
            return rest
    return [{"role": "user", "content": system}, *rest]
