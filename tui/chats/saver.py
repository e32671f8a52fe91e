"""Writes a conversation down while it is said, in a thread, so that the screen never waits for a disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from modeldeck.tui.chats.chat_file import ChatFile
from modeldeck.tui.chats.conversation import Conversation
from modeldeck.tui.chats.records import Asked, Ended, Record, Resumed, Said, encode
from modeldeck.tui.chats.store import ChatStore, first_lines
from modeldeck.tui.chats.turns import Turn

PIECE_SECONDS = 0.6
"""A running reply is written down so often; with the time that a disk takes, what was said is safe within a second."""
RETRY_SECONDS = 2.0
"""After a failure, such as a full disk."""


class ChatSaver:
    """Keeps one conversation, in a file that is made when something is said or done. Belongs to the loop it is used on.

    ``tell`` is called with a sentence when saving begins to fail for another reason than before, and with an empty one
    when it works again. Nothing is dropped meanwhile: it is tried again until ``release``.
    """

    def __init__(
        self, store: ChatStore, conversation: Conversation, tell: Callable[[str], None], file: ChatFile | None = None
    ) -> None:
        self.conversation = conversation
        self._store = store
        self._tell = tell
        self._file = file
        self._lines: list[bytes] = []
        self._reply: Turn | None = None
        self._reply_saved = self._thought_saved = 0
        self._failure = ""
        self._owed = False
        self._one_at_a_time = asyncio.Lock()
        self._writing: asyncio.Task[None] | None = None
        self._next: asyncio.TimerHandle | None = None
        conversation.note = self._note

    @property
    def failure(self) -> str:
        """Why nothing is saved at the moment; empty while all is well."""
        return self._failure

    async def flush(self) -> None:
        """Write what there is; ``failure`` says whether that could be done."""
        self._take_piece()
        await self._write()

    async def release(self, *, keep_mark: bool = False) -> None:
        """Write what there is and let the file go; what cannot be written now is lost."""
        await self.flush()
        self.conversation.note = lambda _record: None
        self._not_later()
        if self._writing is not None:
            await asyncio.wait({self._writing})
            self._not_later()
        if self._file is not None:
            await asyncio.to_thread(self._file.close, keep_mark=keep_mark)

    def _note(self, record: Record) -> None:
        match record:
            case Asked(number=number) | Resumed(number=number):
                self._reply = turn = self.conversation.by_number[number]
                self._reply_saved, self._thought_saved = len(turn.reply), len(turn.thought)
            case Ended():
                self._take_piece()
                self._reply = None
            case _:
                pass
        if self._file is None:
            self._owed = True  # the first lines of the file will say it, as the conversation is then
        else:
            self._lines.append(encode(record))
        self._at(0)

    def _take_piece(self) -> None:
        """What the running reply has grown by."""
        turn = self._reply
        if turn is None or self._file is None:
            return
        text, thought = turn.reply[self._reply_saved :], turn.thought[self._thought_saved :]
        if text or thought:
            self._lines.append(encode(Said(turn.number, text, thought)))
            self._reply_saved, self._thought_saved = len(turn.reply), len(turn.thought)

    def _at(self, seconds: float) -> None:
        """Write in so many seconds, or sooner."""
        loop = asyncio.get_running_loop()
        if self._next is not None:
            if self._next.when() <= loop.time() + seconds:
                return
            self._next.cancel()
        self._next = loop.call_later(seconds, self._begin)

    def _not_later(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _begin(self) -> None:
        self._next = None
        if self._writing is not None and not self._writing.done():
            self._at(0.05)
            return
        self._take_piece()
        self._writing = asyncio.get_running_loop().create_task(self._write())
        if self._reply is not None:
            self._at(PIECE_SECONDS)

    async def _write(self) -> None:
        """One write to the disk, of everything that waits."""
        async with self._one_at_a_time:
            lines, self._lines = self._lines, []
            if self._file is None and not self._owed:
                return
            try:
                if self._file is None:
                    await self._create()
                else:
                    await asyncio.to_thread(self._file.append, b"".join(lines))
            except OSError as error:
                why = error.strerror or str(error)
                self._at(RETRY_SECONDS)
            else:
                why = ""
                if self._lines:
                    self._at(0)
        if why != self._failure:
            self._failure = why
            self._tell(why)

    async def _create(self) -> None:
        """The file, and in it all that was said so far; what is said meanwhile comes behind it."""
        conversation = self.conversation
        file = await asyncio.to_thread(self._store.create, conversation)
        if (turn := self._reply) is not None:
            self._reply_saved, self._thought_saved = len(turn.reply), len(turn.thought)
        data = first_lines(conversation)
        self._file, self._owed = file, False
        await asyncio.to_thread(file.append, data)
