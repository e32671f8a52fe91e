"""Whatever is asked for in whatever order, the state stays true and at most one model is held (F13)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeldeck.backend.errors import BackendError
from modeldeck.backend.models import TRANSITIONS, ModelStatus
from modeldeck.backend.pipeline_manager import PipelineManager
from tests.fakes.driving import children, kill, load, managing, record, reply
from tests.fakes.scripted_engine import scripted_starter
from tests.helpers import eventually

COMMANDS = st.sampled_from(
    ["load", "replace", "cancel", "abandon", "unload", "reply", "stop", "warm", "kill the engine", "breathe", "settle"]
)


class Driver:
    """Carries out commands without waiting for what they begin."""

    def __init__(self, manager: PipelineManager) -> None:
        self.manager = manager
        self.tasks: list[asyncio.Task[object]] = []
        self.loads = 0

    async def obey(self, command: str) -> None:
        manager = self.manager
        match command:
            case "load" | "replace":
                self.loads += 1
                self.begin(load(manager, f"model{self.loads}", replace=command == "replace"))
            case "cancel":
                self.begin(manager.cancel_load())
            case "abandon" if self.tasks:
                self.tasks[-1].cancel()
            case "unload":
                self.begin(manager.unload())
            case "reply":
                self.begin(reply(manager))
            case "stop":
                self.begin(manager.stop_reply())
            case "warm":
                await manager.warm()
            case "kill the engine" if manager.engine_pids:
                kill(manager.engine_pids[0])
            case "breathe":
                await self.breathe()
            case "settle":
                await self.settle()
        await asyncio.sleep(0)

    def begin(self, work: object) -> None:
        self.tasks.append(asyncio.ensure_future(self.outcome(work)))

    async def outcome(self, work: object) -> None:
        """Errors of the backend are answers; anything else fails the test."""
        with suppress(BackendError):
            await work  # type: ignore[misc]  # one of the coroutines above

    async def breathe(self) -> None:
        """Let the work that runs come one step further."""

        def state() -> tuple[object, ...]:
            return self.manager.status, self.manager.progress, [task.done() for task in self.tasks]

        before = state()
        if not all(task.done() for task in self.tasks):
            await eventually(lambda: state() != before, 40, "a step")

    async def settle(self) -> None:
        outcomes = await asyncio.wait_for(asyncio.gather(*self.tasks, return_exceptions=True), 40)
        self.tasks.clear()
        assert all(outcome is None or isinstance(outcome, asyncio.CancelledError) for outcome in outcomes), outcomes


async def run(commands: list[str]) -> None:
    script = "pace 0.01\nserve"
    async with managing(
        scripted_starter(script, "fail-load memory no room\nserve", script), keep_spare=True
    ) as manager:
        driver = Driver(manager)
        seen = record(manager)
        for command in commands:
            await driver.obey(command)
            assert len(manager.engine_pids) <= 2
        await driver.settle()
        await manager.warm()
        assert all(after in TRANSITIONS[before] for before, after in pairwise(seen))
        assert manager.status in {ModelStatus.LOADED, ModelStatus.NOT_LOADED, ModelStatus.FAILED}
        assert (manager.loaded is not None) == (manager.status is ModelStatus.LOADED)
        assert (manager.error is not None) == (manager.status is ModelStatus.FAILED)
        assert not manager.generating
        assert len(children()) <= 2


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(COMMANDS, min_size=4, max_size=14))
def test_f13_any_order_of_commands_ends_in_a_true_state(commands: list[str]) -> None:
    asyncio.run(run(commands))
