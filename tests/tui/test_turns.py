"""Turns: asked again, edited, continued, branched, raw, with reasoning, with files."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs
from textual import events
from textual.binding import Binding
from textual.widgets import Static

from modeldeck.backend.chat_messages import ChatMessage, FinishReason, ReplyMode
from modeldeck.backend.protocol import TokensGenerated
from modeldeck.config.paths import Paths
from modeldeck.tui.chat_keys import CHAT_KEYS
from modeldeck.tui.chats.store import ChatStore
from modeldeck.tui.deck_keys import DECK_KEYS
from modeldeck.tui.widgets.chat_panel import RUNNING
from modeldeck.tui.widgets.chat_view import ChatView
from modeldeck.tui.widgets.prompt import Prompt
from tests.fakes.in_process import LOADED
from tests.helpers import screen_text, wait_until
from tests.tui.test_chat_panel import ChatApp, ask, chatting, say
from tests.tui.test_conversations import key


@pytest.fixture
def store(paths: Paths) -> ChatStore:
    return ChatStore(paths.chats)


def questions(app: ChatApp) -> list[str]:
    return [turn.question for turn in app.panel.conversation.turns]


def test_no_key_of_the_chat_is_a_key_of_the_deck_or_of_the_view() -> None:
    chat = [binding.key for binding in Binding.make_bindings(CHAT_KEYS)]
    others = {binding.key for binding in Binding.make_bindings([*DECK_KEYS, *ChatView.BINDINGS])}
    assert len(chat) == len(set(chat))
    assert not others & set(chat)


class TestVersions:
    async def test_regenerating_keeps_both_replies_side_by_side(self, store: ChatStore) -> None:
        async with chatting("First.", chats=store) as (app, pilot):
            await ask(app, pilot, "one")
            app.replier.pieces = ("Second.",)
            await key(app, pilot, "R")
            await wait_until(pilot, lambda: "Second." in screen_text(app) and "2/2" in screen_text(app))
            assert "First." not in screen_text(app)
            assert app.replier.asked[1][0] == (ChatMessage("user", "one"),)
            await wait_until(pilot, lambda: not app.panel.replying)
            await key(app, pilot, "left_square_bracket")
            await wait_until(pilot, lambda: "First." in screen_text(app) and "1/2" in screen_text(app))
            await key(app, pilot, "left_square_bracket")
            await wait_until(pilot, lambda: "first version" in screen_text(app))
            await key(app, pilot, "right_square_bracket")
            await wait_until(pilot, lambda: "Second." in screen_text(app))
            await key(app, pilot, "left_square_bracket")
            await wait_until(pilot, lambda: "First." in screen_text(app))
            await ask(app, pilot, "two")
            assert app.replier.asked[2][0][1] == ChatMessage("assistant", "First.")
        async with chatting("x", chats=store) as (app, pilot):
            await wait_until(pilot, lambda: "1/2" in screen_text(app))
            assert questions(app) == ["one", "two"]

    async def test_editing_sends_the_question_beside_the_first_one(self) -> None:
        async with chatting("Hi.") as (app, pilot):
            await ask(app, pilot, "one")
            await ask(app, pilot, "two")
            await key(app, pilot, "K", "K", "E")
            await wait_until(pilot, lambda: "editing turn 1" in screen_text(app))
            assert app.panel.draft == "one"
            assert isinstance(app.focused, Prompt)
            await pilot.press("!", "enter")
            await wait_until(pilot, lambda: questions(app) == ["one!"] and not app.panel.replying)
            assert app.replier.asked[2][0] == (ChatMessage("user", "one!"),)
            assert "editing" not in screen_text(app)
            await key(app, pilot, "left_square_bracket")
            await wait_until(pilot, lambda: questions(app) == ["one", "two"])

    async def test_escape_leaves_the_question_be(self) -> None:
        async with chatting("Hi.") as (app, pilot):
            await ask(app, pilot, "one")
            await key(app, pilot, "E")
            await wait_until(pilot, lambda: "editing turn 1" in screen_text(app))
            await pilot.press("escape")
            await wait_until(pilot, lambda: "editing" not in screen_text(app))
            assert app.panel.draft == ""
            await ask(app, pilot, "two")
            assert questions(app) == ["one", "two"]

    @pytest.mark.parametrize("ends", ["stop", "send", "another conversation"])
    async def test_a_draft_is_back_when_the_editing_of_another_question_is_over(self, ends: str) -> None:
        async with chatting("Hi.") as (app, pilot):
            await ask(app, pilot, "one")
            await ask(app, pilot, "two")
            await pilot.press(*"draft")
            await key(app, pilot, "K", "K", "E")
            await wait_until(pilot, lambda: app.panel.draft == "one")
            assert app.panel.lines.unsent == "draft"
            await key(app, pilot, "J", "E")  # another one in its place
            await wait_until(pilot, lambda: app.panel.draft == "two")
            if ends == "send":
                await pilot.press("enter")
                await wait_until(pilot, lambda: len(app.replier.asked) == 3)
            elif ends == "stop":
                await pilot.press("escape")
            else:
                await key(app, pilot, "n")
            await wait_until(pilot, lambda: app.panel.draft == "draft")
            assert "editing" not in screen_text(app)

    async def test_a_branch_goes_on_from_an_earlier_turn(self) -> None:
        async with chatting("Hi.") as (app, pilot):
            await ask(app, pilot, "one")
            await ask(app, pilot, "two")
            await key(app, pilot, "B")
            await wait_until(pilot, lambda: "What you ask now follows this turn. " in screen_text(app))
            await key(app, pilot, "K", "K", "B")
            await wait_until(pilot, lambda: questions(app) == ["one"] and "you   two" not in screen_text(app))
            await wait_until(pilot, lambda: "this turn; [ shows what followed it." in screen_text(app))
            await key(app, pilot, "left_square_bracket")
            await wait_until(pilot, lambda: questions(app) == ["one", "two"] and "follows" not in screen_text(app))
            await key(app, pilot, "K", "K", "B")
            await wait_until(pilot, lambda: questions(app) == ["one"] and "you   two" not in screen_text(app))
            await ask(app, pilot, "another")
            assert [message.content for message in app.replier.asked[2][0]] == ["one", "Hi.", "another"]
            assert "2/2" in screen_text(app)

    async def test_a_cut_reply_goes_on_where_it_ended(self) -> None:
        async with chatting("Half of") as (app, pilot):
            app.replier.figures = {"finish_reason": FinishReason.LENGTH}
            await ask(app, pilot, "one")
            assert "cut at the token limit" in screen_text(app)
            app.replier.pieces, app.replier.figures = (" it,", " all."), {}
            await key(app, pilot, "C")
            await wait_until(pilot, lambda: "Half of it, all." in screen_text(app) and "3 tokens" in screen_text(app))
            assert app.replier.asked[1][0] == (ChatMessage("user", "one"), ChatMessage("assistant", "Half of"))
            assert app.replier.modes[1] == (ReplyMode.CONTINUE, None, "starter")
            assert questions(app) == ["one"]
            await key(app, pilot, "C")
            await wait_until(
                pilot, lambda: "It ended by itself, or at a stop string; R asks again." in screen_text(app)
            )
            assert len(app.replier.asked) == 2

    async def test_nothing_of_it_while_a_reply_runs_or_without_a_turn(self) -> None:
        async with chatting("Half") as (app, pilot):
            await key(app, pilot, "R")
            await wait_until(pilot, lambda: "Nothing was said yet" in screen_text(app))
            app.replier.gate.clear()
            await say(pilot, "go")
            await wait_until(pilot, lambda: "Half" in screen_text(app))
            for deed in ("R", "E", "C", "B", "left_square_bracket", "i"):
                app.panel.say("")
                await key(app, pilot, deed)
                await wait_until(pilot, lambda: RUNNING in screen_text(app))
            await app.panel.stop_reply()
            await wait_until(pilot, lambda: not app.panel.replying)
            assert len(app.replier.asked) == 1


class TestWays:
    async def test_raw_completion_sends_the_question_alone(self) -> None:
        async with chatting("Hi.") as (app, pilot):
            await ask(app, pilot, "one")
            await key(app, pilot, "x")
            await wait_until(pilot, lambda: "raw completion" in screen_text(app))
            await ask(app, pilot, "Once upon")
            assert app.replier.asked[1][0] == (ChatMessage("user", "Once upon"),)
            assert app.replier.modes[1][0] is ReplyMode.RAW
            await key(app, pilot, "C")
            await wait_until(pilot, lambda: len(app.replier.asked) == 3 and not app.panel.replying)
            assert (app.replier.asked[2][0], app.replier.modes[2][0]) == (
                (ChatMessage("user", "Once uponHi."),),
                ReplyMode.RAW,
            )
            await key(app, pilot, "x")
            await ask(app, pilot, "back")
            assert app.replier.modes[3][0] is ReplyMode.CHAT

    async def test_reasoning_stands_apart_folded_and_is_not_sent_back(self, store: ChatStore) -> None:
        model = structs.replace(LOADED, can_think=True)
        async with chatting("So: 4.", chats=store, model=model) as (app, pilot):
            app.replier.before = (
                TokensGenerated(1, "Two and", 1, reasoning=True),
                TokensGenerated(1, " two [/x]", 2, reasoning=True),
            )
            await ask(app, pilot, "2+2?")
            await wait_until(pilot, lambda: "▸ reasoning · 4 words" in screen_text(app))
            assert "Two and" not in screen_text(app)
            await key(app, pilot, "f")
            await wait_until(pilot, lambda: "│ Two and two [/x]" in screen_text(app))
            await key(app, pilot, "f")
            await wait_until(pilot, lambda: "Two and" not in screen_text(app))
            await key(app, pilot, "T")
            await wait_until(pilot, lambda: "reasoning off" in screen_text(app))
            app.replier.before = ()
            await ask(app, pilot, "and?")
            assert app.replier.asked[1][0][1] == ChatMessage("assistant", "So: 4.")
            assert [mode[1] for mode in app.replier.modes] == [None, False]
        async with chatting("x", chats=store) as (app, pilot):
            await wait_until(pilot, lambda: "▸ reasoning · 4 words" in screen_text(app))

    async def test_a_template_without_a_switch_says_so(self) -> None:
        async with chatting("Hi.") as (app, pilot):
            await key(app, pilot, "T")
            await wait_until(pilot, lambda: "no switch for reasoning" in screen_text(app))


class TestFiles:
    async def test_a_file_comes_along_with_its_size_in_tokens(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "notes.txt").write_text("one two three\x1b[31m\n")
        async with chatting("Hi.") as (app, pilot):
            prompt = app.query_one(Prompt)
            prompt.post_message(events.Paste("Read @notes.txt, please\nand say\nwhat it is"))
            await wait_until(pilot, lambda: "notes.txt 3 tokens" in screen_text(app))
            await pilot.press("enter")
            await wait_until(pilot, lambda: "notes.txt · 3 tokens" in screen_text(app) and not app.panel.replying)
            (message,) = app.replier.asked[0][0]
            assert message.content.startswith("Read @notes.txt, please\nand say\nwhat it is\n\nFile notes.txt:\n```\n")
            assert "one two three␛[31m" in message.content

    @pytest.mark.parametrize(
        ("named", "why"),
        [
            ("@./gone.txt", "No such file"),
            ("@folder/", "is no file"),
            ("@data.bin", "no text in UTF-8"),
            ("@fifo", "is no file"),
            ("@huge.txt", "the most that can be sent"),
        ],
    )
    async def test_what_cannot_come_along_is_refused_and_the_draft_stays(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, why: str
    ) -> None:
        import os

        monkeypatch.chdir(tmp_path)
        (tmp_path / "folder").mkdir()
        (tmp_path / "data.bin").write_bytes(b"\xff\xfe\x00")
        (tmp_path / "huge.txt").write_bytes(b"x" * 3_000_000)
        os.mkfifo(tmp_path / "fifo")
        async with chatting("Hi.") as (app, pilot):
            await say(pilot, f"Read {named}")
            await wait_until(pilot, lambda: why in _note(app) and not app.panel.replying)
            assert app.panel.draft == f"Read {named}"
            assert app.replier.asked == []
            assert app.panel.conversation.turns == []

    async def test_an_at_sign_that_names_no_file_is_a_word(self) -> None:
        async with chatting("Hi.") as (app, pilot):
            await ask(app, pilot, "Write to @alice and me@example.com")
            assert app.replier.asked[0][0] == (ChatMessage("user", "Write to @alice and me@example.com"),)

    async def test_an_image_goes_to_a_model_that_sees_and_to_no_other(self, tmp_path: Path) -> None:
        path = tmp_path / "a cat.png"
        path.write_bytes(b"\x89PNG")
        async with chatting("A cat.") as (app, pilot):
            await say(pilot, f'What is @"{path}"?')
            await wait_until(pilot, lambda: "takes no images" in _note(app))
            assert app.replier.asked == []
        async with chatting("A cat.", model=structs.replace(LOADED, takes_images=True)) as (app, pilot):
            await ask(app, pilot, f'What is @"{path}"?')
            assert app.replier.asked[0][0][0].images == (str(path),)
            assert "image " in screen_text(app)


def _note(app: ChatApp) -> str:
    return " ".join(str(app.query_one(".chat--note", Static).render()).split())
