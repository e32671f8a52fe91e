"""The deck with a clock in its loop: how late every 5 ms tick comes while the app is idle, loads or streams.

``python -m benchmarks.peers.ticking_deck SCENARIO RESULT``, in a terminal; RESULT gets a number of milliseconds a line.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import perf_counter

from modeldeck.backend.models import ModelStatus
from modeldeck.config.paths import Paths
from modeldeck.tui.app import ModeldeckApp
from modeldeck.tui.services import build_services
from tests.fakes.scripted_engine import scripted_starter

_TICK_SECONDS = 0.005
_IDLE_SECONDS = 4.0
_WORDS = "The quick *brown* fox jumps over `the lazy dog` again. "
_STREAM = f"reply {_WORDS * 10}\npace 0.05\nserve"
"""20 tokens a second for some five seconds."""


async def _ticks(lateness: list[float]) -> None:
    due = perf_counter() + _TICK_SECONDS
    while True:
        await asyncio.sleep(max(0.0, due - perf_counter()))
        now = perf_counter()
        lateness.append((now - due) * 1000)
        due = max(due + _TICK_SECONDS, now)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # a benchmark may look from outside; the app has no event for it
        await asyncio.sleep(0.02)


async def _until_loaded(app: ModeldeckApp) -> None:
    manager = app.services.manager
    await _until(lambda: manager.status in {ModelStatus.LOADED, ModelStatus.FAILED})
    if manager.error is not None:
        raise manager.error


async def _play(app: ModeldeckApp, scenario: str, lateness: list[float]) -> None:
    await _until(lambda: app.main_screen.status is not None and not app.main_screen.browser.searching)
    if scenario != "load":
        app.simulate_key("enter")
        await _until_loaded(app)
    await asyncio.sleep(2)  # the panes and the spare engine have settled
    ticking = asyncio.create_task(_ticks(lateness))
    if scenario == "idle":
        await asyncio.sleep(_IDLE_SECONDS)
    elif scenario == "load":
        app.simulate_key("enter")
        await _until_loaded(app)
    else:
        app.main_screen.go("chat")
        await asyncio.sleep(0.2)
        for key in ("h", "i", "enter"):
            app.simulate_key(key)
        await _until(lambda: app.services.manager.generating)
        await _until(lambda: not app.services.manager.generating)
    ticking.cancel()
    with suppress(asyncio.CancelledError):
        await ticking


async def _run(scenario: str, result: Path) -> None:
    real = scenario == "load"
    services = build_services(Paths.from_environment(), start_engine=None if real else scripted_starter(_STREAM))
    app = ModeldeckApp(services)
    lateness: list[float] = []

    async def play() -> None:
        try:
            await _play(app, scenario, lateness)
        finally:
            app.exit()

    playing = asyncio.create_task(play())
    await app.run_async()
    await playing
    await asyncio.to_thread(result.write_text, "\n".join(f"{late:.3f}" for late in lateness))


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], Path(sys.argv[2])))
