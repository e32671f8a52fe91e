"""Questions to a model beside its replies: how many tokens, how likely each was, and which of several is asked."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from modeldeck.backend.chat_messages import ChatMessage, ReplyMode
from modeldeck.backend.errors import EngineDied, GenerationError, NotLoaded
from modeldeck.backend.models import ModelStatus
from modeldeck.backend.protocol import Generate, GenerationFinished, PrefillProgress, TokensGenerated
from modeldeck.config.generation import BUILT_IN
from tests.fakes.driving import HELLO, load, managing, reply, status_of
from tests.fakes.scripted_engine import scripted_starter
from tests.helpers import eventually

ASKED = Generate(0, HELLO, BUILT_IN)


async def test_tokens_are_counted_by_the_model_that_is_named_or_the_current_one() -> None:
    async with managing(scripted_starter("serve")) as manager:
        with pytest.raises(NotLoaded):
            await manager.count_tokens(["a"])
        await load(manager, "a")
        assert await manager.count_tokens(["one", "two words", ""]) == (1, 2, 0)
        assert await manager.count_tokens(["one"], "a") == (1,)
        with pytest.raises(NotLoaded):
            await manager.count_tokens(["one"], "b")


async def test_a_reply_is_looked_into() -> None:
    async with managing(scripted_starter("serve")) as manager:
        await load(manager, "a")
        found = await manager.look_into(ASKED, (5, 6), "a")
        assert [(choice.text, choice.probability) for choice in found] == [("5 ", 0.75), ("6 ", 0.75)]


async def test_a_reply_that_is_asked_for_ends_a_look() -> None:
    """Or escape would find an engine that does not stop, and kill it."""
    async with managing(scripted_starter("ready\nwait load\nfinished\nwait lookinto\nserve")) as manager:
        await load(manager, "a")
        look = asyncio.create_task(manager.look_into(ASKED, (5,), "a"))
        await eventually(lambda: bool(manager.residents.current and manager.residents.current.looks))
        await asyncio.sleep(0)
        assert (await reply(manager))[0]
        with pytest.raises(GenerationError, match="A reply was asked for meanwhile"):
            await look
        assert manager.status is ModelStatus.LOADED


async def test_who_leaves_a_look_tells_the_engine_to_stop() -> None:
    async with managing(scripted_starter("ready\nwait load\nfinished\nwait lookinto\nwait stop\nserve")) as manager:
        await load(manager, "a")
        look = asyncio.create_task(manager.look_into(ASKED, (5,), "a"))
        await eventually(lambda: bool(manager.residents.current and manager.residents.current.looks))
        await asyncio.sleep(0)
        look.cancel()
        with pytest.raises(asyncio.CancelledError):
            await look
        assert (await reply(manager))[0]  # the script serves only after the stop


async def test_an_engine_that_dies_answers_a_look_and_a_count() -> None:
    async with managing(scripted_starter("ready\nwait load\nfinished\nwait lookinto\nexit 3")) as manager:
        await load(manager, "a")
        with pytest.raises(EngineDied):
            await manager.look_into(ASKED, (5,), "a")
        await eventually(lambda: status_of(manager) is ModelStatus.FAILED)


async def test_two_models_reply_at_the_same_time_and_one_of_them_is_stopped(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with managing(scripted_starter(f"reply {{model}} says so much\nreply-gate {gate}\nserve")) as manager:
        await load(manager, "a")
        await load(manager, "b")

        async def ask(name: str) -> str:
            said = ""
            async with aclosing(manager.generate(HELLO, BUILT_IN, model_id=name)) as events:
                async for event in events:
                    said += event.text if isinstance(event, TokensGenerated) else ""
            return said

        asked = [asyncio.create_task(ask(name)) for name in "ab"]
        await eventually(lambda: all(one.generating for one in manager.residents))
        await manager.stop_reply("a")
        assert (await asked[0]).split()[0] == "a"
        assert not asked[1].done()
        gate.touch()
        assert await asked[1] == "b says so much"


async def test_how_it_was_asked_reaches_the_engine_and_reasoning_and_prefill_come_back() -> None:
    script = "thinks hm\nreply {mode} {thinking} {images}\nserve"
    async with managing(scripted_starter(script)) as manager:
        await load(manager, "a")
        turn = (ChatMessage("user", "hi", ("/a.png",)),)
        thought, said = "", ""
        asked = manager.generate(turn, BUILT_IN, mode=ReplyMode.CONTINUE, thinking=True)
        async with aclosing(asked) as events:
            async for event in events:
                if isinstance(event, TokensGenerated) and event.reasoning:
                    thought += event.text
                elif isinstance(event, TokensGenerated):
                    said += event.text
        assert (thought, said) == ("hm", "continue True /a.png")


async def test_prefill_is_told() -> None:
    script = "ready\nwait load\nfinished\nwait generate\nprefill 10 40\ntokens so\nend\nserve"
    async with managing(scripted_starter(script)) as manager:
        await load(manager, "a")
        async with aclosing(manager.generate(HELLO, BUILT_IN)) as events:
            found = [event async for event in events]
        assert isinstance(found[0], PrefillProgress)
        assert (found[0].done, found[0].total) == (10, 40)
        assert isinstance(found[-1], GenerationFinished)


async def test_who_is_cancelled_twice_while_a_reply_is_stopped_leaves_no_reply_running(tmp_path: Path) -> None:
    script = f"reply-gate {tmp_path / 'never'}\nignore stop\nserve"
    async with managing(scripted_starter(script)) as manager:
        await load(manager, "a")
        task = asyncio.create_task(reply(manager))
        await eventually(lambda: manager.generating)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.05)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not manager.generating
