"""All conversations: found by their words, opened, renamed, deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from modeldeck.backend.text import clean_name
from modeldeck.config.wording import shown_path
from modeldeck.tui.chats.conversation import Conversation
from modeldeck.tui.chats.store import ChatProblem, ChatStore, Summary
from modeldeck.tui.format import moment
from modeldeck.tui.screens.confirm import Confirm
from modeldeck.tui.screens.dialog import Dialog
from modeldeck.tui.screens.text_dialog import TextDialog


@dataclass(frozen=True, slots=True)
class Picked:
    """The conversation that was chosen; None is a new one."""

    id: str | None


class ChatsDialog(Dialog[Picked]):
    """Answers what was picked, or None. ``renew`` puts an empty conversation in the place of the one on show."""

    AUTO_FOCUS = "#chats"

    DEFAULT_CSS = """
    ChatsDialog #chats { height: 1fr; border: none; padding: 0; background: transparent; }
    ChatsDialog #words, ChatsDialog #words:focus { height: 1; background: $panel; padding: 0 1; margin-bottom: 1; }
    ChatsDialog #said { height: auto; color: $text-warning; }
    ChatsDialog .dialog-muted { margin: 1 0 0 0; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", show=False, id="chats.search", tooltip="Find a conversation by its words"),
        Binding("j", "move(1)", "Down", show=False, id="chats.down", tooltip="To the next conversation"),
        Binding("k", "move(-1)", "Up", show=False, id="chats.up", tooltip="To the conversation above"),
        Binding("n", "new", "New", show=False, id="chats.new", tooltip="Begin a new conversation"),
        Binding("r", "rename", "Rename", show=False, id="chats.rename", tooltip="Give this conversation a title"),
        Binding("D", "delete", "Delete", show=False, id="chats.delete", tooltip="Delete this conversation"),
    ]

    def __init__(self, store: ChatStore, current: Conversation, renew: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._store, self._current, self._renew = store, current, renew
        self._summaries: list[Summary] = []

    def compose(self) -> ComposeResult:
        """The words to look for, the conversations, the keys."""
        with Vertical(classes="dialog -large -tall"):
            yield Static("Conversations", classes="dialog-title")
            yield Input(placeholder="Search in titles and in what was said", compact=True, id="words")
            yield OptionList(id="chats")
            yield Static(markup=False, id="said")
            keys = "enter opens · / searches · n new · r renames · D deletes"
            yield Static(keys, classes="dialog-muted", markup=False)

    def on_mount(self) -> None:
        """Read them in a thread."""
        self._read()

    def action_search(self) -> None:
        """Type the words to look for."""
        self.set_focus(self.query_one(Input))

    def action_move(self, by: int) -> None:
        """Move in the list."""
        chats = self.query_one(OptionList)
        if by > 0:
            chats.action_cursor_down()
        else:
            chats.action_cursor_up()

    def action_new(self) -> None:
        """Begin a new one."""
        self.dismiss(Picked(None))

    def action_rename(self) -> None:
        """Ask for a title."""
        if (summary := self._highlighted) is not None and not summary.problem:

            def answered(title: str | None) -> None:
                if title is not None:
                    self._rename(summary.id, clean_name(title.strip()))

            dialog = TextDialog("Rename this conversation", summary.title, "Rename", hint="A title")
            self.app.push_screen(dialog, answered)

    def action_delete(self) -> None:
        """Ask, then delete; one that cannot be read is nobody's to delete from here."""
        summary = self._highlighted
        if summary is None:
            return
        if summary.problem:
            self._say(f"What cannot be read is left alone: {shown_path(self._store.folder)}/{summary.title}")
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._delete(summary.id)

        question = f"{summary.title}\n\n{_turns(summary)}, and nothing brings them back."
        self.app.push_screen(Confirm("Delete this conversation?", question, "Delete"), answered)

    @property
    def _highlighted(self) -> Summary | None:
        place = self.query_one(OptionList).highlighted
        if place is None:
            return None
        chosen = self.query_one(OptionList).get_option_at_index(place).id
        return next((one for one in self._summaries if one.id == chosen), None)

    @work(exclusive=True, group="chats.read")
    async def _read(self, said: str = "") -> None:
        try:
            self._summaries = await asyncio.to_thread(self._store.summaries)
        except OSError as error:
            said = f"The conversations cannot be read: {clean_name(error.strerror or str(error))}."
        self._say(said)
        self._fill()

    @work(group="chats.change")
    async def _rename(self, chat_id: str, title: str) -> None:
        said = ""
        try:
            if chat_id == self._current.id:
                self._current.rename(title)
                self._summaries = [one for one in self._summaries if one.id != chat_id]
            await asyncio.to_thread(self._rename_file, chat_id, title)
        except ChatProblem as problem:
            said = str(problem)
        self._read(said)

    def _rename_file(self, chat_id: str, title: str) -> None:
        if chat_id != self._current.id:
            self._store.rename(chat_id, title)

    @work(group="chats.change")
    async def _delete(self, chat_id: str) -> None:
        said = ""
        try:
            if chat_id == self._current.id:
                await self._renew()
            await asyncio.to_thread(self._store.delete, chat_id)
        except ChatProblem as problem:
            said = str(problem)
        self._read(said)

    @on(Input.Changed)
    def _searched(self, event: Input.Changed) -> None:
        event.stop()
        self._fill()

    @on(Input.Submitted)
    def _found(self, event: Input.Submitted) -> None:
        event.stop()
        self.set_focus(self.query_one(OptionList))

    @on(OptionList.OptionSelected)
    def _opened(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        summary = self._highlighted
        if summary is not None and summary.problem:
            self._say(f"It {summary.problem}; it is left as it is.")
        elif summary is not None:
            self.dismiss(Picked(summary.id))

    def _fill(self) -> None:
        if not self.query(OptionList):
            return  # it closes
        words = self.query_one(Input).value.casefold().split()
        found = [one for one in self._summaries if all(word in f"{one.title.casefold()}\n{one.text}" for word in words)]
        chats = self.query_one(OptionList)
        kept = self._highlighted
        chats.set_options(Option(self._line(one), id=one.id) for one in found)
        places = [place for place, one in enumerate(found) if kept is not None and one.id == kept.id]
        chats.highlighted = places[0] if places else 0 if found else None
        if not found:
            self._say("No conversation has these words." if words else "Nothing was said yet.")

    def _line(self, summary: Summary) -> Content:
        when = moment(summary.changed)
        head = Content.assemble((f"{when}  ", "dim"), summary.title or "(no title)")
        if summary.problem:
            return Content.assemble(head, (f"\n{summary.problem}", "$text-warning"))
        models = ", ".join(clean_name(name, 30) for name in summary.models[:3])
        here = " · on show" if summary.id == self._current.id else ""
        return Content.assemble(head, (f"\n{_turns(summary)} · {models}{here}", "dim"))

    def _say(self, sentence: str) -> None:
        for line in self.query("#said").results(Static):  # none while it closes
            line.update(Content(sentence))


def _turns(summary: Summary) -> str:
    turns = "1 turn" if summary.turns == 1 else f"{summary.turns} turns"
    return f"{turns} and {summary.versions} in other versions" if summary.versions else turns
