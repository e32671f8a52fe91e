from __future__ import annotations

import asyncio
import json
from pathlib import Path
from time import sleep

from benchmarks.peers.ticks import Phases
from benchmarks.ui_delay import thinned


def test_a_thinned_series_keeps_the_distribution_and_the_greatest() -> None:
    values = [number / 10 for number in range(10_000)]
    points = thinned(values, 100)
    assert len(points) == 100
    assert points[-1] == 999.9
    assert points[49] == 499.9


def test_a_short_series_is_drawn_with_as_many_points_as_the_others() -> None:
    points = thinned([3.0, 1.0, 2.0], 6)
    assert points == (1.0, 1.0, 2.0, 2.0, 3.0, 3.0)


async def test_every_tick_that_was_due_while_the_loop_stood_still_is_late(tmp_path: Path) -> None:
    phases = Phases()
    async with phases.phase("held up"):
        await asyncio.sleep(0.02)
        sleep(0.1)  # noqa: ASYNC251  # what the clock is there to see
        await asyncio.sleep(0.02)
    phases.write(tmp_path / "phases")
    late = json.loads((tmp_path / "phases").read_text())["held up"]["late"]
    assert max(late) > 80
    assert sum(each > 20 for each in late) >= 10
