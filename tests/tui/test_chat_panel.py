from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from msgspec.structs import replace
from textual import events
from textual.app import App, ComposeResult
from textual.message import Message
from textual.pilot import Pilot

from modeldeck import tui
from modeldeck.backend.chat_messages import ChatMessage
from modeldeck.backend.errors import EngineDied, GenerationError
from modeldeck.backend.models import LoadedModel
from modeldeck.backend.reply import ReplyEvent
from modeldeck.config.generation import GenerationSettings
from modeldeck.tui.chats.conversation import Conversation
from modeldeck.tui.chats.store import ChatStore
from modeldeck.tui.chats.turns import Turn, TurnState
from modeldeck.tui.widgets import streamed_reply
from modeldeck.tui.widgets.chat_panel import NO_MODEL, RUNNING, ChatPanel
from modeldeck.tui.widgets.chat_view import ChatView
from modeldeck.tui.widgets.prompt import Prompt
from modeldeck.tui.widgets.streamed_reply import StreamedReply
from tests.fakes.in_process import LOADED, FakeReplier, FakeSettings
from tests.helpers import screen_text, wait_until
from tests.tui.test_bursts import burst


class ChatApp(App[object]):
    """Only the chat, with a model loaded."""

    CSS_PATH = Path(tui.__path__[0]) / "app.tcss"
    CSS = "ChatPanel { width: 1fr; height: 1fr; }"

    def __init__(self, replier: FakeReplier, chats: ChatStore | None = None) -> None:
        super().__init__()
        self.replier = replier
        self.chats = chats
        self.model = LOADED
        self.settings = FakeSettings()
        self.heard: list[Message] = []

    def compose(self) -> ComposeResult:
        panel = ChatPanel(self.replier, self.settings, self.chats)
        panel.set_reactive(ChatPanel.loaded, self.model)
        panel.set_reactive(ChatPanel.model_name, "SmolLM2-135M")
        yield panel

    def on_mount(self) -> None:
        self.panel.focus_prompt()

    @property
    def panel(self) -> ChatPanel:
        return self.query_one(ChatPanel)

    @property
    def view(self) -> ChatView:
        return self.query_one(ChatView)

    def on_chat_panel_reply_started(self, message: ChatPanel.ReplyStarted) -> None:
        self.heard.append(message)

    def on_chat_panel_reply_finished(self, message: ChatPanel.ReplyFinished) -> None:
        self.heard.append(message)


@asynccontextmanager
async def chatting(
    *pieces: str,
    size: tuple[int, int] = (80, 24),
    chats: ChatStore | None = None,
    model: LoadedModel = LOADED,
) -> AsyncIterator[tuple[ChatApp, Pilot[object]]]:
    app = ChatApp(FakeReplier(*pieces), chats)
    app.model = model
    async with app.run_test(size=size) as pilot:
        yield app, pilot


async def say(pilot: Pilot[object], text: str) -> None:
    app = pilot.app
    app.query_one(Prompt).focus()
    app.query_one(Prompt).text = text
    await pilot.press("enter")


def _shows(app: ChatApp, *texts: str) -> bool:
    return all(text in screen_text(app) for text in texts)


async def ask(app: ChatApp, pilot: Pilot[object], text: str) -> None:
    """Send and wait until the reply has ended and is shown."""
    before = len(app.heard)
    await say(pilot, text)
    await wait_until(pilot, lambda: len(app.heard) == before + 2 and "first token" in screen_text(app))


