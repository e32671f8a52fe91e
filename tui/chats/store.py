"""The conversations on disk: one file each, in a folder of the state."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

from msgspec import Struct

from modeldeck.backend.text import clean_name
from modeldeck.tui.chats.chat_file import MARK, ChatFile, HeldElsewhere, NotOurs, read_chat_file

if TYPE_CHECKING:  # what reads them takes some milliseconds to import, and no first frame waits for it
    from modeldeck.tui.chats.conversation import Conversation

SUFFIX = ".jsonl"


class ChatProblem(Exception):
    """A conversation that cannot be opened, renamed or deleted, and why: one sentence, safe to draw.

    ``elsewhere``: only because another instance has it open, or its file may not be written.
    """

    def __init__(self, sentence: str, *, elsewhere: bool = False) -> None:
        super().__init__(sentence)
        self.elsewhere = elsewhere


class Summary(Struct, frozen=True):
    """A conversation as the list shows it."""

    id: str
    title: str
    """On one line, safe to draw."""
    changed: float
    """Seconds since 1970."""
    turns: int = 0
    """On show where it was left."""
    versions: int = 0
    """Turns besides those: other versions, and what followed them."""
    models: tuple[str, ...] = ()
    """Names of those who replied; untrusted text."""
    problem: str = ""
    """Why it cannot be opened; it is left as it is then."""
    text: str = ""
    """Everything that was said, casefolded, to be searched."""


class Opened(Struct, frozen=True):
    """A conversation that was read."""

    conversation: Conversation
    file: ChatFile | None
    """None where the conversation is a copy that has no file yet."""
    notes: tuple[str, ...] = ()
    """What the user should know, a sentence each."""


class ChatStore:
    """Everything here blocks. A file that is not ours, or damaged, is told of and never changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self, conversation: Conversation) -> ChatFile:
        """Give a conversation a name, and a file that is still empty. Raises OSError."""
        chat_id = _new_id()
        file = ChatFile.create(self._path(chat_id))
        file.mark()
        conversation.id = chat_id
        return file

    def summaries(self) -> list[Summary]:
        """All of them, the last changed first; raises OSError where the folder cannot be read."""
        try:
            names = [entry.name for entry in os.scandir(self.folder) if entry.name.endswith(SUFFIX)]
        except FileNotFoundError:
            return []
        found = (self._summary(name.removesuffix(SUFFIX)) for name in names)
        return sorted((one for one in found if one is not None), key=lambda one: one.changed, reverse=True)

    def newest(self) -> str | None:
        """The conversation that was changed last; None where there is none, or none can be looked at."""
        try:
            entries = [entry for entry in os.scandir(self.folder) if entry.name.endswith(SUFFIX)]
            dated = [(entry.stat(follow_symlinks=False).st_mtime, entry.name) for entry in entries]
        except OSError:
            return None
        return max(dated)[1].removesuffix(SUFFIX) if dated else None

    def left_open(self) -> str | None:
        """The conversation that was open when its program was killed or crashed; the last of several, None without any.

        Nobody is told twice: the marks are taken away, but for those of other instances that run.
        """
        try:
            marks = [entry for entry in os.scandir(self.folder) if entry.name.endswith(MARK)]
            dated = sorted((entry.stat(follow_symlinks=False).st_mtime, entry.name) for entry in marks)
        except OSError:
            return None
        left = [chat_id for _, name in dated if self._was_left(chat_id := name.removesuffix(MARK))]
        return left[-1] if left else None

    def _was_left(self, chat_id: str) -> bool:
        """Whether a mark tells of an instance that is gone; it is taken away then."""
        try:
            ChatFile.open(self._path(chat_id)).close()
        except FileNotFoundError:
            left = False
        except OSError:  # another instance has it, or nobody can say
            return False
        else:
            left = True
        with suppress(OSError):
            self._path(chat_id).with_suffix(MARK).unlink()
        return left

    def open(self, chat_id: str, *, copy: bool = True) -> Opened:
        """Read a conversation and hold its file. Raises ChatProblem.

        One that another instance holds, or that cannot be written, is opened as a copy, or not at all without ``copy``.
        """
        path = self._path(chat_id)
        file: ChatFile | None = None
        notes: list[str] = []
        try:
            file = ChatFile.open(path)
        except HeldElsewhere:
            notes.append("This conversation is open in another modeldeck, so this is a copy of it.")
        except PermissionError:
            notes.append("This conversation's file may not be written, so this is a copy of it.")
        except OSError as error:
            raise ChatProblem(_sentence(chat_id, error.strerror or str(error))) from error
        if file is None and not copy:
            raise ChatProblem(notes[0].partition(", so")[0] + ".", elsewhere=True)
        try:
            conversation, unread = _replayed(read_chat_file(path))
        except (NotOurs, OSError) as error:
            if file is not None:
                file.close()
            raise ChatProblem(_sentence(chat_id, getattr(error, "strerror", None) or str(error))) from error
        if unread:
            lines = "1 line" if unread == 1 else f"{unread} lines"
            notes.append(f"{lines} of {clean_name(path.name)} cannot be read and left out; the file keeps what it has.")
        conversation.id = chat_id
        if file is None:
            conversation.id, conversation.created = "", time()
            conversation.title = f"{conversation.shown_title} (copy)"
        return Opened(conversation, file, tuple(notes))

    def rename(self, chat_id: str, title: str) -> None:
        """Give a conversation that nobody has open a title. Raises ChatProblem."""
        from modeldeck.tui.chats.records import Named, encode

        opened = self.open(chat_id, copy=False)
        assert opened.file is not None  # without a copy there is a file
        try:
            opened.file.append(encode(Named(title)))
        except OSError as error:
            raise ChatProblem(f"It was not renamed: {error.strerror or error}.") from error
        finally:
            opened.file.close()

    def delete(self, chat_id: str) -> None:
        """Delete a conversation that nobody has open. Raises ChatProblem."""
        file = self.open(chat_id, copy=False).file
        try:
            self._path(chat_id).unlink()
            self._path(chat_id).with_suffix(MARK).unlink(missing_ok=True)
        except OSError as error:
            raise ChatProblem(f"It was not deleted: {error.strerror or error}.") from error
        finally:
            if file is not None:
                file.close()

    def _path(self, chat_id: str) -> Path:
        return self.folder / f"{chat_id}{SUFFIX}"

    def _summary(self, chat_id: str) -> Summary | None:
        """None for a file that is gone again, or in which nothing was said."""
        path = self._path(chat_id)
        changed = 0.0
        try:
            changed = path.lstat().st_mtime
            data = read_chat_file(path)
            if not data:
                return None
            conversation, _ = _replayed(data)
        except FileNotFoundError:
            return None
        except (OSError, NotOurs) as error:
            why = getattr(error, "strerror", None) or str(error)
            return Summary(chat_id, clean_name(path.name, 60), changed, problem=clean_name(why))
        turns = list(conversation.by_number.values())
        said = [conversation.title, *(text for turn in turns for text in (turn.question, turn.reply))]
        return Summary(
            chat_id,
            conversation.shown_title,
            changed,
            turns=len(conversation.turns),
            versions=len(turns) - len(conversation.turns),
            models=tuple(dict.fromkeys(turn.model_name for turn in turns)),
            text="\n".join(said).casefold(),
        )


def first_lines(conversation: Conversation) -> bytes:
    """What a new file begins with."""
    from modeldeck.tui.chats.records import encode
    from modeldeck.tui.chats.replay import records_of

    return b"".join(map(encode, records_of(conversation)))


def _replayed(data: bytes) -> tuple[Conversation, int]:
    from modeldeck.tui.chats.replay import replay

    return replay(data)


def _new_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.urandom(4).hex()}"


def _sentence(chat_id: str, why: str) -> str:
    return clean_name(f"The conversation in {chat_id}{SUFFIX} was not opened: it {why}.", 300)
