"""What a follower makes of the manager's loads, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path

import pytest

from modeldeck.backend.errors import BackendError
from modeldeck.backend.load_follower import LoadFollower, Outlook, Times
from modeldeck.backend.load_times import StageTime
from modeldeck.backend.models import LoadRequest
from modeldeck.backend.models import LoadStage as S
from modeldeck.backend.pipeline_manager import PipelineManager
from tests.fakes.driving import a_request, load, managing
from tests.fakes.scripted_engine import scripted_starter
from tests.helpers import eventually

LOADS = "ready\nwait load\nprogress reading_weights 0 100\nprogress reading_weights 100 100\nfinished\nserve"
FAILS = "ready\nwait load\nprogress reading_weights 0 100\nfailed load It is damaged."


class Following:
    """A follower that is told by a manager; a second passes at each look, and what it keeps is written down."""

    def __init__(self, manager: PipelineManager, past: Mapping[S, StageTime] | None = None) -> None:
        self.kept: list[tuple[str, Times]] = []
        self.asked: list[str] = []
        self.now = 0.0
        self._past = past or {}
        self.follower = LoadFollower(manager, self._find, self._keep, lambda: self.now)
        manager.on_change = self._look

    def _find(self, request: LoadRequest) -> Times:
        self.asked.append(request.model_id)
        return self._past

    def _keep(self, request: LoadRequest, times: Times) -> None:
        self.kept.append((request.model_id, times))

    def _look(self) -> None:
        self.now += 1.0
        self.follower.look()


async def test_each_load_is_kept_with_the_seconds_of_its_stages() -> None:
    async with managing(scripted_starter(LOADS)) as manager:
        following = Following(manager)
        await load(manager, "a")
        await load(manager, "b")
        await manager.unload("a")
    assert following.asked == ["a", "b"]
    assert [model_id for model_id, _ in following.kept] == ["a", "b"]
    for _, times in following.kept:
        assert list(times) == [S.STARTING, S.READING_WEIGHTS]
        assert times[S.READING_WEIGHTS].total == 100
        assert times[S.STARTING].seconds >= 1.0


async def test_a_load_that_fails_is_not_kept_but_the_one_that_comes_back_is() -> None:
    async with managing(scripted_starter(LOADS, FAILS, LOADS)) as manager:
        following = Following(manager)
        await load(manager, "a")
        with pytest.raises(BackendError, match="damaged"):
            await load(manager, "b", unload=["a"])
    assert following.asked == ["a", "b", "a"]
    assert [model_id for model_id, _ in following.kept] == ["a", "a"]


async def test_a_second_try_after_memory_ran_out_is_a_load_of_its_own() -> None:
    short = "ready\nwait load\nprogress reading_weights 50 100\nfailed memory It is too large."
    async with managing(scripted_starter(LOADS, short, LOADS)) as manager:
        following = Following(manager)
        await load(manager, "a")
        await load(manager, "b")
    assert following.asked == ["a", "b", "b"]
    assert [model_id for model_id, _ in following.kept] == ["a", "b"]


async def test_the_outlook_is_that_of_the_load_that_runs(tmp_path: Path) -> None:
    gated = f"ready\nwait load\nprogress warming_up 0 0\ngate {tmp_path / 'gate'}\nfinished\nserve"
    async with managing(scripted_starter(gated)) as manager:
        following = Following(manager, {S.WARMING_UP: StageTime(9.0)})
        assert following.follower.outlook() == Outlook()
        async with aclosing(manager.load(a_request())) as steps:
            async for step in steps:
                if step.stage is S.WARMING_UP:
                    assert following.follower.outlook() == Outlook(seconds_left=9.0)
                    following.now += 4.0
                    assert following.follower.outlook() == Outlook(seconds_left=5.0)
                    break
        await eventually(lambda: manager.front is None)
        assert following.follower.outlook() == Outlook()
    assert following.kept == []
