"""Where the user types to the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from modeldeck.backend.text import clean_text


class Prompt(TextArea):
    """A draft of one to six visible lines. Enter offers it; only ``accept`` takes it away."""

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
    ]

    @dataclass
    class Submitted(Message):
        """The user wants to send this text."""

        prompt: Prompt
        text: str

        @property
        def control(self) -> Prompt:
            """The prompt it came from."""
            return self.prompt

    def __init__(self) -> None:
        super().__init__(
            soft_wrap=True,
            show_line_numbers=False,
            tab_behavior="focus",
            highlight_cursor_line=False,
            placeholder="Ask the model; ctrl+j begins a new line",
        )
        self._sent: list[str] = []
        self._place = 0
        self._draft = ""

    def accept(self) -> None:
        """The text was sent: remember it and begin a new draft."""
        if not self._sent or self._sent[-1] != self.text:
            self._sent.append(self.text)
        self._place = len(self._sent)
        self._draft = ""
        self.text = ""

    def action_send(self) -> None:
        """Offer the text; an empty one is nothing to send."""
        if self.text.strip():
            self.post_message(self.Submitted(self, self.text))

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
        """Enter is no character here; it goes on to its binding, which may be another key."""
        if event.key == "enter":
            event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        """Text from a clipboard may hold anything: control characters are made visible, lines stay one draft."""
        event.prevent_default()
        event.stop()
        text = clean_text(event.text.replace("\r\n", "\n").replace("\r", "\n"))
        self.replace(text, *self.selection, maintain_selection_offset=False)

    def _go(self, place: int) -> None:
        if self._place == len(self._sent):
            self._draft = self.text
        self._place = place
        self.text = self._draft if place == len(self._sent) else self._sent[place]
        self.move_cursor(self.document.end)
