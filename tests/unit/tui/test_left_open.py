"""What was open when the program ended unasked is offered once, and never while another instance has it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from modeldeck.tui.chats.conversation import Conversation
from modeldeck.tui.chats.desk import ChatDesk
from modeldeck.tui.chats.store import ChatStore
from tests.fakes.in_process import stats


@pytest.fixture
def store(tmp_path: Path) -> ChatStore:
    return ChatStore(tmp_path / "chats")


async def talked(store: ChatStore, question: str, *, unasked: bool) -> str:
    """An instance in which this was asked, and that ended so; returns the conversation's id."""
    desk = ChatDesk(store, lambda _why: None)
    desk.start()
    turn = desk.conversation.begin(question, "Qwen")
    turn.add("Hello.")
    turn.finish(stats(2))
    desk.conversation.ended(turn)
    await desk.close(unasked=unasked)
    return desk.conversation.id


async def reopened(store: ChatStore) -> ChatDesk:
    desk = ChatDesk(store, lambda _why: None)
    desk.start()
    await desk.reopen()
    return desk


def asked(conversation: Conversation) -> list[str]:
    return [turn.question for turn in conversation.turns]


async def test_f31_what_was_left_open_comes_before_what_was_changed_last_and_only_once(store: ChatStore) -> None:
    left = await talked(store, "left", unasked=True)
    later = await talked(store, "later", unasked=False)
    os.utime(store.folder / f"{left}.jsonl", (1, 1))
    desk = await reopened(store)
    assert asked(desk.conversation) == ["left"]
    assert desk.left_open
    await desk.close()
    desk = await reopened(store)
    assert (desk.conversation.id, desk.left_open) == (later, False)
    await desk.close()
    assert {path.suffix for path in store.folder.iterdir()} == {".jsonl"}


async def test_f31_a_conversation_that_is_only_read_is_offered_too(store: ChatStore) -> None:
    read = await talked(store, "read", unasked=False)
    await talked(store, "written", unasked=False)
    desk = ChatDesk(store, lambda _why: None)
    desk.start()
    await desk.open(read)
    await desk.close(unasked=True)
    (mark,) = store.folder.glob("*.open")
    assert stat.S_IMODE(mark.stat().st_mode) & 0o077 == 0
    again = await reopened(store)
    assert (again.conversation.id, again.left_open) == (read, True)
    await again.close()


async def test_f31_what_another_instance_has_open_is_not_offered(store: ChatStore) -> None:
    await talked(store, "first", unasked=True)
    first = await reopened(store)
    second = await reopened(store)
    assert not second.left_open
    assert asked(second.conversation) == []
    await second.close()
    await first.close(unasked=True)
    third = await reopened(store)
    assert third.left_open
    await third.close()


async def test_f31_a_mark_without_its_conversation_is_taken_away(store: ChatStore) -> None:
    left = await talked(store, "left", unasked=True)
    (store.folder / f"{left}.jsonl").unlink()
    assert store.left_open() is None
    assert list(store.folder.iterdir()) == []


async def test_f31_a_deleted_conversation_takes_its_mark_along(store: ChatStore) -> None:
    store.delete(await talked(store, "left", unasked=True))
    assert list(store.folder.iterdir()) == []
