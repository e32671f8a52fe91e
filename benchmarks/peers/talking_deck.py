"""The deck in a conversation, without a terminal: ``python -m benchmarks.peers.talking_deck SCENARIO NUMBER RESULT``.

The engine is scripted. RESULT gets a JSON object of figures: ``stay`` and ``leave`` ask so many questions, in one
conversation or in a new one after every tenth; ``reply`` has replies of so many tokens; ``turns`` opens a conversation
of so many turns and asks a question in it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from time import process_time

import psutil

from modeldeck.backend.chat_messages import FinishReason, GenerationStats
from modeldeck.backend.models import ModelStatus
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.paths import Paths
from modeldeck.tui.app import ModeldeckApp
from modeldeck.tui.chats.conversation import Conversation
from modeldeck.tui.chats.replay import replay
from modeldeck.tui.chats.store import ChatStore, first_lines
from modeldeck.tui.services import build_services
from modeldeck.tui.widgets.chat_panel import ChatPanel
from modeldeck.tui.widgets.prompt import Prompt
from tests.fakes.scripted_engine import scripted_starter

SETTLED_AFTER = 10
"""Questions; by then everything has been imported, and every kind of widget drawn."""
TURNS_EACH = 10
"""Of a conversation that is left for a new one."""
_PACE = 0.005
"""Seconds between two tokens; the scripted engine says a word a token."""
_TOKENS = 30
"""Of a reply where their number is not the question."""
_SIZE = (120, 40)
_ANSWER = (
    "The wind had turned to the *north* by noon, and the boats stayed in the harbour. He carried oil up the stairs, "
    "cleaned the `glass`, and counted the ships that passed beyond the reef.\n\n- bread\n- fish\n- straw\n\n"
)
Figures = dict[str, float]


class Talk:
    """What a user of the app does, as far as it goes without a terminal."""

    def __init__(self, app: ModeldeckApp) -> None:
        self.app = app

    @property
    def panel(self) -> ChatPanel:
        """The conversation on show."""
        return self.app.main_screen.query_one(ChatPanel)

    async def begin(self) -> None:
        """Load the model that is highlighted, and go to the chat."""
        screen, manager = self.app.main_screen, self.app.services.manager
        await _until(lambda: screen.status is not None and screen.right is not None and not screen.browser.searching)
        self.app.simulate_key("enter")
        await _until(lambda: manager.status is ModelStatus.LOADED)
        screen.go("chat")
        await asyncio.sleep(1)  # the panes have settled

    async def ask(self) -> float:
        """Ask something; the seconds of processor time that this process took until the reply was drawn."""
        started = process_time()
        before = len(self.panel.conversation.by_number)
        self.panel.query_one(Prompt).text = "What is the capital of France?"
        self.app.simulate_key("enter")
        await _until(lambda: len(self.panel.conversation.by_number) > before and not self.panel.replying)
        await self._drawn()
        return process_time() - started

    async def open(self, chat_id: str) -> float:
        """Go to another conversation; the seconds of processor time until it was drawn."""
        started = process_time()
        await self.panel.run_worker(self.panel.chats._open(chat_id)).wait()  # what the list of conversations does
        await self._drawn()
        return process_time() - started

    async def new(self) -> None:
        """Begin another conversation."""
        self.panel.chats.do("new")
        await _until(lambda: not self.panel.conversation.by_number)
        await self._drawn()

    async def _drawn(self) -> None:
        """Until everything that was asked for is on the screen."""
        painted = asyncio.Event()
        self.panel.view.call_after_refresh(painted.set)
        await painted.wait()
        await asyncio.sleep(0.15)  # a reply settles a tenth of a second after its end


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # a benchmark may look from outside; the app has no event for it
        await asyncio.sleep(0.01)


async def _stay(talk: Talk, questions: int) -> Figures:
    """Everything is said in one conversation."""
    return await _grown(talk, questions, lambda number: None)


async def _leave(talk: Talk, questions: int) -> Figures:
    """A new conversation after some turns."""
    return await _grown(talk, questions, lambda number: talk.new() if number % TURNS_EACH == 0 else None)


async def _grown(talk: Talk, questions: int, before: Callable[[int], Awaitable[None] | None]) -> Figures:
    for _ in range(SETTLED_AFTER):
        await talk.ask()
    first = _own_bytes()
    for number in range(questions):
        if (other := before(number)) is not None:
            await other
        await talk.ask()
    grown = _own_bytes() - first
    chat = talk.panel.conversation
    widgets = sum(1 for _ in talk.app.main_screen.walk_children())
    return {"grown": grown, "bare": _bare_bytes(first_lines(chat)), "turns": len(chat.by_number), "widgets": widgets}


def _own_bytes() -> float:
    """What no file and no other process has a part in.

    USS has the files that are mapped besides, as its own or not as other programs that map them come and go.
    """
    gc.collect()
    return float(sum(part.anonymous for part in psutil.Process().memory_maps()))


def _bare_bytes(lines: bytes) -> float:
    """What the turns take without anything that is drawn."""
    tracemalloc.start()
    conversation, _ = replay(lines)
    gc.collect()
    taken = float(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    del conversation
    return taken


async def _reply(talk: Talk, _tokens: int) -> Figures:
    """Its model replies with so many tokens."""
    await talk.ask()
    return {"reply": await talk.ask()}


async def _turns(talk: Talk, turns: int) -> Figures:
    """A conversation of so many turns is there already; a short one is opened before, and between."""
    store = ChatStore(talk.app.services.paths.chats)
    short, long = _written(store, 1), _written(store, turns)
    await talk.open(short)
    await talk.open(long)
    await talk.open(short)
    opened = await talk.open(long)
    await talk.ask()
    return {"open": opened, "turn": await talk.ask()}


def _written(store: ChatStore, turns: int) -> str:
    """The name of a conversation that is on the disk now."""
    conversation = Conversation()
    for number in range(turns):
        turn = conversation.begin(f"{number}. What did the keeper do?", "scripted")
        turn.add(_ANSWER)
        turn.finish(_figures(50 * number))
    file = store.create(conversation)
    file.append(first_lines(conversation))
    file.close()
    return conversation.id


def _figures(prompt_tokens: int) -> GenerationStats:
    return GenerationStats(
        prompt_tokens=prompt_tokens,
        new_tokens=50,
        first_token_seconds=0.1,
        seconds=1.0,
        finish_reason=FinishReason.STOP,
    )


_SCENARIOS: dict[str, Callable[[Talk, int], Awaitable[Figures]]] = {
    "stay": _stay,
    "leave": _leave,
    "reply": _reply,
    "turns": _turns,
}


async def _run(scenario: str, number: int, result: Path) -> None:
    tokens = number if scenario == "reply" else _TOKENS
    said = (_ANSWER * (tokens // _ANSWER.count(" ") + 1)).replace("\n", "\\n")
    script = scripted_starter(f"reply {said}\npace {_PACE}\nserve")
    services = build_services(Paths.from_environment(), start_engine=script)
    services.generation.save(None, GenerationSettings(max_new_tokens=tokens))
    app = ModeldeckApp(services)
    talk = Talk(app)

    async def play() -> None:
        try:
            await talk.begin()
            figures = await _SCENARIOS[scenario](talk, number)
            await asyncio.to_thread(result.write_text, json.dumps(figures))
        finally:
            app.exit()

    playing = asyncio.create_task(play())
    await app.run_async(headless=True, size=_SIZE)
    with suppress(asyncio.CancelledError):
        await playing


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
