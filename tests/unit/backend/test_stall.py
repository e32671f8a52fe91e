"""The deadline that progress pushes forward (F11), on a clock of the test's own."""

from __future__ import annotations

import asyncio

import pytest

from modeldeck.backend.stall import Stalled, StallWatch


class Clock:
    """Seconds that pass only when the test says so."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


async def never() -> None:
    await asyncio.Event().wait()


async def test_f11_nothing_for_the_whole_time_is_a_stall() -> None:
    watch = StallWatch(0.08)
    with pytest.raises(Stalled):
        await asyncio.wait_for(watch.wait(never), 5)
    assert watch.idle_seconds >= 0.08


async def test_f11_slow_progress_is_none_however_long_it_takes_altogether() -> None:
    clock = Clock(0.01)
    watch = StallWatch(0.04, clock)
    attempts = 0

    async def slowly() -> str:
        """Nothing within the first tick, then something: a quarter of what is allowed each time."""
        nonlocal attempts
        attempts += 1
        if attempts % 2:
            await never()
        return "moved"

    for _ in range(10):
        assert await watch.wait(slowly) == "moved"
        assert watch.idle_seconds == 0
    assert attempts == 20
    assert clock.now > 5 * watch.seconds


async def test_f4_time_in_which_the_loop_did_not_tick_hardly_counts() -> None:
    watch = StallWatch(0.08, Clock(3600))
    ticks = 0

    async def count() -> None:
        nonlocal ticks
        ticks += 1
        await never()

    with pytest.raises(Stalled):
        await watch.wait(count)
    assert ticks == 2  # each an hour by the clock, and counted as two ticks of a quarter


async def test_what_fails_fails() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await StallWatch(1).wait(fail)
