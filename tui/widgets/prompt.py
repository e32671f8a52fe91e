"""Where the user types to the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from modeldeck.backend.text import clean_paste


class Prompt(TextArea):
    """A draft of one to six visible lines. Enter offers it; it goes only when it was taken.

    Its keys act in the order in which they came: through the bindings of Textual a key such as enter would be overtaken
    by the characters right behind it.

    Args:
        send: Takes the text and returns True, or returns False; called in the middle of a key, so it must be quick.
    """

    DEFAULT_CSS = """
    Prompt, Prompt:focus {
        height: auto;
        min-height: 1;
        max-height: 6;
        border: none;
        padding: 0;
        background: transparent;
        scrollbar-size-vertical: 1;
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send", id="prompt.send", tooltip="Send the prompt to the model"),
        Binding(
            "ctrl+j,alt+enter,shift+enter",
            "newline",
            "New line",
            show=False,
            id="prompt.newline",
            tooltip="Begin a new line in the prompt",
        ),
        Binding("ctrl+underscore", "undo", "Undo", show=False, id="prompt.undo", tooltip="Take back what was typed"),
    ]

    @dataclass
    class Refused(Message):
        """The text was offered and not taken; it still stands in the prompt."""

        text: str

    def __init__(self, send: Callable[[str], bool]) -> None:
        super().__init__(
            soft_wrap=True,
            show_line_numbers=False,
            tab_behavior="focus",
            highlight_cursor_line=False,
            placeholder="Ask the model; ctrl+j begins a new line",
        )
        self._send = send
        self._sent: list[str] = []
        self._place = 0
        self._draft = ""

    def action_send(self) -> None:
        """Offer the text; an empty one is nothing to send."""
        text = self.text
        if not text.strip():
            return
        if not self._send(text):
            self.post_message(self.Refused(text))
            return
        if not self._sent or self._sent[-1] != text:
            self._sent.append(text)
        self._place = len(self._sent)
        self._draft = ""
        self.text = ""

    def action_newline(self) -> None:
        """Break the line at the cursor."""
        self.insert("\n")

    def action_cursor_up(self, select: bool = False) -> None:
        """Move up; from the first row, to the prompt that was sent before."""
        if not select and self.navigator.is_first_wrapped_line(self.cursor_location) and self._place > 0:
            self._go(self._place - 1)
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        """Move down; from the last row, to the prompt sent after this one, and at last to the draft."""
        if not select and self.navigator.is_last_wrapped_line(self.cursor_location) and self._place < len(self._sent):
            self._go(self._place + 1)
        else:
            super().action_cursor_down(select)

    async def on_key(self, event: events.Key) -> None:
        """Do what this key is bound to here, before the next key is looked at; enter is no character."""
        if event.is_printable:
            return
        active = self.screen.active_bindings.get(event.key)
        if active is not None and active.node is self and active.enabled:
            event.stop()
            event.prevent_default()
            await self.run_action(active.binding.action)
        elif event.key == "enter":
            event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        """Text from a clipboard may hold anything: control characters are made visible, lines stay one draft."""
        event.prevent_default()
        event.stop()
        self.replace(clean_paste(event.text), *self.selection, maintain_selection_offset=False)

    def _go(self, place: int) -> None:
        if self._place == len(self._sent):
            self._draft = self.text
        self._place = place
        self.text = self._draft if place == len(self._sent) else self._sent[place]
        self.move_cursor(self.document.end)
