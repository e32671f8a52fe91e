"""Which conversation is on the desk, and that it is saved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from modeldeck.tui.chats.chat_file import ChatFile
from modeldeck.tui.chats.conversation import Conversation
from modeldeck.tui.chats.saver import ChatSaver
from modeldeck.tui.chats.store import ChatProblem, ChatStore, Opened


class ChatDesk:
    """One conversation at a time. Without a store it is kept in memory alone.

    ``tell`` is called as ``ChatSaver`` says. No reply may run while another conversation is taken up. One that could
    not be written when it was left is kept until it can be.
    """

    def __init__(self, store: ChatStore | None, tell: Callable[[str], None]) -> None:
        self.store = store
        self.conversation = Conversation()
        self._tell = tell
        self._saver: ChatSaver | None = None
        self._owing: list[ChatSaver] = []
        self.left_open = False
        """Whether ``reopen`` took up what was open when modeldeck ended unasked."""

    def start(self) -> None:
        """Keep what is said from now on."""
        self._keep(None)

    @property
    def failure(self) -> str:
        """Why something is not saved at the moment; empty while all is well."""
        savers = [*([self._saver] if self._saver is not None else []), *self._owing]
        return next((saver.failure for saver in savers if saver.failure), "")

    async def begin(self) -> None:
        """An empty conversation; the one before is on the disk on return, if it can be."""
        await self._take(Opened(Conversation(), None))

    async def open(self, chat_id: str) -> tuple[str, ...]:
        """Take up one that was kept; returns what the user should know. Raises ChatProblem: the one before stays."""
        if self.store is None or chat_id == self.conversation.id:
            return ()
        await self._settle()
        owing = next((saver for saver in self._owing if saver.conversation.id == chat_id), None)
        if owing is not None:
            await self._leave()
            self._owing.remove(owing)
            self.conversation, self._saver = owing.conversation, owing
            return ()
        opened = await asyncio.to_thread(self.store.open, chat_id)
        await self._take(opened)
        return opened.notes

    async def reopen(self) -> tuple[str, ...]:
        """Take up what was left open or else changed last, if nothing was said yet and no other instance has it.

        Returns what the user should know. Raises ChatProblem where it cannot be read.
        """
        if self.store is None:
            return ()
        left = await asyncio.to_thread(self.store.left_open)
        if (newest := left or await asyncio.to_thread(self.store.newest)) is None:
            return ()
        try:
            opened = await asyncio.to_thread(lambda: self._open_whole(newest))
        except ChatProblem as problem:
            if problem.elsewhere:
                return (f"{str(problem).replace('This', 'The last', 1)} Here a new one begins.",)
            raise
        if self.conversation.by_number:  # somebody was quicker
            if opened.file is not None:
                await asyncio.to_thread(opened.file.close)
            return ()
        await self._take(opened)
        self.left_open = left is not None
        return opened.notes

    async def close(self, *, unasked: bool = False) -> None:
        """Write what there is; nothing is saved afterwards. ``unasked``: the next start says what was open."""
        for saver in [*self._owing, *([self._saver] if self._saver is not None else [])]:
            await saver.release(keep_mark=unasked)

    def _open_whole(self, chat_id: str) -> Opened:
        assert self.store is not None  # reopen looked
        return self.store.open(chat_id, copy=False)

    async def _take(self, opened: Opened) -> None:
        await self._leave()
        self.conversation = opened.conversation
        self._keep(opened.file)
        if opened.file is not None:
            await asyncio.to_thread(opened.file.mark)

    def _keep(self, file: ChatFile | None) -> None:
        if self.store is not None:
            self._saver = ChatSaver(self.store, self.conversation, self._tell, file)

    async def _leave(self) -> None:
        """Let the conversation go when it is on the disk, else keep trying."""
        await self._settle()
        if (saver := self._saver) is None:
            return
        await saver.flush()
        if saver.failure:
            self._owing.append(saver)
        else:
            await saver.release()
        self._saver = None

    async def _settle(self) -> None:
        """Let those go that could be written meanwhile."""
        for saver in [saver for saver in self._owing if not saver.failure]:
            self._owing.remove(saver)
            await saver.release()
