"""Looking into a reply: its tokens, how likely each was, and what else."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from modeldeck.backend.chat_messages import TokenChoice
from modeldeck.backend.errors import NotLoaded
from modeldeck.backend.models import ModelStatus
from modeldeck.backend.protocol import Generate
from modeldeck.tui.screens.look_screen import LookScreen
from tests.fakes.in_process import FakeReplier
from tests.helpers import screen_text, wait_until
from tests.tui.deck import NARROW, deck, opened, until_status
from tests.tui.test_chat_panel import ask, chatting
from tests.tui.test_conversations import key

TOKENS = (
    TokenChoice("The", 0.9, (("A", 0.05), ("[b]", 0.01))),
    TokenChoice(" cat", 0.25, ((" dog", 0.5),)),
    TokenChoice(" sat\x1b[31m", 0.8),
    TokenChoice(".\n", 0.75),
    TokenChoice("\n", 0.3),
    TokenChoice("End", 1.0),
)


class Looked(FakeReplier):
    """Answers with the tokens above, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__("The cat sat.")
        self.looked: list[tuple[Generate, tuple[int, ...], str]] = []
        self.refusal: NotLoaded | None = None
        self.figures = {"token_ids": (5, 6, 7)}

    async def look_into(self, asked: Generate, token_ids: Sequence[int], model_id: str) -> tuple[TokenChoice, ...]:
        if self.refusal is not None:
            raise self.refusal
        self.looked.append((asked, tuple(token_ids), model_id))
        return TOKENS


async def test_moving_over_the_tokens_shows_each_with_its_runners_up() -> None:
    async with chatting() as (app, pilot):
        app.replier = app.panel.talker = replier = Looked()
        await ask(app, pilot, "one")
        await key(app, pilot, "i")
        await wait_until(pilot, lambda: isinstance(app.screen, LookScreen) and "token 1 of 6" in screen_text(app))
        asked, ids, model_id = replier.looked[0]
        assert ([message.content for message in asked.messages], ids, model_id) == (["one"], (5, 6, 7), "starter")
        assert "90.0%" in screen_text(app)
        assert "[b]" in screen_text(app)
        await pilot.press("l")
        await wait_until(pilot, lambda: "token 2 of 6" in screen_text(app) and "·dog" in screen_text(app))
        assert "25.0%" in screen_text(app)
        await pilot.press("n")
        await wait_until(pilot, lambda: "token 5 of 6" in screen_text(app))
        await pilot.press("p")
        await wait_until(pilot, lambda: "token 2 of 6" in screen_text(app))
        await pilot.press("right")
        await wait_until(pilot, lambda: "sat␛[31m" in screen_text(app))
        await pilot.press("down", "end", "right")
        await wait_until(pilot, lambda: "token 6 of 6" in screen_text(app))
        await pilot.press("up", "home", "left")
        await wait_until(pilot, lambda: "token 1 of 6" in screen_text(app))
        await pilot.press("escape")
        await wait_until(pilot, lambda: len(app.screen_stack) == 1)


async def test_a_model_that_is_gone_is_named_and_old_replies_have_no_tokens() -> None:
    async with chatting("Hi.") as (app, pilot):
        await ask(app, pilot, "one")
        await key(app, pilot, "i")
        await wait_until(pilot, lambda: "were not kept" in screen_text(app))
        app.panel.talker = replier = Looked()
        replier.refusal = NotLoaded("That model is not loaded.")
        turn = app.panel.conversation.turns[0]
        assert turn.stats is not None
        turn.finish(structs.replace(turn.stats, token_ids=(1,)))
        await key(app, pilot, "i")
        await wait_until(pilot, lambda: "SmolLM2-135M cannot be asked" in screen_text(app))


async def test_through_the_engine() -> None:
    app = deck("reply one two three\nserve")
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("tab", *"hi", "enter")
        await wait_until(pilot, lambda: "first token" in screen_text(app))
        await pilot.press("ctrl+r", "i")
        await wait_until(pilot, lambda: isinstance(app.screen, LookScreen) and "75.0%" in screen_text(app))
        assert "other·" in screen_text(app)