class TestReplying:
    async def test_the_model_is_asked_before_the_turn_is_drawn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with chatting() as (app, pilot):
            drawn = ChatView.show

            async def show(view: ChatView, conversation: Conversation, *, anew: Turn | None = None) -> None:
                await wait_until(pilot, lambda: bool(app.replier.asked))
                await drawn(view, conversation, anew=anew)

            monkeypatch.setattr(ChatView, "show", show)
            await ask(app, pilot, "What is it?")
            assert "Hello there." in screen_text(app)

    async def test_a_reply_is_shown_as_markdown_with_its_figures(self) -> None:
        async with chatting("It is **bo", "ld**.\n\n- one\n", "- two\n\nEnd") as (app, pilot):
            await ask(app, pilot, "What is it?")
            text = screen_text(app)
            assert "you   What is it?" in text
            assert "SmolLM2-135M" in text
            assert "It is bold." in text
            assert "• one" in text
            assert "3 tokens · 61.2 tok/s · first token 0.18 s · stop" in text
            assert isinstance(app.heard[0], ChatPanel.ReplyStarted)
            assert isinstance(app.heard[1], ChatPanel.ReplyFinished)
            assert app.heard[1].error is None
            assert app.panel.draft == ""
            assert app.replier.closed == 1

    async def test_the_engine_gets_the_turns_and_the_settings_of_the_moment(self) -> None:
        async with chatting("Hi.") as (app, pilot):
            await ask(app, pilot, "one")
            app.settings.per_model["starter"] = GenerationSettings(temperature=0.1, system_prompt="Be brief.")
            await ask(app, pilot, "two")
            messages, settings = app.replier.asked[1]
            assert messages == (ChatMessage("user", "one"), ChatMessage("assistant", "Hi."), ChatMessage("user", "two"))
            assert (settings.temperature, settings.system_prompt, settings.top_p) == (0.1, "Be brief.", 0.9)

    async def test_the_settings_line_changes_after_a_save(self) -> None:
        async with chatting() as (app, pilot):
            await wait_until(pilot, lambda: "temp 0.7 · top p 0.9 · 512 tokens" in screen_text(app))
            app.settings.all_models = GenerationSettings(temperature=0.2)
            app.panel.refresh_settings()
            await wait_until(pilot, lambda: "temp 0.2" in screen_text(app))

    async def test_a_long_settings_line_is_cut_to_one_row(self) -> None:
        async with chatting(size=(60, 24)) as (app, pilot):
            app.settings.all_models = GenerationSettings(
                temperature=0.25, top_p=0.95, seed=7, system_prompt="Be brief."
            )
            app.panel.refresh_settings()
            await wait_until(pilot, lambda: "temp 0.25 · top p 0.95" in screen_text(app))
            await wait_until(pilot, lambda: "…" in screen_text(app).splitlines()[-1])

    async def test_another_model_goes_on_with_the_chat(self) -> None:
        async with chatting("Hi.") as (app, pilot):
            await ask(app, pilot, "one")
            app.panel.model_name = "Qwen3-8B"
            await ask(app, pilot, "two")
            assert len(app.replier.asked[1][0]) == 3
            assert "SmolLM2-135M" in screen_text(app)
            assert "Qwen3-8B" in screen_text(app)


class Waking(FakeReplier):
    """A model that is parked: until it is awake there is no reply to be stopped."""

    def __init__(self) -> None:
        super().__init__("one ", "two")
        self.gate.clear()
        self.woken = asyncio.Event()
        self.waking = False

    async def generate(self, *given: Any, **named: Any) -> AsyncGenerator[ReplyEvent, None]:
        self.waking = True
        await self.woken.wait()
        async for event in super().generate(*given, **named):
            yield event

    async def stop_reply(self, model_id: str | None = None) -> None:
        if self.woken.is_set():
            await super().stop_reply(model_id)


def state_of_last(app: ChatApp) -> TurnState:
    return app.panel.conversation.turns[-1].state


