"""What the user sees of an engine that hangs, floods, talks nonsense or has lost its device."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from time import thread_time

import pytest

from modeldeck.backend.models import LoadStage, ModelStatus
from modeldeck.backend.protocol import EXIT_DEVICE_LOST, LoadProgress
from modeldeck.tui import status_line
from modeldeck.tui.engine_view import EngineView
from modeldeck.tui.screens.error_dialog import ErrorDialog
from modeldeck.tui.status_line import StatusFacts
from tests.helpers import screen_text, wait_until
from tests.tui.deck import NARROW, WIDE, deck, opened, until_status

LONGEST_TURN = 0.1
"""Seconds of this thread's own time between two looks at the keys, whatever else the machine does."""


@pytest.mark.parametrize(("idle", "width", "said"), [(9, 100, False), (10, 100, True), (75, 80, True)])
def test_f11_the_line_says_how_long_nothing_has_moved(idle: int, width: int, said: bool) -> None:
    progress = LoadProgress(1, LoadStage.READING_WEIGHTS, 10**9, 4 * 10**9, "bytes")
    facts = StatusFacts(
        EngineView(ModelStatus.LOADING, "q", "Qwen3-8B"), progress, seconds_left=9, elapsed=80, idle=idle
    )
    line = status_line.status_line(facts, width).plain
    assert (f"no progress for {idle} s" in line) == said
    assert ("about 9 s left" in line) != said
    assert "esc cancels" in line


async def test_f11_a_load_that_hangs_shows_it_and_escape_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_line, "_WORTH_WORRYING", 1)
    app = deck(f"load-gate {tmp_path / 'never'}\nserve")
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await wait_until(pilot, lambda: "no progress for 1 s" in screen_text(app))
        await pilot.press("escape")
        await until_status(pilot, ModelStatus.NOT_LOADED)
        await wait_until(pilot, lambda: "no progress" not in screen_text(app))


async def test_f7_a_lost_device_is_told_and_another_try_takes_a_fresh_engine() -> None:
    lost = f"ready\nwait load\nfinished\nwait generate\nreply-failed CUDA error: misaligned.\nexit {EXIT_DEVICE_LOST}"
    app = deck(lost, "serve")
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("tab", *"hi", "enter")
        await until_status(pilot, ModelStatus.FAILED)
        await wait_until(pilot, lambda: "The GPU does not answer any more after an error" in screen_text(app))
        await pilot.press("shift+tab")
        await wait_until(pilot, lambda: "e Error" in screen_text(app))
        await pilot.press("e")
        await wait_until(pilot, lambda: isinstance(app.screen, ErrorDialog))
        await wait_until(pilot, lambda: "Try again" in screen_text(app))
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)


@pytest.mark.parametrize("bad", ["garbage {not json", "long 9000000", 'event {"type":"started"}'])
async def test_f15_nonsense_from_an_engine_is_a_failure_like_any_other(bad: str) -> None:
    app = deck(f"ready\nwait load\nfinished\nwait generate\ntokens so far\n{bad}\nhang", "serve")
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("tab", *"hi", "enter")
        await until_status(pilot, ModelStatus.FAILED)
        await wait_until(pilot, lambda: "The engine sent something that is not a message" in screen_text(app))
        await wait_until(pilot, lambda: "so far" in screen_text(app))
        assert app.services.manager.engine_pids == ()
        assert not app.crashed


@pytest.mark.parametrize(
    ("flood", "lines"), [("flood tokens 20000", 1), ("flood stderr 10000", 10_001), ("flood log 10000", 10_001)]
)
async def test_f14_keys_are_answered_while_an_engine_floods(flood: str, lines: int, tmp_path: Path) -> None:
    gc.collect()
    gc.freeze()  # or what hundreds of tests before this one left would be looked through in the middle of a turn
    over = tmp_path / "over"
    app = deck(
        f"ready\nwait load\nfinished\nwait generate\ntokens so\n{flood}\nlog it is over\ngate {over}\nend\nserve"
    )
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("tab", *"hi", "enter")
        await wait_until(pilot, lambda: app.services.manager.generating)
        seen = [0.0]
        watching = asyncio.create_task(_longest_turns(seen))
        await pilot.press("x")
        await wait_until(pilot, lambda: "> x" in screen_text(app))
        await wait_until(pilot, lambda: app.services.log.total == lines, 40)
        watching.cancel()
        assert app.services.manager.generating
        assert max(seen) < LONGEST_TURN
        over.touch()
        await wait_until(pilot, lambda: not app.services.manager.generating, 30)


async def _longest_turns(seen: list[float]) -> None:
    """How much of this thread's time passes between two moments at which a key could be answered."""
    while True:
        before = thread_time()
        await asyncio.sleep(0.002)
        seen[0] = max(seen[0], thread_time() - before)
