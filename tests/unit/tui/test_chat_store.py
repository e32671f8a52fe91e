"""Conversations on disk: what is said survives, and nothing that cannot be read is lost."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from modeldeck.backend.chat_messages import ChatMessage, ReplyMode
from modeldeck.config.generation import GenerationSettings
from modeldeck.tui.chats import saver as saving
from modeldeck.tui.chats.chat_file import ChatFile, HeldElsewhere
from modeldeck.tui.chats.conversation import Conversation
from modeldeck.tui.chats.desk import ChatDesk
from modeldeck.tui.chats.export import to_json, to_markdown
from modeldeck.tui.chats.records import Asked, Begun, Ended, Said, encode
from modeldeck.tui.chats.replay import INTERRUPTED, records_of, replay
from modeldeck.tui.chats.saver import ChatSaver
from modeldeck.tui.chats.store import ChatProblem, ChatStore
from modeldeck.tui.chats.turns import TextFile, TurnState
from tests.fakes.in_process import stats
from tests.helpers import eventually


@pytest.fixture
def store(tmp_path: Path) -> ChatStore:
    return ChatStore(tmp_path / "state" / "chats")


@pytest.fixture
def told() -> list[str]:
    return []


def said(conversation: Conversation, question: str = "one", reply: str = "Hello.") -> None:
    turn = conversation.begin(question, "Qwen", model_id="/q", settings=GenerationSettings(temperature=0.5))
    turn.add(reply)
    turn.finish(stats(2))
    conversation.ended(turn)


async def kept(store: ChatStore, *questions: str) -> str:
    """A conversation on disk; returns its id."""
    conversation = Conversation()
    saver = ChatSaver(store, conversation, lambda why: None)
    for question in questions or ("one",):
        said(conversation, question)
    await saver.release()
    return conversation.id


class TestReplay:
    def test_everything_comes_back(self) -> None:
        conversation = Conversation("x", created=5.0)
        records = [Begun("x", 5.0)]
        conversation.note = lambda record: records.append(record)  # type: ignore[arg-type]  # any record
        conversation.rename("A title")
        conversation.instruct("Be brief.")
        conversation.set_ways(raw=True, thinking=False)
        turn = conversation.begin(
            "one",
            "Qwen",
            model_id="/q",
            settings=GenerationSettings(temperature=0.5, stop=("END",)),
            files=(TextFile("a.txt", "text", 3),),
            images=("/i.png",),
        )
        turn.add("Hel")
        turn.think("hm")
        turn.finish(stats(2))
        conversation.ended(turn)
        for source in (records, records_of(conversation)):
            pieces = [*source[:5], Said(1, "Hel", "hm"), *source[5:]] if source is records else source
            again, unread = replay(b"".join(map(encode, pieces)))
            assert unread == 0
            assert (again.title, again.system_prompt, again.raw, again.thinking) == (
                "A title",
                "Be brief.",
                True,
                False,
            )
            (back,) = again.turns
            assert (back.reply, back.thought, back.state, back.stats) == ("Hel", "hm", TurnState.FINISHED, stats(2))
            assert back.settings == turn.settings
            assert (back.files, back.images, back.mode) == (turn.files, turn.images, ReplyMode.RAW)
            assert (again.id, again.created) == ("x", 5.0)

    def test_a_torn_line_is_left_out_and_counted_and_what_follows_counts(self) -> None:
        lines = [encode(Begun("x", 1.0)), encode(Asked(1, None, "q", "/m", "M", 2.0)), encode(Said(1, "all of it"))]
        whole = b"".join(lines)
        for cut in range(1, len(lines[-1])):
            conversation, unread = replay(whole[:-cut])
            assert unread == (0 if cut == 1 else 1)
            assert conversation.turns[0].reply == ("all of it" if cut == 1 else "")
        conversation, unread = replay(whole[:-5] + b"\n" + encode(Said(1, "more")))
        assert (conversation.turns[0].reply, unread) == ("more", 1)

    def test_a_reply_that_never_ended_is_kept_as_one_that_failed(self) -> None:
        data = encode(Begun("x", 1.0)) + encode(Asked(1, None, "q", "/m", "M", 2.0)) + encode(Said(1, "half"))
        (turn,) = replay(data)[0].turns
        assert (turn.state, turn.reason, turn.reply, turn.can_continue) == (TurnState.FAILED, INTERRUPTED, "half", True)

    def test_settings_of_another_version_say_nothing_and_the_others_hold(self) -> None:
        asked = Asked(1, None, "q", "/m", "M", 2.0, settings={"temperature": 0.5, "from_the_future": 1, "top_p": 99})
        (turn,) = replay(encode(Begun("x", 1.0)) + encode(asked))[0].turns
        assert turn.settings == GenerationSettings(temperature=0.5)

    def test_hostile_lines_are_counted_and_harm_nothing(self) -> None:
        bad = [
            b'{"type":"asked","number":1,"parent":1,"question":"q","model_id":"","model_name":"","at":1}',
            b'{"type":"asked","number":2,"parent":7,"question":"q","model_id":"","model_name":"","at":1}',
            b'{"type":"said","number":9,"text":"x"}',
            b'{"type":"shown","leaf":9}',
            b'{"type":"new thing"}',
            b"[" * 5000,
            b"\xff\x00",
        ]
        conversation, unread = replay(encode(Begun("x", 1.0)) + b"\n".join(bad))
        assert (conversation.turns, unread) == ([], len(bad))

    def test_half_of_a_surrogate_pair_does_not_stop_a_save(self) -> None:
        assert b"?" in encode(Said(1, "a\ud800b"))


class TestTree:
    def test_versions_branches_and_the_way_back(self) -> None:
        conversation = Conversation()
        said(conversation, "one")
        said(conversation, "two")
        first, second = conversation.turns
        conversation.go_to(first.number)
        said(conversation, "another two")
        assert [turn.question for turn in conversation.turns] == ["one", "another two"]
        assert conversation.siblings(second) == [second, conversation.turns[1]]
        assert conversation.step(conversation.turns[1], -1)
        assert conversation.turns == [first, second]
        assert not conversation.step(second, -1)
        conversation.show(None)
        said(conversation, "one, edited")
        assert conversation.step(conversation.turns[0], -1)
        assert conversation.turns == [first, second]  # with what followed it when it was seen last

    def test_what_is_left_out_stays_but_is_not_sent(self) -> None:
        conversation = Conversation()
        for question in ("one", "two", "three"):
            said(conversation, question)
        conversation.leave_out(conversation.turns[:2])
        conversation.begin("four", "Qwen")
        assert [message.content for message in conversation.messages()] == ["three", "Hello.", "four"]
        assert len(conversation.turns) == 4

    def test_a_continued_reply_ends_the_messages_and_has_the_figures_of_both(self) -> None:
        conversation = Conversation()
        said(conversation)
        (turn,) = conversation.turns
        conversation.resume(turn)
        assert conversation.messages(turn, ReplyMode.CONTINUE)[-1] == ChatMessage("assistant", "Hello.")
        turn.finish(stats(3))
        assert turn.stats is not None
        assert turn.stats.new_tokens == 5

    def test_raw_sends_the_question_alone_and_files_come_below_it(self) -> None:
        conversation = Conversation()
        said(conversation)
        conversation.set_ways(raw=True, thinking=None)
        turn = conversation.begin("go", "Qwen", files=(TextFile("a.md", "x\n```\ny\n```\n"),))
        (message,) = conversation.messages(turn)
        assert message.content == "go\n\nFile a.md:\n````\nx\n```\ny\n```\n````"


class TestFiles:
    async def test_a_conversation_is_private_and_found_again(self, store: ChatStore) -> None:
        before = os.umask(0)
        try:
            chat_id = await kept(store, "What is a tree?", "and [b]now[/b]\x1b[31m?")
        finally:
            os.umask(before)
        path = store.folder / f"{chat_id}.jsonl"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
        (summary,) = store.summaries()
        assert (summary.title, summary.turns, summary.models) == ("What is a tree?", 2, ("Qwen",))
        assert "hello." in summary.text
        opened = store.open(chat_id)
        assert [turn.reply for turn in opened.conversation.turns] == ["Hello.", "Hello."]
        assert opened.file is not None
        opened.file.close()

    async def test_f23_two_instances_never_write_one_file(self, store: ChatStore) -> None:
        chat_id = await kept(store)
        holder = store.open(chat_id)
        assert holder.file is not None
        with pytest.raises(HeldElsewhere):
            ChatFile.open(holder.file.path)
        copy = store.open(chat_id)
        assert copy.file is None
        assert "another modeldeck" in copy.notes[0]
        assert copy.conversation.title == "one (copy)"
        for deed in (store.delete, partial(store.rename, title="x")):
            with pytest.raises(ChatProblem, match="open in another modeldeck"):
                deed(chat_id)
        saver = ChatSaver(store, copy.conversation, lambda why: None)
        await saver.release()
        assert len(store.summaries()) == 1  # looking alone leaves no copy
        saver = ChatSaver(store, copy.conversation, lambda why: None)
        said(copy.conversation, "two")
        await saver.release()
        holder.file.close()
        assert sorted(one.title for one in store.summaries()) == ["one", "one (copy)"]

    def test_a_lock_ends_with_its_process_however_that_ends(self, store: ChatStore) -> None:
        chat_id = asyncio.run(kept(store))
        script = (
            "import sys, os, signal\nfrom pathlib import Path\nfrom modeldeck.tui.chats.store import ChatStore\n"
            "o = ChatStore(Path(sys.argv[1])).open(sys.argv[2])\nprint(o.file is not None, flush=True)\n"
            "sys.stdin.read()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, str(store.folder), chat_id], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"True\n"
            assert store.open(chat_id).file is None
            child.kill()
            child.wait()
        opened = store.open(chat_id)
        assert opened.file is not None
        opened.file.close()

    async def test_f22_a_torn_file_goes_on_behind_the_torn_line(self, store: ChatStore) -> None:
        chat_id = await kept(store)
        path = store.folder / f"{chat_id}.jsonl"
        torn = path.read_bytes()[:-9]
        path.write_bytes(torn)
        opened = store.open(chat_id)
        assert "cannot be read" in opened.notes[0]
        saver = ChatSaver(store, opened.conversation, lambda why: None, opened.file)
        said(opened.conversation, "two")
        await saver.release()
        assert path.read_bytes().startswith(torn)
        assert [turn.question for turn in replay(path.read_bytes())[0].turns] == ["one", "two"]

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"my own notes\n", "is no conversation"),
            (b'{"type":"conversation","id":"x","created":1,"schema_version":99}\n', "newer modeldeck"),
            (b"\x00" * 100, "is no conversation"),
        ],
    )
    async def test_f22_a_foreign_file_is_told_and_never_touched(
        self, store: ChatStore, content: bytes, why: str
    ) -> None:
        await kept(store)
        path = store.folder / "mine.jsonl"
        path.write_bytes(content)
        problems = [summary.problem for summary in store.summaries() if summary.problem]
        assert len(problems) == 1
        assert why in problems[0]
        for deed in (store.open, store.delete, partial(store.rename, title="x")):
            with pytest.raises(ChatProblem, match=why):
                deed("mine")
        assert path.read_bytes() == content

    @pytest.mark.parametrize("kind", ["fifo", "folder", "link"])
    async def test_what_is_no_plain_file_is_told_and_waited_for_by_nobody(self, store: ChatStore, kind: str) -> None:
        await kept(store)
        path = store.folder / "odd.jsonl"
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to("/etc/passwd")
        assert any(summary.problem for summary in store.summaries())
        with pytest.raises(ChatProblem):
            store.open("odd")

    async def test_a_file_without_a_word_is_no_conversation(self, store: ChatStore) -> None:
        await kept(store)
        (store.folder / "empty.jsonl").touch()
        assert len(store.summaries()) == 1

    async def test_renaming_and_deleting(self, store: ChatStore) -> None:
        chat_id = await kept(store)
        store.rename(chat_id, "Trees")
        assert store.summaries()[0].title == "Trees"
        store.delete(chat_id)
        assert store.summaries() == []
        assert store.newest() is None


class TestSaving:
    async def test_f22_what_is_said_is_on_the_disk_within_a_second(self, store: ChatStore) -> None:
        conversation = Conversation()
        saver = ChatSaver(store, conversation, lambda why: None)
        await asyncio.sleep(0.05)
        assert not store.folder.exists()  # nothing was said
        turn = conversation.begin("one", "Qwen")
        started = asyncio.get_running_loop().time()
        for word in range(30):
            turn.add(f"{word} ")
            await asyncio.sleep(0.05)
            newest = store.newest()
            if newest is not None and asyncio.get_running_loop().time() - started > 1.0:
                (back,) = replay((store.folder / f"{newest}.jsonl").read_bytes())[0].turns
                assert len(back.reply.split()) >= word - 20
        turn.finish(stats(30))
        conversation.ended(turn)
        await saver.release()
        (back,) = store.open(conversation.id, copy=True).conversation.turns
        assert (back.reply, back.state) == (turn.reply, TurnState.FINISHED)

    async def test_f20_a_disk_that_was_full_leaves_no_gap_and_nothing_twice(
        self, store: ChatStore, told: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(saving, "RETRY_SECONDS", 0.02)
        write, room = os.write, [120]

        def scarce(descriptor: int, data: bytes) -> int:
            if room[0] <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = write(descriptor, data[: room[0]])
            room[0] -= written
            return written

        monkeypatch.setattr(os, "write", scarce)
        conversation = Conversation()
        saver = ChatSaver(store, conversation, told.append)
        said(conversation, "one")
        await eventually(lambda: told == ["No space left on device"])
        said(conversation, "two")
        assert saver.failure
        room[0] = 10**6
        await eventually(lambda: told == ["No space left on device", ""])
        await eventually(lambda: len(_turns(store, conversation)) == 2)
        await saver.release()
        assert _turns(store, conversation) == [("one", "Hello."), ("two", "Hello.")]

    async def test_f22_a_folder_that_may_not_be_written_is_told_and_the_chat_goes_on(
        self, store: ChatStore, told: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(saving, "RETRY_SECONDS", 0.02)
        create = ChatFile.create
        refuse = True

        def refused(path: Path) -> ChatFile:
            if refuse:
                raise PermissionError(errno.EACCES, "Permission denied")
            return create(path)

        monkeypatch.setattr(ChatFile, "create", refused)
        conversation = Conversation()
        saver = ChatSaver(store, conversation, told.append)
        said(conversation)
        await eventually(lambda: told == ["Permission denied"])
        said(conversation, "two")
        refuse = False
        await eventually(lambda: told[-1] == "")
        await saver.release()
        assert len(_turns(store, conversation)) == 2

    async def test_f20_what_was_left_while_the_disk_was_full_is_written_when_it_can_be(
        self, store: ChatStore, told: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(saving, "RETRY_SECONDS", 0.02)
        write, full = os.write, [False]

        def scarce(descriptor: int, data: bytes) -> int:
            if full[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(descriptor, data)

        monkeypatch.setattr(os, "write", scarce)
        desk = ChatDesk(store, told.append)
        desk.start()
        said(desk.conversation, "one")
        await eventually(lambda: len(store.summaries()) == 1)
        first = desk.conversation
        full[0] = True
        said(first, "two")
        await desk.begin()
        said(desk.conversation, "three")
        assert "No space left on device" in told
        await desk.open(first.id)
        assert desk.conversation is first
        await desk.begin()
        full[0] = False
        await eventually(lambda: len(_turns(store, first)) == 2)
        await desk.close()
        assert sorted(one.turns for one in store.summaries()) == [1, 2]

    async def test_f22_a_kill_between_any_two_calls_leaves_a_conversation_that_opens(
        self, store: ChatStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each copy of the folder is what a kill would leave there: before and after every write and flush."""
        left: list[dict[str, bytes]] = []

        def looked(call: Callable[..., int | None]) -> Callable[..., int | None]:
            def wrapped(*arguments: object) -> int | None:
                left.append({path.name: path.read_bytes() for path in store.folder.glob("*")})
                if call is write and len(arguments[1]) > 40:  # type: ignore[arg-type]  # the data
                    arguments = (arguments[0], arguments[1][:37])  # type: ignore[index]  # the data
                return call(*arguments)

            return wrapped

        write = os.write
        monkeypatch.setattr(os, "write", looked(os.write))
        monkeypatch.setattr(os, "fsync", looked(os.fsync))
        await kept(store, "one", "two")
        monkeypatch.undo()
        assert len(left) > 10
        replies = 0
        for state in left:
            for data in state.values():
                if data.count(b"\n"):
                    now = len([turn for turn in replay(data)[0].turns if turn.reply])
                    assert now >= replies
                    replies = now


def _turns(store: ChatStore, conversation: Conversation) -> list[tuple[str, str]]:
    data = (store.folder / f"{conversation.id}.jsonl").read_bytes()
    again, unread = replay(data)
    assert unread == 0 or not data.endswith(b"\n")
    return [(turn.question, turn.reply) for turn in again.turns]


def test_a_damaged_conversation_with_figures_beyond_everything_can_be_shown_and_exported() -> None:
    begun = Begun("a", 1e300)
    asked = Asked(1, None, "Hello?", "m", "m", -1e300)
    ended = Ended(1, TurnState.FINISHED, structs.replace(stats(3), new_tokens=10**400))
    conversation, unread = replay(encode(begun) + encode(asked) + encode(ended))
    assert unread == 1, "the figures"
    assert "Hello?" in to_markdown(conversation)
    assert msgspec.json.decode(to_json(conversation))["created"] is None