class TestStops:
    async def test_a_stop_while_the_turn_is_being_drawn_is_heard(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with chatting() as (app, pilot):
            app.replier.gate.clear()
            real, may_draw = ChatView.show, asyncio.Event()

            async def show(view: ChatView, conversation: Conversation, *, anew: Turn | None = None) -> None:
                await may_draw.wait()
                await real(view, conversation, anew=anew)

            monkeypatch.setattr(ChatView, "show", show)
            await say(pilot, "What is it?")
            await wait_until(pilot, lambda: bool(app.replier.asked))
            assert await app.panel.stop_reply()
            may_draw.set()
            await wait_until(pilot, lambda: not app.panel.replying and _shows(app, "cancelled"))
            assert state_of_last(app) is TurnState.CANCELLED

    async def test_a_stop_while_the_model_is_woken_is_heard_when_it_is_awake(self) -> None:
        replier = Waking()
        app = ChatApp(replier)
        async with app.run_test() as pilot:
            await say(pilot, "What is it?")
            await wait_until(pilot, lambda: replier.waking)
            assert await app.panel.stop_reply()
            replier.woken.set()
            await wait_until(pilot, lambda: not app.panel.replying and _shows(app, "cancelled"))
            assert state_of_last(app) is TurnState.CANCELLED

    async def test_a_turn_that_cannot_be_drawn_ends_the_reply(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with chatting() as (app, pilot):

            async def show(_view: ChatView, _conversation: Conversation, *, anew: Turn | None = None) -> None:
                raise RuntimeError("boom")

            monkeypatch.setattr(ChatView, "show", show)
            await say(pilot, "What is it?")
            await wait_until(pilot, lambda: bool(app.replier.closed) and not app.panel.replying)
            assert state_of_last(app) is TurnState.FAILED


class TestEndings:
    async def test_stopping_keeps_the_text_and_marks_it(self) -> None:
        async with chatting("Half of") as (app, pilot):
            assert not await app.panel.stop_reply()
            app.replier.gate.clear()
            await say(pilot, "go")
            await wait_until(pilot, lambda: "Half of" in screen_text(app))
            assert await app.panel.stop_reply()
            await wait_until(pilot, lambda: "cancelled" in screen_text(app))
            assert "Half of" in screen_text(app)
            await ask(app, pilot, "again")
            assert app.replier.asked[1][0][1] == ChatMessage("assistant", "Half of")

    async def test_reasoning_that_is_unfolded_is_seen_as_it_grows(self) -> None:
        async with chatting("So far") as (app, pilot):
            app.replier.gate.clear()
            await say(pilot, "go")
            await wait_until(pilot, lambda: "So far" in screen_text(app))
            reply = app.query_one(StreamedReply)
            reply.think("It may be.")
            assert reply.fold()
            for number in range(5):
                reply.think(f"\nThought {number}.")
                new = f"Thought {number}."
                await wait_until(pilot, partial(_shows, app, new, "So far"))
            assert await app.panel.stop_reply()

    @pytest.mark.parametrize(("device", "paintings"), [("cpu", 10), ("cuda:0", 20), ("cuda:0+cpu", 10)])
    async def test_beside_a_model_on_the_cpu_it_is_painted_half_as_often(
        self, device: str, paintings: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with chatting("So far", model=replace(LOADED, device=device)) as (app, pilot):
            app.replier.gate.clear()
            await say(pilot, "go")
            await wait_until(pilot, lambda: "So far" in screen_text(app))
            now, painted = monotonic(), []
            monkeypatch.setattr(streamed_reply, "monotonic", lambda: now)
            monkeypatch.setattr(StreamedReply, "_paint", lambda _reply: painted.append(now))
            reply = app.query_one(StreamedReply)
            for _ in range(40):
                now += 0.05
                reply.write("word ")
            assert len(painted) == paintings
            monkeypatch.undo()
            assert await app.panel.stop_reply()

    async def test_what_moves_with_a_reply_moves_with_its_frames_and_not_with_each_piece(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[int] = []
        async with chatting(*["word "] * 200) as (app, pilot):
            monkeypatch.setattr(app.panel.lines, "progressed", lambda _speed, tokens: told.append(tokens))
            app.replier.gate.clear()
            await say(pilot, "go")
            await wait_until(pilot, lambda: told and told[-1] == 200)
            assert len(told) < 50
            assert await app.panel.stop_reply()

    @pytest.mark.parametrize(
        "error", [GenerationError("The prompt is too long [/x]."), EngineDied("The engine ended.", "trace")]
    )
    async def test_a_failure_keeps_the_text_and_says_why(self, error: Exception) -> None:
        async with chatting("Half of") as (app, pilot):
            app.replier.error = error
            await say(pilot, "go")
            await wait_until(pilot, lambda: f"failed: {error}" in screen_text(app))
            assert "Half of" in screen_text(app)
            assert isinstance(app.heard[1], ChatPanel.ReplyFinished)
            assert app.heard[1].error is error
            assert not app.panel.replying

    async def test_an_error_nobody_expected_does_not_look_like_a_running_reply(self) -> None:
        async with chatting("Half") as (app, pilot):
            app.replier.error = ValueError("odd")
            await say(pilot, "go")
            await wait_until(pilot, lambda: "failed: The reply met an unexpected error" in screen_text(app))
            assert not app.panel.replying

    async def test_a_new_chat_stops_what_runs_and_keeps_the_draft(self) -> None:
        async with chatting("Half of") as (app, pilot):
            app.replier.gate.clear()
            await say(pilot, "go")
            await wait_until(pilot, lambda: "Half of" in screen_text(app))
            app.query_one(Prompt).text = "a draft"
            app.view.focus()
            await pilot.press("n")
            await wait_until(pilot, lambda: "Nothing said yet" in screen_text(app))
            assert app.panel.conversation.turns == []
            assert app.panel.draft == "a draft"
            assert app.replier.closed == 1


class TestDraft:
    async def test_without_a_model_it_says_so_beside_the_prompt(self) -> None:
        async with chatting() as (app, pilot):
            app.panel.loaded = None
            await say(pilot, "hello")
            await wait_until(pilot, lambda: NO_MODEL[:18] in screen_text(app))
            assert app.panel.draft == "hello"
            assert app.replier.asked == []
            await pilot.press("x")
            assert NO_MODEL[:18] not in screen_text(app)

    async def test_enter_while_a_reply_runs_keeps_the_draft(self) -> None:
        async with chatting("Half of") as (app, pilot):
            app.replier.gate.clear()
            await say(pilot, "go")
            await wait_until(pilot, lambda: "Half of" in screen_text(app))
            await say(pilot, "next")
            await wait_until(pilot, lambda: RUNNING in screen_text(app))
            assert app.panel.draft == "next"
            assert len(app.replier.asked) == 1
            await app.panel.stop_reply()
            await wait_until(pilot, lambda: not app.panel.replying)
            assert app.panel.draft == "next"


class TestPrompt:
    async def test_newlines_and_growth_up_to_six_rows(self) -> None:
        async with chatting() as (app, pilot):
            prompt = app.query_one(Prompt)
            await pilot.press("a", "ctrl+j", "b", "alt+enter", "c")
            assert prompt.text == "a\nb\nc"
            await wait_until(pilot, lambda: prompt.size.height == 3)
            prompt.text = "\n" * 20
            await wait_until(pilot, lambda: prompt.size.height == 6)
            await pilot.press("enter")
            assert app.replier.asked == []

    async def test_a_paste_of_many_lines_is_one_draft_and_harmless(self) -> None:
        async with chatting() as (app, pilot):
            prompt = app.query_one(Prompt)
            prompt.post_message(events.Paste("one\r\ntwo\x1b]52;c;eA==\x07\nthree\n"))
            await wait_until(pilot, lambda: prompt.text)
            assert prompt.text == "one\ntwo␛]52;c;eA==␇\nthree\n"
            assert app.replier.asked == []

    async def test_history_at_the_edges_gives_the_draft_back(self) -> None:
        async with chatting("Hi.") as (app, pilot):
            prompt = app.query_one(Prompt)
            await ask(app, pilot, "first")
            await ask(app, pilot, "second")
            prompt.text = "dra\nft"
            prompt.move_cursor((1, 2))
            await pilot.press("up")
            assert prompt.text == "dra\nft"
            await pilot.press("up")
            assert prompt.text == "second"
            await pilot.press("up", "up", "up")
            assert prompt.text == "first"
            await pilot.press("down", "down")
            assert prompt.text == "dra\nft"


class TestReading:
    async def test_the_view_follows_only_from_the_bottom(self) -> None:
        async with chatting(*[f"line {number}\n\n" for number in range(25)]) as (app, pilot):
            await ask(app, pilot, "go")
            await wait_until(pilot, lambda: app.view.scroll_y == app.view.max_scroll_y > 0)
            app.replier.gate.clear()
            await say(pilot, "again")
            reply = app.query(StreamedReply).last
            await wait_until(pilot, lambda: reply().size.height > 50 and app.view.scroll_y == app.view.max_scroll_y)
            app.view.scroll_to(y=2, animate=False)
            await wait_until(pilot, lambda: app.view.scroll_y == 2)
            height = app.view.max_scroll_y
            reply().write("more\n\nand more\n\n")
            await wait_until(pilot, lambda: app.view.max_scroll_y > height)
            assert app.view.scroll_y == 2
            app.view.scroll_end(animate=False)
            await wait_until(pilot, lambda: app.view.scroll_y == app.view.max_scroll_y)
            reply().write("the end\n\n")
            await wait_until(pilot, lambda: "the end" in screen_text(app))

    async def test_copying_the_last_reply(self) -> None:
        async with chatting("The \x1b[31m answer") as (app, pilot):
            app.view.focus()
            await pilot.press("y")
            await wait_until(pilot, lambda: "no reply to copy" in screen_text(app))
            await ask(app, pilot, "go")
            app.view.focus()
            await pilot.press("y")
            assert app.clipboard == "The ␛[31m answer"

    async def test_links_are_shown_with_their_address_and_nothing_can_be_clicked(self) -> None:
        async with chatting("[here](https://example.com/a) and <https://example.com/b>\n\n") as (app, pilot):
            await ask(app, pilot, "go")
            assert "here (https://example.com/a) and https://example.com/b" in screen_text(app)

    async def test_letters_are_typed_in_the_prompt_and_not_taken_as_keys(self) -> None:
        async with chatting("Hi.") as (app, pilot):
            await ask(app, pilot, "go")
            await pilot.press("n", "y", "j", "q")
            assert app.panel.draft == "nyjq"
            assert len(app.panel.conversation.turns) == 1


class TestBursts:
    """Keys that arrive together, as a slow link delivers them."""

    async def test_what_follows_enter_is_the_next_draft(self) -> None:
        async with chatting("Hi.") as (app, pilot):
            burst(pilot, "h", "i", "enter", "x", "y")
            await wait_until(pilot, lambda: app.replier.asked and app.panel.draft == "xy")
            assert app.replier.asked[0][0] == (ChatMessage("user", "hi"),)

    async def test_a_second_question_in_the_burst_stays_in_the_prompt(self) -> None:
        async with chatting("Hi.") as (app, pilot):
            app.replier.gate.clear()
            burst(pilot, "a", "enter", "b", "enter")
            await wait_until(pilot, lambda: RUNNING in screen_text(app))
            assert app.panel.draft == "b"
            assert len(app.replier.asked) == 1

    async def test_keys_that_edit_act_where_they_were_pressed(self) -> None:
        async with chatting("Hi.") as (app, pilot):
            burst(pilot, "a", "x", "backspace", "b", "ctrl+j", "c", "left", "left", "!", "enter")
            await wait_until(pilot, lambda: app.replier.asked)
            assert app.replier.asked[0][0] == (ChatMessage("user", "ab!\nc"),)

    async def test_a_stop_right_behind_enter_is_heard(self) -> None:
        async with chatting("Hi.") as (app, pilot):
            app.query_one(Prompt).text = "go"
            app.query_one(Prompt).action_send()
            assert await app.panel.stop_reply()
            await wait_until(pilot, lambda: "cancelled" in screen_text(app))
            assert app.replier.asked == []
            assert not app.panel.replying
            assert app.panel.conversation.messages() == ()
