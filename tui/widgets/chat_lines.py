"""What stands around the turns of the chat: how replies are asked for, the gauge, what can be chosen, the draft."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from msgspec import UNSET, structs
from textual.content import Content
from textual.widgets import Static

from modeldeck.backend.text import clean_name
from modeldeck.config.generation import GenerationSettings
from modeldeck.tui.chats.figures import context_words
from modeldeck.tui.settings_line import about_tokens, conflicts, summary
from modeldeck.tui.widgets.prompt import Prompt
from modeldeck.tui.widgets.writing import write

if TYPE_CHECKING:
    from modeldeck.tui.chats.turns import Turn
    from modeldeck.tui.talker import SettingsSource
    from modeldeck.tui.widgets.chat_panel import ChatPanel

PROGRESS_SECONDS = 1.0
"""Gauge and speed move so often at most while a reply runs: each time they are a frame of their own."""


class ChatLines:
    """Draws them for the panel."""

    def __init__(self, panel: ChatPanel, generation: SettingsSource) -> None:
        self._panel = panel
        self._generation = generation
        self._running_tokens = self._prompt_tokens = 0
        self._progress_due = 0.0
        self._set_aside: str | None = None
        """The draft, while a question that was asked before is edited in its place."""

    def settings_for(self, model_id: str | None) -> GenerationSettings:
        """What a reply of this model is asked with now, in this conversation."""
        settings = self._generation.effective(model_id)
        own = self._panel.conversation.system_prompt
        return settings if own is None else structs.replace(settings, system_prompt=own)

    async def ready(self, model_id: str) -> None:
        """Wait until the model's own settings are known."""
        await self._generation.ready(model_id)

    @property
    def settings_line(self) -> str:
        """What holds for the next reply, in a few words."""
        model_id = self._panel.model_id
        return summary(self._generation.effective(model_id), self._generation.preset_title(model_id))

    def advice(self) -> str:
        """What would not be as the settings suggest, with the draft sent; empty while all is well."""
        panel, model = self._panel, self._panel.loaded
        if model is None:
            return ""
        system_prompt = self.settings_for(model.model_id).system_prompt or ""
        said = conflicts(
            self._generation.layers(model.model_id),
            self._generation.abilities(model.model_id),
            context_length=model.context_length,
            prompt_tokens=about_tokens(panel.conversation.turns, panel.draft, system_prompt),
        )
        return f"{said[0]}." if said else ""

    def can_use_cache(self, name: str) -> bool:
        """Whether the loaded model can keep its cache so."""
        return name in self._generation.abilities(self._panel.model_id).caches

    def use_cache(self, model_id: str, name: str) -> None:
        """Keep the cache of this model so until the program ends."""
        self._generation.keep_for_session(model_id, {"cache_implementation": name})

    def begin_reply(self, turn: Turn) -> None:
        """How long the prompt is the model says at its end; until then it is about what the characters say."""
        before = self._panel.conversation.path_to(turn.parent)
        self._prompt_tokens = about_tokens(before, turn.asks().content + turn.reply, "")
        self._running_tokens = 0
        self._progress_due = 0.0

    def progressed(self, tokens_per_second: float, new_tokens: int) -> None:
        """The running reply grew."""
        self._running_tokens = new_tokens
        if (now := monotonic()) >= self._progress_due and self._is_drawn:
            self._progress_due = now + PROGRESS_SECONDS
            self._panel.post_message(self._panel.ReplyProgressed(tokens_per_second))
            self._show_gauge()

    def saving_changed(self, why: str) -> None:
        """Conversations can no longer be saved, or can again (an empty text)."""
        if why:
            self._panel.tell(f"Conversations are not saved at the moment: {why}. It is tried again.")
            if self._panel.is_attached:
                self._panel.say(f"Not saved: {clean_name(why, 120)}. It is tried again.", warning=True)
        elif not self._panel.desk.failure:
            self._panel.tell("Conversations are saved again.")
        self.refresh()

    def refresh(self) -> None:
        """Draw what holds for the next question, and how full the context is."""
        panel = self._panel
        if not self._is_drawn:
            return
        self._show_gauge()
        line = panel.query_one(".chat--warning", Static)
        line.display = bool(panel.trouble.line)
        write(line, panel.trouble.line)
        panel.refresh_bindings()

    @property
    def _is_drawn(self) -> bool:
        return self._panel.is_attached and bool(self._panel.children)

    def _show_gauge(self) -> None:
        """Alone while a reply grows: the rest would have the whole screen laid out again."""
        panel = self._panel
        conversation = panel.conversation
        editing = panel.replies.editing
        limit = panel.loaded.context_length if panel.loaded is not None else None
        used = self._prompt_tokens + self._running_tokens if panel.replying else conversation.used_tokens
        cache = self._generation.effective(panel.model_id).cache_implementation
        words = [
            f"editing turn {len(conversation.path_to(editing.number))}" if editing is not None else "",
            "raw completion" if conversation.raw else "",
            {None: "", True: "reasoning on", False: "reasoning off"}[conversation.thinking],
            "own system prompt" if conversation.system_prompt is not None else "",
            f"cache {cache}" if cache not in {UNSET, "dynamic"} else "",
            _left_out(len(conversation.left_out)),
            "NOT SAVED" if panel.desk.failure else "",
            context_words(used, limit, about=panel.replying),
        ]
        panel.query_one(".chat--prompt").border_title = Content(" · ".join(filter(None, words)))

    def show_turns(self, choose: Turn | None = None) -> None:
        """Draw the path on show."""

        async def show() -> None:
            await self._panel.view.show(self._panel.conversation)
            if choose is not None:
                self._panel.view.choose(choose)
            self.refresh()

        self._panel.run_worker(show(), group="chat.show", exit_on_error=False)

    def take_back(self, text: str, *, instead: bool = False) -> None:
        """Put a question back into the prompt, before what was typed meanwhile, or ``instead`` of it."""
        prompt = self._panel.query_one(Prompt)
        typed = "" if instead else prompt.text
        prompt.text = f"{text}\n{typed}" if typed.strip() else text
        prompt.move_cursor(prompt.document.end)

    def put_instead(self, question: str) -> None:
        """Put a question that was asked before into the prompt; the draft comes back when that is over."""
        if self._set_aside is None:
            self._set_aside = self._panel.draft
        self.take_back(question, instead=True)

    def give_draft_back(self, *, instead: bool = False) -> None:
        """The draft that was set aside stands in the prompt again, ``instead`` of what does now."""
        draft, self._set_aside = self._set_aside, None
        if draft or instead:
            self.take_back(draft or "", instead=instead)

    @property
    def unsent(self) -> str:
        """What is kept for the next time: the draft, also while a question asked before stands in its place."""
        return self._panel.draft if self._set_aside is None else self._set_aside


def _left_out(count: int) -> str:
    if not count:
        return ""
    return "1 turn left out" if count == 1 else f"{count} turns left out"
