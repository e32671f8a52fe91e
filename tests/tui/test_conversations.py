"""Conversations: kept, found, opened again, renamed, deleted, written to files, copied."""

from __future__ import annotations

import gc
import json
import stat
from pathlib import Path
from weakref import ref

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, TextArea

from modeldeck.backend.models import ModelStatus
from modeldeck.config.paths import Paths
from modeldeck.tui.chats import chat_file
from modeldeck.tui.chats.conversation import Conversation
from modeldeck.tui.chats.replay import replay
from modeldeck.tui.chats.store import ChatStore, first_lines
from modeldeck.tui.chats.turns import TextFile
from modeldeck.tui.screens.chats_dialog import ChatsDialog
from modeldeck.tui.screens.confirm import Confirm
from modeldeck.tui.screens.text_dialog import TextDialog
from modeldeck.tui.widgets.chat_view import LATEST, SPARED
from modeldeck.tui.widgets.prompt import Prompt
from modeldeck.tui.widgets.question import Question
from modeldeck.tui.widgets.streamed_reply import StreamedReply
from tests.fakes.in_process import stats
from tests.helpers import screen_text, wait_until
from tests.tui.deck import NARROW, deck, deck_of, opened, until_status
from tests.tui.test_bursts import burst
from tests.tui.test_chat_panel import ChatApp, ask, chatting, say


@pytest.fixture
def store(paths: Paths) -> ChatStore:
    return ChatStore(paths.chats)


async def key(app: ChatApp, pilot: Pilot[object], *keys: str) -> None:
    """Press keys in the turns."""
    app.view.focus()
    await pilot.press(*keys)


async def listed(app: ChatApp, pilot: Pilot[object], rows: int) -> OptionList:
    """Open the list and wait until it shows so many."""
    await key(app, pilot, "o")
    await wait_until(pilot, lambda: isinstance(app.screen, ChatsDialog))
    found = app.screen.query_one(OptionList)
    await wait_until(pilot, lambda: found.option_count == rows)
    return found


def kept(store: ChatStore) -> list[list[tuple[str, str]]]:
    """The turns of every file, by their first questions."""
    chats = [replay(path.read_bytes())[0].turns for path in store.folder.glob("*.jsonl") if path.stat().st_size]
    return sorted([(turn.question, turn.reply) for turn in turns] for turns in chats)


