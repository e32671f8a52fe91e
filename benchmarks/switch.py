"""Switching to a model that is held: how soon its prompt takes a key, and whether its first token comes as soon.

The real app, headless, with two models of 390 MB in real engines. The key with the model's number and a letter are
pressed together in the list, as fast as a link can deliver them; the switch is done when the letter stands in the
prompt. Replies have one token, so that the end of a reply is its first token; it is timed from enter in the prompt.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.figures import level, ratio
from benchmarks.report import Report
from benchmarks.sides import make_llama
from benchmarks.turns import in_turns_on_loop
from modeldeck.backend.models import ModelStatus
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.paths import Paths
from modeldeck.tui.app import ModeldeckApp
from modeldeck.tui.services import build_services
from modeldeck.tui.widgets.chat_panel import ChatPanel
from modeldeck.tui.widgets.prompt import Prompt

TARGET_MS = 50.0
SAME = 1.05
"""A first token that comes no later than this, against the same request to a model that nobody left, is as soon."""
LETTER = "x"
QUESTION = "What is the capital of France?"
_SIZE = (120, 40)
_SETTLE_SECONDS = 0.3
_LIMIT_SECONDS = 120.0


class TwoModels:
    """The running app, and the keys that the measurements press."""

    def __init__(self, app: ModeldeckApp) -> None:
        self._app = app
        self._screen = app.main_screen
        self._manager = app.services.manager
        self.switch_seconds: list[float] = []
        """Of every switch so far, from the keys to the letter in the prompt."""
        self._away_seconds = 0.0

    async def hold(self, models: Sequence[Path]) -> None:
        """Load them, the first with the number 1; returns when nothing is going on any more."""
        await _until(lambda: self._screen.right is not None and not self._screen.browser.searching)
        for model in models:
            info = self._screen.browser.shelf.get(str(model))
            if info is None:
                raise RuntimeError(f"{model} is not in the list")
            self._screen.loads.choose(info)
            await _until(partial(self._talks_to, info.id))
        await self._manager.warm()  # or the spare would still be importing while switches are timed

    async def returned(self) -> float:
        """Seconds to the first token of a model that was asked before, with the other one talked to in between."""
        await self.first_token()
        start = perf_counter()
        await self.switch(2)
        await self.first_token()
        await self.switch(1)
        self._away_seconds = perf_counter() - start
        return await self.first_token()

    async def stayed(self) -> float:
        """The same, where nobody was talked to for as long."""
        await self.first_token()
        await asyncio.sleep(self._away_seconds)
        return await self.first_token()

    async def switch(self, number: int) -> None:
        """Go to the list and press the number and the letter."""
        wanted = next(one.model_id for one in self._manager.residents if one.number == number)
        prompt = self._panel.query_one(Prompt)
        self._screen.go("models")  # a number in the prompt is text
        prompt.text = ""
        await asyncio.sleep(_SETTLE_SECONDS)
        start = perf_counter()
        self._app.simulate_key(str(number))
        self._app.simulate_key(LETTER)
        await _until(lambda: self._app.focused is prompt and self._talks_to(wanted) and prompt.text == LETTER)
        self.switch_seconds.append(perf_counter() - start)

    async def first_token(self) -> float:
        """Ask in a new chat; seconds from enter to the first token, which is the whole reply."""
        panel = self._panel
        panel.action_chat("new")
        await _until(lambda: not panel.conversation.turns)
        panel.focus_prompt()
        panel.query_one(Prompt).text = QUESTION
        await asyncio.sleep(_SETTLE_SECONDS)
        start = perf_counter()
        self._app.simulate_key("enter")
        await _until(lambda: bool(panel.conversation.turns) and not panel.replying)
        seconds = perf_counter() - start
        turn = panel.conversation.turns[-1]
        if turn.stats is None or turn.stats.new_tokens != 1:
            raise RuntimeError(f"the reply is not one token long: {turn.reason}")
        return seconds

    @property
    def _panel(self) -> ChatPanel:
        return self._screen.query_one(ChatPanel)

    def _talks_to(self, model_id: str) -> bool:
        loaded = self._screen.loaded
        return loaded is not None and loaded.model_id == model_id and self._manager.status is ModelStatus.LOADED


def main(pairs: int, report: Report) -> None:
    """Two switches for a pair, and a first token after them and one without."""
    with TemporaryDirectory(prefix="modeldeck-bench-") as temporary:
        root = Path(temporary).resolve()
        models = [make_llama(root / "models" / name) for name in ("first", "second")]
        asyncio.run(_measure(root, models, pairs, report))


async def _measure(root: Path, models: Sequence[Path], pairs: int, report: Report) -> None:
    async with _deck(root) as deck:
        await deck.hold(models)
        await deck.returned()  # imports what the chat draws with, and leaves the first model in front
        deck.switch_seconds.clear()
        returned, stayed = await in_turns_on_loop(pairs, deck.returned, deck.stayed)
        times = [1000 * seconds for seconds in deck.switch_seconds]
    soon = sum(time <= TARGET_MS for time in times)
    told = f"{soon} of {len(times)} within {TARGET_MS:g} ms, {max(times):.1f} ms at the most"
    what = "switch to a resident model, to the first key in its prompt"
    report.add(
        level(what, times, target=TARGET_MS, unit="ms", detail=told),
        ratio(
            "first token after a switch to another model and back",
            "staying, silent for as long",
            returned,
            stayed,
            target=SAME,
        ),
    )


@asynccontextmanager
async def _deck(root: Path) -> AsyncIterator[TwoModels]:
    """The app with files of its own, headless."""
    paths = Paths(
        config_file=root / "config" / "config.toml",
        generation_file=root / "config" / "generation.toml",
        state=root / "state",
        cache=root / "cache",
        log_file=root / "log" / "modeldeck.log",
        hub_cache=root / "hub",
        model_folders=(root / "models",),
    )
    services = build_services(paths)
    services.generation.save(None, GenerationSettings(max_new_tokens=1, do_sample=False))
    app = ModeldeckApp(services)
    async with app.run_test(size=_SIZE):
        yield TwoModels(app)


async def _until(condition: Callable[[], bool]) -> None:
    """Look a thousand times a second. Raises RuntimeError when it never holds."""
    deadline = perf_counter() + _LIMIT_SECONDS
    while not condition():
        if perf_counter() > deadline:
            raise RuntimeError("the app never came to where it should be")
        await asyncio.sleep(0.001)
