"""What can be done with conversations: begin, list, rename, write to a file, and how they are asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING

from modeldeck.backend.text import clean_name
from modeldeck.config.wording import shown_path
from modeldeck.tui.chats.export import write_export
from modeldeck.tui.chats.store import ChatProblem

if TYPE_CHECKING:
    from modeldeck.tui.screens.chats_dialog import Picked
    from modeldeck.tui.widgets.chat_panel import ChatPanel


class ChatsFlow:
    """Acts on the conversation that is on show, and shows others."""

    def __init__(self, panel: ChatPanel) -> None:
        self._panel = panel
        self.changing = asyncio.Lock()
        """Held while another conversation is put on the desk."""
        self._deeds: dict[str, Callable[[], None]] = {
            "new": lambda: self._run(self._then_type(self._new())),
            "list": self._list,
            "rename": self._rename,
            "export": self._export,
            "system": self._system,
            "raw": self._raw,
            "thinking": self._thinking,
            "choices": panel.trouble.choose,
            "read": self._read,
            "write": panel.focus_prompt,
            "stop_editing": self._stop_editing,
        }

    def do(self, deed: str) -> None:
        """Do it, or say why it cannot be done."""
        self._deeds[deed]()

    def reopen(self) -> None:
        """Show the conversation that was said something in last, if nothing was said yet."""
        self._run(self._reopen())

    async def _reopen(self) -> None:
        try:
            notes = await self._panel.desk.reopen()
        except ChatProblem as problem:
            self._panel.tell(str(problem))
            return
        self._tell(notes)
        if self._panel.conversation.id and not self._panel.replying:
            await self._shown()
            if self._panel.desk.left_open:
                self._panel.post_message(self._panel.Wanted(self._panel, "tell_left_open"))

    def _run(self, work: Coroutine[None, None, None]) -> None:
        """One after the other; nothing that changes the desk may be cut off in the middle."""

        async def in_turn() -> None:
            async with self.changing:
                await work

        self._panel.run_worker(in_turn(), group="chat.new", exit_on_error=False)

    async def _new(self) -> None:
        """Stop what runs and begin anew; the draft stays."""
        await self._panel.replies.stop_and_wait()
        await self._panel.desk.begin()
        await self._shown()

    async def _open(self, chat_id: str) -> None:
        await self._panel.replies.stop_and_wait()
        try:
            notes = await self._panel.desk.open(chat_id)
        except ChatProblem as problem:
            self._panel.say(str(problem), warning=True)
            return
        await self._shown()
        self._tell(notes)

    async def _then_type(self, work: Coroutine[None, None, None]) -> None:
        """Letters go into the prompt afterwards: among the turns they would be keys."""
        await work
        if self._panel.view.has_focus:
            self._panel.focus_prompt()

    async def _shown(self) -> None:
        """Another conversation is on the desk."""
        panel = self._panel
        if panel.replies.editing is not None:
            panel.replies.editing = None
            panel.lines.give_draft_back(instead=True)
        panel.trouble.forget()
        panel.say("")
        if panel.conversation.draft and not panel.draft:
            panel.lines.take_back(panel.conversation.draft)
        await panel.view.show(panel.conversation)
        panel.lines.refresh()

    def _list(self) -> None:
        store = self._panel.desk.store
        if store is None:
            self._panel.say("Conversations are not kept here.")
            return
        from modeldeck.tui.screens.chats_dialog import ChatsDialog  # after the first frame

        def answered(picked: Picked | None) -> None:
            if picked is None:
                return
            if picked.id is None:
                self._run(self._then_type(self._new()))
            elif picked.id != self._panel.conversation.id:
                self._run(self._then_type(self._open(picked.id)))

        self._panel.app.push_screen(ChatsDialog(store, self._panel.conversation, self._renew), answered)

    async def _renew(self) -> None:
        """The conversation on show is to be deleted: begin another one, so that nobody holds its file."""
        async with self.changing:
            await self._new()

    def _rename(self) -> None:
        from modeldeck.tui.screens.text_dialog import TextDialog  # after the first frame

        conversation = self._panel.conversation

        def answered(title: str | None) -> None:
            if title is not None:
                conversation.rename(clean_name(title.strip()))
                self._panel.lines.refresh()

        self._panel.app.push_screen(
            TextDialog("Rename this conversation", conversation.shown_title, "Rename", hint="A title"), answered
        )

    def _export(self) -> None:
        conversation = self._panel.conversation
        if not conversation.turns:
            self._panel.say("Nothing was said yet.")
            return
        from modeldeck.tui.screens.text_dialog import TextDialog  # after the first frame

        def answered(name: str | None) -> None:
            if name:
                self._panel.run_worker(self._write(Path(name)), group="chat.export", exit_on_error=False)

        words = "".join(char if char.isalnum() else "-" for char in conversation.shown_title.lower())
        name = "-".join(filter(None, words.split("-")))[:40] or "conversation"
        text = "A name that ends in .json gets everything as JSON, any other Markdown. No file is overwritten."
        dialog = TextDialog("Write this conversation to a file", f"~/{name}.md", "Write", text=text)
        self._panel.app.push_screen(dialog, answered)

    async def _write(self, typed: Path) -> None:
        panel = self._panel
        try:
            path = await asyncio.to_thread(lambda: Path.cwd() / typed.expanduser())
            await asyncio.to_thread(write_export, panel.conversation, path)
        except FileExistsError:
            panel.say(f"{clean_name(str(typed), 200)} is there already; nothing was written.", warning=True)
        except (OSError, RuntimeError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            panel.say(f"{clean_name(str(typed), 200)} was not written: {clean_name(str(why))}.", warning=True)
        else:
            panel.say(f"Written to {clean_name(shown_path(path), 200)}.")

    def _system(self) -> None:
        from modeldeck.tui.screens.text_dialog import TextDialog  # after the first frame

        conversation = self._panel.conversation

        def answered(text: str | None) -> None:
            if text is not None:
                conversation.instruct(text if text.strip() else None)
                self._panel.lines.refresh()

        note = (
            "Said to the model before this conversation, instead of the one in the settings. Empty: as in the settings."
        )
        dialog = TextDialog("System prompt", conversation.system_prompt or "", "Set", text=note, many_lines=True)
        self._panel.app.push_screen(dialog, answered)

    def _raw(self) -> None:
        conversation = self._panel.conversation
        conversation.set_ways(raw=not conversation.raw, thinking=conversation.thinking)
        self._panel.lines.refresh()
        on = "Questions are completed as plain text from now on; x goes back to the chat."
        self._panel.say(on if conversation.raw else "Questions are chat again.")

    def _thinking(self) -> None:
        panel, conversation = self._panel, self._panel.conversation
        if panel.loaded is not None and not panel.loaded.can_think:
            panel.say("The chat template of this model has no switch for reasoning.")
            return
        thinking = conversation.thinking is False
        conversation.set_ways(raw=conversation.raw, thinking=thinking)
        panel.lines.refresh()
        panel.say("The model reasons before it replies." if thinking else "The model replies without reasoning first.")

    def _read(self) -> None:
        panel = self._panel
        if panel.view.has_focus:
            panel.focus_prompt()
        else:
            panel.screen.set_focus(panel.view)

    def _stop_editing(self) -> None:
        self._panel.replies.editing = None
        self._panel.lines.give_draft_back(instead=True)
        self._panel.lines.refresh()

    def _tell(self, notes: tuple[str, ...]) -> None:
        for note in notes:
            self._panel.tell(note)
        if notes:
            self._panel.say(notes[0], warning=True)