class TestKeeping:
    async def test_a_conversation_is_there_again_with_models_and_settings(self, store: ChatStore) -> None:
        async with chatting("Hello there.", chats=store) as (app, pilot):
            await ask(app, pilot, "one")
            app.panel.model_name = "Qwen3-8B"
            await ask(app, pilot, "two")
        async with chatting("More.", chats=store) as (app, pilot):
            await wait_until(pilot, lambda: "Qwen3-8B" in screen_text(app) and "SmolLM2-135M" in screen_text(app))
            assert "you   one" in screen_text(app)
            assert "first token 0.18 s" in screen_text(app)
            first = app.panel.conversation.turns[0]
            assert (first.model_id, first.settings.temperature) == ("starter", 0.7)
            await ask(app, pilot, "three")
            assert len(app.replier.asked[0][0]) == 5
        assert kept(store) == [[("one", "Hello there."), ("two", "Hello there."), ("three", "More.")]]

    async def test_what_was_streamed_is_kept_when_the_program_ends_in_the_middle(self, store: ChatStore) -> None:
        async with chatting("Half of", chats=store) as (app, pilot):
            app.replier.gate.clear()
            await say(pilot, "go")
            await wait_until(pilot, lambda: "Half of" in screen_text(app))
        async with chatting(" it.", chats=store) as (app, pilot):
            await wait_until(pilot, lambda: "failed: modeldeck ended before the reply did" in screen_text(app))
            assert "Half of" in screen_text(app)
            await key(app, pilot, "C")
            await wait_until(pilot, lambda: "Half of it." in screen_text(app) and "stop" in screen_text(app))
        assert kept(store) == [[("go", "Half of it.")]]

    async def test_what_was_typed_and_not_sent_is_in_the_prompt_at_the_next_start(self, store: ChatStore) -> None:
        async with chatting(chats=store) as (app, pilot):
            app.query_one(Prompt).text = "Half a question"
        async with chatting("Hi.", chats=store) as (app, pilot):
            await wait_until(pilot, lambda: app.panel.draft == "Half a question")
            assert "Nothing said yet" in screen_text(app)
            await ask(app, pilot, "one")
            app.query_one(Prompt).text = "and\ntwo"
        async with chatting("Hi.", chats=store) as (app, pilot):
            await wait_until(pilot, lambda: app.panel.draft == "and\ntwo" and "Hi." in screen_text(app))
            app.query_one(Prompt).text = ""
        async with chatting("Hi.", chats=store) as (app, pilot):
            await wait_until(pilot, lambda: "Hi." in screen_text(app))
            assert app.panel.draft == ""
        assert kept(store) == [[("one", "Hi.")]]

    async def test_the_running_reply_is_on_the_disk_while_it_runs(self, store: ChatStore) -> None:
        async with chatting("Half of", chats=store) as (app, pilot):
            app.replier.gate.clear()
            await say(pilot, "go")
            await wait_until(pilot, lambda: store.folder.exists() and kept(store) == [[("go", "Half of")]], 2.0)
            await app.panel.stop_reply()
            await wait_until(pilot, lambda: not app.panel.replying)

    async def test_f23_a_second_instance_begins_anew_and_opens_the_first_ones_chat_as_a_copy(
        self, store: ChatStore
    ) -> None:
        async with chatting("Hi.", chats=store) as (app, pilot):
            await ask(app, pilot, "one")
            await wait_until(pilot, lambda: kept(store) == [[("one", "Hi.")]])
            async with chatting("Other.", chats=store) as (second, other):
                await wait_until(other, lambda: "another modeldeck. Here a new one begins." in screen_text(second))
                assert "Nothing said yet" in screen_text(second)
                await listed(second, other, 1)
                await other.press("enter")
                await wait_until(other, lambda: "open in another modeldeck" in screen_text(second))
                await ask(second, other, "two")
            await ask(app, pilot, "three")
        assert kept(store) == [[("one", "Hi."), ("three", "Hi.")], [("one", "Hi."), ("two", "Other.")]]

    async def test_f20_a_disk_that_refuses_is_told_and_the_chat_goes_on(
        self, store: ChatStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(path: Path) -> chat_file.ChatFile:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(chat_file.ChatFile, "create", refuse)
        async with chatting("Hi.", chats=store) as (app, pilot):
            await say(pilot, "one")
            await wait_until(pilot, lambda: "NOT SAVED" in screen_text(app))
            await ask(app, pilot, "two")
            assert len(app.panel.conversation.turns) == 2

    async def test_f22_a_damaged_newest_file_is_told_and_left_alone(self, store: ChatStore) -> None:
        store.folder.mkdir(parents=True)
        (store.folder / "odd.jsonl").write_bytes(b"what is this\n")
        async with chatting("Hi.", chats=store) as (app, pilot):
            await ask(app, pilot, "one")
            found = await listed(app, pilot, 2)
            assert "is no conversation of modeldeck" in screen_text(app)
            found.highlighted = 1
            await pilot.press("D")
            await wait_until(pilot, lambda: "left alone" in screen_text(app))
            await pilot.press("enter")
            await wait_until(pilot, lambda: "damaged; it is left as" in screen_text(app))
        assert (store.folder / "odd.jsonl").read_bytes() == b"what is this\n"

    async def test_a_crash_of_the_engine_and_another_model_leave_the_chat(self, tmp_path: Path) -> None:
        app = deck("ready\nwait load\nfinished\nwait generate\ntokens one two\nsignal KILL", "serve")
        async with app.run_test(size=NARROW) as pilot:
            await opened(pilot)
            await pilot.press("enter")
            await until_status(pilot, ModelStatus.LOADED)
            await pilot.press("tab", *"hi", "enter")
            await until_status(pilot, ModelStatus.FAILED)
            await wait_until(pilot, lambda: "one two" in screen_text(app) and "failed:" in screen_text(app))
            app.main_screen.go("models")
            await pilot.press("j", "enter")
            await until_status(pilot, ModelStatus.LOADED)
            await pilot.press("tab", *"more", "enter")
            await wait_until(pilot, lambda: "turns 3" in screen_text(app))
        (turns,) = kept(deck_of(pilot).services.chats)
        assert turns[0] == ("hi", "one two")


class TestList:
    async def test_new_open_search_rename_delete(self, store: ChatStore) -> None:
        async with chatting("Leaves.", chats=store) as (app, pilot):
            await ask(app, pilot, "What is a tree?")
            await key(app, pilot, "n")
            await wait_until(pilot, lambda: "Nothing said yet" in screen_text(app))
            app.replier.pieces = ("Water.",)
            await ask(app, pilot, "What is a [b]sea[/b]?")
            await listed(app, pilot, 2)
            await wait_until(pilot, lambda: "What is a [b]sea[/b]?" in screen_text(app))
            assert "1 turn · SmolLM2-135M · on show" in screen_text(app)
            await pilot.press("slash", *"leaves", "enter")
            await wait_until(pilot, lambda: app.screen.query_one(OptionList).option_count == 1)
            await pilot.press("enter")
            await wait_until(pilot, lambda: "Leaves." in screen_text(app) and "Water." not in screen_text(app))
            assert len(app.panel.conversation.turns) == 1
            await key(app, pilot, "R")
            await wait_until(pilot, lambda: "2/2" in screen_text(app) and not app.panel.replying)
            await wait_until(pilot, lambda: any(one.versions for one in store.summaries()))
            await listed(app, pilot, 2)
            await wait_until(pilot, lambda: "1 turn and 1 in other versions · SmolLM2-135M" in screen_text(app))
            await pilot.press("r")
            await wait_until(pilot, lambda: isinstance(app.screen, TextDialog))
            app.screen.query_one(Input).value = "Forests"
            await pilot.press("enter")
            await wait_until(pilot, lambda: "Forests" in screen_text(app))
            found = app.screen.query_one(OptionList)
            await wait_until(pilot, lambda: found.option_count == 2)
            await pilot.press("D")
            await wait_until(pilot, lambda: isinstance(app.screen, Confirm))
            await pilot.press("enter")
            await wait_until(pilot, lambda: found.option_count == 1)
            await pilot.press("D")
            await wait_until(pilot, lambda: isinstance(app.screen, Confirm))
            await pilot.press("enter")
            await wait_until(pilot, lambda: found.option_count == 0)
            await wait_until(pilot, lambda: "Nothing was said yet" in screen_text(app))
            await pilot.press("escape")
            await wait_until(pilot, lambda: "Nothing said yet" in screen_text(app))
        assert kept(store) == []

    async def test_renaming_the_one_on_show_holds_at_the_next_start(self, store: ChatStore) -> None:
        async with chatting("Hi.", chats=store) as (app, pilot):
            await ask(app, pilot, "one")
            await key(app, pilot, "r")
            await wait_until(pilot, lambda: isinstance(app.screen, TextDialog))
            app.screen.query_one(Input).value = "A name"
            await pilot.press("enter")
            await wait_until(pilot, lambda: app.panel.conversation.title == "A name")
        assert store.summaries()[0].title == "A name"

    async def test_a_new_one_stops_what_runs_and_keeps_what_was_said(self, store: ChatStore) -> None:
        async with chatting("Half of", chats=store) as (app, pilot):
            app.replier.gate.clear()
            await say(pilot, "go")
            await wait_until(pilot, lambda: "Half of" in screen_text(app))
            await listed(app, pilot, 1)
            await pilot.press("n")
            await wait_until(pilot, lambda: "Nothing said yet" in screen_text(app))
        assert kept(store) == [[("go", "Half of")]]


class TestLong:
    async def test_the_last_turns_are_drawn_at_first_and_more_when_asked_for(self, store: ChatStore) -> None:
        conversation = Conversation()
        file = store.create(conversation)
        turns = 2 * LATEST + 10
        for number in range(turns):
            turn = conversation.begin(f"question {number}", "Qwen")
            turn.add("Hello.")
            turn.finish(stats(2))
        file.append(first_lines(conversation))
        file.close()
        async with chatting("Hi.", chats=store) as (app, pilot):
            await wait_until(pilot, lambda: f"question {turns - 1}" in screen_text(app))
            assert len(app.query(StreamedReply)) == LATEST
            await ask(app, pilot, "one more")
            assert len(app.replier.asked[0][0]) == 2 * turns + 1
            await key(app, pilot, "g")
            await wait_until(pilot, lambda: "10 earlier turns" in screen_text(app))
            assert "question 10" in screen_text(app)
            await key(app, pilot, "g")
            await wait_until(pilot, lambda: "question 0 " in screen_text(app) and "earlier" not in screen_text(app))
            await key(app, pilot, "g")
            await wait_until(pilot, lambda: app.view.scroll_y == 0)

    async def test_a_conversation_that_grows_long_draws_no_more_than_its_last_turns(self) -> None:
        async with chatting("Hi.") as (app, pilot):
            for number in range(LATEST + SPARED + 2):
                await ask(app, pilot, f"question {number}.")
                assert len(app.query(StreamedReply)) <= LATEST + SPARED
            assert len(app.query(StreamedReply)) == LATEST + 1
            assert len(app.panel.conversation.turns) == LATEST + SPARED + 2
            assert f"question {LATEST + SPARED + 1}." in screen_text(app)
            await key(app, pilot, "g")
            await wait_until(pilot, lambda: "question 0." in screen_text(app) and "earlier" not in screen_text(app))
            assert len(app.query(StreamedReply)) == LATEST + SPARED + 2

    async def test_what_is_shown_no_longer_is_not_kept_by_the_library(self) -> None:
        async with chatting("Hi.") as (app, pilot):
            await ask(app, pilot, "one")
            rows = [ref(widget._styles_cache) for widget in app.query(Question)]
            await key(app, pilot, "n")
            await wait_until(pilot, lambda: "Nothing said yet" in screen_text(app))
            await wait_until(pilot, lambda: gc.collect() >= 0 and [row() for row in rows] == [None])


class TestTaking:
    async def test_markdown_and_json(self, store: ChatStore, tmp_path: Path) -> None:
        async with chatting("The \x1b[31m answer", chats=store) as (app, pilot):
            await ask(app, pilot, "one")
            for name in ("out.md", "out.json"):
                await key(app, pilot, "w")
                await wait_until(pilot, lambda: isinstance(app.screen, TextDialog))
                app.screen.query_one(Input).value = str(tmp_path / name)
                await pilot.press("enter")
                await wait_until(pilot, (tmp_path / name).exists)
            await wait_until(pilot, lambda: "Written to" in screen_text(app))
            markdown = (tmp_path / "out.md").read_text()
            assert "## You\n\none\n\n## SmolLM2-135M\n\nThe ␛[31m answer\n" in markdown
            assert stat.S_IMODE((tmp_path / "out.md").stat().st_mode) == 0o600
            document = json.loads((tmp_path / "out.json").read_text())
            assert document["turns"][0]["question"] == "one"
            assert document["turns"][0]["settings"]["temperature"] == 0.7
            assert document["turns"][0]["stats"]["new_tokens"] == 1
            await key(app, pilot, "w")
            await wait_until(pilot, lambda: isinstance(app.screen, TextDialog))
            app.screen.query_one(Input).value = str(tmp_path / "out.md")
            await pilot.press("enter")
            await wait_until(pilot, lambda: "nothing was written" in screen_text(app))
            assert (tmp_path / "out.md").read_text() == markdown

    async def test_code_blocks_one_after_the_other(self) -> None:
        async with chatting("Say:\n\n```python\nprint(1)\n```\n\nor\n\n```\n\x1b[0m\n```\n") as (app, pilot):
            await key(app, pilot, "Y")
            await wait_until(pilot, lambda: "no reply to copy" in screen_text(app))
            await ask(app, pilot, "go")
            await key(app, pilot, "Y")
            assert app.clipboard == "print(1)"
            await key(app, pilot, "Y")
            assert app.clipboard == "␛[0m"
            await wait_until(pilot, lambda: "Code block 2 of 2" in screen_text(app))

    async def test_the_reply_of_the_turn_that_was_chosen(self) -> None:
        async with chatting("First.") as (app, pilot):
            await ask(app, pilot, "one")
            app.replier.pieces = ("Second.",)
            await ask(app, pilot, "two")
            await key(app, pilot, "K", "K", "y")
            assert app.clipboard == "First."
            await wait_until(pilot, lambda: "▸you" in screen_text(app))


class TestWays:
    async def test_a_system_prompt_for_this_conversation_alone(self, store: ChatStore) -> None:
        async with chatting("Hi.", chats=store) as (app, pilot):
            await key(app, pilot, "P")
            await wait_until(pilot, lambda: isinstance(app.screen, TextDialog))
            app.screen.query_one(TextArea).text = "Be brief.\nBe kind."
            await pilot.press("ctrl+s")
            await wait_until(pilot, lambda: "own system prompt" in screen_text(app))
            await ask(app, pilot, "one")
            assert app.replier.asked[0][1].system_prompt == "Be brief.\nBe kind."
            await key(app, pilot, "n")
            await wait_until(pilot, lambda: "own system prompt" not in screen_text(app))
            await ask(app, pilot, "two")
            assert app.replier.asked[1][1].system_prompt != "Be brief.\nBe kind."
        assert sorted(str(store.open(one.id).conversation.system_prompt) for one in store.summaries()) == [
            "Be brief.\nBe kind.",
            "None",
        ]

    async def test_everything_can_be_reached_from_the_prompt(self) -> None:
        async with chatting("Hi.") as (app, pilot):
            await ask(app, pilot, "one")
            assert isinstance(app.focused, Prompt)
            await pilot.press("ctrl+r")
            assert app.view.has_focus
            await pilot.press("enter")
            assert isinstance(app.focused, Prompt)


class TestHostile:
    async def test_names_and_texts_of_a_file_are_only_shown(self, store: ChatStore) -> None:
        """A file may come from anywhere; the list, the questions and the names are drawn without what is not text."""
        evil = "a\x1b]52;c;ZXZpbA==\x07\x9b31m[@click=app.quit]x[/]\u202e[bold"
        conversation = Conversation()
        file = store.create(conversation)
        turn = conversation.begin(evil, evil, files=(TextFile(evil, evil, 3),), images=(evil,))
        turn.add(evil)
        turn.think(evil)
        turn.fail(evil)
        file.append(first_lines(conversation))
        file.close()
        async with chatting("Hi.", chats=store) as (app, pilot):
            await wait_until(pilot, lambda: "failed: a␛]52" in screen_text(app))
            await key(app, pilot, "f")
            for _ in range(2):
                shown = screen_text(app)
                assert not set(shown) & set("\x1b\x07\x9b\u202e")
                assert "[@click=app.quit]x[/]" in shown
                await listed(app, pilot, 1)


class TestHurry:
    async def test_closing_the_list_before_it_is_read_does_no_harm(self, store: ChatStore) -> None:
        async with chatting("Hi.", chats=store) as (app, pilot):
            await ask(app, pilot, "one")
            app.view.focus()
            for _ in range(5):
                burst(pilot, "o", "escape")
                await pilot.pause()
            await wait_until(pilot, lambda: len(app.screen_stack) == 1)
            assert app.is_running

    async def test_many_new_ones_and_versions_at_once_lose_nothing(self, store: ChatStore) -> None:
        async with chatting("Hi.", chats=store) as (app, pilot):
            await ask(app, pilot, "one")
            await key(app, pilot, "R")
            await wait_until(pilot, lambda: "2/2" in screen_text(app) and not app.panel.replying)
            app.view.focus()
            burst(pilot, *["left_square_bracket", "right_square_bracket"] * 5, "left_square_bracket")
            await wait_until(pilot, lambda: "1/2" in screen_text(app))
            await wait_until(pilot, lambda: len(app.query(StreamedReply)) == 1)
            burst(pilot, "n", "n", "n")
            await pilot.press("enter", *"two", "enter")
            await wait_until(pilot, lambda: "you   two" in screen_text(app) and not app.panel.replying)
        assert kept(store) == [[("one", "Hi.")], [("two", "Hi.")]]

    async def test_what_is_typed_behind_enter_is_the_next_draft_even_with_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("words")
        async with chatting("Hi.") as (app, pilot):
            app.query_one(Prompt).text = f"Read @{tmp_path}/a.txt"
            burst(pilot, "enter", *"next")
            await wait_until(pilot, lambda: app.panel.draft == "next" and len(app.replier.asked) == 1)
