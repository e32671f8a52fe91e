"""The deck with a clock in its loop, while it is idle and while it works.

``python -m benchmarks.peers.ticking_deck SCENARIO RESULT [MODEL]``, in a terminal. With the scenario ``real`` MODEL is
loaded into a real engine and asked (phases ``idle``, ``load``, ``reply``); with the others a scripted engine says the
reply of that name (phases ``idle``, ``reply``). RESULT gets the phases as ``peers.ticks`` writes them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.ticks import Phases
from modeldeck.backend.models import ModelInfo, ModelStatus
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.paths import Paths
from modeldeck.tui.app import ModeldeckApp
from modeldeck.tui.services import build_services
from modeldeck.tui.widgets.prompt import Prompt
from tests.fakes.scripted_engine import scripted_starter

REAL = "real"
REAL_TOKENS = 48
QUESTION = "Write a long story about a lighthouse keeper and his gull."
_SETTLE_SECONDS = 2.5
"""After this the panes have imported what they need."""
_IDLE_SECONDS = 2.0
_WORDS = "The quick *brown* fox jumps over `the lazy dog` again. "
_PARAGRAPH = _WORDS * 4 + "\\n\\n"
_PACE = 0.01
"""Seconds between two tokens of the scripted engine, which says a word a token: 100 a second."""
_SHORT, _LONG = 800, 4000
"""Tokens of a reply: 8 seconds, and 40."""
REPLIES = {
    "stream": _PARAGRAPH * (_SHORT // 41),
    "text": _PARAGRAPH * (_LONG // 41),
    "code": "```python\\n" + "total = total + price * amount  # of each\\n" * (_LONG // 9) + "```",
    "table": "| what | how many |\\n| --- | --- |\\n" + "| a ship | 12 |\\n" * (_LONG // 6),
}
"""What a scripted engine says in each scenario."""


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # a benchmark may look from outside; the app has no event for it
        await asyncio.sleep(0.02)


async def _loaded(app: ModeldeckApp, model: ModelInfo) -> None:
    manager = app.services.manager
    app.main_screen.loads.choose(model)
    await _until(lambda: manager.status in {ModelStatus.LOADED, ModelStatus.FAILED})
    if manager.error is not None:
        raise manager.error


async def _replied(app: ModeldeckApp) -> None:
    app.main_screen.go("chat")
    app.main_screen.query_one(Prompt).text = QUESTION
    await asyncio.sleep(0.2)
    app.simulate_key("enter")
    await _until(lambda: app.services.manager.generating)
    await _until(lambda: not app.services.manager.generating)


async def _play(app: ModeldeckApp, model_id: str | None, phases: Phases) -> None:
    await _until(lambda: app.main_screen.right is not None and not app.main_screen.browser.searching)
    browser = app.main_screen.browser
    model = browser.highlighted if model_id is None else browser.shelf.get(model_id)
    if model is None:
        raise RuntimeError(f"the list has no {model_id or 'model at all'}")
    if model_id is None:
        await _loaded(app, model)
    await app.services.manager.warm()
    await asyncio.sleep(_SETTLE_SECONDS)
    async with phases.phase("idle"):
        await asyncio.sleep(_IDLE_SECONDS)
    if model_id is not None:
        async with phases.phase("load"):
            await _loaded(app, model)
    async with phases.phase("reply"):  # the next spare begins to import meanwhile, as it does for a user
        await _replied(app)


async def _run(scenario: str, result: Path, model_id: str | None) -> None:
    scripted = None if scenario == REAL else scripted_starter(f"reply {REPLIES[scenario]}\npace {_PACE}\nserve")
    services = build_services(Paths.from_environment(), start_engine=scripted)
    tokens = REAL_TOKENS if scenario == REAL else 2 * _LONG
    least = REAL_TOKENS if scenario == REAL else 0
    services.generation.save(None, GenerationSettings(max_new_tokens=tokens, min_new_tokens=least, do_sample=False))
    app = ModeldeckApp(services)
    phases = Phases()

    async def play() -> None:
        try:
            await _play(app, model_id, phases)
        finally:
            app.exit()

    playing = asyncio.create_task(play())
    await app.run_async()
    playing.cancel()  # does nothing where it has come to its end, and ends it where the app has crashed
    try:
        await playing
    finally:
        phases.write(result)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None))
